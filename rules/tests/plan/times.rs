//! Times, numbers and stamps.

use serde_json::json;
use synchub_protocol::server::{Resolution, Status};
use synchub_rules::group::Author;
use synchub_rules::record::Stamp;

use crate::support::{Asked as _, Hub, batch, create, delta, device, edit};

const RECENT: &str = "most_recent_wins";

#[test]
fn inv3_t1_times_rise_with_places_whatever_the_clock_says() {
    let mut hub = Hub::default();
    hub.send(&device(10), [create(RECENT, 1, json!({})), create(RECENT, 2, json!({}))]);
    let first = hub.now_us;
    hub.now_us -= 5_000;
    hub.put(&device(10), create(RECENT, 3, json!({})));
    hub.now_us += 50_000;
    hub.put(&device(10), create(RECENT, 4, json!({})));
    let rows: Vec<_> = hub.rows().iter().map(|row| (row.seq, row.time_us)).collect();
    assert_eq!(rows, [(1, first), (2, first + 1), (3, first + 2), (4, hub.now_us)]);
}

#[test]
fn r1_numbers_jump_with_the_epoch() {
    let mut hub = Hub::default();
    hub.put(&device(10), create(RECENT, 1, json!({})));
    hub.store.epoch = 3;
    hub.put(&device(10), delta(RECENT, 1, 1, json!({"a": 1})));
    hub.put(&device(10), create(RECENT, 2, json!({})));
    assert_eq!(hub.rows().iter().map(|row| row.seq).collect::<Vec<_>>(), [1, (3 << 40) + 1, (3 << 40) + 2]);
    assert_eq!(
        (hub.record(RECENT, 1).version, hub.record(RECENT, 2).version),
        ((3 << 32) + 1, (3 << 32) + 1)
    );
    assert_eq!(hub.rows()[1].prev, 1);
    hub.put(&device(10), delta(RECENT, 1, 1, json!({"a": 2})));
    assert_eq!(hub.record(RECENT, 1).version, (3 << 32) + 2);
}

/// The stamp of the last write of a record.
fn stamp(hub: &Hub) -> Stamp {
    hub.record(RECENT, 1).writes.last().expect("somebody wrote it").stamp
}

#[test]
fn t2_a_stamp_is_corrected_and_bounded() {
    /// The record is made at 1 001 000, the edit comes at 2 001 000.
    const RECEIVED: i64 = 2_001_000;
    const AFTER_BASE: i64 = 1_001_001;
    for (made, offset, time_us) in [
        (None, 70, RECEIVED),
        (Some(1_200_000), 0, 1_200_000),
        (Some(1_200_000), 30_000, 1_230_000),
        (Some(1_200_000), -30_000, 1_170_000),
        (Some(9_000_000), 0, RECEIVED),
        (Some(0), 0, AFTER_BASE),
        (Some(i64::MIN), -1, AFTER_BASE),
    ] {
        let mut hub = Hub::default();
        hub.put(&device(10), create(RECENT, 1, json!({"a": 1})));
        hub.now_us = 2_000_000;
        let author = Author { clock_offset_us: offset, priority: 77, ..device(20) };
        let entry = delta(RECENT, 1, 1, json!({"a": 2}));
        let entry = if let Some(made) = made { entry.made(made) } else { entry };
        hub.one(batch(&author, [create(RECENT, 2, json!({})), entry]).from(1));
        assert_eq!(stamp(&hub), Stamp { time_us, priority: 77, install: 20, number: 2 }, "{made:?} {offset}");
    }
}

#[test]
fn t2_without_numbers_the_place_in_the_batch_counts() {
    let mut hub = Hub::default();
    hub.send(&device(10), [create(RECENT, 2, json!({})), create(RECENT, 1, json!({}))]);
    assert_eq!(stamp(&hub).number, 2);
}

#[test]
fn t2_the_base_version_bounds_below_wherever_it_is_known() {
    // v1 by 10, v2 by 20 (field b), v3 by 30 (field c), then device 40 sends with base 0, 1, 2 or 3.
    for (base, bound, horizon) in
        [(0, None, 0), (1, Some(0), 0), (2, Some(1), 0), (3, Some(2), 0), (2, None, 2), (3, Some(2), 3)]
    {
        let mut hub = Hub::default();
        hub.put(&device(10), create(RECENT, 1, json!({"a": 1})));
        hub.put(&device(20), delta(RECENT, 1, 1, json!({"b": 1})));
        hub.put(&device(30), delta(RECENT, 1, 2, json!({"c": 1})));
        hub.store.horizon = horizon;
        hub.put(&device(40), edit(RECENT, 1, base, json!({"d": 1})).made(0));
        let expected = bound.map_or(0, |row: usize| hub.rows()[row].time_us + 1);
        assert_eq!(stamp(&hub).time_us, expected, "{base} {horizon}");
    }
}

#[test]
fn t2_the_bound_holds_within_a_group_too() {
    let mut hub = Hub::default();
    hub.put(&device(10), create(RECENT, 1, json!({"a": 1})));
    let created = hub.rows()[0].time_us;
    hub.now_us = 2_000_000;
    let decisions = hub.group(vec![
        batch(&device(20), [delta(RECENT, 1, 1, json!({"a": 2})).made(0)]),
        batch(&device(30), [delta(RECENT, 1, 1, json!({"a": 3})).made(created + 2)]),
        batch(&device(40), [delta(RECENT, 1, 1, json!({"b": 4})).made(0)]),
    ]);
    let outcome = &crate::support::answered(decisions[1].clone()).outcomes[0];
    assert_eq!(outcome.resolution(), Some(Resolution::Client));
    assert_eq!(stamp(&hub).time_us, created + 1);
}

/// Where a group is cut is chance: what it knows beyond what it may read back must change nothing.
#[test]
fn t2_e3_a_hundred_changes_of_the_same_group_tell_no_more_than_those_of_the_log() {
    for (n, known) in [(99, true), (100, false)] {
        for in_one_group in [true, false] {
            let mut hub = Hub::default();
            hub.put(&device(10), create(RECENT, 1, json!({"a": 1, "b": 1})));
            let bound = if known { hub.rows()[0].time_us + 1 } else { 0 };
            hub.store.epoch = 1;
            let changes = (0..n).map(|n| delta(RECENT, 1, 1 << 40, json!({"b": n + 2})));
            let changes = batch(&device(20), changes.collect::<Vec<_>>());
            let set_back = batch(&device(30), [edit(RECENT, 1, 1, json!({"b": 1})).made(0)]);
            let later = batch(&device(40), [delta(RECENT, 1, 1, json!({"d": 1})).made(0)]);
            let decisions = if in_one_group {
                hub.group(vec![changes, set_back, later])
            } else {
                [changes, set_back, later].map(|one| hub.one(one)).to_vec()
            };
            let outcome = &crate::support::answered(decisions[1].clone()).outcomes[0];
            let status = if known { Status::Unchanged } else { Status::Conflict };
            assert_eq!(outcome.status(), status, "{n} {in_one_group}");
            assert_eq!(stamp(&hub).time_us, bound, "{n} {in_one_group}");
        }
    }
}
