//! Which keys are taken from the configuration and from a set, and what is said of the others.

use std::path::PathBuf;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};
use synchub::auth::{TokenError, Verifier};
use synchub::config::{AuthSettings, KeyAlgorithm, KeySettings};

use crate::support::{Issuer, NOW_US, PUBLIC, set, sign_parts};

/// On the curve P-384, which is for another algorithm.
const P384: &str = "-----BEGIN PUBLIC KEY-----
MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAExYDj/FOhOj1h1gDKUhmD/zQiCpg+OeNQ
R2gHoo4h0fV+BBaLCOSJ6e2AfCSUxC1pN1WvwofDjSEFrnTVfpb0cSraLV6W/mbe
q/MjE3c/ZAMTEavIfETSaBz+FIMiFYEd
-----END PUBLIC KEY-----
";
/// RSA of 1024 bits, which is too short.
const RSA_1024: &str = "-----BEGIN PUBLIC KEY-----
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDT6cEyAGfe8c7DUIdEp3qpIUAr
QLRm7yzg/RucyB8orvYev6r4Ji7JxOW2HGi/Fr8QrOuRHnlOg8M8FrIz68ffNoyv
41LVteMGo3uaLDpmf4IGmTD3yEnOszETTK44O0fQRVVIiDL1cbkuZpQpVC01y0Mm
n260LJFctxlx6EkwQwIDAQAB
-----END PUBLIC KEY-----
";

fn problem(settings: &AuthSettings) -> String {
    Verifier::new(settings).unwrap_err().to_string()
}

fn of(key: KeySettings) -> AuthSettings {
    AuthSettings { keys: vec![key], ..AuthSettings::default() }
}

#[test]
fn a_key_that_cannot_be_used_is_named_with_the_reason() {
    let issuers = PUBLIC.map(|algorithm| Issuer::new(algorithm, ""));
    let pem =
        |algorithm, pem: &str| KeySettings { algorithm, kid: None, pem: Some(pem.to_owned()), file: None };
    let good = issuers[0].settings();
    for (key, part) in [
        (pem(KeyAlgorithm::RS256, &issuers[0].private_pem), "private key"),
        (pem(KeyAlgorithm::ES256, &issuers[1].pem.replace("PUBLIC KEY", "CERTIFICATE")), "openssl x509"),
        (pem(KeyAlgorithm::ES256, &issuers[0].pem), "no public key for ES256"),
        (pem(KeyAlgorithm::EdDSA, &issuers[1].pem), "Ed25519"),
        (pem(KeyAlgorithm::RS256, &issuers[2].pem), "no public key for RS256"),
        (pem(KeyAlgorithm::ES256, P384), "P-256"),
        (pem(KeyAlgorithm::RS256, RSA_1024), "2048 to 8192"),
        (pem(KeyAlgorithm::RS256, "hunter2"), "PEM"),
        (pem(KeyAlgorithm::RS256, ""), "PEM"),
        (KeySettings { pem: None, ..good.clone() }, "either `pem` or `file`"),
        (KeySettings { file: Some("a.pem".into()), ..good.clone() }, "either `pem` or `file`"),
        (KeySettings { pem: None, file: Some("/no/such.pem".into()), ..good.clone() }, "/no/such.pem"),
    ] {
        let text = problem(&AuthSettings { keys: vec![good.clone(), key], ..AuthSettings::default() });
        assert!(text.starts_with("`auth.keys[1]`") && text.contains(part), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
}

#[test]
fn keys_come_from_files_too() {
    let folder = tempfile::tempdir().unwrap();
    for algorithm in PUBLIC {
        let issuer = Issuer::new(algorithm, "a");
        let file = folder.path().join("key.pem");
        std::fs::write(&file, &issuer.pem).unwrap();
        let settings = of(KeySettings { pem: None, file: Some(file), ..issuer.settings() });
        let verifier = Verifier::new(&settings).unwrap();
        assert!(verifier.verify_at_once(&issuer.token(&json!({})), NOW_US).is_ok());
    }
}

#[test]
fn a_set_that_cannot_be_used_is_named_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jwks.json");
    std::fs::write(&path, "{\"keys\": \"hunter2\"}").unwrap();
    let url = |url: &str| AuthSettings { jwks_url: Some(url.to_owned()), ..AuthSettings::default() };
    let file = |path: PathBuf| AuthSettings { jwks_file: Some(path), ..AuthSettings::default() };
    for (settings, part) in [
        (url("login.example.com/jwks.json"), "https://"),
        (url("file:///etc/jwks.json"), "https://"),
        (url("https://"), "https://"),
        (AuthSettings { jwks_file: Some(path.clone()), ..url("https://login.example.com/jwks") }, "both"),
        (file(path), "no JWKS"),
        (file("/no/such.json".into()), "/no/such.json"),
    ] {
        let text = problem(&settings);
        assert!(text.contains("`auth.jwks_") && text.contains(part), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
}

/// What becomes of `token` with a set of just this key.
fn with_set(jwk: &Value, token: &str) -> Result<(), TokenError> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), json!({"keys": [{"kty": "new"}, 5, jwk], "more": 1}).to_string()).unwrap();
    let settings = AuthSettings { jwks_file: Some(file.path().to_owned()), ..AuthSettings::default() };
    Verifier::new(&settings).unwrap().verify_at_once(token, NOW_US).map(drop)
}

#[test]
fn of_a_set_only_keys_for_signatures_of_known_algorithms_are_used() {
    for algorithm in PUBLIC {
        let issuer = Issuer::new(algorithm, "a");
        let token = issuer.token(&json!({}));
        for (changes, is_used) in [
            (json!({}), true),
            (json!({"alg": null}), true),
            (json!({"use": "sig", "key_ops": ["verify"]}), true),
            (json!({"use": "enc"}), false),
            (json!({"key_ops": ["encrypt"]}), false),
            (json!({"alg": "PS256"}), false),
            (json!({"alg": "HS256"}), false),
            (json!({"x": "AAAA", "n": "AAAA"}), false),
            (json!({"crv": "P-384", "kty": "EC"}), false),
        ] {
            let mut jwk = issuer.jwk();
            jwk.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
            jwk.as_object_mut().unwrap().retain(|_, value| !value.is_null());
            let expected = if is_used { Ok(()) } else { Err(TokenError::UnknownKey) };
            assert_eq!(with_set(&jwk, &token), expected, "{jwk}");
        }
    }
}

#[test]
fn a_secret_in_a_set_is_no_key() {
    let secret = b"a secret that whoever reads the set knows";
    let jwk = json!({"kty": "oct", "kid": "a", "k": BASE64_URL_SAFE_NO_PAD.encode(secret)});
    let header = json!({"alg": "HS256", "kid": "a"});
    let key = EncodingKey::from_secret(secret);
    let token = sign_parts(&header, &Issuer::claims(&json!({})), &key, Algorithm::HS256);
    assert_eq!(with_set(&jwk, &token), Err(TokenError::WrongAlgorithm));
}

#[test]
fn two_keys_of_one_name_are_both_tried() {
    let [one, two] = [Algorithm::ES256, Algorithm::ES256].map(|algorithm| Issuer::new(algorithm, "a"));
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), set(&[&one, &two]).to_string()).unwrap();
    let settings = AuthSettings { jwks_file: Some(file.path().to_owned()), ..AuthSettings::default() };
    let verifier = Verifier::new(&settings).unwrap();
    for issuer in [&one, &two] {
        assert!(verifier.verify_at_once(&issuer.token(&json!({})), NOW_US).is_ok());
    }
}
