//! How single fields are read: integers that may come as floats, UUIDs as text in both encodings.

use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serializer};
use uuid::Uuid;

use crate::MAX_SAFE_INTEGER;

struct UintVisitor;

impl Visitor<'_> for UintVisitor {
    type Value = u64;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an integer from 0 to 2^53 - 1")
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<u64, E> {
        if value > MAX_SAFE_INTEGER {
            return Err(E::invalid_value(Unexpected::Unsigned(value), &self));
        }
        Ok(value)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<u64, E> {
        u64::try_from(value)
            .map_err(|_| E::invalid_value(Unexpected::Signed(value), &self))
            .and_then(|value| self.visit_u64(value))
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "the range and the fraction are checked first"
    )]
    fn visit_f64<E: Error>(self, value: f64) -> Result<u64, E> {
        if value.fract() == 0.0 && (0.0..=MAX_SAFE_INTEGER as f64).contains(&value) {
            return Ok(value as u64);
        }
        Err(E::invalid_value(Unexpected::Float(value), &self))
    }
}

/// An unsigned integer; a float with an integral value is that integer.
pub(crate) fn uint<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    deserializer.deserialize_any(UintVisitor)
}

/// The same, or null.
pub(crate) fn opt_uint<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    #[derive(Deserialize)]
    struct Uint(#[serde(deserialize_with = "uint")] u64);
    Ok(Option::<Uint>::deserialize(deserializer)?.map(|value| value.0))
}

/// UUIDs as hyphenated text in both encodings (`uuid` itself would choose 16 bytes in MessagePack).
pub(crate) mod id {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(id: &Uuid, serializer: S) -> Result<S::Ok, S::Error> {
        let mut buffer = Uuid::encode_buffer();
        serializer.serialize_str(id.hyphenated().encode_lower(&mut buffer))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Uuid, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Uuid::try_parse(&text).map_err(|_| D::Error::custom(format_args!("`{text}` is not a UUID")))
    }
}

/// The same for a UUID that may be absent or null.
pub(crate) mod opt_id {
    use super::*;

    #[expect(clippy::ref_option, reason = "the signature that serde calls")]
    pub(crate) fn serialize<S: Serializer>(id: &Option<Uuid>, serializer: S) -> Result<S::Ok, S::Error> {
        match id {
            Some(id) => super::id::serialize(id, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Uuid>, D::Error> {
        #[derive(Deserialize)]
        struct Id(#[serde(with = "super::id")] Uuid);
        Ok(Option::<Id>::deserialize(deserializer)?.map(|id| id.0))
    }
}

/// Whether a flag is unset, for `skip_serializing_if`.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
pub(crate) fn is_false(flag: &bool) -> bool {
    !flag
}
