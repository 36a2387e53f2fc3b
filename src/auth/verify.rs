//! Finds out whether a token is good.
//!
//! The algorithm is fixed by the key, never chosen by the token. `exp` counts to the second, since
//! sockets close then; the leeway is for what a fast clock of the token's maker puts ahead.

use std::fmt;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};

use super::claims::{Claims, Identity, NumericDate};
use crate::config::AuthSettings;

/// The longest token, in bytes; larger ones are refused unread.
pub(super) const MAX_TOKEN_BYTES: usize = 8192;

/// No key was configured.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "no key for tokens is configured: set `auth.hs256_secret` in the file or SYNCHUB_AUTH_HS256_SECRET in the environment"
)]
pub struct NoKey;

/// Why a token is no good. The texts go to logs, and say nothing of the token but what is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not three parts of base64url with JSON in them, no algorithm at all, or a claim of the wrong type.
    #[error("this is no token that the hub can read")]
    Malformed,
    /// Longer than any token should be.
    #[error("the token is longer than {MAX_TOKEN_BYTES} bytes")]
    TooLong,
    /// Signed in another way than the hub's key asks for.
    #[error("the token's algorithm is not HS256")]
    WrongAlgorithm,
    /// The header has parts that must be understood, and are not.
    #[error("the token's header has critical parts that the hub does not know")]
    CriticalHeader,
    /// Signed with another key, or altered.
    #[error("the token's signature does not fit the hub's key")]
    WrongSignature,
    /// A claim is not there.
    #[error("the token has no `{0}`")]
    Missing(&'static str),
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
    /// Its time has not begun.
    #[error("the token is not valid yet; check the clock of its maker")]
    NotYetValid,
    /// Made by another than the configured issuer.
    #[error("the token's `iss` is not the configured issuer")]
    WrongIssuer,
    /// Made for another audience than the configured one.
    #[error("the token's `aud` does not name the configured audience")]
    WrongAudience,
    /// A role that does not exist.
    #[error("the token's `role` is none of device, publisher, operator")]
    UnknownRole,
    /// A tenant, user, unit, device or domain that cannot be one.
    #[error("a name in the token is empty, longer than 128 bytes, or has control characters")]
    BadName,
    /// The token could not be signed.
    #[error("the token cannot be signed with this key")]
    Unsignable,
}

/// Checks tokens against one key.
pub struct Verifier {
    key: DecodingKey,
    validation: Validation,
    issuer: Option<String>,
    audience: Option<String>,
    leeway_us: i64,
}

impl Verifier {
    /// A verifier for the configured key.
    pub fn new(settings: &AuthSettings) -> Result<Self, NoKey> {
        let secret = settings.hs256_secret.as_ref().ok_or(NoKey)?;
        let mut validation = Validation::new(Algorithm::HS256);
        // The library reads the system's clock, and lets a token without `aud` pass where one is
        // asked for; so it checks the signature alone, and `verify` the claims.
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.validate_aud = false;
        Ok(Self {
            key: DecodingKey::from_secret(secret.expose().as_bytes()),
            validation,
            issuer: settings.issuer.clone(),
            audience: settings.audience.clone(),
            leeway_us: i64::try_from(settings.leeway_secs).unwrap_or(0).saturating_mul(1_000_000),
        })
    }

    /// Who stands behind `token` at `now_us` (microseconds since 1970).
    pub fn verify(&self, token: &str, now_us: i64) -> Result<Identity, TokenError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::TooLong);
        }
        let header = decode_header(token).map_err(|error| from_library(error.kind()))?;
        if header.crit.is_some() {
            return Err(TokenError::CriticalHeader);
        }
        let decoded = decode::<Claims>(token, &self.key, &self.validation);
        let claims = decoded.map_err(|error| from_library(error.kind()))?.claims;
        self.check_times(&claims, now_us)?;
        self.check_maker(&claims)?;
        claims.into_identity()
    }

    fn check_times(&self, claims: &Claims, now_us: i64) -> Result<(), TokenError> {
        if claims.exp.ok_or(TokenError::Missing("exp"))?.us <= now_us {
            return Err(TokenError::Expired);
        }
        let latest = now_us.saturating_add(self.leeway_us);
        let is_ahead = |time: Option<NumericDate>| time.is_some_and(|time| time.us > latest);
        if is_ahead(claims.nbf) || is_ahead(claims.iat) {
            return Err(TokenError::NotYetValid);
        }
        Ok(())
    }

    fn check_maker(&self, claims: &Claims) -> Result<(), TokenError> {
        if self.issuer.is_some() && claims.iss != self.issuer {
            return Err(TokenError::WrongIssuer);
        }
        let Some(audience) = &self.audience else { return Ok(()) };
        let named = claims.aud.as_ref().is_some_and(|aud| aud.includes(audience));
        if named { Ok(()) } else { Err(TokenError::WrongAudience) }
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier")
            .field("issuer", &self.issuer)
            .field("audience", &self.audience)
            .finish_non_exhaustive()
    }
}

fn from_library(kind: &ErrorKind) -> TokenError {
    match kind {
        ErrorKind::InvalidSignature => TokenError::WrongSignature,
        ErrorKind::InvalidAlgorithm | ErrorKind::InvalidAlgorithmName | ErrorKind::UnsupportedAlgorithm => {
            TokenError::WrongAlgorithm
        }
        _ => TokenError::Malformed,
    }
}
