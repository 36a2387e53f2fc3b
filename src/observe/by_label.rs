//! Metrics that differ in one label whose values are known from the start.
//!
//! The handles are made once, so that counting takes no lock; a label never holds a tenant, user or
//! device, of which there is no end.

use std::fmt::Debug;

use prometheus_client::metrics::TypedMetric;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::{Metric, Registry};

type Labels = [(&'static str, &'static str); 1];

/// One metric for each of a few keys.
#[derive(Debug)]
pub struct ByLabel<K, M> {
    handles: Vec<(K, M)>,
    other: M,
}

impl<K, M> ByLabel<K, M>
where
    K: Copy + PartialEq + Debug,
    M: Metric + TypedMetric + Clone + Default,
{
    /// Registers the metric `name` with one time series for each of `keys`; `value` is the label's.
    pub(super) fn register(
        registry: &mut Registry,
        (name, help): (&str, &str),
        label: &'static str,
        keys: &[(K, &'static str)],
    ) -> Self {
        let family = Family::<Labels, M>::default();
        registry.register(name, help, family.clone());
        let series = |value| family.get_or_create_owned(&[(label, value)]);
        Self {
            handles: keys.iter().map(|(key, value)| (*key, series(*value))).collect(),
            other: series("other"),
        }
    }

    /// The metric of `key`; that of `other` for a key that was not registered.
    pub fn of(&self, key: K) -> &M {
        self.handles.iter().find(|(known, _)| *known == key).map_or(&self.other, |(_, handle)| handle)
    }
}
