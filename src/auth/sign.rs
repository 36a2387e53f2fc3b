//! Makes tokens, for the command line and for tests.

use std::fmt;

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};

use super::claims::{Audience, Claims, NumericDate, Role};
use super::verify::{MAX_TOKEN_BYTES, NoKey, TokenError};
use crate::config::AuthSettings;

/// What a token is to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The tenant.
    pub tenant: String,
    /// The user.
    pub user: String,
    /// What it may do.
    pub role: Role,
    /// The user's unit.
    pub unit: Option<String>,
    /// The one device that may use the token; None: any of the user's.
    pub device: Option<String>,
    /// The units that a publisher may write; None: all.
    pub units: Option<Vec<String>>,
    /// The domains that a publisher may write; None: all.
    pub domains: Option<Vec<String>>,
    /// How long the token is good, in seconds.
    pub ttl_secs: u64,
}

impl Grant {
    /// A grant for an hour, without unit, bound to no device.
    pub fn new(tenant: impl Into<String>, user: impl Into<String>, role: Role) -> Self {
        Self {
            tenant: tenant.into(),
            user: user.into(),
            role,
            unit: None,
            device: None,
            units: None,
            domains: None,
            ttl_secs: 3600,
        }
    }
}

/// Signs tokens with one key.
pub struct Signer {
    key: EncodingKey,
    issuer: Option<String>,
    audience: Option<String>,
}

impl Signer {
    /// A signer whose tokens a verifier with the same settings takes.
    pub fn new(settings: &AuthSettings) -> Result<Self, NoKey> {
        let secret = settings.hs256_secret.as_ref().ok_or(NoKey)?;
        Ok(Self {
            key: EncodingKey::from_secret(secret.expose().as_bytes()),
            issuer: settings.issuer.clone(),
            audience: settings.audience.clone(),
        })
    }

    /// A token for `grant` from `now_us` (microseconds since 1970) on. What no verifier would take
    /// is refused.
    pub fn sign(&self, grant: &Grant, now_us: i64) -> Result<String, TokenError> {
        self.claims(grant, now_us).into_identity()?;
        let token = encode(&Header::new(Algorithm::HS256), &self.claims(grant, now_us), &self.key)
            .map_err(|_| TokenError::Unsignable)?;
        if token.len() > MAX_TOKEN_BYTES { Err(TokenError::TooLong) } else { Ok(token) }
    }

    fn claims(&self, grant: &Grant, now_us: i64) -> Claims {
        let now_secs = now_us.div_euclid(1_000_000);
        let ttl = i64::try_from(grant.ttl_secs).unwrap_or(i64::MAX);
        Claims {
            sub: Some(grant.user.clone()),
            tenant: Some(grant.tenant.clone()),
            unit: grant.unit.clone(),
            role: Some(grant.role.name().to_owned()),
            device: grant.device.clone(),
            units: grant.units.clone(),
            domains: grant.domains.clone(),
            iss: self.issuer.clone(),
            aud: self.audience.clone().map(Audience::One),
            exp: Some(NumericDate::from_secs(now_secs.saturating_add(ttl))),
            iat: Some(NumericDate::from_secs(now_secs)),
            nbf: None,
        }
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer")
            .field("issuer", &self.issuer)
            .field("audience", &self.audience)
            .finish_non_exhaustive()
    }
}
