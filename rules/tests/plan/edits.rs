//! Edits of one record: what is an edit, what is stale, who wins, what is answered.

use std::sync::Arc;

use serde_json::{Value, json};
use synchub_protocol::server::{Resolution, Status, Strategy};
use synchub_protocol::{Data, ErrorCode};
use synchub_rules::group::{ReviewKind, SubmittedEntry};
use synchub_rules::record::{InstallNo, MAX_WEIGHT, RowKind};

use crate::support::{Asked as _, Hub, Sent, create, data, delete, delta, device, edit};

const RECENT: &str = "most_recent_wins";

/// A record `{a: 1, b: 1}` that device 10 created.
fn hub(domain: &str) -> Hub {
    let mut hub = Hub::default();
    hub.put(&device(10), create(domain, 1, json!({"a": 1, "b": 1})));
    hub
}

#[test]
fn e1_a_new_record_begins_at_version_one() {
    let mut hub = Hub::default();
    let outcome = hub.put(&device(10), create(RECENT, 1, json!({"a": 1, "b": null})));
    assert_eq!((outcome.status(), outcome.version()), (Status::Created, 1));
    assert_eq!(outcome.server_data, None);
    assert_eq!(*hub.record(RECENT, 1).data, data(json!({"a": 1, "b": null})), "e2: stored as sent");
    let row = &hub.rows()[0];
    assert_eq!((row.kind, row.prev, row.version), (RowKind::Create, 0, 1));
    assert!(row.old.is_empty() && row.before.is_none());
}

#[test]
fn e1_what_the_hub_does_not_have_is_not_found() {
    for entry in
        [edit(RECENT, 1, 3, json!({"a": 1})), delta(RECENT, 1, 0, json!({"a": 1})), delete(RECENT, 1, 0)]
    {
        let mut hub = Hub::default();
        let outcome = hub.put(&device(10), entry);
        assert_eq!((outcome.status(), outcome.code()), (Status::Error, Some(ErrorCode::NotFound)));
        assert_eq!(outcome.stored.version, None);
        assert!(hub.rows().is_empty());
        assert_eq!(hub.reviews(ReviewKind::Refused).len(), 1, "e11: kept in the inbox");
    }
}

#[test]
fn e1_a_version_above_the_records_counts_as_its_own() {
    let mut hub = hub(RECENT);
    let outcome = hub.put(&device(20), delta(RECENT, 1, 99, json!({"a": 2})));
    assert_eq!((outcome.status(), outcome.version()), (Status::Updated, 2));
}

#[test]
fn e2_a_field_is_left_changed_or_cleared() {
    let mut hub = hub(RECENT);
    hub.put(&device(10), delta(RECENT, 1, 1, json!({"a": null, "c": {"d": [1]}})));
    assert_eq!(*hub.record(RECENT, 1).data, data(json!({"a": null, "b": 1, "c": {"d": [1]}})));
    let row = &hub.rows()[1];
    assert_eq!(row.kind, RowKind::Update);
    assert_eq!(
        *row.old,
        data(json!({"a": 1, "c": null})),
        "v4: the values before, null where there was none"
    );
}

/// Whether the record became the very map that was sent, and what it holds then.
fn kept(hub: &mut Hub, device_no: InstallNo, entry: Sent) -> (bool, Value) {
    let SubmittedEntry::Entry { entry: sent, .. } = entry.0.clone() else { panic!("a fault") };
    hub.put(&device(device_no), entry);
    let data = &hub.record(RECENT, 1).data;
    (Arc::ptr_eq(data, &sent.data), Value::Object(Data::clone(data)))
}

#[test]
fn e2_what_comes_to_what_was_sent_is_not_copied() {
    let mut hub = Hub::default();
    let first = json!({"a": 1, "b": 1});
    assert_eq!(kept(&mut hub, 10, create(RECENT, 1, first.clone())), (true, first));
    for (sent, is_kept, left) in [
        (json!({"a": 2, "b": 1}), true, json!({"a": 2, "b": 1})),
        (json!({"a": 2, "b": null, "c": 3}), true, json!({"a": 2, "b": null, "c": 3})),
        (json!({"a": 5, "c": 3}), false, json!({"a": 5, "b": null, "c": 3})),
        (json!({"a": 6, "b": null, "c": 3, "d": null}), false, json!({"a": 6, "b": null, "c": 3})),
    ] {
        let version = hub.record(RECENT, 1).version;
        assert_eq!(kept(&mut hub, 10, edit(RECENT, 1, version, sent)), (is_kept, left));
    }
    hub.put(&device(20), delta(RECENT, 1, 5, json!({"a": 7})));
    let stale = edit(RECENT, 1, 5, json!({"a": 6, "b": null, "c": 4}));
    assert_eq!(
        kept(&mut hub, 10, stale),
        (false, json!({"a": 7, "b": null, "c": 4})),
        "e3: a was not edited"
    );
}

