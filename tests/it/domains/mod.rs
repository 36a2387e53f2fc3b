//! Domains as data: a file is all it takes, for everyone or for one tenant (invariant 8).

mod builtin;
mod faults;
mod files;
mod telemetry;
mod turned;
