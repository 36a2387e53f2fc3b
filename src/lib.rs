//! The synchub hub: everything that the `synchub` binary runs, as a library that tests can hold.
//!
//! Modules stand here from the lowest rank to the highest; a module imports only from lower ranks.

pub mod auth;
pub mod cli;
pub mod clock;
pub mod config;
pub mod entropy;
pub mod observe;