#[test]
fn e3_what_equals_the_base_or_the_record_is_no_edit() {
    for (sent, status, a, b) in [
        // b equals the base: device 20 keeps its 2.
        (json!({"a": 5, "b": 1}), Status::Merged, 5, 2),
        // a equals the base, b the record.
        (json!({"a": 1, "b": 2}), Status::Unchanged, 1, 2),
        (json!({"c": null}), Status::Unchanged, 1, 2),
    ] {
        let mut hub = hub(RECENT);
        hub.put(&device(20), delta(RECENT, 1, 1, json!({"b": 2})));
        let n_rows = hub.rows().len();
        let outcome = hub.put(&device(30), edit(RECENT, 1, 1, sent));
        assert_eq!(outcome.status(), status);
        assert_eq!((hub.value(RECENT, 1, "a"), hub.value(RECENT, 1, "b")), (json!(a), json!(b)));
        assert_eq!(hub.rows().len() > n_rows, status == Status::Merged, "unchanged makes no row");
    }
}

#[test]
fn e3_the_first_change_since_tells_the_base_value() {
    let mut hub = hub(RECENT);
    hub.put(&device(20), delta(RECENT, 1, 1, json!({"b": 2})));
    hub.put(&device(20), delta(RECENT, 1, 2, json!({"b": 3})));
    assert_eq!(hub.put(&device(30), edit(RECENT, 1, 1, json!({"b": 1}))).status(), Status::Unchanged);
    assert_eq!(hub.put(&device(30), edit(RECENT, 1, 2, json!({"b": 2}))).status(), Status::Unchanged);
    assert_eq!(hub.put(&device(30), edit(RECENT, 1, 2, json!({"b": 1}))).status(), Status::Conflict);
}

#[test]
fn e3_delta_promises_that_every_field_was_edited() {
    let mut hub = hub(RECENT);
    hub.put(&device(20), delta(RECENT, 1, 1, json!({"b": 2})).made(0));
    let outcome = hub.put(&device(30), delta(RECENT, 1, 1, json!({"b": 1})));
    assert_eq!((outcome.status(), outcome.resolution()), (Status::Conflict, Some(Resolution::Client)));
    assert_eq!(hub.value(RECENT, 1, "b"), json!(1));
}

#[test]
fn e3_before_version_zero_there_was_nothing() {
    let mut hub = hub(RECENT);
    hub.put(&device(20), delta(RECENT, 1, 1, json!({"b": 2})).made(0));
    let outcome = hub.put(&device(30), create(RECENT, 1, json!({"b": 1, "a": null})));
    assert_eq!(outcome.status(), Status::Conflict, "b is an edit: it was nothing in the base");
    assert_eq!((hub.value(RECENT, 1, "a"), hub.value(RECENT, 1, "b")), (json!(1), json!(1)), "a is none");
}

#[test]
fn e3_a_base_older_than_the_log_makes_every_field_an_edit() {
    for (horizon, sent, status) in [
        (1, 1, Status::Unchanged),
        (2, 1, Status::Conflict),
        // What stood in between is not what stood in the base.
        (1, 2, Status::Conflict),
        (2, 2, Status::Conflict),
    ] {
        let mut hub = hub(RECENT);
        hub.put(&device(20), delta(RECENT, 1, 1, json!({"b": 2})));
        hub.put(&device(20), delta(RECENT, 1, 2, json!({"b": 3})));
        hub.store.horizon = horizon;
        let outcome = hub.put(&device(30), edit(RECENT, 1, 1, json!({"b": sent})));
        assert_eq!(outcome.status(), status, "{horizon} {sent}");
    }
}

#[test]
fn e3_before_version_zero_is_only_known_with_the_row_that_created() {
    for (horizon, status) in [(0, Status::Conflict), (1, Status::Conflict)] {
        let mut hub = hub(RECENT);
        hub.put(&device(20), delta(RECENT, 1, 1, json!({"b": 2})));
        hub.store.horizon = horizon;
        assert_eq!(hub.put(&device(30), create(RECENT, 1, json!({"b": 1}))).status(), status, "{horizon}");
    }
}

