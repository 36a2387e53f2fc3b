//! What a group does to the digests: for each record that it writes, out with how it counted before, in
//! with how it stands after.

use std::collections::BTreeMap;

use synchub_protocol::digest::part;
use uuid::Uuid;

use crate::group::DigestChange;
use crate::plan::slot::Slot;
use crate::record::{DomainNo, Record, Scope};

/// How a live record counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counted {
    domain: DomainNo,
    scope: Scope,
    key: Uuid,
    version: u64,
}

impl Counted {
    /// None for a tombstone: only what lives counts.
    pub(super) fn of(record: &Record) -> Option<Self> {
        let Record { domain, scope, key, version, .. } = *record;
        (!record.deleted).then_some(Self { domain, scope, key, version })
    }
}

/// The changes of a group, as they add up.
#[derive(Debug, Default)]
pub(super) struct Changes {
    by_scope: BTreeMap<(DomainNo, Scope), (i64, u64)>,
}

impl Changes {
    /// Takes in what became of a record.
    pub(super) fn note(&mut self, slot: &Slot) {
        let after = Counted::of(&slot.record);
        if slot.counted == after {
            return;
        }
        if let Some(Counted { domain, scope, key, version }) = slot.counted {
            let (count, sum) = self.by_scope.entry((domain, scope)).or_default();
            (*count, *sum) = (*count - 1, sum.wrapping_sub(part(key, version)));
        }
        if let Some(Counted { domain, scope, key, version }) = after {
            let (count, sum) = self.by_scope.entry((domain, scope)).or_default();
            (*count, *sum) = (*count + 1, sum.wrapping_add(part(key, version)));
        }
    }

    /// The changes that are any.
    pub(super) fn finish(self) -> Vec<DigestChange> {
        let changes = self.by_scope.into_iter().filter(|(_, change)| *change != (0, 0));
        changes.map(|((domain, scope), (count, sum))| DigestChange { domain, scope, count, sum }).collect()
    }
}
