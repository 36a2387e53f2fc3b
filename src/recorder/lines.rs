//! Turns committed batches into lines of a trace.
//!
//! A line names the line of its record that its device had seen, not a version: a hub that plays the trace gives
//! versions of its own. What cannot stand in a trace is left out and counted. No file is touched here.

use std::collections::{HashMap, VecDeque};

use serde::Serialize;
use synchub_protocol::server::Status;
use synchub_protocol::{Data, Entry, Operation};
use synchub_rules::group::{Author, Domain, StoredOutcome, SubmittedEntry};
use synchub_rules::record::{DomainNo, HISTORY_LIMIT, TenantNo};
use uuid::Uuid;

use super::{Mask, Names, Took};

/// One line.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Line {
    t_ms: i64,
    tenant: String,
    user: String,
    device: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    unit: Option<String>,
    domain: String,
    mobile_id: Uuid,
    base_version: u32,
    #[serde(skip_serializing_if = "is_upsert")]
    operation: Operation,
    /// Whether `data` is what was edited, not all of it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    delta: bool,
    data: Data,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_upsert(operation: &Operation) -> bool {
    *operation == Operation::Upsert
}

/// The lines of a record so far.
#[derive(Debug, Default)]
struct Seen {
    count: u32,
    /// Lines with the version that their answer named, the last ones.
    versions: VecDeque<(u32, u64)>,
}

/// What is known of a recording so far. It grows with the records that are edited.
#[derive(Debug)]
pub(super) struct Lines {
    names: Names,
    mask: Option<Mask>,
    records: HashMap<(TenantNo, DomainNo, Uuid), Seen>,
    start_us: Option<i64>,
    last_ms: i64,
    written: u64,
    left_out: u64,
}

/// An entry on its way to a line.
struct Taken<'a> {
    tenant: TenantNo,
    author: &'a Author,
    entry: &'a Entry,
    domain: &'a Domain,
    outcome: &'a StoredOutcome,
}

impl Lines {
    /// A recording of which nothing is known.
    pub(super) fn new(names: Names, mask: Option<Mask>) -> Self {
        let records = HashMap::new();
        Self { names, mask, records, start_us: None, last_ms: 0, written: 0, left_out: 0 }
    }

    /// How many lines there were, and how many entries were left out.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.written, self.left_out)
    }

    /// The lines of a group.
    pub(super) fn of(&mut self, took: &Took) -> Vec<Line> {
        let mut lines = Vec::new();
        for (batch, outcomes) in took.batches.iter().zip(&took.outcomes) {
            let Some(outcomes) = outcomes else { continue };
            self.advance(batch.received_us);
            for (submitted, outcome) in batch.entries.iter().zip(outcomes) {
                // What was decided before is in the recording, or was before it.
                if outcome.status == Status::Duplicate {
                    continue;
                }
                let line = match submitted {
                    SubmittedEntry::Entry { entry, domain, .. } => {
                        let (tenant, author) = (took.tenant, &batch.author);
                        self.line(&Taken { tenant, author, entry, domain, outcome }, took)
                    }
                    SubmittedEntry::Fault { .. } => None,
                };
                match line {
                    Some(line) => lines.push(line),
                    None => self.left_out += 1,
                }
            }
        }
        self.written += lines.len() as u64;
        lines
    }

    /// Time never goes back in a trace, though clocks do.
    fn advance(&mut self, received_us: i64) {
        let start = *self.start_us.get_or_insert(received_us);
        self.last_ms = self.last_ms.max(received_us.saturating_sub(start) / 1000);
    }

    /// The line of an entry; none of a service, or of a record whose beginning is not known.
    fn line(&mut self, taken: &Taken<'_>, took: &Took) -> Option<Line> {
        let Taken { tenant, author, entry, domain, outcome } = *taken;
        let device = author.origin.device.clone().filter(|_| !author.trusted)?;
        let tenant_name = self.names.tenant(tenant)?;
        let unit = match author.unit {
            Some(number) => Some(self.names.unit(number)?),
            None => None,
        };
        let key = (tenant, domain.no, entry.mobile_id);
        let is_first = !self.records.contains_key(&key);
        let whole = if is_first && entry.version > 0 { Some(stands(took, taken)?) } else { None };
        let sent = whole.as_ref().unwrap_or(&entry.data);
        if sent.is_empty() && entry.operation == Operation::Upsert {
            return None;
        }
        let base_version = self.base(key, entry.version);
        self.note(key, outcome);
        let data = self.mask(domain, sent);
        Some(Line {
            t_ms: self.last_ms,
            tenant: tenant_name,
            user: author.origin.user.clone(),
            device,
            unit,
            domain: domain.name.to_string(),
            mobile_id: entry.mobile_id,
            base_version,
            operation: entry.operation,
            delta: entry.delta && whole.is_none(),
            data,
        })
    }

    /// The last line whose answer named the version that the entry starts from, or an older one.
    fn base(&self, key: (TenantNo, DomainNo, Uuid), version: u64) -> u32 {
        let Some(seen) = self.records.get(&key).filter(|_| version > 0) else { return 0 };
        let known = seen.versions.iter().rev().find(|(_, answered)| *answered <= version);
        known.or(seen.versions.front()).map_or(0, |(line, _)| *line)
    }

    fn note(&mut self, key: (TenantNo, DomainNo, Uuid), outcome: &StoredOutcome) {
        let seen = self.records.entry(key).or_default();
        seen.count += 1;
        if let (Some(version), None) = (outcome.version, &outcome.error) {
            seen.versions.push_back((seen.count, version));
            if seen.versions.len() > HISTORY_LIMIT {
                seen.versions.pop_front();
            }
        }
    }

    fn mask(&self, domain: &Domain, data: &Data) -> Data {
        self.mask.as_ref().map_or_else(|| data.clone(), |mask| mask.data(&domain.definition, data))
    }
}

