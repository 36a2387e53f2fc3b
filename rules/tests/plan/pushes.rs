//! Pushes: their place behind the changes, their time, and what they are refused for.

use std::sync::Arc;

use serde_json::json;
use synchub_protocol::Priority;
use synchub_protocol::server::Status;
use synchub_rules::group::{AS_IT_STANDS, Decision, Loaded, Submission};
use synchub_rules::plan::{plan, reads};
use synchub_rules::push::{PushBody, SubmittedPush};
use synchub_rules::record::{Head, Scope};
use uuid::Uuid;

use crate::support::{Asked, Hub, batch, create, data, delete, delta, device, edit, publisher};

fn push(id: u128, body: PushBody) -> SubmittedPush {
    SubmittedPush { id: Uuid::from_u128(id), scope: Scope::Party(101), priority: None, ttl_us: 500, body }
}

fn message() -> PushBody {
    PushBody::Message { topic: None, data: Arc::new(data(json!({"a": 1}))) }
}

fn alert(conflict: u128) -> PushBody {
    PushBody::ConflictAlert { conflict_id: Uuid::from_u128(conflict) }
}

fn with(hub: &mut Hub, pushes: Vec<SubmittedPush>) -> Submission {
    let submission = hub.submission(batch(&publisher(), [create("manual", 1, json!({"a": 1}))]));
    Submission { pushes, ..submission }
}

#[test]
fn p1_t1_pushes_follow_the_changes_of_their_request_and_their_time_runs_from_their_own() {
    let mut hub = Hub::default();
    let submissions = [with(&mut hub, vec![push(1, message()), push(2, message())])];
    let loaded = Loaded { head: Head { seq: 7, time_us: 900 }, free_numbers: vec![1], ..Loaded::default() };
    let plan = plan(100, loaded, &submissions);
    let Decision::Answered(answer) = &plan.decisions[0] else { panic!("{:?}", plan.decisions) };
    assert_eq!((answer.seq, plan.writes.head), (10, Head { seq: 10, time_us: 903 }));
    assert_eq!((plan.writes.rows[0].seq, plan.writes.rows[0].time_us), (8, 901));
    let rows: Vec<_> = plan.writes.pushes.iter().map(|row| (row.seq, row.time_us, row.expires_us)).collect();
    assert_eq!(rows, [(9, 902, 1402), (10, 903, 1403)]);
    let first = &plan.writes.pushes[0];
    assert_eq!(
        (first.scope, first.id, first.priority),
        (Scope::Party(101), Uuid::from_u128(1), Priority::Normal)
    );
    assert_eq!((first.install, &first.body), (-7, &message()));
}

#[test]
fn o1_a_request_that_was_decided_logs_no_push_again() {
    let mut hub = Hub::default();
    let submission = with(&mut hub, vec![push(1, message())]);
    let loaded = Loaded { free_numbers: vec![1], ..Loaded::default() };
    let plan = plan(100, loaded, &[submission.clone(), submission]);
    assert_eq!(plan.writes.pushes.len(), 1);
    let Decision::Answered(again) = &plan.decisions[1] else { panic!("{:?}", plan.decisions) };
    assert!(again.repeated);
}

#[test]
fn r1_pushes_of_a_new_epoch_begin_at_its_first_place() {
    let mut hub = Hub::default();
    let submission = Submission { entries: Vec::new(), ..with(&mut hub, vec![push(1, message())]) };
    let plan = plan(100, Loaded { epoch: 3, ..Loaded::default() }, &[submission]);
    assert_eq!(plan.writes.pushes[0].seq, (3 << 40) + 1);
}

#[test]
fn p3_an_alert_is_high_while_a_person_has_to_decide_and_one_of_nothing_is_refused() {
    let mut hub = Hub::default();
    let pushes =
        vec![push(1, alert(5)), SubmittedPush { priority: Some(Priority::Critical), ..push(2, alert(6)) }];
    let submissions = [with(&mut hub, pushes)];
    assert_eq!(reads(&submissions).conflicts, [Uuid::from_u128(5), Uuid::from_u128(6)]);
    let conflicts = [(Uuid::from_u128(5), true), (Uuid::from_u128(6), false)];
    let loaded = Loaded { free_numbers: vec![1], conflicts: conflicts.into(), ..Loaded::default() };
    let decided = plan(100, loaded.clone(), &submissions);
    let priorities: Vec<_> = decided.writes.pushes.iter().map(|row| row.priority).collect();
    assert_eq!(priorities, [Priority::High, Priority::Normal]);
    let unknown = [with(&mut hub, vec![push(1, message()), push(2, alert(7))])];
    let refused = plan(100, loaded, &unknown);
    assert_eq!(refused.decisions, [Decision::UnknownConflict(Uuid::from_u128(7))]);
    assert!(
        refused.writes.rows.is_empty()
            && refused.writes.pushes.is_empty()
            && refused.writes.batches.is_empty()
    );
}

#[test]
fn v1_an_entry_that_names_no_version_goes_on_the_record_as_it_stands() {
    let mut hub = Hub::default();
    let service = publisher();
    assert_eq!(
        hub.put(&service, create("manual", 1, json!({"a": 1})).with(|entry| entry.version = AS_IT_STANDS))
            .status(),
        Status::Created
    );
    hub.put(&device(10), edit("manual", 1, 1, json!({"a": 2})));
    let outcome = hub.put(&service, delta("manual", 1, AS_IT_STANDS, json!({"a": 3})));
    assert_eq!((outcome.status(), outcome.version()), (Status::Updated, 3));
    assert_eq!(
        hub.put(&service, edit("manual", 1, AS_IT_STANDS, json!({"a": 3}))).status(),
        Status::Unchanged
    );
    assert_eq!(hub.put(&service, delete("manual", 1, AS_IT_STANDS)).status(), Status::Updated);
    assert_eq!(
        hub.put(&service, create("manual", 1, json!({"b": 1})).with(|entry| entry.version = AS_IT_STANDS))
            .status(),
        Status::Created,
        "d2: it knows the tombstone"
    );
    let hidden = crate::support::device(99);
    hub.put(&device(10), create("owner", 2, json!({})));
    assert_eq!(
        hub.put(&hidden, delta("owner", 2, AS_IT_STANDS, json!({}))).code(),
        Some(synchub_protocol::ErrorCode::NotFound),
        "v3"
    );
}
