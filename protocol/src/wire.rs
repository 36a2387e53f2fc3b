//! How single fields are read: integers that may come as floats, UUIDs as text in both encodings.
//!
//! What serde would let through in one encoding only is refused in both: bytes as text, numbers or
//! maps as the name of a variant, arrays as a structure. Null stands for an absent optional field.

use std::fmt::Display;
use std::marker::PhantomData;
use std::str::FromStr;
use std::sync::Arc;

use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{DeserializeOwned, DeserializeSeed, Error, MapAccess, SeqAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::budget::Bound;
use crate::loose::{Loose, Notes, TOO_MUCH};
use crate::{Data, MAX_SAFE_INTEGER};

/// The most characters of a message that may repeat what a peer sent.
const MESSAGE_CHARS: usize = 240;

/// Cuts a message that may repeat what a peer sent.
pub(crate) fn shorten(mut message: String) -> String {
    if let Some((end, _)) = message.char_indices().nth(MESSAGE_CHARS) {
        message.truncate(end);
        message.push('…');
    }
    message
}

struct TextVisitor;

impl Visitor<'_> for TextVisitor {
    type Value = String;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a string without U+0000")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<String, E> {
        if text.contains('\0') {
            return Err(E::invalid_value(Unexpected::Other("a string with U+0000"), &self));
        }
        Ok(text.to_owned())
    }
}

/// Text; bytes are none, whatever they hold.
pub(crate) fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    deserializer.deserialize_any(TextVisitor)
}

#[derive(Deserialize)]
struct Text(#[serde(deserialize_with = "text")] String);

/// The same, or null.
pub(crate) fn opt_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<Text>::deserialize(deserializer)?.map(|text| text.0))
}

/// The most items that a list in a request may have, but for its entries: one of a byte takes many more
/// once decoded.
const MAX_ITEMS: usize = 1024;

/// A list of at most [`MAX_ITEMS`].
struct Few<T>(Vec<T>);

struct FewVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for FewVisitor<T> {
    type Value = Few<T>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a list of at most {MAX_ITEMS}")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Few<T>, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            if items.len() == MAX_ITEMS {
                return Err(A::Error::invalid_length(MAX_ITEMS + 1, &self));
            }
            items.push(item);
        }
        Ok(Few(items))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Few<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(FewVisitor(PhantomData))
    }
}

impl<T> Default for Few<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

/// A list of texts; null is an empty one.
pub(crate) fn texts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let texts = Option::<Few<Text>>::deserialize(deserializer)?.unwrap_or_default();
    Ok(texts.0.into_iter().map(|text| text.0).collect())
}

/// A list of texts, or null.
pub(crate) fn opt_texts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    let texts = Option::<Few<Text>>::deserialize(deserializer)?;
    Ok(texts.map(|texts| texts.0.into_iter().map(|text| text.0).collect()))
}

/// Text that says something else, or null.
pub(crate) fn opt_parsed<'de, D: Deserializer<'de>, T: FromStr<Err: Display>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    let Some(text) = opt_text(deserializer)? else { return Ok(None) };
    text.parse().map(Some).map_err(D::Error::custom)
}

/// A list of texts that must be there.
pub(crate) fn required_texts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(Few::<Text>::deserialize(deserializer)?.0.into_iter().map(|text| text.0).collect())
}

/// The name of a variant, as text.
pub(crate) fn word<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<T, D::Error> {
    let name = text(deserializer)?;
    T::deserialize(StrDeserializer::<D::Error>::new(&name))
}

#[derive(Deserialize)]
#[serde(bound(deserialize = "T: DeserializeOwned"))]
struct Word<T>(#[serde(deserialize_with = "word")] T);

/// The same, or null.
pub(crate) fn opt_word<'de, D: Deserializer<'de>, T: DeserializeOwned>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    Ok(Option::<Word<T>>::deserialize(deserializer)?.map(|word| word.0))
}

struct Structure<T>(PhantomData<T>);

impl<'de, T: DeserializeOwned> Visitor<'de> for Structure<T> {
    type Value = T;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, access: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(access))
    }
}

struct Map<T>(T);

impl<'de, T: DeserializeOwned> Deserialize<'de> for Map<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Structure(PhantomData)).map(Self)
    }
}

/// A structure, always as a map.
pub(crate) fn map<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<T, D::Error> {
    Ok(Map::deserialize(deserializer)?.0)
}

