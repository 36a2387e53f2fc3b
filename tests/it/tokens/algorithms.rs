//! Each algorithm of public keys: which tokens are good, and every way in which one is not.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};
use synchub::auth::{Identity, TokenError, Verifier};
use synchub::config::{AuthSettings, Secret};

use crate::support::{Issuer, NOW_US, PUBLIC, set, sign_parts};

const NOW_SECS: i64 = NOW_US / 1_000_000;

/// Keys are slow to make, those of RSA above all: one of each algorithm, named as the algorithm.
static ISSUERS: LazyLock<[Issuer; 3]> =
    LazyLock::new(|| PUBLIC.map(|algorithm| Issuer::new(algorithm, &format!("{algorithm:?}"))));

fn settings(keys: &[&Issuer]) -> AuthSettings {
    AuthSettings { keys: keys.iter().map(|key| key.settings()).collect(), ..AuthSettings::default() }
}

fn verify(settings: &AuthSettings, token: &str) -> Result<Identity, TokenError> {
    Verifier::new(settings).unwrap().verify_at_once(token, NOW_US)
}

fn all() -> AuthSettings {
    settings(&ISSUERS.iter().collect::<Vec<_>>())
}

#[test]
fn a_good_token_of_each_algorithm_is_taken() {
    for issuer in &*ISSUERS {
        let identity = verify(&settings(&[issuer]), &issuer.token(&json!({"unit": "b1"}))).unwrap();
        assert_eq!((identity.user.as_str(), identity.tenant.as_str()), ("alice", "acme"));
        assert_eq!((identity.unit.as_deref(), identity.expires_us), (Some("b1"), NOW_US + 3_600_000_000));
        assert!(verify(&all(), &issuer.token(&json!({}))).is_ok(), "{:?}", issuer.algorithm);
    }
}

#[test]
fn claims_count_whatever_the_algorithm() {
    for issuer in &*ISSUERS {
        let strict = AuthSettings {
            issuer: Some("login".to_owned()),
            audience: Some("hub".to_owned()),
            ..settings(&[issuer])
        };
        let good = json!({"iss": "login", "aud": ["hub"]});
        assert!(verify(&strict, &issuer.token(&good)).is_ok());
        for (changes, expected) in [
            (json!({"exp": NOW_SECS}), TokenError::Expired),
            (json!({"exp": NOW_SECS - 1}), TokenError::Expired),
            (json!({"exp": null}), TokenError::Missing("exp")),
            (json!({"sub": null}), TokenError::Missing("sub")),
            (json!({"tenant": null}), TokenError::Missing("tenant")),
            (json!({"role": null}), TokenError::Missing("role")),
            (json!({"nbf": NOW_SECS + 31}), TokenError::NotYetValid),
            (json!({"iat": NOW_SECS + 31}), TokenError::NotYetValid),
            (json!({"iss": null}), TokenError::WrongIssuer),
            (json!({"iss": "elsewhere"}), TokenError::WrongIssuer),
            (json!({"aud": null}), TokenError::WrongAudience),
            (json!({"aud": "other"}), TokenError::WrongAudience),
        ] {
            let mut claims = good.clone();
            claims.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
            assert_eq!(verify(&strict, &issuer.token(&claims)), Err(expected), "{changes}");
        }
    }
}

/// The token with one part changed by `change`.
fn altered(token: &str, part: usize, change: impl FnOnce(Vec<u8>) -> Vec<u8>) -> String {
    let mut parts: Vec<String> = token.split('.').map(str::to_owned).collect();
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(&parts[part]).unwrap();
    parts[part] = BASE64_URL_SAFE_NO_PAD.encode(change(bytes));
    parts.join(".")
}

#[test]
fn what_was_altered_or_signed_by_another_is_refused() {
    for issuer in &*ISSUERS {
        let other = Issuer::new(issuer.algorithm, issuer.kid.as_deref().unwrap());
        let token = issuer.token(&json!({}));
        let flip = |at: usize| {
            move |mut bytes: Vec<u8>| {
                bytes[at] ^= 1;
                bytes
            }
        };
        let as_operator = |_| Issuer::claims(&json!({"role": "operator"})).to_string().into_bytes();
        for (what, token, expected) in [
            ("another key", other.token(&json!({})), TokenError::WrongSignature),
            ("other claims", altered(&token, 1, as_operator), TokenError::WrongSignature),
            ("a flipped bit", altered(&token, 2, flip(0)), TokenError::WrongSignature),
            ("the last bit", altered(&token, 2, flip(63)), TokenError::WrongSignature),
            (
                "a short signature",
                altered(&token, 2, |bytes| bytes[1..].to_vec()),
                TokenError::WrongSignature,
            ),
            ("no signature", altered(&token, 2, |_| Vec::new()), TokenError::WrongSignature),
            ("all zeros", altered(&token, 2, |bytes| vec![0; bytes.len()]), TokenError::WrongSignature),
        ] {
            assert_eq!(verify(&all(), &token), Err(expected), "{what}, {:?}", issuer.algorithm);
        }
    }
}

