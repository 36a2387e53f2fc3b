//! The synchub hub: everything that the `synchub` binary runs, as a library that tests can hold.
//!
//! Modules stand here from the lowest rank to the highest; a module imports only from lower ranks.

pub mod clock;
pub mod config;
pub mod entropy;
pub mod observe;
pub mod tasks;

pub mod auth;
pub mod recorder;

pub mod bus;
pub mod limits;
pub mod registry;
pub mod store;

pub mod catalog;
pub mod devices;

pub mod sync;

pub mod push;

pub mod retention;
pub mod session;

pub mod http;

pub mod app;
pub mod lifecycle;

pub mod cli;
