//! Who connects: tokens, what they say, and the keys that they are signed with.
//!
//! Time comes from the caller. No error, log line or `Debug` output shows a key or a token.

mod claims;
mod dev_key;
mod jwks;
mod key_set;
mod keys;
mod sign;
mod source;
#[cfg(test)]
mod tests;
mod verify;

pub use claims::{Identity, Role, UnknownRole};
pub use dev_key::{DEV_KEY_FILE, DevKeyError, load_dev_key, load_or_make_dev_key};
pub use jwks::NotASet;
pub use keys::KeyError;
pub use sign::{Grant, Signer};
pub use source::{AddressError, FetchError};
pub use verify::{KeysError, NoKey, TokenError, Verifier};
