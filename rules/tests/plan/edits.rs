//! Edits of one record: what is an edit, what is stale, who wins, what is answered.

use serde_json::{Value, json};
use synchub_protocol::ErrorCode;
use synchub_protocol::server::{Resolution, Status};

use crate::support::{Asked as _, Hub, create, delta, device, edit};

#[test]
fn e1_a_new_record_begins_at_version_one() {
    let mut hub = Hub::default();
    let outcome = hub.put(&device(10), create("most_recent_wins", 1, json!({"a": 1, "b": null})));
    assert_eq!((outcome.status(), outcome.version()), (Status::Created, 1));
    assert_eq!(hub.record("most_recent_wins", 1).data.get("b"), Some(&Value::Null));
    assert_eq!(outcome.server_data, None);
}

#[test]
fn e1_what_the_hub_does_not_have_is_not_found() {
    let mut hub = Hub::default();
    for entry in [
        edit("most_recent_wins", 1, 3, json!({"a": 1})),
        delta("most_recent_wins", 1, 0, json!({"a": 1})),
        crate::support::delete("most_recent_wins", 1, 0),
    ] {
        let outcome = hub.put(&device(10), entry);
        assert_eq!((outcome.status(), outcome.code()), (Status::Error, Some(ErrorCode::NotFound)));
        assert_eq!(outcome.stored.version, None);
    }
    assert!(hub.rows().is_empty());
}

#[test]
fn e5_most_recent_wins_takes_the_higher_stamp() {
    for (made, value, resolution) in [(1_001_900, 2, Resolution::Server), (1_002_700, 3, Resolution::Client)]
    {
        let mut hub = Hub::default();
        hub.put(&device(10), create("most_recent_wins", 1, json!({"a": 1})));
        hub.put(&device(20), delta("most_recent_wins", 1, 1, json!({"a": 2})).made(1_001_950));
        let outcome = hub.put(&device(30), delta("most_recent_wins", 1, 1, json!({"a": 3})).made(made));
        assert_eq!((outcome.status(), outcome.resolution()), (Status::Conflict, Some(resolution)));
        assert_eq!(hub.value("most_recent_wins", 1, "a"), json!(value));
    }
}