/// A structure, always as a map, or null.
pub(crate) fn opt_map<'de, D: Deserializer<'de>, T: DeserializeOwned>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    Ok(Option::<Map<T>>::deserialize(deserializer)?.map(|map| map.0))
}

/// A list of structures, each as a map; null is an empty one.
pub(crate) fn maps<'de, D: Deserializer<'de>, T: DeserializeOwned>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    let maps = Option::<Few<Map<T>>>::deserialize(deserializer)?.unwrap_or_default();
    Ok(maps.0.into_iter().map(|map| map.0).collect())
}

/// A list of structures that must be there.
pub(crate) fn required_maps<'de, D: Deserializer<'de>, T: DeserializeOwned>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    Ok(Few::<Map<T>>::deserialize(deserializer)?.0.into_iter().map(|map| map.0).collect())
}

/// A map of plain values in JSON's data model; anything else is an error.
pub(crate) fn fields<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Data, D::Error> {
    opt_fields(deserializer)?.ok_or_else(|| D::Error::invalid_type(Unexpected::Unit, &"a map of fields"))
}

/// The same, or null.
pub(crate) fn opt_fields<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Data>, D::Error> {
    read_fields(deserializer, Bound::NONE)
}

/// The same, within what a filter may take in memory.
pub(crate) fn opt_filter<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Data>, D::Error> {
    read_fields(deserializer, Bound::FILTER)
}

/// The same, within what an entry may take in memory.
pub(crate) fn opt_record<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Data>, D::Error> {
    read_fields(deserializer, Bound::ENTRY)
}

fn read_fields<'de, D: Deserializer<'de>>(deserializer: D, bound: Bound) -> Result<Option<Data>, D::Error> {
    let notes = Notes::bounded(bound);
    let value = Loose(&notes).deserialize(deserializer)?;
    if notes.over().is_some() {
        return Err(D::Error::custom(TOO_MUCH));
    }
    match (notes.into_fault(), value) {
        (Some(fault), _) => Err(D::Error::custom(fault.message())),
        (None, Value::Object(fields)) => Ok(Some(fields)),
        (None, Value::Null) => Ok(None),
        (None, _) => Err(D::Error::custom("not a map of fields")),
    }
}

/// The same, shared.
pub(crate) fn shared_fields<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<Data>, D::Error> {
    fields(deserializer).map(Arc::new)
}

/// The same, shared, or null.
pub(crate) fn opt_shared_fields<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Arc<Data>>, D::Error> {
    Ok(opt_fields(deserializer)?.map(Arc::new))
}

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
    use serde::de::Error;
    use serde::{Deserializer, Serializer};
    use uuid::Uuid;

    use super::text;

    pub(crate) fn serialize<S: Serializer>(id: &Uuid, serializer: S) -> Result<S::Ok, S::Error> {
        let mut buffer = Uuid::encode_buffer();
        serializer.serialize_str(id.hyphenated().encode_lower(&mut buffer))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Uuid, D::Error> {
        let text = text(deserializer)?;
        Uuid::try_parse(&text).map_err(|_| D::Error::custom(format_args!("`{text}` is not a UUID")))
    }
}

/// The same for a UUID that may be absent or null.
pub(crate) mod opt_id {
    use serde::{Deserialize, Deserializer, Serializer};
    use uuid::Uuid;

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

/// The longest text that names an install, in bytes.
const INSTALL_BYTES: usize = 128;

/// What names an install: a UUID, or another text, of which a UUID is made from its SHA-256 (RFC 9562,
/// section 5.8), the same for the same text.
pub(crate) fn opt_install<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Uuid>, D::Error> {
    let Some(name) = opt_text(deserializer)? else { return Ok(None) };
    if name.is_empty() || name.len() > INSTALL_BYTES {
        return Err(D::Error::custom(format_args!("an install_id has 1 to {INSTALL_BYTES} bytes")));
    }
    Ok(Some(Uuid::try_parse(&name).unwrap_or_else(|_| {
        let digest = Sha256::digest(&name);
        uuid::Builder::from_custom_bytes(std::array::from_fn(|at| digest[at])).into_uuid()
    })))
}

/// Whether a flag is unset, for `skip_serializing_if`.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
pub(crate) fn is_false(flag: &bool) -> bool {
    !flag
}
