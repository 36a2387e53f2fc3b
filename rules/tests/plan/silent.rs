//! Domains without a feed (telemetry): stored and versioned like any other, and never in the log.

use std::sync::Arc;

use serde_json::{Value, json};
use synchub_protocol::ErrorCode;
use synchub_protocol::client::Subscription;
use synchub_protocol::server::Status;
use synchub_rules::filter::Filters;
use synchub_rules::group::{Domain, ReviewKind, SubmittedEntry};
use synchub_rules::record::{Head, NOT_LOGGED, Sight, SyncStatus};
use synchub_rules::route::was_in_view;

use crate::support::{
    Asked, Hub, Sent, answered, batch, create, data, delete, delta, device, domain, edit, publisher,
};

fn telemetry(id: u128, fields: Value) -> Sent {
    create("telemetry", id, fields)
}

#[test]
fn v2_a_domain_without_a_feed_has_no_rows() {
    let mut hub = Hub::default();
    let answer =
        hub.send(&device(10), [create("silent", 1, json!({"a": 1})), create("silent", 2, json!({}))]);
    assert_eq!((answer.seq, hub.rows().len()), (0, 0));
    assert_eq!((hub.record("silent", 1).version, hub.record("silent", 1).time_us), (1, hub.now_us));
    let outcome = hub.put(&device(10), delta("silent", 1, 1, json!({"a": 2})));
    assert_eq!((outcome.status(), hub.record("silent", 1).version), (Status::Updated, 2));
    let decision = hub.one(batch(&device(20), [delta("silent", 1, 1, json!({"a": 3}))]));
    assert_eq!(answered(decision).outcomes[0].status(), Status::Conflict);
}

#[test]
fn e9_do7_telemetry_is_made_once_and_its_answer_names_the_head_of_the_log() {
    let mut hub = Hub::default();
    let logged = hub.send(&device(10), [create("unit", 1, json!({"a": 1})), create("unit", 2, json!({}))]);
    let answer = hub.send(&device(10), [telemetry(7, json!({"a": 1})), telemetry(8, json!({"a": 1}))]);
    assert_eq!((logged.seq, answer.seq, hub.rows().len()), (2, 2, 2));
    let head = hub.store.head;
    for (entry, status) in [
        (telemetry(7, json!({"a": 2})), Status::Duplicate),
        (edit("telemetry", 7, 1, json!({"a": 2})), Status::Duplicate),
        (delta("telemetry", 7, 1, json!({"a": 2})), Status::Duplicate),
        (telemetry(9, json!({"a": 2})), Status::Created),
    ] {
        let outcome = hub.put(&device(10), entry);
        assert_eq!((outcome.status(), outcome.version(), outcome.code()), (status, 1, None));
    }
    assert_eq!(hub.value("telemetry", 7, "a"), json!(1), "the first content stays");
    assert_eq!(hub.put(&device(10), delete("telemetry", 7, 1)).code(), Some(ErrorCode::Forbidden));
    let stranger = hub.put(&device(20), telemetry(7, json!({"a": 3})));
    assert_eq!(stranger.code(), Some(ErrorCode::NotFound), "v3: the id of somebody else's item is taken");
    assert_eq!(hub.put(&device(10), delta("telemetry", 1, 1, json!({}))).code(), Some(ErrorCode::NotFound));
    let record = hub.record("telemetry", 7);
    assert_eq!((record.version, record.seq, record.deleted), (1, 0, false));
    assert_eq!(record.sync_status, SyncStatus::SyncError, "do8: the last outcome was a refusal");
    assert_eq!((hub.store.head, hub.rows().len()), (head, 2));
}

#[test]
fn inv3_rows_of_a_mixed_batch_follow_each_other_as_if_telemetry_were_not_there() {
    let mut hub = Hub::default();
    let entries = [
        telemetry(1, json!({})),
        create("unit", 2, json!({"a": 1})),
        telemetry(3, json!({})),
        delta("unit", 2, 0, json!({"a": 2})),
        telemetry(1, json!({"a": 1})),
    ];
    let answer = hub.send(&device(10), entries);
    let statuses: Vec<_> = answer.outcomes.iter().map(Asked::status).collect();
    let expected = [Status::Created, Status::Created, Status::Created, Status::Updated, Status::Duplicate];
    assert_eq!(statuses, expected);
    let rows: Vec<_> = hub.rows().iter().map(|row| (row.seq, row.prev, row.domain_name.as_ref())).collect();
    assert_eq!(rows, [(1, 0, "unit"), (2, 1, "unit")]);
    assert_eq!((answer.seq, hub.store.head.seq), (2, 2));
    let times = [1, 3].map(|id| hub.record("telemetry", id).time_us);
    assert_eq!(times, [hub.now_us; 2], "the time of the batch, not of the log");
}

