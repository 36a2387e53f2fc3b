//! Who sees what: scopes, what belongs to whom, and what is not there for whom it is hidden from.

use serde_json::json;
use synchub_protocol::ErrorCode;
use synchub_protocol::server::Status;
use synchub_rules::group::{Author, ReviewKind};
use synchub_rules::record::{RowKind, Scope, Sight};

use crate::support::{Asked, Hub, create, delete, delta, device, edit, publisher};

#[test]
fn v1_a_new_record_belongs_to_who_made_it() {
    for (domain, scope) in
        [("manual", Scope::Tenant), ("unit", Scope::Party(900)), ("owner", Scope::Party(101))]
    {
        let mut hub = Hub::default();
        hub.put(&device(10), create(domain, 1, json!({})));
        let record = hub.record(domain, 1);
        assert_eq!((record.unit, record.owner, record.scope), (Some(900), Some(101), scope));
        assert_eq!(hub.rows()[0].scope, scope);
    }
}

#[test]
fn v2_a_record_without_a_unit_has_the_tenants_scope() {
    let mut hub = Hub::default();
    hub.put(&Author { unit: None, ..device(10) }, create("unit", 1, json!({})));
    assert_eq!(hub.record("unit", 1).scope, Scope::Tenant);
}

#[test]
fn v1_a_change_of_unit_alone_makes_a_version_and_two_rows() {
    let mut hub = Hub::default();
    hub.put(&device(10), create("unit", 1, json!({"a": 1})));
    hub.put(&device(10), delta("unit", 1, 1, json!({"a": 2})));
    let outcome = hub.put(&publisher(), delta("unit", 1, 2, json!({})).unit(Some(901)));
    assert_eq!((outcome.status(), outcome.version()), (Status::Updated, 3));
    let [leave, change] = &hub.rows()[2..] else { panic!("two rows") };
    assert_eq!((leave.kind, leave.scope), (RowKind::Leave, Scope::Party(900)));
    assert_eq!((change.kind, change.scope), (RowKind::Create, Scope::Party(901)));
    for row in [leave, change] {
        assert_eq!((row.version, row.prev), (3, 2), "v2: both with the new version, after the same change");
        assert_eq!(row.before, Some(Scope::Party(900)));
        assert_eq!(row.after, Some(Scope::Party(901)));
        assert!(row.old.is_empty());
    }
    assert_eq!(hub.record("unit", 1).unit, Some(901));
    assert_eq!((hub.record("unit", 1).seq, hub.record("unit", 1).scope), (4, Scope::Party(901)));
    hub.put(&publisher(), delta("unit", 1, 3, json!({"a": 3})));
    assert_eq!(
        (hub.rows()[4].prev, hub.rows()[4].kind),
        (4, RowKind::Update),
        "after the change, not the leave"
    );
}

#[test]
fn v1_a_change_that_moves_nothing_in_sight_is_an_update() {
    let mut hub = Hub::default();
    hub.put(&device(10), create("unit", 1, json!({"a": 1})));
    let outcome = hub.put(&publisher(), delta("unit", 1, 1, json!({})).owner(Some(105)));
    assert_eq!((outcome.status(), hub.rows().len()), (Status::Updated, 2));
    assert_eq!((hub.rows()[1].kind, hub.record("unit", 1).owner), (RowKind::Update, Some(105)));
    let outcome = hub.put(&publisher(), delta("unit", 1, 2, json!({})).owner(Some(105)).unit(Some(900)));
    assert_eq!(outcome.status(), Status::Unchanged);
    let outcome = hub.put(&publisher(), delta("unit", 1, 2, json!({})).unit(None));
    assert_eq!((outcome.status(), hub.record("unit", 1).scope), (Status::Updated, Scope::Tenant));
}

#[test]
fn v1_only_publishers_move_records() {
    let mut hub = Hub::default();
    hub.put(&device(10), create("unit", 1, json!({"a": 1})).unit(Some(901)));
    assert_eq!(hub.record("unit", 1).unit, Some(900));
    let outcome = hub.put(&device(10), delta("unit", 1, 1, json!({})).unit(Some(901)));
    assert_eq!(outcome.status(), Status::Unchanged);
    hub.put(&publisher(), create("unit", 2, json!({})).unit(Some(901)).owner(Some(105)));
    assert_eq!((hub.record("unit", 2).unit, hub.record("unit", 2).owner), (Some(901), Some(105)));
}

