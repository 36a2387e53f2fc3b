//! Which write owns which field of a record (E4): the upkeep and the reading of [`Record::writes`].
//!
//! The list has one element for each write that still owns a field, newest last. The first element is
//! the write that created the record and is never dropped: a field that the record holds and that no
//! element lists is owned by it, so that the usual record lists nothing. A field that stands in no
//! list and not in the record was never written, and nobody owns it.
//!
//! Under `device_priority` a field may stand in several elements. The newest of them owns it; the
//! others were overwritten by somebody who knew them, but outrank the owner's device. An edit that
//! knew none of them must beat the strongest, or the order of arrival would decide (T3).
//!
//! [`Record::writes`]: crate::record::Record::writes

use synchub_protocol::Data;
use synchub_protocol::server::Strategy;

use crate::conflict::strategy::by_device;
use crate::record::{InstallNo, Stamp, Write};

/// Whether a write was not the install's own. The hub's writes (install 0) are nobody's own.
pub fn is_foreign(writer: InstallNo, install: InstallNo) -> bool {
    writer != install || writer == 0
}

/// The writes of a record that a write creates; `dropped` are fields of the tombstone in its place
/// that it does not have any more.
pub fn created(version: u64, stamp: Stamp, dropped: Vec<String>) -> Vec<Write> {
    vec![Write { version, stamp, fields: dropped }]
}

/// Gives the fields of a new write to it; `before` is the record's data before the write.
pub fn take(writes: &mut Vec<Write>, write: Write, before: &Data, strategy: Strategy) {
    if write.fields.is_empty() {
        return;
    }
    let implicit: Vec<String> =
        write.fields.iter().filter(|field| is_implicit(writes, before, field)).cloned().collect();
    for (place, older) in writes.iter_mut().enumerate() {
        if strategy == Strategy::DevicePriority && by_device(&older.stamp, &write.stamp).is_gt() {
            if place == 0 {
                older.fields.extend_from_slice(&implicit);
            }
        } else {
            older.fields.retain(|field| !write.fields.contains(field));
        }
    }
    let mut place = 0;
    writes.retain(|older| {
        place += 1;
        place == 1 || !older.fields.is_empty()
    });
    writes.push(write);
}

/// The stamp that a stale edit of a field must beat; none if the edit is not stale (E4). `base` is the
/// version that the edit starts from, `install` is who sends it.
pub fn rival(
    writes: &[Write],
    data: &Data,
    field: &str,
    (base, install): (u64, InstallNo),
    strategy: Strategy,
) -> Option<Stamp> {
    let is_rival = |write: &Write| write.version > base && is_foreign(write.stamp.install, install);
    let owner = owner(writes, data, field).filter(|owner| is_rival(owner))?;
    if strategy != Strategy::DevicePriority {
        return Some(owner.stamp);
    }
    let listed = writes.iter().filter(|write| lists(write, field) && is_rival(write));
    listed.map(|write| write.stamp).chain([owner.stamp]).max_by(by_device)
}

/// Whether a field stands that somebody else wrote after a version.
pub fn has_foreign_since(writes: &[Write], data: &Data, base: u64, install: InstallNo) -> bool {
    writes.iter().enumerate().any(|(place, write)| {
        write.version > base
            && is_foreign(write.stamp.install, install)
            && (!write.fields.is_empty()
                || place == 0 && data.keys().any(|field| is_implicit(writes, data, field)))
    })
}

fn owner<'w>(writes: &'w [Write], data: &Data, field: &str) -> Option<&'w Write> {
    let listed = writes.iter().rev().find(|write| lists(write, field));
    listed.or_else(|| writes.first().filter(|_| data.contains_key(field)))
}

fn is_implicit(writes: &[Write], data: &Data, field: &str) -> bool {
    data.contains_key(field) && !writes.iter().any(|write| lists(write, field))
}

fn lists(write: &Write, field: &str) -> bool {
    write.fields.iter().any(|listed| listed == field)
}