#[test]
fn e10_an_atomic_batch_lands_or_sinks_with_its_telemetry() {
    let mut hub = Hub::default();
    hub.send(&device(10), [telemetry(1, json!({}))]);
    let whole = [telemetry(1, json!({})), telemetry(2, json!({})), create("unit", 3, json!({}))];
    let answer = answered(hub.one(batch(&device(10), whole).atomic()));
    let statuses: Vec<_> = answer.outcomes.iter().map(Asked::status).collect();
    assert_eq!(statuses, [Status::Duplicate, Status::Created, Status::Created], "a duplicate sinks nothing");
    let head = hub.store.head;
    let sunk = [telemetry(4, json!({})), create("unit", 5, json!({})), delete("telemetry", 2, 1)];
    let answer = answered(hub.one(batch(&device(10), sunk).atomic()));
    let codes: Vec<_> = answer.outcomes.iter().map(Asked::code).collect();
    assert_eq!(codes, [ErrorCode::NotApplied, ErrorCode::NotApplied, ErrorCode::Forbidden].map(Some));
    assert!(hub.find("telemetry", 4).is_none() && hub.find("unit", 5).is_none());
    assert_eq!(hub.record("telemetry", 2).sync_status, SyncStatus::Synced);
    assert_eq!((hub.store.head, answer.seq), (head, head.seq));
}

#[test]
fn o1_o2_telemetry_that_comes_again_is_decided_once() {
    let mut hub = Hub::default();
    let first =
        |id: u128| batch(&device(10), [telemetry(1, json!({"a": 1})), telemetry(2, json!({}))]).id(id);
    let answer = answered(hub.one(first(77).from(1)));
    assert!(!answer.repeated);
    let again = answered(hub.one(first(77).from(1)));
    assert!(again.repeated);
    assert_eq!(again.outcomes, answer.outcomes, "the same batch: the same answer");
    let renumbered = answered(hub.one(first(78).from(1)));
    let told: Vec<_> = renumbered.outcomes.iter().map(|one| (one.status(), one.version())).collect();
    assert_eq!(told, [(Status::Duplicate, 1); 2], "the same numbers in another batch");
    let last =
        answered(hub.one(batch(&device(10), [telemetry(1, json!({})), telemetry(3, json!({}))]).from(2)));
    let told: Vec<_> = last.outcomes.iter().map(Asked::status).collect();
    assert_eq!(told, [Status::Duplicate, Status::Created], "cut differently");
    assert_eq!((hub.store.head, hub.store.marks[&device(10).install]), (Head::default(), 3));
}

#[test]
fn e11_refused_telemetry_goes_to_the_inbox_like_any_entry() {
    let mut hub = Hub::default();
    let refused = hub.put(&device(10), delta("telemetry", 1, 0, json!({"a": 1})));
    assert_eq!(refused.code(), Some(ErrorCode::NotFound));
    assert_eq!(hub.reviews(ReviewKind::Refused).len(), 1);
}

/// An entry under the definition that its domain has while it is without a feed.
fn hushed(Sent(entry): Sent) -> Sent {
    let SubmittedEntry::Entry { entry, domain: loud, belonging } = entry else { panic!("an entry") };
    let definition = Arc::clone(&domain("silent").definition);
    let domain = Arc::new(Domain { no: loud.no, name: Arc::clone(&loud.name), definition });
    Sent(SubmittedEntry::Entry { entry, domain, belonging })
}

const TURNED: &str = "most_recent_wins";

#[test]
fn v4_what_was_made_without_a_feed_is_not_taken_for_new() {
    let open =
        Subscription { domain: TURNED.to_owned(), filter: Some(data(json!({"f": 1}))), priority: None };
    let filters = Filters::compile(&[open]).expect("filters");
    let mut hub = Hub::default();
    hub.put(&device(10), hushed(create(TURNED, 1, json!({"f": 1}))));
    hub.put(&device(10), delete(TURNED, 1, 1));
    let history = hub.store.history(hub.record(TURNED, 1), 0);
    let [gone] = history.changes.as_slice() else { panic!("the delete alone is in the log") };
    assert_eq!((gone.version, gone.prev), (2, NOT_LOGGED));
    assert!(
        was_in_view(&history, &[2], &Sight::Everything, &filters),
        "who was given the record by a snapshot is told of the delete"
    );
}

#[test]
fn e6_who_wrote_while_there_was_no_feed_still_counts_as_newer() {
    let mut hub = Hub::default();
    hub.put(&device(10), hushed(create(TURNED, 1, json!({"a": 1}))));
    hub.put(&publisher(), hushed(delta(TURNED, 1, 1, json!({"b": 1}))));
    hub.put(&device(20), delta(TURNED, 1, 2, json!({"c": 1})));
    let outcome = hub.put(&device(20), delta(TURNED, 1, 0, json!({"d": 1})));
    assert_eq!(outcome.status(), Status::Merged, "the writes of others lie between");
    let rows: Vec<_> = hub.rows().iter().map(|row| (row.version, row.prev)).collect();
    assert_eq!(rows, [(3, NOT_LOGGED), (4, 1)]);
}