#[test]
fn e3_d3_before_a_first_version_above_the_floor_there_was_nothing() {
    let mut hub = Hub::default();
    hub.store.version_floor = 7;
    hub.put(&device(10), create(RECENT, 1, json!({"a": 1})));
    let outcome = hub.put(&device(20), delta(RECENT, 1, 8, json!({"b": 2})));
    assert_eq!(outcome.version(), 9);
    assert_eq!(hub.put(&device(30), create(RECENT, 1, json!({"a": null}))).status(), Status::Unchanged);
}

#[test]
fn e3_r1_a_base_is_read_back_over_a_jump_of_the_epoch() {
    let mut hub = hub(RECENT);
    hub.put(&device(20), delta(RECENT, 1, 1, json!({"b": 2})));
    hub.store.epoch = 1;
    let outcome = hub.put(&device(20), delta(RECENT, 1, 2, json!({"c": 1})));
    assert_eq!(outcome.version(), (1 << 32) + 1);
    for base in [1, 2] {
        let outcome = hub.put(&device(30), edit(RECENT, 1, base, json!({"c": null})));
        assert_eq!(outcome.status(), Status::Unchanged, "c was nothing in version {base}");
    }
}

#[test]
fn e3_more_than_a_hundred_versions_are_not_read_back() {
    for (n, status) in [(100, Status::Unchanged), (101, Status::Conflict)] {
        let mut hub = hub(RECENT);
        for version in 1..=n {
            hub.put(&device(20), delta(RECENT, 1, version, json!({"b": version + 1})));
        }
        assert_eq!(hub.put(&device(30), edit(RECENT, 1, 1, json!({"b": 1}))).status(), status, "{n}");
    }
}

#[test]
fn e4_an_own_write_does_not_make_an_edit_stale() {
    for (writer, sender, status) in [
        (20, 20, Status::Updated),
        // Another device of the same user is somebody else.
        (20, 21, Status::Conflict),
        // What the hub itself wrote is nobody's own.
        (0, 20, Status::Conflict),
        (0, 0, Status::Conflict),
    ] {
        let mut hub = hub(RECENT);
        let author = |install: InstallNo| synchub_rules::group::Author { install, ..device(20) };
        hub.put(&author(writer), delta(RECENT, 1, 1, json!({"a": 2})));
        assert_eq!(hub.put(&author(sender), delta(RECENT, 1, 1, json!({"a": 3}))).status(), status);
    }
}

#[test]
fn e4_only_fields_written_after_the_base_are_stale() {
    let mut hub = hub(RECENT);
    hub.put(&device(20), delta(RECENT, 1, 1, json!({"b": 2})));
    assert_eq!(hub.put(&device(30), delta(RECENT, 1, 2, json!({"b": 3}))).status(), Status::Updated);
    assert_eq!(hub.put(&device(40), delta(RECENT, 1, 2, json!({"a": 4}))).status(), Status::Merged);
    assert_eq!(hub.put(&device(40), delta(RECENT, 1, 2, json!({"b": 4}))).status(), Status::Conflict);
    assert_eq!(hub.put(&device(40), delta(RECENT, 1, 1, json!({"never": 4}))).status(), Status::Merged);
}

#[test]
fn e4_the_first_write_owns_what_stands_in_no_list() {
    let mut hub = hub(RECENT);
    assert_eq!(hub.put(&device(20), create(RECENT, 1, json!({"a": 2}))).status(), Status::Conflict);
    assert_eq!(hub.put(&device(20), create(RECENT, 1, json!({"c": 2}))).status(), Status::Merged);
}

#[test]
fn e4_a_write_that_owns_no_field_any_more_is_dropped() {
    let mut hub = hub(RECENT);
    hub.put(&device(20), delta(RECENT, 1, 1, json!({"a": 2, "b": 2})));
    hub.put(&device(30), delta(RECENT, 1, 2, json!({"a": 3})));
    let owned = |hub: &Hub| -> Vec<(u64, Vec<String>)> {
        let writes = hub.record(RECENT, 1).writes.iter();
        writes.map(|write| (write.version, write.fields.clone())).collect()
    };
    let list = |fields: &[&str]| fields.iter().map(|field| (*field).to_owned()).collect::<Vec<_>>();
    assert_eq!(owned(&hub), [(1, list(&[])), (2, list(&["b"])), (3, list(&["a"]))]);
    hub.put(&device(20), delta(RECENT, 1, 3, json!({"b": 4})));
    assert_eq!(owned(&hub), [(1, list(&[])), (3, list(&["a"])), (4, list(&["b"]))]);
}

