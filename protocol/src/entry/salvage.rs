//! JSON text that cannot be decoded as a whole, taken apart: only the part that is wrong is lost.

use std::collections::BTreeMap;

use serde::Deserializer;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::Data;
use crate::loose::{Loose, Notes};

/// The longest text that is salvaged: taking it apart takes many times as much.
const SALVAGED_BYTES: usize = 256 * 1024;
/// The entry's own fields and those of its `data`.
const SALVAGED_LEVELS: usize = 2;

/// Reads what can be read of JSON text that cannot be decoded as a whole.
pub(super) fn salvage(raw: &str, notes: &Notes) -> Value {
    let levels = if raw.len() > SALVAGED_BYTES { 0 } else { SALVAGED_LEVELS };
    part(raw, levels, notes)
}

fn part(raw: &str, levels: usize, notes: &Notes) -> Value {
    let attempt = Notes::bounded(notes.bound());
    let error = match serde_json::Deserializer::from_str(raw).deserialize_any(Loose(&attempt)) {
        Ok(value) => {
            notes.weigh(attempt.size());
            let built = notes.take(attempt.heap()) && attempt.over().is_none();
            if let Some(fault) = attempt.into_fault() {
                notes.fault(|| fault.message());
            }
            return if built { value } else { Value::Null };
        }
        Err(error) => error,
    };
    let parts = (levels > 0).then(|| serde_json::from_str::<BTreeMap<String, &RawValue>>(raw));
    let Some(Ok(parts)) = parts else {
        return notes.fault(|| format!("cannot be decoded: {error}"));
    };
    let mut map = Data::new();
    for (key, part) in parts {
        let sound = notes.is_sound();
        let value = self::part(part.get(), levels - 1, notes);
        if sound && !notes.is_sound() {
            notes.within(|| key.clone());
        }
        map.insert(key, value);
    }
    Value::Object(map)
}
