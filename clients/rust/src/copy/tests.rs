//! The rules of the copy, one by one.

use synchub_protocol::server::ChangeOperation::{Create, Delete, Remove, Update};

use super::*;
use crate::testing::{change, id, page};

/// A copy subscribed to `task`, the journal, and what the journal's changes make of an empty storage.
struct Fixture {
    copy: HubCopy,
    journal: Journal,
    stored: Stored,
}

impl Fixture {
    fn new() -> Self {
        let mut copy = HubCopy::default();
        copy.confirm(["task"]);
        Self { copy, journal: Journal::default(), stored: Stored::default() }
    }

    fn holding(records: &[(Uuid, u64)]) -> Self {
        let mut fixture = Self::new();
        fixture.page(true, true, records, "c0");
        fixture.copy.stats = CopyStats::default();
        fixture
    }

    fn page(&mut self, first: bool, last: bool, records: &[(Uuid, u64)], cursor: &str) -> Vec<Touched> {
        let touched = self.copy.snapshot(page(first, last, records, cursor), &mut self.journal);
        self.store();
        touched
    }

    fn change(&mut self, operation: ChangeOperation, mobile_id: Uuid, version: u64) -> Option<Touched> {
        let touched = self.copy.change(change(operation, mobile_id, version), &mut self.journal);
        self.store();
        touched
    }

    fn reached(&mut self, cursor: &str, seq: u64) -> Vec<Touched> {
        let touched = self.copy.reached(cursor.to_owned(), seq, &mut self.journal);
        self.store();
        touched
    }

    /// Everything noted is stored, and what is stored is what is held.
    fn store(&mut self) {
        self.journal.take().into_iter().for_each(|change| self.stored.apply(change));
        let mut held = self.copy.records.clone();
        held.retain(|_, records| !records.is_empty());
        assert_eq!(self.stored.records, held);
        assert_eq!(self.stored.running, self.copy.running);
        assert_eq!(self.stored.cursor.as_deref(), self.copy.cursor());
        assert_eq!(self.stored.position, self.copy.position());
    }

    /// A kill and a new start with the same subscriptions.
    fn restart(&mut self) {
        self.copy = HubCopy::load(&mut self.stored.clone());
        self.copy.confirm(["task"]);
    }

    fn versions(&self) -> Vec<(u128, u64)> {
        let mut versions: Vec<_> =
            self.copy.records("task").map(|(id, record)| (id.as_u128(), record.version)).collect();
        versions.sort_unstable();
        versions
    }
}

#[test]
fn c6_only_a_higher_version_is_adopted() {
    let mut f = Fixture::holding(&[(id(1), 5)]);
    for (version, adopted) in [(4, false), (5, false), (6, true)] {
        assert_eq!(f.change(Update, id(1), version).is_some(), adopted, "{version}");
    }
    assert_eq!(f.versions(), [(1, 6)]);
    assert_eq!((f.copy.stats().skipped_repeats, f.copy.stats().version_regressions), (2, 0));
}

#[test]
fn c6_create_and_update_are_applied_alike() {
    let mut f = Fixture::holding(&[(id(1), 5)]);
    assert_eq!(f.change(Create, id(1), 6).map(|touched| touched.operation), Some(Update));
    assert_eq!(f.change(Update, id(2), 3).map(|touched| touched.operation), Some(Create));
    assert_eq!(f.versions(), [(1, 6), (2, 3)]);
}

#[test]
fn c6_a_delete_or_remove_of_what_is_not_held_is_nothing() {
    let mut f = Fixture::holding(&[(id(1), 5)]);
    assert_eq!(f.change(Delete, id(2), 9), None);
    assert_eq!(f.change(Remove, id(3), 9), None);
    assert_eq!(f.change(Delete, id(1), 5), None, "an old delete");
    assert_eq!(f.versions(), [(1, 5)]);
    assert_eq!(f.change(Remove, id(1), 6).map(|touched| touched.operation), Some(Remove));
    assert_eq!(f.versions(), []);
}

#[test]
fn c4_snapshot_records_are_adopted_whatever_version_is_held() {
    let mut f = Fixture::holding(&[(id(1), 5), (id(2), 5)]);
    f.page(true, true, &[(id(1), 3), (id(2), 7)], "c1");
    assert_eq!(f.versions(), [(1, 3), (2, 7)]);
    assert_eq!((f.copy.stats().snapshot_regressions, f.copy.stats().version_regressions), (1, 0));
}

#[test]
fn c4_at_last_goes_what_came_neither_in_a_page_nor_in_a_data_frame() {
    let mut f = Fixture::holding(&[(id(1), 1), (id(2), 1), (id(3), 1), (id(4), 1)]);
    f.page(true, false, &[(id(1), 1)], "c1");
    f.change(Update, id(2), 2);
    f.change(Update, id(5), 1);
    f.change(Update, id(4), 1);
    assert_eq!(f.versions().len(), 5, "nothing goes before `last`");
    let touched = f.page(false, true, &[(id(6), 1)], "c2");
    assert_eq!(f.versions(), [(1, 1), (2, 2), (4, 1), (5, 1), (6, 1)]);
    assert!(touched.contains(&Touched {
        domain: "task".into(),
        mobile_id: id(3),
        version: 1,
        operation: Remove
    }));
}

#[test]
fn c4_a_data_frame_before_first_does_not_save_a_record() {
    let mut f = Fixture::holding(&[]);
    f.change(Update, id(1), 1);
    f.page(true, true, &[], "c1");
    assert_eq!(f.versions(), []);
}

