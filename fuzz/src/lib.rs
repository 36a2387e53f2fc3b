//! What must hold for any bytes that a stranger sends: each function takes bytes and panics where
//! something does not.
//!
//! `tests/random.rs` tries them with what it makes of samples; `targets/` hands them to libFuzzer. They
//! start no hub and touch no file.

mod frames;
mod texts;

pub use frames::{client_frame, gzip, server_frame};
pub use texts::{cursor, definition, filter, token};

/// A target: its name, and what tries bytes on it.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: &[Target] = &[
    ("client_frame", client_frame),
    ("server_frame", server_frame),
    ("gzip", gzip),
    ("cursor", cursor),
    ("token", token),
    ("definition", definition),
    ("filter", filter),
];
