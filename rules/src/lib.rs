//! The rules of sync as pure functions: no I/O, no clock, no chance.

pub mod domain;
