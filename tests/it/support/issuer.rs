//! Signs tokens as an issuer of its own would, with keys of each algorithm.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{self, KeySize};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};
use synchub::config::{KeyAlgorithm, KeySettings};

use super::NOW_US;

/// The algorithms of public keys.
pub(crate) const PUBLIC: [Algorithm; 3] = [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA];

/// A key pair with its algorithm and its name.
pub(crate) struct Issuer {
    pub(crate) algorithm: Algorithm,
    pub(crate) kid: Option<String>,
    key: EncodingKey,
    /// The public key as PEM.
    pub(crate) pem: String,
    /// The private key as PEM.
    pub(crate) private_pem: String,
}

impl Issuer {
    /// A new key pair; `kid` may be empty for a key without a name.
    pub(crate) fn new(algorithm: Algorithm, kid: &str) -> Self {
        let (private, public) = match algorithm {
            Algorithm::RS256 => rsa_pair(KeySize::Rsa2048),
            Algorithm::ES256 => {
                let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
                let public: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
                (pair.to_pkcs8v1().unwrap().as_ref().to_vec(), public.as_ref().to_vec())
            }
            _ => {
                let pair = Ed25519KeyPair::generate().unwrap();
                let public: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
                (pair.to_pkcs8v1().unwrap().as_ref().to_vec(), public.as_ref().to_vec())
            }
        };
        let private_pem = pem("PRIVATE KEY", &private);
        let key = match algorithm {
            Algorithm::RS256 => EncodingKey::from_rsa_pem(private_pem.as_bytes()),
            Algorithm::ES256 => EncodingKey::from_ec_pem(private_pem.as_bytes()),
            _ => EncodingKey::from_ed_pem(private_pem.as_bytes()),
        };
        let kid = Some(kid.to_owned()).filter(|kid| !kid.is_empty());
        Self { algorithm, kid, key: key.unwrap(), pem: pem("PUBLIC KEY", &public), private_pem }
    }

    /// The public key as an operator configures it.
    pub(crate) fn settings(&self) -> KeySettings {
        let algorithm = match self.algorithm {
            Algorithm::RS256 => KeyAlgorithm::RS256,
            Algorithm::ES256 => KeyAlgorithm::ES256,
            _ => KeyAlgorithm::EdDSA,
        };
        KeySettings { algorithm, kid: self.kid.clone(), pem: Some(self.pem.clone()), file: None }
    }

    /// The public key as it stands in a set.
    pub(crate) fn jwk(&self) -> Value {
        let mut jwk =
            serde_json::to_value(Jwk::from_encoding_key(&self.key, self.algorithm).unwrap()).unwrap();
        jwk["kid"] = json!(self.kid);
        jwk
    }

    /// The claims of a good token for the device of a user, with `changes`; null takes one away.
    pub(crate) fn claims(changes: &Value) -> Value {
        let mut claims = json!({
            "sub": "alice", "tenant": "acme", "role": "device", "exp": NOW_US / 1_000_000 + 3600,
        });
        let all = claims.as_object_mut().unwrap();
        for (name, value) in changes.as_object().unwrap() {
            all.insert(name.clone(), value.clone());
        }
        all.retain(|_, value| !value.is_null());
        claims
    }

    /// A good token with these changes to its claims.
    pub(crate) fn token(&self, changes: &Value) -> String {
        self.signed(&json!({"alg": self.algorithm, "kid": self.kid}), &Self::claims(changes))
    }

    /// A token with this header and these claims, rightly signed.
    pub(crate) fn signed(&self, header: &Value, claims: &Value) -> String {
        sign_parts(header, claims, &self.key, self.algorithm)
    }
}

/// A token whose header may say anything.
pub(crate) fn sign_parts(header: &Value, claims: &Value, key: &EncodingKey, algorithm: Algorithm) -> String {
    let mut header = header.clone();
    header.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(&header), part(claims));
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), key, algorithm).unwrap();
    format!("{message}.{signature}")
}

/// An RSA key pair of this size, private and public.
fn rsa_pair(size: KeySize) -> (Vec<u8>, Vec<u8>) {
    let pair = rsa::KeyPair::generate(size).unwrap();
    let private: Pkcs8V1Der<'_> = pair.as_der().unwrap();
    let public: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
    (private.as_ref().to_vec(), public.as_ref().to_vec())
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}
