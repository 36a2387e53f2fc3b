//! What devices saw on the way, against the log: a place that the hub has named stands for every
//! change up to it, so none of them may come later (C2); a version has one content.

use std::sync::Arc;

use uuid::Uuid;

use super::{Findings, LogRow};
use crate::survey::DeviceIndex;

/// A copy went over versions of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Jump {
    pub(crate) device: DeviceIndex,
    pub(crate) domain: Arc<str>,
    pub(crate) id: Uuid,
    /// The version that was held before; 0: none.
    pub(crate) held: u64,
    /// The version that came.
    pub(crate) adopted: u64,
    /// The last place that the hub had named by then.
    pub(crate) position: u64,
}

/// A device was given other data under a version than another device, or than the entry that made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mismatch {
    /// None: the first one that was given it, whichever that was.
    pub(crate) device: Option<DeviceIndex>,
    pub(crate) domain: Arc<str>,
    pub(crate) id: Uuid,
    pub(crate) version: u64,
}

/// A jump is right when none of the versions that it went over lies at or before the named place.
/// `log` is the record's; a row in a scope that the device came to see later is no fault, so only
/// records that never left a scope can be judged.
pub(crate) fn judge_jump(device: &str, jump: &Jump, log: &[LogRow], findings: &mut Findings) {
    let over = |row: &&LogRow| row.version > jump.held && row.version < jump.adopted;
    if let Some(row) = log.iter().filter(over).find(|row| row.seq <= jump.position) {
        findings.add("a change was passed over", || {
            format!(
                "{device} was told that it has everything up to {}, without version {} of {}, row {}; then came version {}",
                jump.position, row.version, jump.id, row.seq, jump.adopted
            )
        });
    }
}

/// Notes a mismatch.
pub(crate) fn judge_mismatch(device: Option<&str>, mismatch: &Mismatch, findings: &mut Findings) {
    findings.add("other data under one version", || {
        let device = device.unwrap_or("a device");
        format!(
            "{device} was given version {} of {} with other data than others, or than was sent",
            mismatch.version, mismatch.id
        )
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c2_a_place_stands_for_every_change_up_to_it() {
        let log: Vec<LogRow> =
            (1..=4).map(|version| LogRow { seq: version * 10, version, install: None }).collect();
        for (held, adopted, position, wrong) in [
            (1, 3, 19, false),
            (1, 3, 20, true),
            (1, 3, 35, true),
            (1, 4, 20, true),
            (1, 4, 19, false),
            (0, 2, 9, false),
            (0, 2, 10, true),
            (3, 9, 30, false),
        ] {
            let (domain, id) = ("ticket".into(), Uuid::nil());
            let jump = Jump { device: 0, domain, id, held, adopted, position };
            let mut findings = Findings::default();
            judge_jump("d", &jump, &log, &mut findings);
            assert_eq!(!findings.is_empty(), wrong, "{jump:?}");
        }
    }

    #[test]
    fn a_mismatch_is_told() {
        let mismatch = Mismatch { device: None, domain: "ticket".into(), id: Uuid::nil(), version: 2 };
        let mut findings = Findings::default();
        judge_mismatch(Some("d"), &mismatch, &mut findings);
        assert!(findings.first[0].contains("version 2"));
    }
}
