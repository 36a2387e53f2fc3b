//! The keys that tokens are verified with, and those of the configuration.
//!
//! A key has one algorithm, and a token that names another is never tried with it: what an issuer publishes
//! can therefore never serve as a secret. Only public keys are taken, but for the secret of HS256.

use std::fs;
use std::io;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use aws_lc_rs::rsa::PublicKey;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey};
use jsonwebtoken::errors::Error;
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation, decode};

use super::claims::Claims;
use crate::config::{AuthSettings, KeyAlgorithm, KeySettings};

/// The length of an RSA key: shorter ones can be broken, longer ones cost too much to use.
const RSA_BYTES: RangeInclusive<usize> = 2048 / 8..=8192 / 8;

/// What is wrong with a key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// No key or two.
    #[error("give either `pem` or `file`")]
    NotOne,
    /// The file cannot be read.
    #[error("cannot read {path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A private key, which the hub must not have.
    #[error("this is a private key: give its public part, which `openssl pkey -pubout` writes")]
    Private,
    /// A certificate.
    #[error("this is a certificate: give its key, which `openssl x509 -pubkey -noout` writes")]
    Certificate,
    /// Not a key of its algorithm.
    #[error("this is no public key for {algorithm:?} in PEM form ({needed})")]
    Unfit {
        /// The algorithm that it is to be for.
        algorithm: KeyAlgorithm,
        /// What keys of this algorithm are.
        needed: &'static str,
    },
}

/// A key with all that belongs to it.
pub(super) struct Key {
    pub(super) kid: Option<String>,
    pub(super) algorithm: Algorithm,
    public_or_secret: DecodingKey,
    validation: Validation,
}

impl Key {
    /// The secret of HS256 tokens.
    pub(super) fn secret(secret: &[u8]) -> Self {
        Self::new(Algorithm::HS256, None, DecodingKey::from_secret(secret))
    }

    /// A public key; None if it is none of this algorithm.
    pub(super) fn public(algorithm: KeyAlgorithm, kid: Option<String>, key: DecodingKey) -> Option<Self> {
        is_usable(algorithm, &key).then(|| Self::new(in_tokens(algorithm), kid, key))
    }

    fn new(algorithm: Algorithm, kid: Option<String>, key: DecodingKey) -> Self {
        let mut validation = Validation::new(algorithm);
        // The library reads the system's clock, and lets a token without `aud` pass where one is
        // asked for; so it checks the signature alone, and the verifier the claims.
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.validate_aud = false;
        Self { kid, algorithm, public_or_secret: key, validation }
    }

    /// Whether a token with this header may be signed with this key. A key without a name is for
    /// tokens with any name, and a token without a name for all keys.
    pub(super) fn fits(&self, header: &Header) -> bool {
        let named = self.kid.is_none() || header.kid.is_none() || self.kid == header.kid;
        self.algorithm == header.alg && named
    }

    /// What the token says, if it is signed with this key. Its times are not looked at.
    pub(super) fn claims(&self, token: &str) -> Result<Claims, Error> {
        Ok(decode::<Claims>(token, &self.public_or_secret, &self.validation)?.claims)
    }
}

/// The keys of the configuration; an error names the key's place.
pub(super) fn configured(settings: &AuthSettings) -> Result<Vec<Key>, (usize, KeyError)> {
    let secret = settings.hs256_secret.as_ref().map(|secret| Key::secret(secret.expose().as_bytes()));
    let public = settings.keys.iter().enumerate();
    let public = public.map(|(index, key)| read(key).map_err(|error| (index, error)));
    secret.into_iter().map(Ok).chain(public).collect()
}

fn read(settings: &KeySettings) -> Result<Key, KeyError> {
    let pem = match (&settings.pem, &settings.file) {
        (Some(pem), None) => pem.clone(),
        (None, Some(path)) => {
            fs::read_to_string(path).map_err(|source| KeyError::Unreadable { path: path.clone(), source })?
        }
        _ => return Err(KeyError::NotOne),
    };
    if pem.contains("PRIVATE KEY-----") {
        return Err(KeyError::Private);
    }
    if pem.contains("CERTIFICATE-----") {
        return Err(KeyError::Certificate);
    }
    let algorithm = settings.algorithm;
    let (key, needed) = match algorithm {
        KeyAlgorithm::RS256 => (DecodingKey::from_rsa_pem(pem.as_bytes()), "RSA of 2048 to 8192 bits"),
        KeyAlgorithm::ES256 => (DecodingKey::from_ec_pem(pem.as_bytes()), "on the curve P-256"),
        KeyAlgorithm::EdDSA => (DecodingKey::from_ed_pem(pem.as_bytes()), "Ed25519"),
    };
    let key = key.ok().and_then(|key| Key::public(algorithm, settings.kid.clone(), key));
    key.ok_or(KeyError::Unfit { algorithm, needed })
}

/// The algorithm's name in a token's header.
fn in_tokens(algorithm: KeyAlgorithm) -> Algorithm {
    match algorithm {
        KeyAlgorithm::RS256 => Algorithm::RS256,
        KeyAlgorithm::ES256 => Algorithm::ES256,
        KeyAlgorithm::EdDSA => Algorithm::EdDSA,
    }
}

/// The library takes any bytes for a key and fails when it is used; here it fails when it is read.
fn is_usable(algorithm: KeyAlgorithm, key: &DecodingKey) -> bool {
    let Ok(bytes) = key.try_get_as_bytes() else { return false };
    match algorithm {
        KeyAlgorithm::RS256 => {
            PublicKey::from_der(bytes).is_ok_and(|key| RSA_BYTES.contains(&key.modulus_len()))
        }
        KeyAlgorithm::ES256 => ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, bytes).is_ok(),
        KeyAlgorithm::EdDSA => ParsedPublicKey::new(&ED25519, bytes).is_ok(),
    }
}
