//! How much memory what a peer sends may take once it is decoded.
//!
//! Four bytes of MessagePack make a map that takes six hundred in memory, one byte makes a list's item of
//! thirty. So what is built is estimated while it is built, against a bound that grows with what was
//! read: beyond it the rest is read to its end and dropped. The estimate counts what the values take, in
//! the same way in both encodings, and never what the allocator adds.

use std::cell::Cell;

use serde_json::Value;

/// What any entry may take, in bytes: four hundred small maps, eight thousand numbers.
const ENTRY_FLOOR: usize = 256 * 1024;
/// What a larger entry may take for each byte of its shortest form. Words, decimal fractions, maps of a
/// few fields stay below 10; lists of small maps and of one-digit numbers do not.
const ENTRY_FACTOR: usize = 16;
/// The same up to [`LIST_CEILING`], so that a list of one-digit numbers may be as long as an entry of
/// 64 KiB; lists of small maps stay above.
const LIST_FACTOR: usize = 40;
/// Up to where [`LIST_FACTOR`] counts, in bytes.
const LIST_CEILING: usize = 2 * 1024 * 1024;
/// What the entries of any frame may take together, in bytes: a thousand with a list of a dozen small
/// maps each.
const FRAME_FLOOR: usize = 8 * 1024 * 1024;
/// What a larger frame's entries may take together, for each byte of theirs.
const FRAME_FACTOR: usize = 4;
/// What a filter may take, in bytes.
const FILTER_FLOOR: usize = 16 * 1024;
/// What a field of an entry may take that is only read to say which entry was refused.
const NAME_BYTES: usize = 256;

/// A map's first node has room for eleven fields.
const MAP_NODE: usize = 640;
const MAP_NODE_FIELDS: usize = 11;
/// What a field of a larger map takes: nodes are little more than half full.
const MAP_FIELD: usize = 112;

/// What a map takes for its next field, when it has `fields` already.
pub(crate) fn map_field(fields: usize) -> usize {
    match fields {
        0 => MAP_NODE,
        1..MAP_NODE_FIELDS => 0,
        _ => MAP_FIELD,
    }
}

/// What an item takes in a list, but for what it holds.
pub(crate) const ITEM: usize = size_of::<Value>();

/// What a text takes beside the value that it is.
pub(crate) fn text(length: usize) -> usize {
    length.next_multiple_of(16)
}

/// Which bound was met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Over {
    /// That of the value alone.
    Value,
    /// That of the frame.
    Frame,
}

/// A bound for one value that is read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bound {
    floor: usize,
    factor: usize,
    list_factor: usize,
    left_in_frame: usize,
    /// Whether the whole request is refused when the bound is met, so that the rest need not be read.
    ends_request: bool,
}

impl Bound {
    /// None.
    pub(crate) const NONE: Self =
        Self { floor: usize::MAX, factor: 0, list_factor: 0, left_in_frame: usize::MAX, ends_request: false };
    /// Of a filter, or another value of a request that is no record.
    pub(crate) const FILTER: Self =
        Self { floor: FILTER_FLOOR, factor: ENTRY_FACTOR, ends_request: true, ..Self::NONE };
    /// Of a word that names something.
    pub(crate) const NAME: Self = Self { floor: NAME_BYTES, ..Self::NONE };
    /// Of an entry that did not come in a frame.
    pub(crate) const ENTRY: Self =
        Self { floor: ENTRY_FLOOR, factor: ENTRY_FACTOR, list_factor: LIST_FACTOR, ..Self::NONE };

    /// Of an entry, where `size` bytes of the frame were read before it and took `heap`.
    pub(crate) fn entry_behind(size: usize, heap: usize) -> Self {
        let frame = size.saturating_mul(FRAME_FACTOR).saturating_add(FRAME_FLOOR);
        Self { left_in_frame: frame.saturating_sub(heap), ..Self::ENTRY }
    }

    /// Whether the whole request is refused when it is met.
    pub(crate) fn ends_request(self) -> bool {
        self.ends_request
    }

    fn met_by(self, size: usize, heap: usize) -> Option<Over> {
        let list = size.saturating_mul(self.list_factor).min(LIST_CEILING);
        let own = size.saturating_mul(self.factor).max(list).max(self.floor);
        match heap {
            _ if heap > own => Some(Over::Value),
            _ if heap > self.left_in_frame.saturating_add(size.saturating_mul(FRAME_FACTOR)) => {
                Some(Over::Frame)
            }
            _ => None,
        }
    }
}

/// What one value has taken so far.
#[derive(Debug)]
pub(crate) struct Spent {
    bound: Bound,
    heap: Cell<usize>,
    over: Cell<Option<Over>>,
}

impl Spent {
    pub(crate) fn new(bound: Bound) -> Self {
        Self { bound, heap: Cell::new(0), over: Cell::new(None) }
    }

    pub(crate) fn bound(&self) -> Bound {
        self.bound
    }

    /// Takes `bytes` more, where `size` bytes were read; false: nothing more may be built.
    pub(crate) fn take(&self, bytes: usize, size: usize) -> bool {
        if self.over.get().is_some() {
            return false;
        }
        let heap = self.heap.get().saturating_add(bytes);
        self.over.set(self.bound.met_by(size, heap));
        if self.over.get().is_none() {
            self.heap.set(heap);
        }
        self.over.get().is_none()
    }

    /// Which bound was met, if one was.
    pub(crate) fn over(&self) -> Option<Over> {
        self.over.get()
    }

    /// What was taken.
    pub(crate) fn heap(&self) -> usize {
        self.heap.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_grows_with_what_was_read_and_stays_met() {
        let spent = Spent::new(Bound::ENTRY);
        assert!(spent.take(ENTRY_FLOOR, 0) && !spent.take(1, 0));
        assert!(!spent.take(1, 1 << 20), "once met, nothing more is built");
        assert_eq!((spent.heap(), spent.over()), (ENTRY_FLOOR, Some(Over::Value)));
        assert!(Spent::new(Bound::ENTRY).take(100 * ENTRY_FACTOR, 100));
    }

    #[test]
    fn a_frames_entries_share_a_bound() {
        let left = |size, heap| Bound::entry_behind(size, heap).left_in_frame;
        assert_eq!(left(0, 0), FRAME_FLOOR);
        assert_eq!(left(100, FRAME_FLOOR), 100 * FRAME_FACTOR);
        let spent = Spent::new(Bound::entry_behind(0, FRAME_FLOOR));
        assert!(spent.take(40, 10) && !spent.take(1, 10));
        assert_eq!(spent.over(), Some(Over::Frame));
    }
}
