//! A batch's entries, as many as may be kept, each within what the frame has left.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserializer;
use serde::de::{DeserializeSeed, IgnoredAny, SeqAccess, Visitor};

use super::fields::Fields;
use crate::budget::{Bound, Over};

/// The most entries of one frame that are kept; a batch limit lies at or below it.
pub const MAX_ENTRIES: usize = 10_000;

/// What a batch is a list of.
pub(super) trait Item {
    /// Checks the fields; `size` as [`super::RawEntry`] says.
    fn read(fields: Fields, size: usize) -> Self;
}

/// Reads a batch. What is kept is bounded, since an entry of one byte takes hundreds once decoded.
#[expect(private_bounds, reason = "only the crate's own items are read")]
pub(crate) fn list<'de, D: Deserializer<'de>, T: Item>(deserializer: D) -> Result<Vec<T>, D::Error> {
    deserializer.deserialize_seq(ListVisitor(PhantomData))
}

struct Bounded(Bound);

impl<'de> DeserializeSeed<'de> for Bounded {
    type Value = (Fields, usize);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        Fields::cut_out(deserializer, self.0)
    }
}

struct ListVisitor<T>(PhantomData<T>);

impl<'de, T: Item> Visitor<'de> for ListVisitor<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of entries")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::new();
        let (mut packed, mut heap) = (0, 0);
        while entries.len() <= MAX_ENTRIES {
            let bounded = Bounded(Bound::entry_behind(packed, heap));
            let Some((fields, size)) = access.next_element_seed(bounded)? else { return Ok(entries) };
            packed += fields.packed;
            heap += fields.heap;
            let over = fields.over;
            entries.push(T::read(fields, size));
            if over == Some(Over::Frame) {
                break;
            }
        }
        while access.next_element::<IgnoredAny>()?.is_some() {}
        Ok(entries)
    }
}
