//! What a device holds against what it may see in the store.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use super::{Findings, StoredRecord};
use crate::fingerprint::Fingerprint;

/// A record in a device's copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) id: Uuid,
    pub(crate) version: u64,
    pub(crate) fingerprint: Fingerprint,
}

/// What a device may see: the scopes of its token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sight {
    /// Its unit and its user, where the store knows them.
    pub(crate) parties: Vec<i64>,
}

impl Sight {
    fn sees(&self, record: &StoredRecord) -> bool {
        !record.deleted && (record.scope == 0 || self.parties.contains(&record.scope))
    }
}

/// The copy of one domain is what may be seen of it, by version and by data.
pub(crate) fn judge_copy(
    place: &str,
    held: impl IntoIterator<Item = Held>,
    stored: &HashMap<Uuid, StoredRecord>,
    sight: &Sight,
    findings: &mut Findings,
) {
    let mut seen = HashSet::new();
    for copy in held {
        seen.insert(copy.id);
        match stored.get(&copy.id).filter(|record| sight.sees(record)) {
            Some(record) => judge_held(place, &copy, record, findings),
            None => findings.add("copy holds too much", || {
                format!("{place} holds {} at version {}, which it may not see", copy.id, copy.version)
            }),
        }
    }
    for (id, record) in stored.iter().filter(|(id, record)| sight.sees(record) && !seen.contains(*id)) {
        findings.add("copy lacks", || format!("{place} lacks {id}, version {} in the store", record.version));
    }
}

fn judge_held(place: &str, copy: &Held, record: &StoredRecord, findings: &mut Findings) {
    if copy.version != record.version {
        findings.add("copy at another version", || {
            format!("{place} holds {} at version {}, the store {}", copy.id, copy.version, record.version)
        });
    } else if copy.fingerprint != record.fingerprint {
        findings.add("copy with other data", || {
            format!(
                "{place} holds {} version {} with data {:?}, the store {:?}",
                copy.id, copy.version, copy.fingerprint, record.fingerprint
            )
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RIGHT: Fingerprint = Fingerprint([1; 32]);
    const WRONG: Fingerprint = Fingerprint([2; 32]);

    fn stored(version: u64, deleted: bool, scope: i64) -> StoredRecord {
        StoredRecord { version, deleted, scope, fingerprint: RIGHT }
    }

    fn judge(record: Option<StoredRecord>, held: Option<(u64, Fingerprint)>) -> Vec<&'static str> {
        let id = Uuid::from_u128(1);
        let stored = record.into_iter().map(|record| (id, record)).collect();
        let held = held.map(|(version, fingerprint)| Held { id, version, fingerprint });
        let mut findings = Findings::default();
        judge_copy("d ticket", held, &stored, &Sight { parties: vec![7] }, &mut findings);
        findings.counts.into_keys().collect()
    }

    #[test]
    fn a_copy_must_be_what_its_device_may_see() {
        let live = |scope| Some(stored(3, false, scope));
        for (what, record, held, expected) in [
            ("the same", live(0), Some((3, RIGHT)), None),
            ("the same, in its unit", live(7), Some((3, RIGHT)), None),
            ("a lost change", live(0), Some((2, RIGHT)), Some("copy at another version")),
            ("a change that was not stored", live(0), Some((4, RIGHT)), Some("copy at another version")),
            ("wrong data, right version", live(0), Some((3, WRONG)), Some("copy with other data")),
            ("a lost record", live(0), None, Some("copy lacks")),
            ("a lost record of its unit", live(7), None, Some("copy lacks")),
            ("a record from nowhere", None, Some((1, RIGHT)), Some("copy holds too much")),
            ("a leak", live(8), Some((3, RIGHT)), Some("copy holds too much")),
            ("what it may not see", live(8), None, None),
            ("a lost delete", Some(stored(3, true, 0)), Some((2, RIGHT)), Some("copy holds too much")),
            ("a delete", Some(stored(3, true, 0)), None, None),
            ("nothing", None, None, None),
        ] {
            assert_eq!(judge(record, held), expected.into_iter().collect::<Vec<_>>(), "{what}");
        }
    }
}
