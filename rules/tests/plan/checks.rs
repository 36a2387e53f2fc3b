//! What the definition allows, lists and append-only domains, priorities, chains in one batch.

use serde_json::json;
use synchub_protocol::server::{Resolution, Status};
use synchub_protocol::{ErrorCode, Priority};
use synchub_rules::group::ReviewKind;
use synchub_rules::record::SyncStatus;

use crate::support::{
    Asked, Hub, answered, batch, create, data, delete, delta, device, edit, fault, publisher,
};

/// A ticket that device 10 created and device 20 opened.
fn open_ticket() -> Hub {
    let mut hub = Hub::default();
    hub.put(&device(10), create("ticket", 1, json!({"subject": "s", "status": "NEW"})));
    hub.put(&device(20), delta("ticket", 1, 1, json!({"status": "OPEN"})));
    hub
}

#[test]
fn e7_entries_of_one_record_build_on_each_other() {
    let mut hub = Hub::default();
    let entries = [
        create("ticket", 1, json!({"subject": "s", "status": "NEW"})),
        delta("ticket", 1, 0, json!({"status": "OPEN"})),
        delta("ticket", 1, 0, json!({"status": "DONE"})),
    ];
    let answer = hub.send(&device(10), entries);
    let got: Vec<_> = answer.outcomes.iter().map(|outcome| (outcome.status(), outcome.version())).collect();
    assert_eq!(got, [(Status::Created, 1), (Status::Updated, 2), (Status::Updated, 3)]);
    assert_eq!(answer.seq, 3);
    assert_eq!(hub.rows().iter().map(|row| row.prev).collect::<Vec<_>>(), [0, 1, 2]);
}

#[test]
fn e7_what_hangs_on_a_failed_create_says_so() {
    for failed in [create("ticket", 1, json!({})), fault(Some("ticket"), 1, ErrorCode::ValidationFailed)] {
        let mut hub = Hub::default();
        let entries = [
            failed,
            delta("ticket", 1, 0, json!({"subject": "t"})),
            delete("ticket", 1, 0),
            delta("ticket", 2, 0, json!({"subject": "t"})),
            edit("ticket", 1, 4, json!({"subject": "t"})),
            create("ticket", 1, json!({"subject": "s"})),
            delta("ticket", 1, 0, json!({"subject": "t"})),
        ];
        let answer = hub.send(&device(10), entries);
        let codes: Vec<_> = answer.outcomes.iter().map(Asked::code).collect();
        let depends = Some(ErrorCode::DependsOnFailed);
        let not_found = Some(ErrorCode::NotFound);
        assert_eq!(
            codes,
            [Some(ErrorCode::ValidationFailed), depends, depends, not_found, not_found, None, None]
        );
        assert_eq!(hub.reviews(ReviewKind::Refused).len(), 5);
    }
}

#[test]
fn e7_a_create_that_was_refused_before_counts_too() {
    let mut hub = Hub::default();
    let failing = || create("ticket", 1, json!({}));
    hub.one(batch(&device(10), [failing()]).from(1));
    let entries = [failing(), delta("ticket", 1, 0, json!({"subject": "t"}))];
    let answer = answered(hub.one(batch(&device(10), entries).from(1)));
    assert_eq!(answer.outcomes[0].status(), Status::Duplicate);
    assert_eq!(answer.outcomes[1].code(), Some(ErrorCode::DependsOnFailed));
}

#[test]
fn e7_a_refused_edit_is_no_failed_create() {
    for first in
        [edit("ticket", 1, 3, json!({"subject": "t"})), delta("ticket", 1, 0, json!({"subject": "t"}))]
    {
        let answer = Hub::default().send(&device(10), [first, delete("ticket", 1, 0)]);
        assert_eq!(answer.outcomes[1].code(), Some(ErrorCode::NotFound));
    }
    let mut hub = open_ticket();
    let entries =
        [edit("ticket", 1, 2, json!({"status": "NEW"})), delta("ticket", 1, 2, json!({"subject": "t"}))];
    assert_eq!(hub.send(&device(10), entries).outcomes[1].status(), Status::Updated);
}

#[test]
fn e7_a_failed_re_creation_counts_too() {
    let mut hub = open_ticket();
    hub.put(&device(10), delete("ticket", 1, 2));
    let entries = [edit("ticket", 1, 3, json!({})), delta("ticket", 1, 3, json!({"subject": "t"}))];
    let answer = hub.send(&device(10), entries);
    assert_eq!(answer.outcomes[0].code(), Some(ErrorCode::ValidationFailed));
    assert_eq!(answer.outcomes[1].code(), Some(ErrorCode::DependsOnFailed));
}