#[test]
fn v1_a_move_is_never_merged_and_makes_an_older_edit_merged() {
    let mut hub = Hub::default();
    hub.put(&device(10), create("unit", 1, json!({"a": 1})));
    hub.put(&publisher(), delta("unit", 1, 1, json!({})).owner(Some(105)));
    let outcome = hub.put(&device(10), delta("unit", 1, 1, json!({"a": 2})));
    assert_eq!((outcome.status(), hub.record("unit", 1).owner), (Status::Merged, Some(105)));
    let outcome = hub.put(&publisher(), delta("unit", 1, 1, json!({})).owner(Some(106)));
    assert_eq!((outcome.status(), hub.record("unit", 1).owner), (Status::Merged, Some(106)));
}

#[test]
fn v1_an_owners_record_cannot_be_without_one() {
    let mut hub = Hub::default();
    let outcome = hub.put(&publisher(), create("owner", 1, json!({})).owner(None));
    assert_eq!((outcome.code(), outcome.field()), (Some(ErrorCode::ValidationFailed), Some("owner")));
    hub.put(&device(10), create("owner", 1, json!({})));
    let outcome = hub.put(&publisher(), delta("owner", 1, 1, json!({"a": 1})).owner(None));
    assert_eq!((outcome.status(), hub.record("owner", 1).version), (Status::Error, 1));
    assert_eq!(outcome.code(), Some(ErrorCode::ValidationFailed));
}

#[test]
fn v2_a_domain_that_became_the_owners_leaves_ownerless_records_where_they_are() {
    let mut hub = Hub::default();
    hub.put(&device(10), create("owner", 1, json!({})));
    let key = *hub.store.records.keys().next().expect("one record");
    let record = hub.store.records.get_mut(&key).expect("it");
    (record.owner, record.scope) = (None, Scope::Party(900));
    hub.store.digests = hub.store.recounted();
    assert_eq!(hub.put(&device(10), delta("owner", 1, 1, json!({"a": 1}))).status(), Status::Updated);
    assert_eq!(hub.record("owner", 1).scope, Scope::Party(900));
}

#[test]
fn inv9_v3_what_is_hidden_is_not_found_whether_it_exists_or_not() {
    let mut hub = Hub::default();
    hub.put(&device(10), create("owner", 1, json!({"secret": 1})));
    hub.put(&device(10), create("owner", 2, json!({"secret": 1})));
    hub.put(&device(10), delete("owner", 2, 1));
    let stranger = device(20);
    let before = hub.store.clone();
    for make in [
        |id| edit("owner", id, 1, json!({"secret": 2})),
        |id| delta("owner", id, 1, json!({"secret": 2})),
        |id| delta("owner", id, 0, json!({"secret": 2})),
        |id| delete("owner", id, 1),
        |id| delete("owner", id, 0),
    ] {
        let absent = hub.put(&stranger, make(9));
        for id in [1, 2] {
            let hidden = hub.put(&stranger, make(id));
            assert_eq!((&hidden.stored, &hidden.server_data), (&absent.stored, &absent.server_data));
            assert_eq!((hidden.code(), hidden.stored.version), (Some(ErrorCode::NotFound), None));
        }
    }
    for id in [1, 2] {
        let taken = hub.put(&stranger, create("owner", id, json!({"secret": 2})));
        assert_eq!((taken.code(), taken.stored.version), (Some(ErrorCode::NotFound), None));
    }
    assert_eq!((&hub.store.records, &hub.store.rows), (&before.records, &before.rows), "it changes nothing");
    for review in hub.reviews(ReviewKind::Refused) {
        assert_eq!((review.server.len(), review.server_version, review.scope), (0, 0, Scope::Party(102)));
    }
}

#[test]
fn v3_an_id_that_is_taken_fails_what_hangs_on_it() {
    let mut hub = Hub::default();
    hub.put(&device(10), create("owner", 1, json!({"secret": 1})));
    let entries = [create("owner", 1, json!({})), delta("owner", 1, 0, json!({"a": 1}))];
    let answer = hub.send(&device(20), entries);
    let codes: Vec<_> = answer.outcomes.iter().map(Asked::code).collect();
    assert_eq!(codes, [Some(ErrorCode::NotFound), Some(ErrorCode::DependsOnFailed)]);
}

#[test]
fn v3_what_left_the_senders_sight_by_its_own_entry_is_not_shown() {
    let mut hub = Hub::default();
    hub.put(&device(10), create("unit", 1, json!({"a": 1})));
    hub.put(&device(20), delta("unit", 1, 1, json!({"a": 2})));
    let narrow = Author { sight: Sight::Scopes(vec![Scope::Party(900)]), ..publisher() };
    let outcome = hub.put(&narrow, delta("unit", 1, 1, json!({"b": 3})).unit(Some(901)));
    assert_eq!((outcome.status(), outcome.server_data), (Status::Merged, None));
}