#[test]
fn the_name_chooses_the_key_and_without_one_all_are_tried() {
    for algorithm in PUBLIC {
        let [first, second, nameless] = ["first", "second", ""].map(|kid| Issuer::new(algorithm, kid));
        let named = |issuer: &Issuer, kid: Value| {
            issuer.signed(&json!({"alg": algorithm, "kid": kid}), &Issuer::claims(&json!({})))
        };
        let two = settings(&[&first, &second]);
        for (token, expected) in [
            (named(&second, json!("second")), None),
            (named(&second, json!(null)), None),
            (named(&second, json!("first")), Some(TokenError::WrongSignature)),
            (named(&second, json!("third")), Some(TokenError::UnknownKey)),
            (named(&second, json!("")), Some(TokenError::UnknownKey)),
            (named(&nameless, json!(null)), Some(TokenError::WrongSignature)),
        ] {
            assert_eq!(verify(&two, &token).err(), expected, "{algorithm:?}");
        }
        let three = settings(&[&first, &nameless, &second]);
        for kid in [json!("third"), json!("first"), json!(null)] {
            assert!(verify(&three, &named(&nameless, kid)).is_ok(), "a key without a name is for all");
        }
    }
}

#[test]
fn the_algorithm_belongs_to_the_key() {
    let secret = "a secret of this hub that is long enough";
    let with_secret = AuthSettings { hs256_secret: Some(Secret::new(secret)), ..all() };
    let claims = Issuer::claims(&json!({}));
    for issuer in &*ISSUERS {
        let public = issuer.pem.as_bytes();
        for (key, kid) in
            [(public, json!(issuer.kid)), (public, json!(null)), (public.trim_ascii(), json!(null))]
        {
            let header = json!({"alg": "HS256", "kid": kid});
            let forged = sign_parts(&header, &claims, &EncodingKey::from_secret(key), Algorithm::HS256);
            assert_eq!(verify(&all(), &forged), Err(TokenError::WrongAlgorithm));
            assert_eq!(verify(&with_secret, &forged), Err(TokenError::WrongSignature));
        }
        for other in ISSUERS.iter().filter(|other| other.algorithm != issuer.algorithm) {
            let header = json!({"alg": other.algorithm, "kid": issuer.kid});
            let wrong = issuer.signed(&header, &claims);
            assert_eq!(verify(&all(), &wrong), Err(TokenError::WrongAlgorithm));
            assert_eq!(verify(&settings(&[issuer]), &wrong), Err(TokenError::WrongAlgorithm));
            let nameless = issuer.signed(&json!({"alg": other.algorithm}), &claims);
            assert_eq!(verify(&all(), &nameless), Err(TokenError::WrongSignature));
        }
        for (alg, expected) in [
            ("none", TokenError::Malformed),
            ("None", TokenError::Malformed),
            ("", TokenError::Malformed),
            ("PS256", TokenError::WrongAlgorithm),
            ("RS512", TokenError::WrongAlgorithm),
            ("ES384", TokenError::WrongAlgorithm),
            ("HS512", TokenError::WrongAlgorithm),
        ] {
            let token = issuer.signed(&json!({"alg": alg, "kid": issuer.kid}), &claims);
            assert_eq!(verify(&with_secret, &token), Err(expected.clone()), "{alg}");
            let unsigned = format!("{}.", token.rsplit_once('.').unwrap().0);
            assert_eq!(verify(&with_secret, &unsigned), Err(expected), "{alg}");
        }
    }
    let own = sign_parts(
        &json!({"alg": "HS256", "kid": "anything"}),
        &claims,
        &EncodingKey::from_secret(secret.as_bytes()),
        Algorithm::HS256,
    );
    assert!(verify(&with_secret, &own).is_ok(), "the secret goes on beside public keys");
}

#[test]
fn a_set_in_a_file_is_as_good_as_configured_keys() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jwks.json");
    std::fs::write(&path, set(&ISSUERS.iter().collect::<Vec<_>>()).to_string()).unwrap();
    let settings = AuthSettings { jwks_file: Some(path), ..AuthSettings::default() };
    for issuer in &*ISSUERS {
        assert!(verify(&settings, &issuer.token(&json!({}))).is_ok(), "{:?}", issuer.algorithm);
        let nameless = issuer.signed(&json!({"alg": issuer.algorithm}), &Issuer::claims(&json!({})));
        assert!(verify(&settings, &nameless).is_ok(), "{:?}", issuer.algorithm);
        let expired = issuer.token(&json!({"exp": NOW_SECS}));
        assert_eq!(verify(&settings, &expired), Err(TokenError::Expired));
    }
}
