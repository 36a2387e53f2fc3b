//! Cursors, tokens, definitions and filters.

use std::sync::LazyLock;

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Map, Value};
use synchub::auth::Verifier;
use synchub::config::{AuthSettings, Secret};
use synchub::session::{Cursor, CursorKey};
use synchub_rules::domain::Definition;
use synchub_rules::filter::Filter;

const NOW_US: i64 = 1_700_000_000_000_000;
const SECRET: &str = "a key that is long enough for HS256";

/// No text is a cursor but one that the hub made, and that one reads as it was.
pub fn cursor(data: &[u8]) {
    static KEY: LazyLock<CursorKey> = LazyLock::new(|| CursorKey::new(&[7; 32]));
    let text = String::from_utf8_lossy(data);
    assert_eq!(KEY.open("acme", &text), None, "nobody else makes cursors");
    if let Ok(cursor) = postcard::from_bytes::<Cursor>(data) {
        let text = KEY.seal("acme", &cursor);
        assert_eq!(KEY.open("acme", &text).as_ref(), Some(&cursor));
        assert_eq!(KEY.open("umbrella", &text), None);
        assert_eq!(KEY.open("acme", &text[..text.len() - 1]), None);
    }
}

/// No text is a token but one that the key signed; of such a one the claims may be anything.
pub fn token(data: &[u8]) {
    static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| {
        let settings = AuthSettings { hs256_secret: Some(Secret::new(SECRET)), ..AuthSettings::default() };
        Verifier::new(&settings).expect("there is a key")
    });
    let text = String::from_utf8_lossy(data);
    assert!(VERIFIER.verify_at_once(&text, NOW_US).is_err(), "nobody else signs tokens");
    let Ok(claims) = serde_json::from_slice::<Value>(data) else { return };
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let Ok(signed) = encode(&Header::new(Algorithm::HS256), &claims, &key) else { return };
    if let Ok(identity) = VERIFIER.verify_at_once(&signed, NOW_US) {
        assert!(!identity.tenant.is_empty() && !identity.user.is_empty(), "{claims}");
        assert!(claims["exp"].as_f64().is_some_and(|exp| exp * 1e6 > 1e15), "{claims}");
    }
}

/// A definition is refused with a reason, or it judges anything.
pub fn definition(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    match Definition::parse("sample.toml", &text) {
        Ok(definition) => {
            let again = Definition::parse("other.toml", &text).expect("it was good before");
            assert_eq!(definition.fingerprint(), again.fingerprint());
            for record in records(&definition) {
                let _judged = definition.check_create(&record);
                let _said = definition.priority_of(&record);
                for (field, value) in &record {
                    let _judged = definition.check_value(field, value);
                    let merged = definition.merge_append(record.get(field), value);
                    assert_eq!(definition.merge_append(Some(&merged), value), merged, "a set is united once");
                }
            }
        }
        Err(error) => assert!(error.to_string().contains("sample.toml"), "{error}"),
    }
}

/// Records with all kinds of values in the fields that a definition knows of.
fn records(definition: &Definition) -> Vec<Map<String, Value>> {
    let values = [
        Value::Null,
        true.into(),
        (-1).into(),
        0.5.into(),
        "NEW".into(),
        vec![Value::from("a"), Value::from(1)].into(),
        Value::Object(Map::from_iter([("id".to_owned(), Value::from("x"))])),
    ];
    let appended = definition.append_fields().iter().map(String::as_str);
    let known = [definition.workflow_field(), definition.date_field(), Some("any")];
    let fields: Vec<&str> = appended.chain(known.into_iter().flatten()).collect();
    let record = |value: Value| fields.iter().map(|field| ((*field).to_owned(), value.clone())).collect();
    values.into_iter().map(record).collect()
}

/// A filter is refused, or it judges anything, and its canonical text says the same filter.
pub fn filter(data: &[u8]) {
    let Ok(Value::Object(sent)) = serde_json::from_slice::<Value>(data) else { return };
    let Ok(filter) = Filter::compile(&sent) else { return };
    let _judged = filter.matches(&sent);
    let Ok(Value::Object(canonical)) = serde_json::from_str(filter.canonical()) else {
        panic!("`{}` is no JSON", filter.canonical())
    };
    let again = Filter::compile(&canonical).expect("it was a filter before");
    assert_eq!(again.canonical(), filter.canonical());
    assert_eq!(again.matches(&sent), filter.matches(&sent));
}
