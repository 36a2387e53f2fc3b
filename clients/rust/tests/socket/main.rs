//! The client over a real socket, against a hub that does what each test's script says.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod coming_back;
mod compare;
mod forms;
mod held;
mod hub;
mod pushes;
mod surviving;
mod sync;
