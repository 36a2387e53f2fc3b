//! Every way in which a token is good or no good, in tables; and the development key.

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

use super::*;
use crate::config::{AuthSettings, Secret};
use crate::entropy::SeededEntropy;

const NOW_SECS: i64 = 1_700_000_000;
const NOW_US: i64 = NOW_SECS * 1_000_000;
const KEY: &str = "a key that is long enough for HS256";

fn settings() -> AuthSettings {
    AuthSettings { hs256_secret: Some(Secret::new(KEY)), ..AuthSettings::default() }
}

fn strict() -> AuthSettings {
    AuthSettings { issuer: Some("login".to_owned()), audience: Some("hub".to_owned()), ..settings() }
}

/// The claims of a good token, with `changes` on top; null takes a claim away.
fn claims(changes: Value) -> Value {
    let mut claims = json!({"sub": "u1", "tenant": "t1", "role": "device", "exp": NOW_SECS + 60});
    let (Value::Object(changes), Some(all)) = (changes, claims.as_object_mut()) else { panic!() };
    for (name, value) in changes {
        if value.is_null() { drop(all.remove(&name)) } else { drop(all.insert(name, value)) }
    }
    claims
}

fn signed(algorithm: Algorithm, claims: &Value, key: &str) -> String {
    encode(&Header::new(algorithm), claims, &EncodingKey::from_secret(key.as_bytes())).unwrap()
}

fn verify(settings: &AuthSettings, token: &str) -> Result<Identity, TokenError> {
    Verifier::new(settings).unwrap().verify_at_once(token, NOW_US)
}

fn check_claims(settings: &AuthSettings, changes: Value) -> Result<Identity, TokenError> {
    verify(settings, &signed(Algorithm::HS256, &claims(changes), KEY))
}

/// A token whose header is `header`, rightly signed as HS256 signs.
fn with_header(header: &Value) -> String {
    use base64::Engine as _;
    let encode = |value: &Value| base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", encode(header), encode(&claims(json!({}))));
    let key = EncodingKey::from_secret(KEY.as_bytes());
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256).unwrap();
    format!("{message}.{signature}")
}

#[test]
fn a_good_token_says_who_stands_behind_it() {
    let identity = check_claims(
        &settings(),
        json!({"unit": "b1", "device": "d1", "units": ["b1"], "domains": ["ticket"], "more": {"a": 1}}),
    );
    let expected = Identity {
        tenant: "t1".to_owned(),
        user: "u1".to_owned(),
        unit: Some("b1".to_owned()),
        role: Role::Device,
        device: Some("d1".to_owned()),
        units: Some(vec!["b1".to_owned()]),
        domains: Some(vec!["ticket".to_owned()]),
        expires_us: NOW_US + 60_000_000,
    };
    assert_eq!(identity, Ok(expected));
}

#[test]
fn times_are_held_against_the_given_time() {
    let leeway = 30;
    for (changes, expected) in [
        (json!({"exp": NOW_SECS + 1}), None),
        (json!({"exp": NOW_SECS}), Some(TokenError::Expired)),
        (json!({"exp": NOW_SECS - leeway}), Some(TokenError::Expired)),
        (json!({"exp": 0.5}), Some(TokenError::Expired)),
        (json!({"exp": -1e300}), Some(TokenError::Expired)),
        (json!({"exp": 1e300}), None),
        (json!({"exp": u64::MAX}), None),
        (json!({"exp": null}), Some(TokenError::Missing("exp"))),
        (json!({"exp": "tomorrow"}), Some(TokenError::Malformed)),
        (json!({"nbf": NOW_SECS + leeway}), None),
        (json!({"nbf": NOW_SECS + leeway + 1}), Some(TokenError::NotYetValid)),
        (json!({"iat": NOW_SECS + leeway}), None),
        (json!({"iat": NOW_SECS + leeway + 1}), Some(TokenError::NotYetValid)),
        (json!({"iat": NOW_SECS - 1_000_000, "nbf": 0}), None),
    ] {
        assert_eq!(check_claims(&settings(), changes.clone()).err(), expected, "{changes}");
    }
    let half = check_claims(&settings(), json!({"exp": 1_700_000_001.5}));
    assert_eq!(half.unwrap().expires_us, NOW_US + 1_500_000);
}