/// A record that was there before the recording enters it as it stood after its first change there.
fn stands(took: &Took, taken: &Taken<'_>) -> Option<Data> {
    if taken.entry.operation == Operation::Delete {
        return None;
    }
    let wanted = (taken.domain.no, taken.entry.mobile_id, taken.outcome.version?);
    let mut after = took.after.iter();
    after
        .find(|(domain, id, version, _)| (*domain, *id, *version) == wanted)
        .map(|(.., data)| (**data).clone())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};
    use synchub_protocol::server::Origin;
    use synchub_rules::domain::Catalog;
    use synchub_rules::group::Submission;
    use synchub_rules::record::Sight;

    use super::*;

    const ID: Uuid = Uuid::from_u128(7);

    fn names() -> Names {
        let names = Names::asked();
        names.tell((1, "acme"), Some((5, "north")));
        names
    }

    fn outcome(status: Status, version: Option<u64>) -> StoredOutcome {
        StoredOutcome { status, version, deleted: false, conflict: None, error: None }
    }

    fn entry(version: u64, data: Value) -> Entry {
        Entry::upsert("ticket", ID, version, serde_json::from_value(data).unwrap())
    }

    /// A batch of one entry by a device, and what became of it.
    fn took(received_us: i64, entry: Entry, outcome: StoredOutcome) -> Took {
        let definition = Catalog::builtin().of("acme").find(|domain| domain.name() == "ticket").cloned();
        let domain = Arc::new(Domain { no: 3, name: "ticket".into(), definition: definition.unwrap() });
        let author = Author {
            device: 9,
            generation: None,
            install: 1,
            user: 6,
            unit: Some(5),
            sight: Sight::Everything,
            priority: 0,
            clock_offset_us: 0,
            trusted: false,
            origin: Arc::new(Origin { user: "ann".to_owned(), device: Some("phone".to_owned()) }),
        };
        let batch = Submission {
            author,
            batch_id: Uuid::nil(),
            hash: [0; 32],
            first_number: None,
            atomic: false,
            entries: vec![SubmittedEntry::Entry { entry, domain, belonging: None }],
            pushes: Vec::new(),
            heap: 100,
            received_us,
        };
        let (batches, outcomes) = (Arc::new(vec![batch]), vec![Some(vec![outcome])]);
        Took { tenant: 1, batches, outcomes, after: Vec::new(), bytes: 100 }
    }

    fn bases(lines: &mut Lines, entries: &[(u64, Status, Option<u64>)]) -> Vec<u32> {
        let line = |&(named, status, version): &(u64, Status, Option<u64>)| {
            let took = took(0, entry(named, json!({"subject": "a"})), outcome(status, version));
            lines.of(&took)[0].base_version
        };
        entries.iter().map(line).collect()
    }

    #[test]
    fn a_line_names_the_line_that_its_device_had_seen() {
        let mut lines = Lines::new(names(), None);
        let entries = [
            (0, Status::Created, Some(1)),
            (1, Status::Updated, Some(2)),
            (1, Status::Merged, Some(3)),
            (3, Status::Error, None),
            (2, Status::Conflict, Some(4)),
            (4, Status::Unchanged, Some(4)),
            (9, Status::Updated, Some(5)),
        ];
        assert_eq!(bases(&mut lines, &entries), [0, 1, 1, 3, 2, 5, 6]);
        assert_eq!(lines.counts(), (7, 0));
    }

    #[test]
    fn a_line_is_what_a_replay_reads() {
        let mut lines = Lines::new(names(), None);
        lines.of(&took(5_000_000, entry(0, json!({"subject": "a"})), outcome(Status::Created, Some(1))));
        let mut edit = entry(1, json!({"subject": "b"}));
        edit.delta = true;
        let line = lines.of(&took(5_250_000, edit, outcome(Status::Updated, Some(2)))).remove(0);
        let expected = json!({"t_ms": 250, "tenant": "acme", "user": "ann", "device": "phone", "unit": "north",
            "domain": "ticket", "mobile_id": ID, "base_version": 1, "delta": true, "data": {"subject": "b"}});
        assert_eq!(serde_json::to_value(line).unwrap(), expected);
        let delete = took(1, Entry::delete("ticket", ID, 2), outcome(Status::Updated, Some(3)));
        let line = serde_json::to_value(lines.of(&delete).remove(0)).unwrap();
        assert_eq!((&line["operation"], &line["t_ms"]), (&json!("delete"), &json!(250)), "time goes on");
    }

    #[test]
    fn what_was_there_before_enters_as_it_stands() {
        let mut lines = Lines::new(names(), None);
        let mut edit = entry(4, json!({"status": "OPEN"}));
        edit.delta = true;
        let mut seen = took(0, edit.clone(), outcome(Status::Updated, Some(5)));
        assert!(lines.of(&seen).is_empty(), "nobody knows what it was");
        let whole: Data = serde_json::from_value(json!({"subject": "a", "status": "OPEN"})).unwrap();
        seen.after = vec![(3, ID, 5, Arc::new(whole.clone()))];
        let line = lines.of(&seen).remove(0);
        assert_eq!((line.base_version, line.delta, line.data), (0, false, whole));
        let next = lines.of(&took(0, entry(5, json!({"status": "OPEN"})), outcome(Status::Updated, Some(6))));
        assert_eq!((next[0].base_version, lines.counts()), (1, (2, 1)));
    }

    #[test]
    fn what_no_trace_can_hold_is_left_out() {
        let create = || (entry(0, json!({"subject": "a"})), outcome(Status::Created, Some(1)));
        let (entry, done) = create();
        let mut by_service = took(0, entry.clone(), done.clone());
        Arc::get_mut(&mut by_service.batches).unwrap()[0].author.trusted = true;
        let mut repeated = took(0, entry.clone(), done.clone());
        repeated.outcomes = vec![None];
        let duplicate = took(0, entry.clone(), outcome(Status::Duplicate, Some(1)));
        let mut unknown = took(0, entry, done);
        unknown.tenant = 2;
        let mut lines = Lines::new(names(), None);
        for took in [&by_service, &repeated, &duplicate, &unknown] {
            assert!(lines.of(took).is_empty());
        }
        assert_eq!(lines.counts(), (0, 2), "a service's, and one of an unknown tenant");
    }
}
