//! Numbers, answers, and what is shown on top of the copy.

use synchub_protocol::ErrorCode;
use synchub_protocol::server::ChangeOperation::{Remove, Update};
use synchub_protocol::server::EntryError;

use super::*;
use crate::testing::{change, data, edit, id, page, result};

const INSTALL: Uuid = Uuid::from_u128(0xA);
const OTHER: Uuid = Uuid::from_u128(0xB);
const DAY: Duration = Duration::from_hours(24);

struct Fixture {
    copy: HubCopy,
    outbox: Outbox,
    journal: Journal,
    stored: Stored,
}

impl Fixture {
    fn new() -> Self {
        Self::load(Stored::default(), INSTALL)
    }

    fn load(mut stored: Stored, install: Uuid) -> Self {
        let (mut journal, kept) = (Journal::default(), stored.clone());
        let mut copy = HubCopy::load(&mut stored);
        copy.confirm(["task"]);
        let outbox = Outbox::load(&mut stored, install, DAY, &copy, &mut journal);
        Self { copy, outbox, journal, stored: kept }
    }

    /// A kill, and a new start with this install.
    fn restart(mut self, install: Uuid) -> Self {
        self.journal.take().into_iter().for_each(|change| self.stored.apply(change));
        Self::load(self.stored, install)
    }

    fn push(&mut self, record: u128, title: &str) -> u64 {
        self.outbox.push(edit(id(record), title), &mut self.journal)
    }

    fn welcomed(&mut self, install: Uuid, last: u64) -> Welcomed {
        self.outbox.welcomed(install, last, || OTHER, &mut self.journal)
    }

    fn accept(&mut self, local_id: u64, version: u64, seq: u64) {
        self.settle(local_id, &result(Status::Updated, version), seq);
    }

    fn settle(&mut self, local_id: u64, result: &EntryResult, seq: u64) {
        let at = Timestamp(1);
        self.outbox.settle(local_id, result, seq, at, &mut self.journal).expect("it waited");
        self.outbox.settle_shown(&self.copy);
    }

    fn copy_has(&mut self, record: u128, version: u64) {
        self.copy.change(change(Update, id(record), version), &mut self.journal);
        self.outbox.settle_shown(&self.copy);
    }

    fn copy_reached(&mut self, seq: u64) {
        self.copy.reached("c".to_owned(), seq, &mut self.journal);
        self.outbox.settle_shown(&self.copy);
    }

    fn shown(&self, record: u128) -> Option<String> {
        let shown = self.outbox.shown("task", id(record), &self.copy)?;
        Some(shown["title"].as_str().expect("a title").to_owned())
    }

    /// What waits: (title, install, number), in the order of sending.
    fn waiting(&self) -> Vec<(String, Uuid, u64)> {
        let title = |kept: &OutboxEntry| kept.entry.data["title"].as_str().expect("a title").to_owned();
        self.outbox.waiting_after(0).map(|(kept, _)| (title(kept), kept.install, kept.number)).collect()
    }
}

fn waits(title: &str, install: Uuid, number: u64) -> (String, Uuid, u64) {
    (title.to_owned(), install, number)
}

#[test]
fn o2_an_entry_is_numbered_when_it_is_made_and_keeps_its_number() {
    let mut f = Fixture::new();
    f.push(1, "a");
    f.push(1, "b");
    let mut f = f.restart(INSTALL);
    f.push(2, "c");
    assert_eq!(f.waiting(), [waits("a", INSTALL, 1), waits("b", INSTALL, 2), waits("c", INSTALL, 3)]);
}

#[test]
fn o2_numbers_go_on_after_everything_was_answered_and_a_restart() {
    let mut f = Fixture::new();
    let refused = f.push(1, "a");
    let error = EntryError { code: ErrorCode::ValidationFailed, message: String::new(), field: None };
    f.settle(refused, &EntryResult { error: Some(error), ..result(Status::Error, 0) }, 0);
    let mut f = f.restart(INSTALL);
    f.push(1, "b");
    assert_eq!(f.waiting(), [waits("b", INSTALL, 2)]);
}

#[test]
fn o2_what_waits_above_the_mark_is_numbered_anew_and_below_it_keeps_its_number() {
    let mut f = Fixture::new();
    let first = f.push(1, "gone");
    f.push(1, "a");
    f.push(1, "b");
    f.outbox.discard(first, &mut f.journal);
    assert_eq!(f.welcomed(INSTALL, 0), Welcomed::Send);
    assert_eq!(f.waiting(), [waits("a", INSTALL, 1), waits("b", INSTALL, 2)]);
    f.welcomed(INSTALL, 1);
    assert_eq!(f.waiting(), [waits("a", INSTALL, 1), waits("b", INSTALL, 2)]);
    f.push(1, "c");
    assert_eq!(f.waiting()[2], waits("c", INSTALL, 3));
    let f = f.restart(INSTALL);
    assert_eq!(f.waiting()[2], waits("c", INSTALL, 3), "the new numbers are stored");
}

