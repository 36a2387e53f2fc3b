//! A batch's entries, as many as may be kept, each within what the frame has left.

use std::fmt;

use serde::Deserializer;
use serde::de::{IgnoredAny, SeqAccess, Visitor};

use super::{Bounded, FaultKind, RawEntry};
use crate::budget::Bound;

/// The most entries of one frame that are kept; a batch limit lies at or below it.
pub const MAX_ENTRIES: usize = 10_000;

/// Reads a batch. What is kept is bounded, since an entry of one byte takes hundreds once decoded.
pub(crate) fn list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<RawEntry>, D::Error> {
    deserializer.deserialize_seq(ListVisitor)
}

struct ListVisitor;

impl<'de> Visitor<'de> for ListVisitor {
    type Value = Vec<RawEntry>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of entries")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::<RawEntry>::new();
        let (mut size, mut heap) = (0, 0);
        while entries.len() <= MAX_ENTRIES {
            let bound = Bound::entry_behind(size, heap);
            let Some((entry, packed)) = access.next_element_seed(Bounded(bound))? else { return Ok(entries) };
            size += packed;
            heap += entry.heap;
            let over = entry.entry.as_ref().is_err_and(|fault| fault.kind == FaultKind::BatchTooLarge);
            entries.push(entry);
            if over {
                break;
            }
        }
        while access.next_element::<IgnoredAny>()?.is_some() {}
        Ok(entries)
    }
}
