//! How many of something there may be at once, by key. A key without any is not kept.

use std::hash::Hash;
use std::sync::Arc;

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;

use super::Address;

/// Whose places are counted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Holder {
    Address(Address),
    Tenant(Arc<str>),
}

/// Counts by holder.
#[derive(Debug, Clone, Default)]
pub(super) struct Places {
    counts: Arc<DashMap<Holder, u64>>,
}

/// One place, given back on drop.
#[derive(Debug)]
#[must_use = "the place is held only as long as this lives"]
pub struct Held {
    places: Places,
    holder: Holder,
}

impl Places {
    /// Takes a place; none when `most` are taken. 0 is no limit.
    pub(super) fn take(&self, holder: Holder, most: u64) -> Option<Held> {
        let mut count = self.counts.entry(holder.clone()).or_insert(0);
        if most > 0 && *count >= most {
            return None;
        }
        *count += 1;
        drop(count);
        Some(Held { places: self.clone(), holder })
    }

    /// How many holders there are.
    pub(super) fn holders(&self) -> usize {
        self.counts.len()
    }

    /// Gives back the memory that more holders needed.
    pub(super) fn shrink(&self) {
        self.counts.shrink_to_fit();
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Entry::Occupied(mut count) = self.places.counts.entry(self.holder.clone()) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ws7_places_are_given_back_and_nothing_is_kept_of_who_has_none() {
        let places = Places::default();
        let tenant = |name: &str| Holder::Tenant(name.into());
        let (one, two) = (places.take(tenant("a"), 2), places.take(tenant("a"), 2));
        assert!(one.is_some() && two.is_some() && places.take(tenant("a"), 2).is_none());
        assert!(places.take(tenant("b"), 2).is_some() && places.take(tenant("a"), 0).is_some());
        drop(one);
        assert!(places.take(tenant("a"), 2).is_some());
        drop(two);
        assert_eq!(places.holders(), 0);
    }
}
