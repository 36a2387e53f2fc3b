//! Whole verdicts over plain inputs: a replay that ended well, and the ways in which a hub lies.

use synchub_protocol::server::Status;

use super::*;
use crate::fingerprint::Fingerprint;
use crate::ledger::Answer;
use crate::trace::tests::line;
use crate::verdict::LogRow;
use crate::verdict::sightings::{Jump, Mismatch};

const RIGHT: Fingerprint = Fingerprint([1; 32]);
const WRONG: Fingerprint = Fingerprint([2; 32]);

/// Ann's device creates record 7, Bob's changes it; both have it.
struct Replay {
    survey: Survey,
    entries: Vec<Entry>,
    installs: Vec<Uuid>,
    regressions: Vec<u64>,
    differences: Vec<String>,
    jumps: Vec<Jump>,
    mismatches: Vec<Mismatch>,
    store: TenantStore,
    held: Vec<Vec<Held>>,
}

fn good() -> Replay {
    let lines = [line("ann", "1", 7, 0), line("bob", "2", 7, 1)];
    let survey = Survey::take(lines.into_iter().map(Ok)).unwrap();
    let (id, installs) = (Uuid::from_u128(7), vec![Uuid::from_u128(0xA), Uuid::from_u128(0xB)]);
    let entry = |status, version: u64| {
        let answer =
            Answer { status, version: Some(version), resolution: None, refused: false, deleted: false };
        Entry { named: version - 1, submitted: 1, answered: 1, answer: Some(answer) }
    };
    let row = |version, install: usize| LogRow { seq: version, version, install: Some(installs[install]) };
    let record = StoredRecord { version: 2, deleted: false, scope: 0, fingerprint: RIGHT };
    let store = TenantStore {
        records: HashMap::from([("ticket".to_owned(), HashMap::from([(id, record)]))]),
        log: HashMap::from([("ticket".to_owned(), HashMap::from([(id, vec![row(1, 0), row(2, 1)])]))]),
        marks: installs.iter().map(|install| (*install, 1)).collect(),
        head: 2,
        rows: 2,
        ..TenantStore::default()
    };
    let held = vec![Held { id, version: 2, fingerprint: RIGHT }];
    Replay {
        survey,
        entries: vec![entry(Status::Created, 1), entry(Status::Updated, 2)],
        installs,
        regressions: vec![0, 0],
        differences: Vec::new(),
        jumps: Vec::new(),
        mismatches: Vec::new(),
        store,
        held: vec![held.clone(), held],
    }
}

impl Replay {
    fn evidence(&self) -> Evidence<'_> {
        Evidence {
            survey: &self.survey,
            entries: &self.entries,
            installs: &self.installs,
            regressions: &self.regressions,
            differences: &self.differences,
            jumps: &self.jumps,
            mismatches: &self.mismatches,
        }
    }

    fn row(&mut self) -> &mut Vec<LogRow> {
        self.store.log.get_mut("ticket").unwrap().get_mut(&Uuid::from_u128(7)).unwrap()
    }

    fn record(&mut self) -> &mut StoredRecord {
        self.store.records.get_mut("ticket").unwrap().get_mut(&Uuid::from_u128(7)).unwrap()
    }

    fn into_store_verdict(mut self) -> Verdict {
        let stores = HashMap::from([("t".to_owned(), std::mem::take(&mut self.store))]);
        against_store(&self.evidence(), &stores, |device, _| self.held[device].clone())
    }

    fn into_snapshot_verdict(mut self) -> Verdict {
        let view = |user: &str| (("t".to_owned(), user.to_owned()), self.store.records.clone());
        let views = HashMap::from([view("ann"), view("bob")]);
        self.store = TenantStore::default();
        against_snapshots(&self.evidence(), &views, |device, _| self.held[device].clone())
    }
}

/// What a hub does wrong, and what the verdict says of it.
type Case = (fn(&mut Replay), &'static [&'static str]);

fn nothing(_: &mut Replay) {}

fn lost_change(replay: &mut Replay) {
    replay.held[0][0].version = 1;
}

fn wrong_data(replay: &mut Replay) {
    replay.held[1][0].fingerprint = WRONG;
}

fn lost_record(replay: &mut Replay) {
    replay.held[1].clear();
}

fn written_twice(replay: &mut Replay) {
    let install = replay.installs[1];
    replay.row().push(LogRow { seq: 3, version: 3, install: Some(install) });
    replay.record().version = 3;
    (replay.store.head, replay.store.rows) = (3, 3);
    replay.held.iter_mut().for_each(|held| held[0].version = 3);
}

