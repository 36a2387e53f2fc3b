//! The hub from outside: one binary, one folder a part.

mod store;
mod tidy;
