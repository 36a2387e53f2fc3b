//! Deletes, and edits that they did not know of.

use serde_json::json;
use synchub_protocol::server::{Resolution, Status};
use synchub_rules::group::ReviewKind;
use synchub_rules::record::RowKind;

use crate::support::{Asked as _, Hub, create, data, delete, delta, device, edit};

const ALL: [&str; 5] = ["client_wins", "server_wins", "most_recent_wins", "device_priority", "manual"];

fn hub(domain: &str) -> Hub {
    let mut hub = Hub::default();
    hub.put(&device(10), create(domain, 1, json!({"a": 1, "b": 1})));
    hub
}

#[test]
fn e6_a_delete_on_the_version_it_names_is_updated() {
    for domain in ALL {
        let mut hub = hub(domain);
        let outcome = hub.put(&device(20), delete(domain, 1, 1));
        assert_eq!((outcome.status(), outcome.version(), outcome.stored.deleted), (Status::Updated, 2, true));
        let record = hub.record(domain, 1);
        assert!(record.deleted);
        assert_eq!(*record.data, data(json!({"a": 1, "b": 1})), "v4: a tombstone keeps its data");
        let row = &hub.rows()[1];
        assert_eq!((row.kind, row.prev, row.old.len()), (RowKind::Delete, 1, 0));
        assert!(row.before.is_some() && row.after.is_none());
    }
}

#[test]
fn e6_a_delete_after_own_writes_is_updated() {
    for domain in ALL {
        let mut hub = hub(domain);
        hub.put(&device(20), delta(domain, 1, 1, json!({"a": 2})));
        assert_eq!(hub.put(&device(20), delete(domain, 1, 1)).status(), Status::Updated);
    }
}

#[test]
fn d1_a_delete_that_did_not_know_of_an_edit() {
    for domain in ALL {
        let mut hub = hub(domain);
        hub.put(&device(20), delta(domain, 1, 1, json!({"a": 2})));
        let outcome = hub.put(&device(30), delete(domain, 1, 1));
        let (status, resolution, deleted) = match domain {
            "server_wins" => (Status::Conflict, Some(Resolution::Server), false),
            "manual" => (Status::Conflict, Some(Resolution::ManualRequired), false),
            _ => (Status::Merged, None, true),
        };
        assert_eq!((outcome.status(), outcome.resolution()), (status, resolution), "{domain}");
        assert_eq!((outcome.stored.deleted, hub.record(domain, 1).deleted), (deleted, deleted));
        assert_eq!(outcome.server_data.is_some(), !deleted, "what stands is shown");
        assert_eq!(hub.reviews(ReviewKind::Manual).len(), usize::from(domain == "manual"));
        assert_eq!(hub.reviews(ReviewKind::Resolved).len(), usize::from(domain == "server_wins"));
    }
}

#[test]
fn d1_an_edit_that_did_not_know_of_the_delete_loses() {
    for domain in ALL {
        for entry in [
            edit(domain, 1, 1, json!({"a": 5})),
            create(domain, 1, json!({"a": 5})),
            delta(domain, 1, 1, json!({"a": 5})),
            // D2: a delta is such an edit even if it names the tombstone's version.
            delta(domain, 1, 2, json!({"a": 5})),
        ] {
            let mut hub = hub(domain);
            hub.put(&device(20), delete(domain, 1, 1));
            let outcome = hub.put(&device(30), entry);
            let manual = domain == "manual";
            let resolution = if manual { Resolution::ManualRequired } else { Resolution::Server };
            assert_eq!((outcome.status(), outcome.resolution()), (Status::Conflict, Some(resolution)));
            assert_eq!((outcome.stored.deleted, outcome.version(), outcome.code()), (true, 2, None));
            assert_eq!(outcome.server_data, None, "nothing stands to be shown");
            assert_eq!(hub.rows().len(), 2);
            let kind = if manual { ReviewKind::Manual } else { ReviewKind::Refused };
            let [review] = hub.reviews(kind)[..] else { panic!("the edit is kept") };
            assert_eq!(review.id, outcome.conflict().conflict_id);
            assert_eq!(review.server, data(json!({"a": 1})));
        }
    }
}

