//! What a group of batches needs to know before it can be planned.

use std::collections::BTreeMap;

use crate::group::{Reads, Submission, SubmittedEntry};
use crate::push::PushBody;

/// Lists what the store must find for these batches, each thing once and in order.
pub fn reads(submissions: &[Submission]) -> Reads {
    let mut reads = Reads::default();
    let mut records = BTreeMap::new();
    for submission in submissions {
        let author = &submission.author;
        reads.batches.push((author.device, submission.batch_id));
        reads.devices.extend(author.generation.map(|_| author.device));
        if let Some(first) = submission.first_number {
            reads.installs.push(author.install);
            reads.numbers.extend((first..).take(submission.entries.len()).map(|n| (author.install, n)));
        }
        reads.conflicts.extend(submission.pushes.iter().filter_map(|push| match push.body {
            PushBody::ConflictAlert { conflict_id } => Some(conflict_id),
            _ => None,
        }));
        for entry in &submission.entries {
            if let SubmittedEntry::Entry { entry, .. } = entry {
                reads.corrections.extend(entry.corrects.map(|number| (author.install, number)));
            }
            if let Some((domain, key, version)) = record_of(entry) {
                let lowest = records.entry((domain, key)).or_insert(version);
                *lowest = version.min(*lowest);
            }
        }
    }
    reads.records = records.into_iter().map(|((domain, key), lowest)| (domain, key, lowest)).collect();
    sort(&mut reads.batches);
    sort(&mut reads.devices);
    sort(&mut reads.installs);
    sort(&mut reads.numbers);
    sort(&mut reads.corrections);
    sort(&mut reads.conflicts);
    reads
}

/// The record that an entry names and the version that it starts from. A faulty entry starts from
/// none, but its answer may name the record's version (O2).
fn record_of(entry: &SubmittedEntry) -> Option<(i64, uuid::Uuid, u64)> {
    match entry {
        SubmittedEntry::Entry { entry, domain, .. } => Some((domain.no, entry.mobile_id, entry.version)),
        SubmittedEntry::Fault { fault, domain, .. } => {
            Some((domain.as_ref()?.no, fault.mobile_id?, u64::MAX))
        }
    }
}

fn sort<T: Ord>(list: &mut Vec<T>) {
    list.sort_unstable();
    list.dedup();
}