#[test]
fn c4_a_broken_snapshot_goes_on_after_a_kill() {
    let mut f = Fixture::holding(&[(id(1), 1), (id(2), 1), (id(3), 1)]);
    f.page(true, false, &[(id(1), 1)], "c1");
    f.change(Update, id(2), 2);
    f.restart();
    f.page(false, true, &[(id(4), 1)], "c2");
    assert_eq!(f.versions(), [(1, 1), (2, 2), (4, 1)]);
}

#[test]
fn c4_first_begins_anew() {
    let mut f = Fixture::holding(&[]);
    f.page(true, false, &[(id(1), 1)], "c1");
    f.page(true, true, &[(id(2), 1)], "c2");
    assert_eq!(f.versions(), [(2, 1)]);
}

#[test]
fn c3_what_is_unsubscribed_goes_with_the_next_cursor_not_before() {
    let mut f = Fixture::holding(&[(id(1), 1)]);
    f.copy.confirm(["other"]);
    f.change(Update, id(1), 2);
    assert_eq!(f.versions(), [(1, 1)]);
    let touched = f.reached("c1", 9);
    assert_eq!(touched.len(), 1);
    assert_eq!(f.versions(), []);
}

#[test]
fn c3_a_running_snapshot_of_a_domain_that_was_left_goes_too() {
    let mut f = Fixture::new();
    f.page(true, false, &[], "c1");
    f.copy.confirm([]);
    f.reached("c2", 9);
    assert!(f.copy.running.is_empty());
}

#[test]
fn c3_data_frames_of_other_domains_are_ignored() {
    let mut f = Fixture::new();
    f.copy.confirm(["other"]);
    assert_eq!(f.change(Create, id(1), 1), None);
    assert_eq!(f.page(true, true, &[(id(2), 1)], "c1"), []);
    assert_eq!(f.versions(), []);
    assert_eq!(f.copy.stats().ignored, 2);
    assert_eq!(f.copy.cursor(), Some("c1"), "the cursor counts all the same");
}

#[test]
fn c1_every_cursor_is_kept_with_what_it_covers() {
    let mut f = Fixture::new();
    f.page(true, false, &[(id(1), 1)], "c1");
    assert_eq!(f.stored.cursor.as_deref(), Some("c1"));
    f.page(false, true, &[], "c2");
    f.change(Update, id(1), 2);
    assert_eq!(f.stored.cursor.as_deref(), Some("c2"), "a change alone has no cursor");
    f.reached("c3", 12);
    assert_eq!((f.stored.cursor.as_deref(), f.stored.position), (Some("c3"), 12));
    f.copy.forget_cursor(&mut f.journal);
    f.store();
    assert_eq!(f.stored.cursor, None);
}

#[test]
fn waiting_for_a_version_ends_when_it_is_held_or_gone() {
    let mut f = Fixture::holding(&[(id(1), 5), (id(4), 1)]);
    assert_eq!(f.copy.reached_version("task", id(1), 5), Some(Reached::Held(5)));
    assert_eq!(f.copy.reached_version("task", id(1), 6), None);
    f.change(Delete, id(1), 7);
    assert_eq!(f.copy.reached_version("task", id(1), 7), Some(Reached::Gone));
    assert_eq!(f.copy.reached_version("task", id(1), 8), None);
    f.change(Delete, id(2), 2);
    assert_eq!(f.copy.reached_version("task", id(2), 1), Some(Reached::Gone), "never held, and gone");
    f.change(Create, id(1), 8);
    assert_eq!(f.copy.reached_version("task", id(1), 8), Some(Reached::Held(8)));
    f.page(true, true, &[], "c1");
    assert_eq!(f.copy.reached_version("task", id(4), 9), Some(Reached::Gone));
    f.change(Create, id(4), 2);
    f.change(Delete, id(4), 3);
    assert_eq!(f.copy.reached_version("task", id(4), 9), None, "it went another time");
}

#[test]
fn bw2_a_delta_is_laid_over_the_version_that_it_names_and_no_other() {
    let delta = |base, version, data: serde_json::Value, changed: &[&str]| Change {
        base_version: Some(base),
        data: Some(Arc::new(data.as_object().unwrap().clone())),
        changed: Some(changed.iter().map(ToString::to_string).collect()),
        ..change(Update, id(1), version)
    };
    let mut f = Fixture::holding(&[(id(1), 3)]);
    let title = f.copy.record("task", id(1)).unwrap().data["title"].clone();
    let place = delta(3, 4, serde_json::json!({"place": "roof"}), &["place"]);
    f.copy.change(place.clone(), &mut f.journal).unwrap();
    f.store();
    let held = f.copy.record("task", id(1)).unwrap();
    assert_eq!((held.version, &held.data["title"], &held.data["place"]), (4, &title, &"roof".into()));
    assert_eq!(f.copy.change(place, &mut f.journal), None, "C6: it comes again");
    f.copy.change(delta(4, 5, serde_json::json!({}), &["title"]), &mut f.journal).unwrap();
    f.store();
    let held = f.copy.record("task", id(1)).unwrap();
    assert!(held.data.get("title").is_none() && held.data["place"] == "roof", "what is not there is gone");

    f.change(Remove, id(1), 9);
    assert_eq!(
        f.copy.change(delta(6, 7, serde_json::json!({"place": "x"}), &["place"]), &mut f.journal),
        None
    );
    assert!(f.copy.record("task", id(1)).is_none());
    assert_eq!((f.copy.stats.deltas, f.copy.stats.deltas_without_base), (2, 1));
}
