//! Reads a set of public keys (JWKS, RFC 7517).
//!
//! Keys that the hub cannot use are passed over, as the RFC asks: other algorithms, keys for encryption,
//! secrets. A secret in a set would let whoever reads the set sign tokens, and is never taken.

use aws_lc_rs::rsa::PublicKeyComponents;
use aws_lc_rs::signature::RSA_PKCS1_2048_8192_SHA256;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::{
    AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm as JwkAlgorithm, KeyOperations, PublicKeyUse,
};
use serde::Deserialize;
use serde_json::Value;

use super::keys::Key;
use crate::config::KeyAlgorithm;

/// A set as it stands; what a key looks like is each key's own matter.
#[derive(Deserialize)]
struct Set {
    keys: Vec<Value>,
}

/// The text is no set of keys at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this is no JWKS: a JSON object with a list `keys` is expected")]
pub struct NotASet;

/// The keys of a set that the hub can use.
pub(super) fn read(text: &[u8]) -> Result<Vec<Key>, NotASet> {
    let set: Set = serde_json::from_slice(text).map_err(|_| NotASet)?;
    Ok(set.keys.into_iter().filter_map(|key| usable(&serde_json::from_value(key).ok()?)).collect())
}

fn usable(jwk: &Jwk) -> Option<Key> {
    let common = &jwk.common;
    let operations = common.key_operations.as_ref();
    let is_for_signatures =
        common.public_key_use.as_ref().is_none_or(|purpose| *purpose == PublicKeyUse::Signature)
            && operations.is_none_or(|all| all.contains(&KeyOperations::Verify));
    let (algorithm, name) = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => (KeyAlgorithm::RS256, JwkAlgorithm::RS256),
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
            (KeyAlgorithm::ES256, JwkAlgorithm::ES256)
        }
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            (KeyAlgorithm::EdDSA, JwkAlgorithm::EdDSA)
        }
        _ => return None,
    };
    if !is_for_signatures || common.key_algorithm.is_some_and(|named| named != name) {
        return None;
    }
    let key = match &jwk.algorithm {
        AlgorithmParameters::RSA(key) => from_components(&key.n, &key.e)?,
        _ => DecodingKey::from_jwk(jwk).ok()?,
    };
    Key::public(algorithm, common.key_id.clone(), key)
}

/// An RSA key in one piece, so that it can be checked as all others are.
fn from_components(modulus: &str, exponent: &str) -> Option<DecodingKey> {
    let (n, e) = (URL_SAFE_NO_PAD.decode(modulus).ok()?, URL_SAFE_NO_PAD.decode(exponent).ok()?);
    let key = PublicKeyComponents { n, e }.to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256).ok()?;
    Some(DecodingKey::from_rsa_der(key.as_ref()))
}