#[test]
fn o2_a_renumbered_entry_is_not_sent_before_it_is_stored() {
    let mut f = Fixture::new();
    let first = f.push(1, "gone");
    f.push(1, "a");
    f.outbox.discard(first, &mut f.journal);
    let before = f.journal.revision();
    f.welcomed(INSTALL, 0);
    let (_, revision) = f.outbox.waiting_after(0).next().expect("one waits");
    assert!(revision > before);
}

#[test]
fn o4_what_a_restored_outbox_holds_goes_out_first_under_its_old_install() {
    let mut f = Fixture::new();
    f.push(1, "a");
    f.push(1, "b");
    let mut f = f.restart(OTHER);
    f.push(1, "c");
    assert_eq!(f.waiting(), [waits("a", INSTALL, 1), waits("b", INSTALL, 2), waits("c", OTHER, 1)]);
    assert_eq!(f.outbox.session_install(), INSTALL);
    f.welcomed(INSTALL, 0);
    assert_eq!(f.waiting()[2], waits("c", OTHER, 1), "the old install's mark says nothing of the new one");
    f.welcomed(INSTALL, 7);
    assert_eq!(f.waiting(), [waits("a", INSTALL, 1), waits("b", INSTALL, 2), waits("c", OTHER, 1)]);
    f.accept(1, 2, 1);
    f.accept(2, 3, 1);
    assert_eq!(f.outbox.session_install(), OTHER);
    assert_eq!(f.welcomed(OTHER, 0), Welcomed::Send);
    let mut f = f.restart(OTHER);
    f.push(1, "d");
    assert_eq!(f.waiting(), [waits("c", OTHER, 1), waits("d", OTHER, 2)]);
}

#[test]
fn o4_numbers_that_were_never_given_show_a_restored_phone_and_make_a_new_install() {
    let mut f = Fixture::new();
    f.push(1, "a");
    f.push(1, "b");
    assert_eq!(f.welcomed(INSTALL, 3), Welcomed::HelloAgain);
    assert_eq!(f.waiting(), [waits("a", OTHER, 1), waits("b", OTHER, 2)]);
    assert_eq!(f.outbox.session_install(), OTHER);
    f.push(1, "c");
    assert_eq!(f.waiting()[2], waits("c", OTHER, 3));
}

#[test]
fn o4_a_mark_at_what_was_given_is_no_restored_phone() {
    let mut f = Fixture::new();
    f.push(1, "a");
    assert_eq!(f.welcomed(INSTALL, 1), Welcomed::Send);
    assert_eq!(f.waiting(), [waits("a", INSTALL, 1)]);
}

#[test]
fn r2_accepted_entries_that_the_hub_forgot_go_first_again() {
    let mut f = Fixture::new();
    for title in ["a", "b", "c", "d"] {
        f.push(1, title);
    }
    f.accept(1, 1, 1);
    let error = EntryError { code: ErrorCode::ValidationFailed, message: String::new(), field: None };
    f.settle(2, &EntryResult { error: Some(error), ..result(Status::Error, 0) }, 1);
    f.accept(3, 2, 2);
    let mut f = f.restart(INSTALL);
    f.welcomed(INSTALL, 1);
    assert_eq!(f.waiting(), [waits("c", INSTALL, 2), waits("d", INSTALL, 3)], "b was refused");
    f.push(1, "e");
    assert_eq!(f.waiting()[2], waits("e", INSTALL, 4));
}

#[test]
fn r2_accepted_entries_are_kept_for_a_day() {
    let mut f = Fixture::new();
    f.push(1, "a");
    f.accept(1, 1, 1);
    f.copy_reached(1);
    let almost = i64::try_from(DAY.as_micros()).unwrap();
    f.outbox.forget_old(Timestamp(almost), &mut f.journal);
    assert_eq!(f.outbox.accepted.len(), 1);
    f.outbox.forget_old(Timestamp(almost + 1), &mut f.journal);
    assert_eq!(f.outbox.accepted.len(), 0);
    assert!(f.restart(INSTALL).stored.entries.is_empty());
}

