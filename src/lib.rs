//! The hub: everything that is not a rule of sync and not a wire type.

pub mod store;