#[test]
fn d1_the_delete_of_an_own_install_is_known_to_nobody_else() {
    let mut hub = hub("client_wins");
    hub.put(&device(10), delete("client_wins", 1, 1));
    let outcome = hub.put(&device(10), edit("client_wins", 1, 1, json!({"a": 2})));
    assert_eq!(outcome.status(), Status::Conflict);
}

#[test]
fn d2_an_edit_of_the_tombstone_makes_the_record_anew() {
    for version in [2, 7] {
        let mut hub = hub("unit");
        hub.put(&device(20), delete("unit", 1, 1));
        let outcome = hub.put(&device(30), edit("unit", 1, version, json!({"a": 5, "c": 5})));
        assert_eq!((outcome.status(), outcome.version()), (Status::Created, 3));
        let record = hub.record("unit", 1);
        assert_eq!(*record.data, data(json!({"a": 5, "c": 5})), "nothing of the old one is left");
        assert!(!record.deleted && record.owner == Some(101), "v1: it still belongs to whom it did");
        let row = &hub.rows()[2];
        assert_eq!((row.kind, row.prev, row.before.is_some()), (RowKind::Create, 2, false));
        assert_eq!(*row.old, data(json!({"a": 1, "b": 1, "c": null})));
    }
}

#[test]
fn d2_fields_that_went_with_the_tombstone_were_written_by_who_made_it_anew() {
    let mut hub = hub("most_recent_wins");
    hub.put(&device(20), delete("most_recent_wins", 1, 1));
    hub.put(&device(20), edit("most_recent_wins", 1, 2, json!({"a": 5})));
    let outcome = hub.put(&device(30), delta("most_recent_wins", 1, 1, json!({"b": 6})).made(0));
    assert_eq!((outcome.status(), outcome.resolution()), (Status::Conflict, Some(Resolution::Server)));
    let outcome = hub.put(&device(30), delta("most_recent_wins", 1, 3, json!({"b": 6})));
    assert_eq!(outcome.status(), Status::Updated);
    assert_eq!(hub.record("most_recent_wins", 1).writes[0].fields, Vec::<String>::new());
}

#[test]
fn d2_e3_the_base_value_is_found_across_a_re_creation() {
    let mut hub = hub("most_recent_wins");
    hub.put(&device(20), delete("most_recent_wins", 1, 1));
    hub.put(&device(20), edit("most_recent_wins", 1, 2, json!({"a": 5})));
    let outcome = hub.put(&device(30), edit("most_recent_wins", 1, 1, json!({"a": 1, "b": 1})));
    assert_eq!(outcome.status(), Status::Unchanged);
}

#[test]
fn d2_a_delete_of_a_deleted_record_is_unchanged() {
    let mut hub = hub("manual");
    hub.put(&device(20), delete("manual", 1, 1));
    let outcome = hub.put(&device(30), delete("manual", 1, 1));
    assert_eq!((outcome.status(), outcome.version(), outcome.stored.deleted), (Status::Unchanged, 2, true));
    assert_eq!(hub.rows().len(), 2);
}

#[test]
fn d3_an_id_created_anew_begins_above_the_purged_versions() {
    let mut hub = Hub::default();
    hub.store.version_floor = 8;
    assert_eq!(hub.put(&device(10), create("manual", 1, json!({"a": 1}))).version(), 9);
    assert_eq!(hub.put(&device(10), delta("manual", 1, 9, json!({"a": 2}))).version(), 10);
    hub.store.version_floor = 20;
    assert_eq!(hub.put(&device(10), delta("manual", 1, 10, json!({"a": 3}))).version(), 11);
}