/// Device 20 writes `a` first, made at 500; device 30, of another priority, sends its own, made at
/// `made`. Without `made` it is later.
fn clash(domain: &str, (first, second): (i64, i64), made: i64) -> (Hub, Resolution) {
    let mut hub = hub(domain);
    hub.now_us = 2_000_000;
    let author = |no, priority| synchub_rules::group::Author { priority, ..device(no) };
    hub.put(&author(20, first), delta(domain, 1, 1, json!({"a": 2})).made(1_500_000));
    let outcome = hub.put(&author(30, second), delta(domain, 1, 1, json!({"a": 3, "c": 3})).made(made));
    assert_eq!((outcome.status(), hub.value(domain, 1, "c")), (Status::Conflict, json!(3)));
    assert_eq!(outcome.server_data.as_ref(), Some(&hub.record(domain, 1).data));
    assert_eq!(outcome.version(), 3);
    let resolution = outcome.resolution().expect("a conflict has one");
    (hub, resolution)
}

#[test]
fn e5_each_strategy_names_its_winner() {
    use Resolution::{Client, ManualRequired, Server};
    const EARLIER: i64 = 1_400_000;
    const LATER: i64 = 1_600_000;
    for (domain, priorities, made, resolution) in [
        ("client_wins", (50, 50), EARLIER, Client),
        ("server_wins", (50, 50), LATER, Server),
        (RECENT, (50, 50), EARLIER, Server),
        (RECENT, (50, 50), LATER, Client),
        (RECENT, (100, 40), LATER, Client),
        // The same time: the device's priority, then the install.
        (RECENT, (40, 100), 1_500_000, Client),
        (RECENT, (100, 40), 1_500_000, Server),
        (RECENT, (50, 50), 1_500_000, Client),
        ("device_priority", (40, 100), EARLIER, Client),
        ("device_priority", (100, 40), LATER, Server),
        ("device_priority", (50, 50), LATER, Client),
        ("device_priority", (50, 50), EARLIER, Server),
        ("manual", (50, 50), LATER, ManualRequired),
    ] {
        let (hub, won) = clash(domain, priorities, made);
        assert_eq!(won, resolution, "{domain} {priorities:?} {made}");
        let value = if won == Client { 3 } else { 2 };
        assert_eq!(hub.value(domain, 1, "a"), json!(value), "{domain}");
    }
}

#[test]
fn e5_manual_stays_open_with_both_sides() {
    let (hub, _) = clash("manual", (50, 50), 1_600_000);
    let [review] = hub.reviews(ReviewKind::Manual)[..] else { panic!("one open conflict") };
    assert_eq!(review.resolution, Some(Resolution::ManualRequired));
    assert_eq!(review.server, data(json!({"a": 2})));
    assert_eq!(review.entry["data"], json!({"a": 3, "c": 3}));
    assert_eq!(review.fields, data(json!({"a": {"winner": "nobody", "why": "strategy"}})));
    assert!(hub.reviews(ReviewKind::Resolved).is_empty());
}

#[test]
fn e5_device_priority_asks_every_write_that_the_edit_did_not_know() {
    let author = |no, priority| synchub_rules::group::Author { priority, ..device(no) };
    let mut hub = hub("device_priority");
    hub.put(&author(20, 100), delta("device_priority", 1, 1, json!({"a": 2})));
    hub.put(&author(30, 40), delta("device_priority", 1, 2, json!({"a": 3})));
    let late = delta("device_priority", 1, 1, json!({"a": 4}));
    assert_eq!(hub.put(&author(40, 60), late).resolution(), Some(Resolution::Server));
    let knows = delta("device_priority", 1, 2, json!({"a": 5}));
    assert_eq!(hub.put(&author(40, 60), knows).resolution(), Some(Resolution::Client));
}

#[test]
fn e5_preserve_escalation_keeps_what_was_raised() {
    let standing = json!({"subject": "s", "priority": "HIGH", "escalated": true});
    for (sent, resolution, priority) in [
        (json!({"priority": "LOW"}), Resolution::Server, "HIGH"),
        (json!({"priority": "CRITICAL"}), Resolution::Client, "CRITICAL"),
        (json!({"escalated": false}), Resolution::Server, "HIGH"),
        (json!({"subject": "t"}), Resolution::Client, "HIGH"),
        (json!({"subject": "t", "escalated": false}), Resolution::Merged, "HIGH"),
    ] {
        let mut hub = Hub::default();
        hub.put(&device(10), create("ticket", 1, json!({"subject": "r"})));
        hub.put(&device(20), delta("ticket", 1, 1, standing.clone()));
        let outcome = hub.put(&device(30), delta("ticket", 1, 1, sent.clone()));
        assert_eq!((outcome.status(), outcome.resolution()), (Status::Conflict, Some(resolution)), "{sent}");
        assert_eq!(hub.value("ticket", 1, "priority"), json!(priority));
        assert_eq!(hub.value("ticket", 1, "escalated"), json!(true));
    }
}

