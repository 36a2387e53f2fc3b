//! Who connects: tokens, what they say, and the keys that they are signed with.
//!
//! Time comes from the caller. No error, log line or `Debug` output shows a key or a token.

mod claims;
mod dev_key;
mod sign;
#[cfg(test)]
mod tests;
mod verify;

pub use claims::{Identity, Role, UnknownRole};
pub use dev_key::{DEV_KEY_FILE, DevKeyError, load_dev_key, load_or_make_dev_key};
pub use sign::{Grant, Signer};
pub use verify::{NoKey, TokenError, Verifier};
