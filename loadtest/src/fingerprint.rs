//! The hash by which two copies of a record's data are compared.
//!
//! Equal data has an equal hash whatever order its keys come in and however its numbers are written:
//! keys are sorted at every depth and a float with an integral value is that integer.

use serde_json::Value;
use sha2::{Digest, Sha256};
use synchub_protocol::Data;

/// SHA-256 of a record's data in canonical JSON.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Fingerprint(pub(crate) [u8; 32]);

impl Fingerprint {
    /// The hash of `data`.
    pub(crate) fn of(data: &Data) -> Self {
        let mut text = Vec::with_capacity(512);
        write_map(data, &mut text);
        Self(Sha256::digest(&text).into())
    }
}

impl std::fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().take(6).try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

fn write_map(map: &Data, out: &mut Vec<u8>) {
    let mut keys: Vec<&String> = map.keys().collect();
    keys.sort_unstable();
    out.push(b'{');
    for key in keys {
        write_text(key, out);
        out.push(b':');
        write_value(&map[key], out);
        out.push(b',');
    }
    out.push(b'}');
}

fn write_value(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Object(map) => write_map(map, out),
        Value::Array(items) => {
            out.push(b'[');
            for item in items {
                write_value(item, out);
                out.push(b',');
            }
            out.push(b']');
        }
        Value::String(text) => write_text(text, out),
        Value::Number(number) => write_number(number, out),
        Value::Bool(flag) => out.push(if *flag { b't' } else { b'f' }),
        Value::Null => out.push(b'n'),
    }
}

/// The length goes first, so that no text can be taken for another structure.
fn write_text(text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(text.len().to_string().as_bytes());
    out.push(b'"');
    out.extend_from_slice(text.as_bytes());
}

fn write_number(number: &serde_json::Number, out: &mut Vec<u8>) {
    const SAFE: f64 = 9_007_199_254_740_991.0;
    #[expect(clippy::cast_possible_truncation, reason = "the range and the fraction are checked first")]
    let text = match number.as_f64() {
        Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() <= SAFE => {
            (float as i64).to_string()
        }
        _ => number.to_string(),
    };
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(json: &str) -> Fingerprint {
        Fingerprint::of(&serde_json::from_str(json).unwrap())
    }

    #[test]
    fn order_and_the_form_of_numbers_do_not_matter() {
        let one = of(r#"{"a":1,"b":{"x":[1,2.0],"y":-3.0}}"#);
        assert_eq!(one, of(r#"{"b":{"y":-3,"x":[1.0,2]},"a":1.0}"#));
    }

    #[test]
    fn every_difference_in_content_matters() {
        let all = [
            r#"{"a":1}"#,
            r#"{"a":"1"}"#,
            r#"{"a":1.5}"#,
            r#"{"a":null}"#,
            r#"{"a":true}"#,
            r#"{"a":false}"#,
            r#"{"a":[1]}"#,
            r#"{"a":[1,2]}"#,
            r#"{"a":[2,1]}"#,
            r#"{"a":{"1":1}}"#,
            r#"{"a":1,"b":null}"#,
            r#"{"b":1}"#,
            r"{}",
        ];
        let mut hashes: Vec<[u8; 32]> = all.iter().map(|text| of(text).0).collect();
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), all.len());
    }
}
