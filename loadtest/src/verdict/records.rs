//! Each entry was decided once: a record's answers against its rows in the log.
//!
//! Every answer that made a version claims the row of that version by its own install, and no row is
//! claimed twice. An answer `duplicate` names the version that stands now, not the one that its entry
//! made, so it may claim any one row of its install at or below. What no answer claims was written
//! twice, or by nobody; a claim without a row was answered but not stored.

use std::collections::BTreeMap;

use synchub_protocol::server::{Resolution, Status};
use uuid::Uuid;

use super::{Findings, LogRow, StoredRecord};
use crate::ledger::Answer;
use crate::survey::LineNo;

/// An answered line of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Answered {
    pub(crate) line: LineNo,
    /// The install that sent it.
    pub(crate) install: Uuid,
    pub(crate) answer: Answer,
}

/// How an answer accounts for a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Made {
    /// It made the version that it names.
    Surely,
    /// It may have made the version that it names: other fields of its entry may have merged.
    Perhaps,
    /// It may have made any version up to the one that it names.
    Earlier,
    /// It made none.
    Nothing,
}

fn made(answer: &Answer) -> Made {
    match (answer.status, answer.resolution) {
        _ if answer.refused => Made::Nothing,
        (Status::Created | Status::Updated | Status::Merged, _)
        | (Status::Conflict, Some(Resolution::Client | Resolution::Merged)) => Made::Surely,
        (Status::Conflict, _) => Made::Perhaps,
        (Status::Duplicate, _) => Made::Earlier,
        _ => Made::Nothing,
    }
}

/// The rows of a record's log, by version, with whether an answer has claimed them.
struct Rows<'a>(BTreeMap<u64, Vec<(&'a LogRow, bool)>>);

impl<'a> Rows<'a> {
    fn new(log: &'a [LogRow]) -> Self {
        let mut rows: BTreeMap<u64, Vec<_>> = BTreeMap::new();
        for row in log {
            rows.entry(row.version).or_default().push((row, false));
        }
        Self(rows)
    }

    /// Claims the highest free row of `install` with a version in `range`.
    fn claim(&mut self, range: std::ops::RangeInclusive<u64>, install: Uuid) -> bool {
        let free = self.0.range_mut(range).rev().flat_map(|(_, rows)| rows);
        let mut own = free.filter(|(row, claimed)| !claimed && row.install == Some(install));
        own.next().map(|(_, claimed)| *claimed = true).is_some()
    }

    fn unclaimed(&self) -> impl Iterator<Item = &LogRow> {
        self.0.values().flatten().filter(|(_, claimed)| !claimed).map(|(row, _)| *row)
    }
}

/// Judges one record by its answers, its log rows in order, and how it stands in the store.
pub(crate) fn judge_record(
    name: &str,
    answers: &[Answered],
    log: &[LogRow],
    stored: Option<&StoredRecord>,
    findings: &mut Findings,
) {
    judge_versions(name, log, stored, findings);
    let mut rows = Rows::new(log);
    let mut answers: Vec<_> = answers.iter().map(|answered| (made(&answered.answer), answered)).collect();
    // The claims that leave no choice go first, so that the others cannot take their rows.
    answers.sort_by_key(|(made, answered)| (*made, answered.answer.version, answered.line));
    for (made, answered) in answers {
        let (line, version) = (answered.line + 1, answered.answer.version.unwrap_or(0));
        let status = answered.answer.status;
        match made {
            Made::Surely if !rows.claim(version..=version, answered.install) => {
                findings.add("answered but not stored", || {
                    format!("line {line} was answered {status:?} at version {version} of {name}; the log has no such row of its device, or another answer claims it")
                });
            }
            Made::Perhaps => {
                rows.claim(version..=version, answered.install);
            }
            Made::Earlier => {
                rows.claim(0..=version, answered.install);
            }
            Made::Surely | Made::Nothing => {}
        }
        if version > log.len() as u64 {
            findings.add("answered above the record", || {
                format!(
                    "line {line} was answered {status:?} at version {version} of {name}, which has {}",
                    log.len()
                )
            });
        }
    }
    for row in rows.unclaimed() {
        findings.add("stored but not answered", || {
            format!(
                "version {} of {name} by install {:?} is no answer's: written twice, or by nobody",
                row.version, row.install
            )
        });
    }
}

