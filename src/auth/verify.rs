//! Finds out whether a token is good.
//!
//! The algorithm is fixed by the key, never chosen by the token. `exp` counts to the second, since
//! sockets close then; the leeway is for what a fast clock of the token's maker puts ahead.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, Header, decode_header};
use tokio_util::sync::CancellationToken;

use super::claims::{Claims, Identity, NumericDate};
use super::jwks;
use super::key_set::KeySet;
use super::keys::{Key, KeyError, configured};
use super::source::{AddressError, FetchError, Source};
use crate::clock::SharedClock;
use crate::config::AuthSettings;

/// The longest token, in bytes; larger ones are refused unread.
pub(super) const MAX_TOKEN_BYTES: usize = 8192;

/// The algorithms whose keys an issuer publishes.
const PUBLIC: [Algorithm; 3] = [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA];

/// No key was configured.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "no key for tokens is configured: set `auth.hs256_secret` in the file or SYNCHUB_AUTH_HS256_SECRET in the environment"
)]
pub struct NoKey;

/// Why tokens cannot be verified with the configured keys.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// There is none.
    #[error(transparent)]
    None(#[from] NoKey),
    /// One of `auth.keys` cannot be used.
    #[error("`auth.keys[{index}]` cannot be used: {source}")]
    Key {
        /// Which, from 0.
        index: usize,
        /// What is wrong.
        source: KeyError,
    },
    /// Two sets.
    #[error("`auth.jwks_url` and `auth.jwks_file` are both set, and the hub takes one set: leave one out")]
    TwoSets,
    /// The set's address is none.
    #[error("`auth.jwks_url` cannot be used: {0}")]
    Address(#[from] AddressError),
    /// The set's file cannot be used.
    #[error("`auth.jwks_file` cannot be used: {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: FetchError,
    },
}

/// Why a token is no good. The texts go to logs, and say nothing of the token but what is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not three parts of base64url with JSON in them, no algorithm at all, or a claim of the wrong type.
    #[error("this is no token that the hub can read")]
    Malformed,
    /// Longer than any token should be.
    #[error("the token is longer than {MAX_TOKEN_BYTES} bytes")]
    TooLong,
    /// Signed in another way than the hub's keys ask for.
    #[error("the token's algorithm is not that of the key")]
    WrongAlgorithm,
    /// Signed with a key of another name than the hub's keys.
    #[error("the token's `kid` names no key of the hub")]
    UnknownKey,
    /// Its key may be in the set of keys, which cannot be had now. The only refusal that is not the
    /// token's fault: the same token may be good later.
    #[error("the token's key is not known, and the set of keys cannot be had now")]
    KeysOutOfReach,
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

impl TokenError {
    /// Whether the same token may be good later.
    pub fn is_temporary(&self) -> bool {
        *self == Self::KeysOutOfReach
    }
}

/// Checks tokens against all keys.
pub struct Verifier {
    configured: Vec<Key>,
    set: Option<Arc<KeySet>>,
    issuer: Option<String>,
    audience: Option<String>,
    leeway_us: i64,
}

impl Verifier {
    /// A verifier for the configured keys. Of a set that is fetched it has none before
    /// [`Verifier::keep_keys`] runs.
    pub fn new(settings: &AuthSettings) -> Result<Self, KeysError> {
        if !settings.has_keys() {
            return Err(NoKey.into());
        }
        Ok(Self {
            configured: configured(settings).map_err(|(index, source)| KeysError::Key { index, source })?,
            set: key_set(settings)?.map(Arc::new),
            issuer: settings.issuer.clone(),
            audience: settings.audience.clone(),
            leeway_us: i64::try_from(settings.leeway_secs).unwrap_or(0).saturating_mul(1_000_000),
        })
    }

    /// Who stands behind `token` at `now_us` (microseconds since 1970). A token with a key that the set
    /// does not have waits, some seconds at most, until the set was asked for again.
    pub async fn verify(&self, token: &str, now_us: i64) -> Result<Identity, TokenError> {
        let outcome = self.verify_at_once(token, now_us);
        let (Err(TokenError::UnknownKey), Some(set)) = (&outcome, &self.set) else { return outcome };
        let renewed = set.renew(now_us).await;
        match self.verify_at_once(token, now_us) {
            Err(TokenError::UnknownKey) if !renewed => Err(TokenError::KeysOutOfReach),
            outcome => outcome,
        }
    }

    /// The same with the keys that are there.
    pub fn verify_at_once(&self, token: &str, now_us: i64) -> Result<Identity, TokenError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::TooLong);
        }
        let header = decode_header(token).map_err(|error| from_library(error.kind()))?;
        if header.crit.is_some() {
            return Err(TokenError::CriticalHeader);
        }
        let claims = self.claims(token, &header)?;
        self.check_times(&claims, now_us)?;
        self.check_maker(&claims)?;
        claims.into_identity()
    }

    /// Asks for the set of keys again and again, until `stop`; None if there is none.
    pub fn keep_keys(
        &self,
        clock: SharedClock,
        stop: CancellationToken,
    ) -> Option<impl Future<Output = ()> + Send + use<>> {
        Some(Arc::clone(self.set.as_ref()?).keep(clock, stop))
    }

    /// Asks for the set of keys once, if there is one.
    pub async fn fetch_keys(&self, now_us: i64) -> Result<(), FetchError> {
        match &self.set {
            Some(set) => set.ask(now_us).await,
            None => Ok(()),
        }
    }

    /// What the token says, if one of the keys that it may be signed with fits.
    fn claims(&self, token: &str, header: &Header) -> Result<Claims, TokenError> {
        let set = self.set.as_ref().map(|set| set.keys());
        let all = || self.configured.iter().chain(set.iter().flatten().flat_map(|keys| keys.iter()));
        let mut tried = false;
        for key in all().filter(|key| key.fits(header)) {
            match key.claims(token) {
                Ok(claims) => return Ok(claims),
                Err(error) if *error.kind() == ErrorKind::InvalidSignature => tried = true,
                Err(error) => return Err(from_library(error.kind())),
            }
        }
        let is_named = header.kid.is_some() && all().any(|key| key.kid == header.kid);
        let may_be_in_set = match &set {
            Some(None) => true,
            Some(Some(_)) => header.kid.is_some() && !is_named,
            None => false,
        };
        if may_be_in_set && PUBLIC.contains(&header.alg) {
            return Err(TokenError::UnknownKey);
        }
        let is_for_none = !all().any(|key| key.algorithm == header.alg);
        match (tried, is_named || is_for_none) {
            (true, _) => Err(TokenError::WrongSignature),
            (false, true) => Err(TokenError::WrongAlgorithm),
            (false, false) => Err(TokenError::UnknownKey),
        }
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

fn key_set(settings: &AuthSettings) -> Result<Option<KeySet>, KeysError> {
    let (source, keys) = match (&settings.jwks_url, &settings.jwks_file) {
        (None, None) => return Ok(None),
        (Some(_), Some(_)) => return Err(KeysError::TwoSets),
        (Some(address), None) => (Source::web(address)?, None),
        // A wrong path is the configuration's fault, and is not waited for as an issuer is.
        (None, Some(path)) => {
            let text = std::fs::read(path).map_err(FetchError::from);
            let keys = text.and_then(|text| Ok(jwks::read(&text)?));
            let keys = keys.map_err(|source| KeysError::File { path: path.clone(), source })?;
            (Source::File(path.clone()), Some(keys))
        }
    };
    Ok(Some(KeySet::new(source, keys, settings)))
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