#[test]
fn the_algorithm_is_the_keys_and_not_the_tokens() {
    let good = signed(Algorithm::HS256, &claims(json!({})), KEY);
    let [header, body, signature] = good.split('.').collect::<Vec<_>>().try_into().unwrap();
    let none = with_header(&json!({"alg": "none"}));
    let unsigned = format!("{}.", none.rsplit_once('.').unwrap().0);
    let claims = claims(json!({}));
    for (token, expected) in [
        (signed(Algorithm::HS256, &claims, "another key, and long enough too"), TokenError::WrongSignature),
        (signed(Algorithm::HS512, &claims, KEY), TokenError::WrongAlgorithm),
        (with_header(&json!({"alg": "RS256"})), TokenError::WrongAlgorithm),
        (with_header(&json!({"alg": "HS384"})), TokenError::WrongAlgorithm),
        (none, TokenError::Malformed),
        (unsigned, TokenError::Malformed),
        (with_header(&json!({"alg": "NONE"})), TokenError::Malformed),
        (with_header(&json!({"typ": "JWT"})), TokenError::Malformed),
        (with_header(&json!({"alg": "HS256", "crit": ["exp"]})), TokenError::CriticalHeader),
        (format!("{header}.{body}."), TokenError::WrongSignature),
        (format!("{header}.{body}A.{signature}"), TokenError::WrongSignature),
        (format!("{header}.{body}"), TokenError::Malformed),
        (String::new(), TokenError::Malformed),
        ("a.b.c".to_owned(), TokenError::Malformed),
        ("x".repeat(9000), TokenError::TooLong),
    ] {
        assert_eq!(verify(&settings(), &token), Err(expected), "{token}");
    }
    assert!(verify(&settings(), &with_header(&json!({"alg": "HS256"}))).is_ok());
}

#[test]
fn issuer_and_audience_count_where_they_are_configured() {
    let maker = |iss: Value, aud: Value| json!({"iss": iss, "aud": aud});
    for (changes, expected) in [
        (maker(json!("login"), json!("hub")), None),
        (maker(json!("login"), json!(["other", "hub"])), None),
        (maker(json!("login"), json!(null)), Some(TokenError::WrongAudience)),
        (maker(json!("login"), json!("other")), Some(TokenError::WrongAudience)),
        (maker(json!("login"), json!([])), Some(TokenError::WrongAudience)),
        (maker(json!(null), json!("hub")), Some(TokenError::WrongIssuer)),
        (maker(json!("Login"), json!("hub")), Some(TokenError::WrongIssuer)),
        (maker(json!(["login"]), json!("hub")), Some(TokenError::Malformed)),
    ] {
        assert_eq!(check_claims(&strict(), changes.clone()).err(), expected, "{changes}");
    }
    assert!(check_claims(&settings(), json!({"iss": "anyone", "aud": "anything"})).is_ok());
}

#[test]
fn names_and_roles_are_checked() {
    let longest = "n".repeat(128);
    for (changes, expected) in [
        (json!({"sub": longest}), None),
        (json!({"sub": "Jürgen 李"}), None),
        (json!({"role": "publisher", "sub": "svc"}), None),
        (json!({"role": "operator"}), None),
        (json!({"sub": format!("{longest}n")}), Some(TokenError::BadName)),
        (json!({"sub": ""}), Some(TokenError::BadName)),
        (json!({"tenant": ""}), Some(TokenError::BadName)),
        (json!({"device": ""}), Some(TokenError::BadName)),
        (json!({"unit": "a\nb"}), Some(TokenError::BadName)),
        (json!({"device": "a\u{0}b"}), Some(TokenError::BadName)),
        (json!({"units": ["b1", ""]}), Some(TokenError::BadName)),
        (json!({"domains": ["a\u{7f}"]}), Some(TokenError::BadName)),
        (json!({"sub": null}), Some(TokenError::Missing("sub"))),
        (json!({"tenant": null}), Some(TokenError::Missing("tenant"))),
        (json!({"role": null}), Some(TokenError::Missing("role"))),
        (json!({"role": "admin"}), Some(TokenError::UnknownRole)),
        (json!({"role": "Device"}), Some(TokenError::UnknownRole)),
        (json!({"sub": 5}), Some(TokenError::Malformed)),
        (json!({"units": "b1"}), Some(TokenError::Malformed)),
    ] {
        assert_eq!(check_claims(&settings(), changes.clone()).err(), expected, "{changes}");
    }
}

#[test]
fn a_token_for_one_device_is_for_no_other() {
    let bound = check_claims(&settings(), json!({"device": "d1"})).unwrap();
    assert!(bound.allows_device("d1") && !bound.allows_device("d2") && !bound.allows_device(""));
    assert!(check_claims(&settings(), json!({})).unwrap().allows_device("d2"));
}