#[test]
fn c7_an_answer_never_touches_the_copy_and_is_shown_until_the_copy_has_its_version() {
    let mut f = Fixture::new();
    f.copy.snapshot(page(true, true, &[(id(1), 1)], "c"), &mut f.journal);
    let first = f.push(1, "mine");
    f.accept(first, 3, 100);
    assert_eq!(f.copy.record("task", id(1)).unwrap().version, 1);
    assert_eq!(f.shown(1).as_deref(), Some("mine"));
    f.copy_has(1, 2);
    assert_eq!(f.shown(1).as_deref(), Some("mine"), "version 2 does not have it yet");
    f.copy_has(1, 3);
    assert_eq!(f.shown(1).as_deref(), Some("v3"));
}

#[test]
fn c7_a_place_at_or_past_the_answers_ends_it_too() {
    let mut f = Fixture::new();
    let local_id = f.push(1, "mine");
    f.accept(local_id, 3, 100);
    f.copy_reached(99);
    assert_eq!(f.shown(1).as_deref(), Some("mine"));
    f.copy_reached(100);
    assert_eq!(f.shown(1), None, "the record has left the view meanwhile");
}

#[test]
fn c7_a_place_that_came_before_the_answer_counts() {
    let mut f = Fixture::new();
    let local_id = f.push(1, "mine");
    f.copy_has(1, 3);
    f.copy.change(change(Remove, id(1), 4), &mut f.journal);
    f.copy_reached(100);
    f.accept(local_id, 3, 100);
    assert_eq!(f.shown(1), None);
}

#[test]
fn c7_what_was_answered_is_shown_after_a_restart_until_the_copy_has_it() {
    let mut f = Fixture::new();
    let local_id = f.push(1, "mine");
    f.accept(local_id, 3, 100);
    let mut f = f.restart(INSTALL);
    assert_eq!(f.shown(1).as_deref(), Some("mine"));
    f.copy_reached(100);
    assert_eq!(f.restart(INSTALL).shown(1), None);
}

#[test]
fn c7_what_waits_is_shown_over_what_was_answered() {
    let mut f = Fixture::new();
    let first = f.push(1, "first");
    f.push(1, "second");
    f.accept(first, 1, 5);
    assert_eq!(f.shown(1).as_deref(), Some("second"));
    f.copy_has(1, 1);
    assert_eq!(f.shown(1).as_deref(), Some("second"));
}

#[test]
fn c7_a_lost_conflict_shows_what_the_answer_gave() {
    let mut f = Fixture::new();
    let local_id = f.push(1, "mine");
    let theirs = Some(Arc::new(data("theirs")));
    f.settle(local_id, &EntryResult { server_data: theirs, ..result(Status::Conflict, 4) }, 9);
    assert_eq!(f.shown(1).as_deref(), Some("theirs"));
    let local_id = f.push(1, "mine again");
    let deleted = EntryResult { deleted: Some(true), ..result(Status::Conflict, 5) };
    f.settle(local_id, &deleted, 10);
    assert_eq!(f.shown(1), None);
}

#[test]
fn o3_a_refused_entry_is_gone_and_not_shown() {
    for status in [Status::Error, Status::Unknown] {
        let mut f = Fixture::new();
        let local_id = f.push(1, "mine");
        f.settle(local_id, &result(status, 1), 9);
        assert_eq!((f.shown(1), f.outbox.len(), f.outbox.accepted.len()), (None, 0, 0));
    }
}

#[test]
fn o1_a_second_answer_settles_nothing() {
    let mut f = Fixture::new();
    let local_id = f.push(1, "mine");
    f.accept(local_id, 1, 1);
    let again = result(Status::Duplicate, 1);
    assert!(f.outbox.settle(local_id, &again, 1, Timestamp(1), &mut f.journal).is_none());
}

#[test]
fn e2_null_clears_a_field_and_an_absent_one_stays() {
    let mut f = Fixture::new();
    f.copy.snapshot(page(true, true, &[(id(1), 1)], "c"), &mut f.journal);
    let fields = serde_json::json!({"title": null, "done": true});
    let entry = Entry { delta: true, ..Entry::upsert("task", id(1), 1, fields.as_object().unwrap().clone()) };
    f.outbox.push(entry, &mut f.journal);
    let shown = f.outbox.shown("task", id(1), &f.copy).unwrap();
    assert_eq!(serde_json::Value::Object(shown), serde_json::json!({"done": true}));
    f.outbox.push(Entry::delete("task", id(1), 1), &mut f.journal);
    assert_eq!(f.outbox.shown("task", id(1), &f.copy), None);
}
