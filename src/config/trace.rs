//! Where traces of batches go, and of how many.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::secret::Secret;

/// Where traces of batches go, and of how many.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct TraceSettings {
    /// The address of an OTLP collector that takes HTTP with protobuf, such as `http://127.0.0.1:4318`. None:
    /// no traces, as only who runs a collector can look at them.
    pub endpoint: Option<String>,
    /// One batch in so many is traced. 100: enough to see where time goes, and the collector is not flooded.
    pub sample_one_in: u64,
    /// What the collector knows the hub by. `synchub`.
    pub service_name: String,
    /// Headers of each request to the collector, with a key for it, say. In the environment as JSON.
    #[serde(deserialize_with = "headers")]
    pub headers: BTreeMap<String, Secret>,
}

impl Default for TraceSettings {
    fn default() -> Self {
        Self {
            endpoint: None,
            sample_one_in: 100,
            service_name: "synchub".to_owned(),
            headers: BTreeMap::new(),
        }
    }
}

/// A table, or JSON from the environment; what is wrong is never shown.
fn headers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, Secret>, D::Error> {
    deserializer.deserialize_any(Headers)
}

struct Headers;

impl<'de> Visitor<'de> for Headers {
    type Value = BTreeMap<String, Secret>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table of headers, such as `[trace.headers]` with `authorization = \"…\"`")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
        serde_json::from_str(text).map_err(|_| E::custom("this is no JSON object of headers with texts"))
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        let mut headers = BTreeMap::new();
        while let Some((name, value)) = map.next_entry::<String, Secret>()? {
            headers.insert(name, value);
        }
        Ok(headers)
    }
}