#[test]
fn a_renewal_must_name_the_same() {
    let old = check_claims(&settings(), json!({"unit": "b1", "device": "d1"})).unwrap();
    for (changes, expected) in [
        (json!({"exp": NOW_SECS + 9000}), true),
        (json!({"tenant": "t2"}), false),
        (json!({"sub": "u2"}), false),
        (json!({"unit": "b2"}), false),
        (json!({"unit": null}), false),
        (json!({"device": null}), false),
        (json!({"role": "operator"}), false),
        (json!({"domains": ["ticket"]}), false),
        (json!({"units": ["b1"]}), false),
    ] {
        let mut all = json!({"unit": "b1", "device": "d1"});
        all.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        let renewed = check_claims(&settings(), all).unwrap();
        assert_eq!(old.may_become(&renewed), expected, "{changes}");
    }
}

#[test]
fn what_is_signed_is_taken() {
    let mut grant = Grant::new("t1", "u1", Role::Publisher);
    grant.units = Some(vec!["b1".to_owned()]);
    grant.ttl_secs = 5;
    for settings in [settings(), strict()] {
        let token = Signer::new(&settings).unwrap().sign(&grant, NOW_US + 999_999).unwrap();
        let identity = verify(&settings, &token).unwrap();
        assert_eq!((identity.role, identity.expires_us), (Role::Publisher, NOW_US + 5_000_000));
        assert_eq!((identity.units, identity.unit), (Some(vec!["b1".to_owned()]), None));
    }
}

#[test]
fn what_nobody_would_take_is_not_signed() {
    let signer = Signer::new(&settings()).unwrap();
    assert_eq!(signer.sign(&Grant::new("", "u1", Role::Device), NOW_US), Err(TokenError::BadName));
    let mut grant = Grant::new("t1", "u1", Role::Publisher);
    grant.units = Some((0..1000).map(|n| format!("unit-{n:05}")).collect());
    assert_eq!(signer.sign(&grant, NOW_US), Err(TokenError::TooLong));
    grant.units = None;
    grant.ttl_secs = u64::MAX;
    let token = signer.sign(&grant, NOW_US).unwrap();
    assert!(verify(&settings(), &token).unwrap().expires_us > NOW_US);
}

#[test]
fn without_a_key_nothing_is_signed_or_taken() {
    let none = AuthSettings::default();
    assert!(matches!(Verifier::new(&none), Err(KeysError::None(NoKey))));
    assert_eq!(Signer::new(&none).err(), Some(NoKey));
}

#[test]
fn keys_are_not_shown() {
    let shown = format!("{:?} {:?}", Verifier::new(&strict()).unwrap(), Signer::new(&strict()).unwrap());
    assert!(shown.contains("login") && !shown.contains(KEY), "{shown}");
}

#[test]
fn the_development_key_is_made_once_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("not/yet");
    assert!(load_dev_key(&data_dir).unwrap().is_none());
    let made = load_or_make_dev_key(&data_dir, &*SeededEntropy::new(1)).unwrap();
    let again = load_or_make_dev_key(&data_dir, &*SeededEntropy::new(2)).unwrap();
    assert_eq!(made.expose(), again.expose());
    assert_eq!(load_dev_key(&data_dir).unwrap().unwrap().expose(), made.expose());
    assert_eq!(made.expose().len(), 43);
    assert_eq!(std::fs::read_to_string(data_dir.join(DEV_KEY_FILE)).unwrap(), made.expose());
}

#[cfg(unix)]
#[test]
fn only_its_owner_reads_the_development_key() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    load_or_make_dev_key(folder.path(), &*SeededEntropy::new(1)).unwrap();
    let mode = std::fs::metadata(folder.path().join(DEV_KEY_FILE)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_broken_development_key_is_not_used() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(DEV_KEY_FILE);
    let good = load_or_make_dev_key(folder.path(), &*SeededEntropy::new(1)).unwrap();
    for text in ["", "short", &good.expose()[..42], &format!("{}A", good.expose())] {
        std::fs::write(&path, text).unwrap();
        assert!(matches!(load_dev_key(folder.path()), Err(DevKeyError::NotAKey { .. })), "{text}");
        assert!(load_or_make_dev_key(folder.path(), &*SeededEntropy::new(1)).is_err());
    }
    std::fs::write(&path, format!("{}\n", good.expose())).unwrap();
    assert_eq!(load_dev_key(folder.path()).unwrap().unwrap().expose(), good.expose());
}