/// Versions are 1, 2, 3 … in the order of the log, and the record stands at the last.
fn judge_versions(name: &str, log: &[LogRow], stored: Option<&StoredRecord>, findings: &mut Findings) {
    let versions: Vec<u64> = log.iter().map(|row| row.version).collect();
    if !versions.iter().copied().eq(1..=versions.len() as u64) {
        findings.add("versions", || format!("the log of {name} has the versions {versions:?}"));
    }
    let last = versions.last().copied().unwrap_or(0);
    let stands = stored.map_or(0, |record| record.version);
    if stands != last {
        findings.add("versions", || format!("{name} stands at version {stands}, its log ends at {last}"));
    }
}

/// The same without a log: the version that a snapshot shows must be as many as its answers made.
pub(crate) fn judge_by_version(name: &str, answers: &[Answered], version: u64, findings: &mut Findings) {
    let mut surely: BTreeMap<u64, u64> = BTreeMap::new();
    let mut possibly = 0;
    for answered in answers {
        match made(&answered.answer) {
            Made::Surely => *surely.entry(answered.answer.version.unwrap_or(0)).or_default() += 1,
            Made::Perhaps | Made::Earlier => possibly += 1,
            Made::Nothing => {}
        }
    }
    if let Some((version, times)) = surely.iter().find(|(_, times)| **times > 1) {
        findings.add("versions", || format!("{times} answers made version {version} of {name}"));
    }
    let least = surely.values().sum::<u64>();
    if !(least..=least + possibly).contains(&version) || surely.keys().any(|made| *made > version) {
        findings.add("versions", || {
            format!(
                "{name} stands at version {version}; its answers made {least}, and {possibly} more may have"
            )
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fingerprint::Fingerprint;

    /// Versions and who made them.
    type Log = Vec<(u64, Uuid)>;

    const A: Uuid = Uuid::from_u128(0xA);
    const B: Uuid = Uuid::from_u128(0xB);

    fn answered(install: Uuid, status: Status, version: u64) -> Answered {
        let answer =
            Answer { status, version: Some(version), resolution: None, refused: false, deleted: false };
        Answered { line: 0, install, answer }
    }

    fn conflict(install: Uuid, resolution: Resolution, version: u64) -> Answered {
        let mut answered = answered(install, Status::Conflict, version);
        answered.answer.resolution = Some(resolution);
        answered
    }

    fn refused(install: Uuid, status: Status, version: u64) -> Answered {
        let mut answered = answered(install, status, version);
        answered.answer.refused = true;
        answered
    }

    fn rows(rows: &[(u64, Uuid)]) -> Vec<LogRow> {
        rows.iter()
            .map(|&(version, install)| LogRow { seq: version, version, install: Some(install) })
            .collect()
    }

    fn stored(version: u64) -> StoredRecord {
        StoredRecord { version, deleted: false, scope: 0, fingerprint: Fingerprint([0; 32]) }
    }

    fn judge(answers: &[Answered], log: &[(u64, Uuid)], version: u64) -> Vec<&'static str> {
        let mut findings = Findings::default();
        let stored = (version > 0).then(|| stored(version));
        judge_record("r", answers, &rows(log), stored.as_ref(), &mut findings);
        findings.counts.into_keys().collect()
    }

    #[test]
    fn inv2_answers_and_log_that_account_for_each_other_are_right() {
        use Status::{Created, Duplicate, Merged, Unchanged, Updated};
        let yes: [(&str, Vec<Answered>, Log, u64); 9] = [
            ("nothing", vec![], vec![], 0),
            (
                "a chain",
                vec![answered(A, Created, 1), answered(B, Updated, 2), answered(A, Merged, 3)],
                vec![(1, A), (2, B), (3, A)],
                3,
            ),
            ("no change", vec![answered(A, Created, 1), answered(B, Unchanged, 1)], vec![(1, A)], 1),
            ("applied before a kill", vec![answered(A, Duplicate, 1)], vec![(1, A)], 1),
            (
                "applied before a kill, changed since",
                vec![answered(A, Duplicate, 2), answered(B, Updated, 2)],
                vec![(1, A), (2, B)],
                2,
            ),
            (
                "no change before a kill",
                vec![answered(A, Created, 1), answered(A, Duplicate, 1)],
                vec![(1, A)],
                1,
            ),
            ("refused", vec![refused(A, Status::Error, 0), refused(A, Duplicate, 0)], vec![], 0),
            (
                "a conflict lost, another one lost but for other fields",
                vec![
                    answered(A, Created, 1),
                    conflict(B, Resolution::Server, 1),
                    conflict(A, Resolution::Server, 2),
                ],
                vec![(1, A), (2, A)],
                2,
            ),
            (
                "a conflict won",
                vec![answered(A, Created, 1), conflict(B, Resolution::Client, 2)],
                vec![(1, A), (2, B)],
                2,
            ),
        ];
        for (what, answers, log, version) in yes {
            assert_eq!(judge(&answers, &log, version), Vec::<&str>::new(), "{what}");
        }
    }

    #[test]
    fn inv2_what_is_lost_doubled_or_invented_is_found() {
        use Status::{Created, Duplicate, Unchanged, Updated};
        let one = answered(A, Created, 1);
        let no: [(&str, Vec<Answered>, Log, u64, &str); 12] = [
            (
                "answered, not stored",
                vec![one, answered(B, Updated, 2)],
                vec![(1, A)],
                1,
                "answered but not stored",
            ),
            ("answered, nothing stored", vec![one], vec![], 0, "answered but not stored"),
            ("written twice", vec![one], vec![(1, A), (2, A)], 2, "stored but not answered"),
            (
                "written by another",
                vec![one, answered(B, Updated, 2)],
                vec![(1, A), (2, A)],
                2,
                "answered but not stored",
            ),
            (
                "two answers for one row",
                vec![one, answered(A, Created, 1)],
                vec![(1, A)],
                1,
                "answered but not stored",
            ),
            (
                "an answer beside the log",
                vec![one, answered(B, Unchanged, 2)],
                vec![(1, A)],
                1,
                "answered above the record",
            ),
            (
                "a duplicate of another's row",
                vec![one, answered(A, Duplicate, 2)],
                vec![(1, A), (2, B)],
                2,
                "stored but not answered",
            ),
            (
                "a lost conflict that changed twice",
                vec![one, conflict(B, Resolution::Server, 2)],
                vec![(1, A), (2, B), (3, B)],
                3,
                "stored but not answered",
            ),
            (
                "a won conflict without a row",
                vec![one, conflict(B, Resolution::Client, 1)],
                vec![(1, A)],
                1,
                "answered but not stored",
            ),
            (
                "an entry refused before a kill that was written",
                vec![refused(A, Duplicate, 1)],
                vec![(1, A)],
                1,
                "stored but not answered",
            ),
            (
                "a refused entry that was written",
                vec![one, refused(B, Status::Error, 1)],
                vec![(1, A), (2, B)],
                2,
                "stored but not answered",
            ),
            ("by nobody", vec![], vec![(1, A)], 1, "stored but not answered"),
        ];
        for (what, answers, log, version, expected) in no {
            let kinds = judge(&answers, &log, version);
            assert!(kinds.contains(&expected), "{what}: {kinds:?}");
        }
    }

    #[test]
    fn versions_are_contiguous_and_the_record_stands_at_the_last() {
        let two = [answered(A, Status::Created, 1), answered(A, Status::Updated, 2)];
        assert_eq!(judge(&two, &[(1, A), (2, A)], 1), ["versions"]);
        assert_eq!(judge(&two, &[(2, A), (1, A)], 2), ["versions"]);
        assert_eq!(judge(&two, &[(1, A), (2, A)], 0), ["versions"]);
        assert!(judge(&two, &[(1, A), (1, A), (2, A)], 2).contains(&"versions"));
        assert!(judge(&two, &[(1, A), (3, A)], 3).contains(&"versions"));
    }

    #[test]
    fn without_a_log_the_version_must_be_what_the_answers_made() {
        let judge = |answers: &[Answered], version| {
            let mut findings = Findings::default();
            judge_by_version("r", answers, version, &mut findings);
            findings.is_empty()
        };
        let made = |status, version| answered(A, status, version);
        let two = [made(Status::Created, 1), made(Status::Updated, 2), made(Status::Unchanged, 2)];
        assert!(judge(&two, 2));
        assert!(!judge(&two, 1) && !judge(&two, 3));
        assert!(!judge(&[made(Status::Created, 1), made(Status::Updated, 1)], 2));
        assert!(!judge(&[made(Status::Created, 2)], 1));
        let perhaps = [made(Status::Created, 1), made(Status::Duplicate, 2)];
        assert!(judge(&perhaps, 1) && judge(&perhaps, 2) && !judge(&perhaps, 3));
    }
}