/// The hub answered Bob's line before its commit, and was killed.
fn answered_but_not_stored(replay: &mut Replay) {
    replay.row().pop();
    replay.record().version = 1;
    replay.store.marks.remove(&replay.installs[1]);
    (replay.store.head, replay.store.rows) = (1, 1);
    replay.held.iter_mut().for_each(|held| held[0].version = 1);
}

fn never_answered(replay: &mut Replay) {
    replay.entries[1].answered = 0;
    replay.entries[1].answer = None;
}

fn answered_twice(replay: &mut Replay) {
    replay.entries[1].answered = 2;
}

fn went_down(replay: &mut Replay) {
    replay.regressions[0] = 1;
}

fn other_digest(replay: &mut Replay) {
    replay.differences.push("t/ann/phone: 1 record more".to_owned());
}

/// Bob's change came after the hub had said that Ann's device has everything, and so went unseen.
fn passed_over(replay: &mut Replay) {
    let (domain, id) = ("ticket".into(), Uuid::from_u128(7));
    replay.jumps.push(Jump { device: 0, domain, id, held: 0, adopted: 2, position: 1 });
}

fn other_data(replay: &mut Replay) {
    let (domain, id) = ("ticket".into(), Uuid::from_u128(7));
    replay.mismatches.push(Mismatch { device: Some(0), domain, id, version: 1 });
}

fn leaked(replay: &mut Replay) {
    replay.record().scope = 9;
}

fn stranger(replay: &mut Replay) {
    let record = StoredRecord { version: 1, deleted: true, scope: 0, fingerprint: RIGHT };
    replay.store.records.get_mut("ticket").unwrap().insert(Uuid::from_u128(8), record);
}

#[test]
fn the_verdict_against_the_store_is_yes_only_when_all_agree() {
    let cases: [Case; 13] = [
        (nothing, &[]),
        (lost_change, &["copy at another version"]),
        (wrong_data, &["copy with other data"]),
        (lost_record, &["copy lacks"]),
        (written_twice, &["stored but not answered"]),
        (
            answered_but_not_stored,
            &["answered above the record", "answered but not stored", "numbers decided"],
        ),
        (never_answered, &["never answered", "stored but not answered"]),
        (answered_twice, &["answered more than once"]),
        (went_down, &["version went down"]),
        (passed_over, &["a change was passed over"]),
        (other_data, &["other data under one version"]),
        (leaked, &["copy holds too much"]),
        (stranger, &["not of the trace"]),
    ];
    for (change, expected) in cases {
        let mut replay = good();
        change(&mut replay);
        let verdict = replay.into_store_verdict();
        assert_eq!(verdict.findings.counts.keys().copied().collect::<Vec<_>>(), expected);
        assert_eq!(verdict.yes, expected.is_empty());
    }
}

#[test]
fn the_verdict_against_snapshots_finds_what_can_be_seen_from_outside() {
    let cases: [Case; 10] = [
        (nothing, &[]),
        (lost_change, &["copy at another version"]),
        (wrong_data, &["copy with other data"]),
        (lost_record, &["copy lacks"]),
        (other_digest, &["another digest"]),
        (written_twice, &["versions"]),
        (answered_but_not_stored, &["versions"]),
        (answered_twice, &["answered more than once"]),
        (went_down, &["version went down"]),
        (other_data, &["other data under one version"]),
    ];
    for (change, expected) in cases {
        let mut replay = good();
        change(&mut replay);
        let verdict = replay.into_snapshot_verdict();
        assert_eq!(verdict.findings.counts.keys().copied().collect::<Vec<_>>(), expected);
        assert_eq!(verdict.yes, expected.is_empty());
    }
}

#[test]
fn a_device_sees_its_unit_and_its_user() {
    let mut replay = good();
    replay.survey.devices[0].unit = Some("north".to_owned());
    replay.store.units.insert("north".to_owned(), 4);
    replay.store.users.insert("bob".to_owned(), 5);
    assert_eq!(sight(&replay.survey.devices[0], &replay.store).parties, [4]);
    assert_eq!(sight(&replay.survey.devices[1], &replay.store).parties, [5]);
}

#[test]
fn a_tenant_that_the_store_does_not_know_is_no_yes() {
    let replay = good();
    let verdict = against_store(&replay.evidence(), &HashMap::new(), |_, _| Vec::new());
    assert!(!verdict.yes && verdict.findings.counts.contains_key("answered but not stored"));
    assert_eq!(verdict.copies, 2);
}
