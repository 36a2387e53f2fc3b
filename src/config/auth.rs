//! The settings of tokens: which keys they may be signed with, and what else must hold.
//!
//! Keys are only described here; `auth` reads them.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::secret::Secret;

/// Who may connect.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuthSettings {
    /// The key of HS256 tokens, as text; its bytes are the key. Without any key only `--dev` starts.
    pub hs256_secret: Option<Secret>,
    /// The `iss` that a token must have. None: any.
    pub issuer: Option<String>,
    /// The `aud` that a token must have, alone or in a list. None: any.
    pub audience: Option<String>,
    /// By how many seconds the clock of the token's maker may be ahead, for `nbf` and `iat`; `exp`
    /// counts as it stands. 30: more than synchronised clocks differ.
    pub leeway_secs: u64,
    /// Public keys. In the environment as a JSON list.
    #[serde(deserialize_with = "keys")]
    pub keys: Vec<KeySettings>,
    /// Where a set of public keys (a JWKS) is fetched, http or https. None: nowhere.
    pub jwks_url: Option<String>,
    /// A file with such a set, instead of `jwks_url`.
    pub jwks_file: Option<PathBuf>,
    /// How often the set is asked for, in seconds. 300: a key that was taken out of the set is
    /// refused after five minutes at the latest.
    pub jwks_refresh_secs: u64,
    /// How many seconds lie between two requests for the set at least, when a token names a key that is
    /// not in it or the last request failed. 10: a new key is known soon, and made-up names do not make
    /// the hub a burden for the issuer.
    pub jwks_retry_secs: u64,
}

impl Default for AuthSettings {
    fn default() -> Self {
        Self {
            hs256_secret: None,
            issuer: None,
            audience: None,
            leeway_secs: 30,
            keys: Vec::new(),
            jwks_url: None,
            jwks_file: None,
            jwks_refresh_secs: 300,
            jwks_retry_secs: 10,
        }
    }
}

impl AuthSettings {
    /// Whether tokens can be signed by somebody whose key the hub does not have.
    pub fn has_public_keys(&self) -> bool {
        !self.keys.is_empty() || self.jwks_url.is_some() || self.jwks_file.is_some()
    }

    /// Whether there is any key at all.
    pub fn has_keys(&self) -> bool {
        self.hs256_secret.is_some() || self.has_public_keys()
    }

    /// How often the set is asked for.
    pub fn jwks_refresh(&self) -> Duration {
        Duration::from_secs(self.jwks_refresh_secs)
    }

    /// How much lies between two requests for the set at least.
    pub fn jwks_retry(&self) -> Duration {
        Duration::from_secs(self.jwks_retry_secs)
    }
}

/// One public key: `pem` or `file`, not both.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct KeySettings {
    /// The one algorithm that the key is for.
    pub algorithm: KeyAlgorithm,
    /// The key's name, as tokens give it in `kid`. None: tokens with any name or none are tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kid: Option<String>,
    /// The key itself, as PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pem: Option<String>,
    /// The PEM file that holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
}

/// An algorithm whose keys are public.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String")]
pub enum KeyAlgorithm {
    /// RSA with PKCS #1 v1.5 and SHA-256; keys of 2048 to 8192 bits.
    RS256,
    /// ECDSA on P-256 with SHA-256.
    ES256,
    /// Ed25519.
    EdDSA,
}

impl TryFrom<String> for KeyAlgorithm {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "RS256" => Ok(Self::RS256),
            "ES256" => Ok(Self::ES256),
            "EdDSA" => Ok(Self::EdDSA),
            "HS256" => Err("the key of HS256 is a secret: give it as `auth.hs256_secret`".to_owned()),
            _ => Err(format!("`{text}` is no algorithm of public keys: write RS256, ES256 or EdDSA")),
        }
    }
}

fn keys<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<KeySettings>, D::Error> {
    deserializer.deserialize_any(KeysVisitor)
}

/// Takes a list, and the text that a variable has for one.
struct KeysVisitor;

impl<'de> Visitor<'de> for KeysVisitor {
    type Value = Vec<KeySettings>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of keys, each with `algorithm` and `pem` or `file`")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut keys = Vec::new();
        while let Some(key) = list.next_element()? {
            keys.push(key);
        }
        Ok(keys)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        serde_json::from_str(text).map_err(|error| E::custom(format!("not a JSON list of keys: {error}")))
    }
}
