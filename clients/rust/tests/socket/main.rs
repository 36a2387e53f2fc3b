//! The client over a real socket, against a hub that does what each test's script says.

mod hub;
mod sync;
