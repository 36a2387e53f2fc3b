//! Times: of the log, of an edit, and that the order of arrival does not matter (T1 to T3).

use serde_json::{Value, json};
use uuid::Uuid;

use super::desk::{at, data, device, expect, hub, put, send, two, with};
use crate::support::{Hello, Hub, NOW_US, Peer};

#[tokio::test]
async fn t1_times_rise_with_numbers_though_the_clock_stands_or_goes_back() {
    let hub = hub().await;
    let (mut watcher, _) = Peer::live(&hub, &Hello::of("eve", "e").to(&["client_wins"])).await;
    let (mut alice, _) = two(&hub).await;
    let make = || put("client_wins", Uuid::now_v7(), 0, &json!({"n": 1}));
    alice.sync(json!([make(), make(), make()])).await;
    hub.clock.set(NOW_US - 60_000_000);
    alice.sync(json!([make(), make()])).await;
    let mut times = Vec::new();
    while times.len() < 5 {
        let update = watcher.find("data_update").await;
        times.push(update["server_timestamp"].as_str().unwrap().to_owned());
    }
    assert!(times.is_sorted_by(|one, other| one < other), "{times:?}");
    assert!(times.iter().all(|time| time.starts_with("2026-01-01T00:00:00.00000")), "{times:?}");
    hub.stop().await;
}

/// Bob writes x at 50 s by the hub's clock, which stands at 100 s; then Alice sends hers. Returns who
/// won under `most_recent_wins`.
async fn against_bob(hub: &Hub, alice: &mut Peer, more: &Value) -> Value {
    let mut bob = device(hub, "bob", "phone").await;
    let id = Uuid::now_v7();
    hub.clock.set(NOW_US);
    let mut maker = device(hub, "maker", "phone").await;
    expect(&mut maker, put("most_recent_wins", id, 0, &json!({"x": 0})), "created").await;
    hub.clock.set(NOW_US + 100_000_000);
    let theirs =
        with(put("most_recent_wins", id, 1, &json!({"x": "bob"})), &json!({"client_timestamp": at(50)}));
    expect(&mut bob, theirs, "updated").await;
    expect(alice, with(put("most_recent_wins", id, 1, &json!({"x": "alice"})), more), "conflict").await;
    data(hub, id)["x"].clone()
}

#[tokio::test]
async fn t2_a_devices_clock_is_corrected_by_what_its_socket_measured() {
    for (device_clock, edit, winner) in [
        // An hour ahead: what it calls 1:00:40 was at 40 s, what it calls 1:00:60 at 60 s.
        (3600, 3640, "bob"),
        (3600, 3660, "alice"),
        // An hour behind.
        (-3600, -3540, "alice"),
        (-3600, -3560, "bob"),
    ] {
        let hub = hub().await;
        let hello = Hello::of("alice", "a").with(json!({"client_time": at(device_clock)}));
        let (mut alice, _) = Peer::live(&hub, &hello).await;
        let won = against_bob(&hub, &mut alice, &json!({"client_timestamp": at(edit)})).await;
        assert_eq!(won, winner, "a clock {device_clock} s off");
        hub.stop().await;
    }
}

#[tokio::test]
async fn t2_a_time_lies_between_the_base_and_the_receipt() {
    let hub = hub().await;
    let (mut alice, _) = Peer::live(&hub, &Hello::of("alice", "a")).await;
    assert_eq!(against_bob(&hub, &mut alice, &json!({})).await, "alice", "without a time the receipt counts");
    hub.stop().await;

    let hub = self::hub().await;
    let (mut alice, mut bob) = two(&hub).await;
    let id = Uuid::now_v7();
    let stamped = |entry, secs| with(entry, &json!({"client_timestamp": at(secs)}));
    expect(&mut alice, put("most_recent_wins", id, 0, &json!({"x": 0, "y": 0})), "created").await;
    hub.clock.advance(10_000_000);
    // A claim from the far future counts as the receipt, at 10 s.
    expect(&mut bob, stamped(put("most_recent_wins", id, 1, &json!({"x": "bob"})), 1_000_000), "updated")
        .await;
    hub.clock.advance(10_000_000);
    let later = stamped(put("most_recent_wins", id, 1, &json!({"x": "alice"})), 15);
    assert_eq!(expect(&mut alice, later, "conflict").await["conflict"]["resolution"], "client");
    // Who knows version 3 (20 s) is later than it, whatever the clock of the device says.
    expect(&mut bob, stamped(put("most_recent_wins", id, 3, &json!({"x": "again"})), -5000), "updated").await;
    let between = stamped(put("most_recent_wins", id, 2, &json!({"x": "late"})), 19);
    assert_eq!(expect(&mut alice, between, "conflict").await["conflict"]["resolution"], "server");
    hub.stop().await;
}

#[tokio::test]
async fn t3_two_edits_that_did_not_know_of_each_other_end_the_same_in_either_order() {
    let hub = hub().await;
    let mut people = Vec::new();
    for (name, kind) in [("ann", "phone"), ("ben", "phone"), ("cleo", "desktop")] {
        people.push(device(&hub, name, kind).await);
    }
    let mut start = 0;
    for strategy in ["most_recent_wins", "device_priority"] {
        for (one, other) in [(0, 1), (0, 2), (1, 2)] {
            for times in [(40, 50), (50, 40), (45, 45)] {
                let mut ends = Vec::new();
                for order in [[one, other], [other, one]] {
                    let id = Uuid::now_v7();
                    let made = put(strategy, id, 0, &json!({"x": 0, "y": 0}));
                    assert_eq!(send(&mut people[3 - one - other], made).await["status"], "created");
                    hub.clock.advance(100_000_000);
                    for who in order {
                        let secs = start + if who == one { times.0 } else { times.1 };
                        let edit = put(strategy, id, 1, &json!({"x": who, "y": who + 10}));
                        send(&mut people[who], with(edit, &json!({"client_timestamp": at(secs)}))).await;
                    }
                    start += 100;
                    ends.push(data(&hub, id));
                }
                assert_eq!(ends[0], ends[1], "{strategy}, {one} and {other}, {times:?}");
            }
        }
    }
    hub.stop().await;
}