#[test]
fn e8_a_create_that_is_not_allowed_is_refused() {
    for (sent, code, field) in [
        (json!({}), ErrorCode::ValidationFailed, "subject"),
        (json!({"subject": 7}), ErrorCode::ValidationFailed, "subject"),
        (json!({"subject": "s", "status": "DONE"}), ErrorCode::InvalidTransition, "status"),
        (json!({"subject": "s", "history": "x"}), ErrorCode::ValidationFailed, "history"),
        (
            json!({"subject": "s", "from": "2026-01-02T00:00:00Z", "to": "2026-01-01T00:00:00Z"}),
            ErrorCode::ValidationFailed,
            "from",
        ),
    ] {
        let mut hub = Hub::default();
        let outcome = hub.put(&device(10), create("ticket", 1, sent));
        assert_eq!(
            (outcome.status(), outcome.code(), outcome.field()),
            (Status::Error, Some(code), Some(field))
        );
        assert!(hub.find("ticket", 1).is_none());
        let [review] = hub.reviews(ReviewKind::Refused)[..] else { panic!("kept in the inbox") };
        assert_eq!((review.code, review.server_version), (Some(code), 0));
    }
}

#[test]
fn e8_a_publisher_may_create_in_any_state() {
    let mut hub = Hub::default();
    let outcome = hub.put(&publisher(), create("ticket", 1, json!({"subject": "s", "status": "DONE"})));
    assert_eq!(outcome.status(), Status::Created);
    let outcome = hub.put(&publisher(), delta("ticket", 1, 1, json!({"status": "NEW"})));
    assert_eq!(outcome.code(), Some(ErrorCode::InvalidTransition));
}

#[test]
fn e8_nothing_newer_stands_so_it_is_refused_whole() {
    for (sender, version) in [(30, 2), (20, 1)] {
        let mut hub = open_ticket();
        let entry = delta("ticket", 1, version, json!({"status": "NEW", "subject": "t"}));
        let outcome = hub.put(&device(sender), entry);
        assert_eq!((outcome.status(), outcome.code()), (Status::Error, Some(ErrorCode::InvalidTransition)));
        assert_eq!((outcome.version(), hub.value("ticket", 1, "subject")), (2, json!("s")));
        let [review] = hub.reviews(ReviewKind::Refused)[..] else { panic!("kept in the inbox") };
        assert_eq!(review.server, data(json!({"status": "OPEN", "subject": "s"})));
        assert_eq!(hub.record("ticket", 1).sync_status, SyncStatus::SyncError);
    }
}

#[test]
fn e8_merged_into_a_newer_version_what_is_not_allowed_keeps_the_records_field() {
    // Device 30 saw NEW; its step to OPEN was right, but the ticket is DONE by now.
    for (sent, resolution, subject) in [
        (json!({"status": "OPEN", "subject": "t"}), Resolution::Server, "t"),
        (json!({"status": "OPEN"}), Resolution::Server, "s"),
    ] {
        let mut hub = open_ticket();
        hub.put(&device(20), delta("ticket", 1, 2, json!({"status": "DONE"})).made(0));
        let outcome = hub.put(&device(30), edit("ticket", 1, 1, sent));
        assert_eq!((outcome.status(), outcome.resolution()), (Status::Conflict, Some(resolution)));
        assert_eq!(outcome.code(), None);
        assert_eq!(hub.value("ticket", 1, "status"), json!("DONE"));
        assert_eq!(hub.value("ticket", 1, "subject"), json!(subject));
        let [lost] = hub.reviews(ReviewKind::Refused)[..] else { panic!("the lost edit is in the inbox") };
        assert_eq!(lost.code, Some(ErrorCode::InvalidTransition));
        let [audit] = hub.reviews(ReviewKind::Resolved)[..] else { panic!("and in the audit log") };
        assert_eq!(audit.id, outcome.conflict().conflict_id);
        assert_eq!(audit.fields, data(json!({"status": {"winner": "server", "why": "invalid_transition"}})));
        assert_eq!(lost.fields, audit.fields, "it says which field did not go through");
    }
}

#[test]
fn e8_a_stale_field_that_won_beside_one_that_is_not_allowed_is_merged() {
    let mut hub = open_ticket();
    hub.put(&device(20), delta("ticket", 1, 2, json!({"status": "DONE", "subject": "u"})).made(0));
    let outcome = hub.put(&device(30), delta("ticket", 1, 1, json!({"status": "OPEN", "subject": "t"})));
    assert_eq!((outcome.status(), outcome.resolution()), (Status::Conflict, Some(Resolution::Merged)));
    assert_eq!(hub.value("ticket", 1, "subject"), json!("t"));
}

#[test]
fn e8_fields_that_do_not_fit_together_after_the_merge() {
    let mut hub = Hub::default();
    let day = |day: u32| format!("2026-01-{day:02}T00:00:00Z");
    hub.put(&device(10), create("ticket", 1, json!({"subject": "s", "from": day(1), "to": day(9)})));
    hub.put(&device(20), delta("ticket", 1, 1, json!({"to": day(3)})));
    let outcome = hub.put(&device(30), delta("ticket", 1, 1, json!({"from": day(5), "subject": "t"})));
    assert_eq!((outcome.status(), outcome.resolution()), (Status::Conflict, Some(Resolution::Server)));
    assert_eq!(hub.value("ticket", 1, "from"), json!(day(1)));
    assert_eq!(hub.value("ticket", 1, "subject"), json!("t"));
}

