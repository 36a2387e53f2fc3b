//! Whether a replay ended well: a pure judgement over plain inputs.
//!
//! [`copies`] compares what a device holds with what it may see in the store. [`records`] makes the
//! answers, the log and the trace account for each other; [`sightings`] judges what devices saw on the
//! way. Nothing here reads a file or a socket.

pub(crate) mod copies;
pub(crate) mod records;
pub(crate) mod sightings;

use std::collections::{BTreeMap, HashMap};

use uuid::Uuid;

use crate::fingerprint::Fingerprint;
use crate::ledger::Entry;
use crate::survey::LineNo;

/// How many differences are told in words; all are counted.
const TOLD: usize = 20;

/// A record as the store holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredRecord {
    pub(crate) version: u64,
    pub(crate) deleted: bool,
    /// Who may see it: 0 the tenant, above 0 one party.
    pub(crate) scope: i64,
    pub(crate) fingerprint: Fingerprint,
}

/// A row of the log that made a version of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogRow {
    pub(crate) seq: u64,
    pub(crate) version: u64,
    /// The install that wrote it; none for the hub itself or a publisher.
    pub(crate) install: Option<Uuid>,
}

/// What the store holds of one tenant.
#[derive(Debug, Default)]
pub(crate) struct TenantStore {
    /// Units by name: their numbers as scopes.
    pub(crate) units: HashMap<String, i64>,
    /// Users by name: their numbers as scopes.
    pub(crate) users: HashMap<String, i64>,
    /// Records by domain and id.
    pub(crate) records: HashMap<String, HashMap<Uuid, StoredRecord>>,
    /// Versions by domain and id, in the order of the log.
    pub(crate) log: HashMap<String, HashMap<Uuid, Vec<LogRow>>>,
    /// The mark of each install.
    pub(crate) marks: HashMap<Uuid, u64>,
    /// The head of the log.
    pub(crate) head: u64,
    /// How many rows the log has.
    pub(crate) rows: u64,
    /// At or below this place the log may have been purged.
    pub(crate) horizon: u64,
}

/// What is wrong: everything counted by kind, the first differences in words.
#[derive(Debug, Default, Clone, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Findings {
    /// How many differences there are of each kind.
    pub(crate) counts: BTreeMap<&'static str, u64>,
    /// The first ones.
    pub(crate) first: Vec<String>,
}

impl Findings {
    /// Notes a difference.
    pub(crate) fn add(&mut self, kind: &'static str, text: impl FnOnce() -> String) {
        *self.counts.entry(kind).or_default() += 1;
        if self.first.len() < TOLD {
            self.first.push(format!("{kind}: {}", text()));
        }
    }

    /// Whether nothing is wrong.
    pub(crate) fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }
}

/// Every line was submitted once and answered once.
pub(crate) fn judge_line(line: LineNo, entry: &Entry, findings: &mut Findings) {
    let number = line + 1;
    match (entry.submitted, entry.answered) {
        (1, 1) => {}
        (0, _) => findings.add("never sent", || format!("line {number}")),
        (1, 0) => findings.add("never answered", || format!("line {number}")),
        (sent, answered) => findings.add("answered more than once", || {
            format!("line {number} was submitted {sent} times and answered {answered} times")
        }),
    }
}

/// The mark of an install is the number of entries that it submitted.
pub(crate) fn judge_install(device: &str, submitted: u64, mark: Option<u64>, findings: &mut Findings) {
    if submitted != mark.unwrap_or(0) {
        findings.add("numbers decided", || match mark {
            Some(mark) => format!("{device} submitted {submitted} entries, its mark is {mark}"),
            None => format!("{device} submitted {submitted} entries, the store does not know its install"),
        });
    }
}

/// The log has one row for each number up to its head.
pub(crate) fn judge_log(tenant: &str, store: &TenantStore, findings: &mut Findings) {
    if store.horizon == 0 && store.rows != store.head {
        findings.add("log", || {
            format!("the log of {tenant} has {} rows and its head is {}", store.rows, store.head)
        });
    }
}

/// No version went down in a device's copy.
pub(crate) fn judge_regressions(device: &str, regressions: u64, findings: &mut Findings) {
    if regressions > 0 {
        findings.add("version went down", || format!("{regressions} times in the copy of {device}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(judge: impl FnOnce(&mut Findings)) -> Vec<&'static str> {
        let mut findings = Findings::default();
        judge(&mut findings);
        findings.counts.into_keys().collect()
    }

    #[test]
    fn each_line_is_submitted_and_answered_once() {
        let entry = |submitted, answered| Entry { submitted, answered, ..Entry::default() };
        for (entry, expected) in [
            (entry(1, 1), vec![]),
            (entry(0, 0), vec!["never sent"]),
            (entry(1, 0), vec!["never answered"]),
            (entry(1, 2), vec!["answered more than once"]),
            (entry(2, 1), vec!["answered more than once"]),
        ] {
            assert_eq!(kinds(|findings| judge_line(0, &entry, findings)), expected, "{entry:?}");
        }
    }

    #[test]
    fn inv2_a_mark_is_the_number_of_entries_submitted() {
        for (submitted, mark, wrong) in
            [(3, Some(3), false), (3, Some(2), true), (3, Some(4), true), (3, None, true), (0, None, false)]
        {
            let kinds = kinds(|findings| judge_install("d", submitted, mark, findings));
            assert_eq!(!kinds.is_empty(), wrong, "{submitted} {mark:?}");
        }
    }

    #[test]
    fn inv3_a_log_has_no_gap() {
        let store = |rows, head, horizon| TenantStore { head, rows, horizon, ..TenantStore::default() };
        assert!(kinds(|findings| judge_log("t", &store(5, 5, 0), findings)).is_empty());
        assert_eq!(kinds(|findings| judge_log("t", &store(4, 5, 0), findings)), ["log"]);
        assert!(kinds(|findings| judge_log("t", &store(2, 5, 3), findings)).is_empty());
    }

    #[test]
    fn a_version_that_went_down_is_told() {
        assert!(kinds(|findings| judge_regressions("d", 0, findings)).is_empty());
        assert_eq!(kinds(|findings| judge_regressions("d", 2, findings)), ["version went down"]);
    }

    #[test]
    fn all_are_counted_and_the_first_are_told() {
        let mut findings = Findings::default();
        for line in 0..TOLD + 5 {
            judge_line(line, &Entry::default(), &mut findings);
        }
        assert_eq!(findings.counts["never sent"], 25);
        assert_eq!((findings.first.len(), findings.first[0].as_str()), (TOLD, "never sent: line 1"));
    }
}