#[test]
fn e5_resolved_conflicts_are_audited_with_both_sides() {
    let (hub, _) = clash(RECENT, (50, 50), 1_400_000);
    let [review] = hub.reviews(ReviewKind::Resolved)[..] else { panic!("one audit row") };
    assert_eq!(review.server, data(json!({"a": 2})));
    assert_eq!((review.base_version, review.server_version), (1, 2));
    assert_eq!(
        (review.strategy, review.resolution),
        (Some(Strategy::MostRecentWins), Some(Resolution::Server))
    );
    assert_eq!(review.fields, data(json!({"a": {"winner": "server", "why": "time"}})));
}

#[test]
fn e5_the_audit_says_what_decided() {
    const PRIORITY: &str = "device_priority";
    for (domain, priorities, winner, why) in [
        ("client_wins", (50, 50), "client", "strategy"),
        (RECENT, (100, 40), "client", "time"),
        (PRIORITY, (40, 100), "client", "device_priority"),
        (PRIORITY, (100, 40), "server", "device_priority"),
        (PRIORITY, (50, 50), "client", "time"),
    ] {
        let (hub, _) = clash(domain, priorities, 1_600_000);
        let [review] = hub.reviews(ReviewKind::Resolved)[..] else { panic!("one audit row") };
        let expected = data(json!({"a": {"winner": winner, "why": why}}));
        assert_eq!(review.fields, expected, "{domain} {priorities:?}");
    }
}

#[test]
fn e6_own_newer_writes_do_not_make_it_merged() {
    let mut hub = hub(RECENT);
    hub.put(&device(20), delta(RECENT, 1, 1, json!({"a": 2})));
    let outcome = hub.put(&device(20), delta(RECENT, 1, 1, json!({"b": 2})));
    assert_eq!((outcome.status(), outcome.server_data), (Status::Updated, None));
    let outcome = hub.put(&device(30), delta(RECENT, 1, 1, json!({"c": 2})));
    assert_eq!(outcome.status(), Status::Merged);
    assert_eq!(outcome.server_data, Some(hub.record(RECENT, 1).data.clone()));
    let outcome = hub.put(&device(20), delta(RECENT, 1, 1, json!({"d": 2})));
    assert_eq!(outcome.status(), Status::Merged, "device 30 wrote too");
}

#[test]
fn e6_whose_writes_are_newer_is_known_without_the_log_too() {
    for (own, status) in [(true, Status::Updated), (false, Status::Merged)] {
        let mut hub = hub(RECENT);
        hub.put(&device(if own { 20 } else { 30 }), delta(RECENT, 1, 1, json!({"a": 2})));
        hub.put(&device(20), delta(RECENT, 1, 2, json!({"b": 2})));
        hub.store.horizon = hub.store.head.seq;
        assert_eq!(hub.put(&device(20), delta(RECENT, 1, 1, json!({"c": 2}))).status(), status);
    }
}

#[test]
fn e6_unchanged_makes_nothing_even_on_an_old_version() {
    let mut hub = hub(RECENT);
    hub.put(&device(20), delta(RECENT, 1, 1, json!({"a": 2})));
    let outcome = hub.put(&device(30), delta(RECENT, 1, 1, json!({"a": 2, "c": null})));
    assert_eq!((outcome.status(), outcome.version()), (Status::Unchanged, 2));
    assert_eq!((hub.rows().len(), hub.value(RECENT, 1, "c")), (2, Value::Null));
}

#[test]
fn a_record_grows_to_a_bound_and_may_always_shrink() {
    let text = |length: usize| "x".repeat(length);
    let mut hub = Hub::default();
    hub.put(&device(10), create(RECENT, 1, json!({"a": text(MAX_WEIGHT * 3 / 4)})));
    let refused = hub.put(&device(10), delta(RECENT, 1, 1, json!({"b": text(MAX_WEIGHT / 2)})));
    assert_eq!((refused.status(), refused.code()), (Status::Error, Some(ErrorCode::TooLarge)));
    assert_eq!(hub.record(RECENT, 1).version, 1);
    // One that is over the bound already is not stuck there.
    hub.put(&device(10), create(RECENT, 2, json!({"a": text(MAX_WEIGHT * 2), "b": 1})));
    let mut put = |data| hub.put(&device(10), delta(RECENT, 2, 9, data)).status();
    assert_eq!(put(json!({"b": 2})), Status::Updated);
    assert_eq!(put(json!({"b": "longer"})), Status::Error);
    assert_eq!(put(json!({"a": text(MAX_WEIGHT)})), Status::Updated);
}
