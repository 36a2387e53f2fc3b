//! Tokens of the benchmark's users, signed with the hub's own secret.

use anyhow::{Context, Result};
use jsonwebtoken::{EncodingKey, Header};
use serde::Serialize;

/// The tenant of all that are in no other.
pub(crate) const TENANT: &str = "bench";
/// The unit that all of them are in.
pub(crate) const UNIT: &str = "all";
/// When they end: long after any run.
const EXPIRES: i64 = 4_000_000_000;

#[derive(Serialize)]
struct Claims<'a> {
    sub: &'a str,
    tenant: &'a str,
    unit: &'static str,
    role: &'static str,
    exp: i64,
}

/// A token for the devices of a user.
pub(crate) fn token(secret: &str, tenant: &str, user: &str) -> Result<String> {
    let claims = Claims { sub: user, tenant, unit: UNIT, role: "device", exp: EXPIRES };
    let key = EncodingKey::from_secret(secret.as_bytes());
    jsonwebtoken::encode(&Header::default(), &claims, &key).context("a token cannot be signed")
}
