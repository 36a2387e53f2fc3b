//! The tokens of the replayed accounts, signed with the hub's own HS256 secret.

use std::path::Path;

use anyhow::{Context, Result};
use jsonwebtoken::{EncodingKey, Header};
use serde::Serialize;

use crate::survey::Actor;

/// How long a token is good for; each connection gets a new one.
const LIFE_SECS: i64 = 24 * 3600;

#[derive(Serialize)]
struct Claims<'a> {
    sub: &'a str,
    tenant: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    unit: Option<&'a str>,
    role: &'static str,
    device: &'a str,
    exp: i64,
}

/// Signs tokens.
#[derive(Clone)]
pub(crate) struct Signer(EncodingKey);

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signer")
    }
}

impl Signer {
    /// Signs with the bytes of `secret`.
    pub(crate) fn new(secret: &str) -> Self {
        Self(EncodingKey::from_secret(secret.as_bytes()))
    }

    /// Signs with the development key that a hub keeps in its data folder.
    pub(crate) fn from_data_dir(data_dir: &Path) -> Result<Self> {
        let path = data_dir.join("signing-key");
        let secret = std::fs::read_to_string(&path).with_context(|| {
            format!(
                "no development key at {}; say the hub's data folder, or its secret with --secret",
                path.display()
            )
        })?;
        Ok(Self::new(secret.trim()))
    }

    /// A token for a device, from `now_us` (microseconds since 1970) for a day.
    pub(crate) fn sign(&self, actor: &Actor, now_us: i64) -> Result<String> {
        let claims = Claims {
            sub: &actor.user,
            tenant: &actor.tenant,
            unit: actor.unit.as_deref(),
            role: "device",
            device: &actor.device,
            exp: now_us / 1_000_000 + LIFE_SECS,
        };
        jsonwebtoken::encode(&Header::default(), &claims, &self.0).context("a token cannot be signed")
    }
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{DecodingKey, Validation};

    use super::*;

    fn actor(unit: Option<&str>) -> Actor {
        Actor {
            tenant: "t".to_owned(),
            user: "u".to_owned(),
            device: "d".to_owned(),
            unit: unit.map(str::to_owned),
            lines: 0,
        }
    }

    fn claims(token: &str, secret: &str) -> Result<serde_json::Value> {
        let validation = Validation { validate_exp: false, ..Validation::default() };
        let key = DecodingKey::from_secret(secret.as_bytes());
        Ok(jsonwebtoken::decode(token, &key, &validation)?.claims)
    }

    #[test]
    fn a_token_names_the_account_and_its_device() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("signing-key"), "c2VjcmV0\n").unwrap();
        let signer = Signer::from_data_dir(folder.path()).unwrap();
        let token = signer.sign(&actor(Some("north")), 5_000_000).unwrap();
        let expected = serde_json::json!({
            "sub": "u", "tenant": "t", "unit": "north", "role": "device", "device": "d", "exp": 86_405
        });
        assert_eq!(claims(&token, "c2VjcmV0").unwrap(), expected);
        assert!(claims(&token, "other").is_err());
        let plain = claims(&signer.sign(&actor(None), 0).unwrap(), "c2VjcmV0").unwrap();
        assert!(plain.get("unit").is_none());
    }

    #[test]
    fn a_missing_key_says_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let message = Signer::from_data_dir(folder.path()).unwrap_err().to_string();
        assert!(message.contains("--secret"), "{message}");
    }
}