#[test]
fn e9_lists_are_united_by_id() {
    let mut hub = Hub::default();
    let list = |ids: &[i64], text: &str| {
        json!(ids.iter().map(|id| json!({"id": id, "text": text})).collect::<Vec<_>>())
    };
    hub.put(&device(10), create("ticket", 1, json!({"subject": "s", "history": list(&[1, 1], "first")})));
    let outcome = hub.put(&device(20), delta("ticket", 1, 1, json!({"history": list(&[1, 2], "second")})));
    assert_eq!(outcome.status(), Status::Updated);
    let outcome = hub.put(&device(30), delta("ticket", 1, 1, json!({"history": list(&[3], "third")})));
    assert_eq!(outcome.status(), Status::Merged, "a list is never stale");
    let texts: Vec<_> = hub.value("ticket", 1, "history").as_array().cloned().unwrap_or_default();
    assert_eq!(
        texts,
        [
            json!({"id": 1, "text": "first"}),
            json!({"id": 2, "text": "second"}),
            json!({"id": 3, "text": "third"})
        ]
    );
    for (sent, status) in
        [(json!([]), Status::Unchanged), (json!(null), Status::Unchanged), (json!("x"), Status::Error)]
    {
        assert_eq!(hub.put(&device(40), delta("ticket", 1, 3, json!({"history": sent}))).status(), status);
    }
}

#[test]
fn e9_append_only_items_are_made_once() {
    let mut hub = Hub::default();
    assert_eq!(hub.put(&device(10), create("item", 1, json!({"a": 1}))).status(), Status::Created);
    for entry in [create("item", 1, json!({"a": 2})), delta("item", 1, 1, json!({"a": 2}))] {
        let outcome = hub.put(&device(20), entry);
        assert_eq!((outcome.status(), outcome.version()), (Status::Duplicate, 1));
    }
    assert_eq!(hub.put(&device(20), delta("item", 2, 0, json!({"a": 2}))).code(), Some(ErrorCode::NotFound));
    for id in [1, 2] {
        assert_eq!(hub.put(&device(20), delete("item", id, 1)).code(), Some(ErrorCode::Forbidden));
    }
    assert_eq!(hub.value("item", 1, "a"), json!(1));
    assert_eq!(hub.reviews(ReviewKind::Refused).len(), 1, "e11: forbidden is not kept");
}

#[test]
fn e12_the_definition_gives_the_priority_and_an_entry_may_lower_it() {
    for (author, ticket, asked, priority) in [
        (device(10), "LOW", None, Priority::Normal),
        (device(10), "HIGH", None, Priority::High),
        (device(10), "CRITICAL", None, Priority::Critical),
        (device(10), "CRITICAL", Some(Priority::Low), Priority::Low),
        (device(10), "HIGH", Some(Priority::Critical), Priority::High),
        (publisher(), "HIGH", Some(Priority::Critical), Priority::Critical),
        (publisher(), "HIGH", Some(Priority::Low), Priority::Low),
    ] {
        let mut hub = Hub::default();
        let mut entry = create("ticket", 1, json!({"subject": "s", "priority": ticket}));
        if let Some(asked) = asked {
            entry = entry.priority(asked);
        }
        hub.put(&author, entry);
        assert_eq!((hub.rows()[0].priority, hub.record("ticket", 1).priority), (priority, priority));
        hub.put(&author, delta("ticket", 1, 1, json!({"priority": "LOW"})));
        assert_eq!(hub.record("ticket", 1).priority, Priority::Normal);
    }
}

#[test]
fn do8_the_status_follows_the_last_outcome_until_a_conflict_is_open() {
    let mut hub = Hub::default();
    let status = |hub: &Hub| hub.record("ticket", 1).sync_status;
    hub.put(&device(10), create("ticket", 1, json!({"subject": "s"})));
    hub.put(&device(10), delta("ticket", 1, 1, json!({"subject": 1})));
    assert_eq!(status(&hub), SyncStatus::SyncError);
    hub.put(&device(10), delta("ticket", 1, 1, json!({"subject": "s"})));
    assert_eq!(status(&hub), SyncStatus::SyncError, "unchanged says nothing new");
    hub.put(&device(10), delta("ticket", 1, 1, json!({"subject": "t"})));
    assert_eq!(status(&hub), SyncStatus::Synced);

    hub.put(&device(20), delta("ticket", 1, 1, json!({"subject": "u"})));
    assert_eq!(status(&hub), SyncStatus::Synced, "a conflict that a strategy resolved is none any more");

    let mut hub = Hub::default();
    hub.put(&device(10), create("manual", 1, json!({"a": 1})));
    hub.put(&device(20), delta("manual", 1, 1, json!({"a": 2})));
    hub.put(&device(30), delta("manual", 1, 1, json!({"a": 3})));
    hub.put(&device(20), delta("manual", 1, 2, json!({"a": 4})));
    assert_eq!(hub.record("manual", 1).sync_status, SyncStatus::Conflict);
}
