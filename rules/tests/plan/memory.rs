//! What a plan keeps alive: bounded, however large the record is that many small edits change.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Value, json};
use synchub_protocol::Data;
use synchub_rules::group::{Submission, Writes};
use synchub_rules::plan::{plan, reads};
use synchub_rules::record::{MAX_ROWS_WEIGHT, MAX_WEIGHT, weight};

use crate::support::{Hub, Sent, batch, create, data, delete, delta, device};

/// A few fields that together weigh almost what a record may.
fn huge() -> Value {
    let field = |n: usize| (format!("f{n}"), Value::String("x".repeat(MAX_WEIGHT / 5)));
    (0..4).map(field).collect::<Data>().into()
}

/// Plans entries, in the hub's present state, without writing them.
fn planned(hub: &mut Hub, batches: Vec<(bool, Vec<Sent>)>) -> Writes {
    let batches = batches.into_iter().map(|(atomic, entries)| {
        let batch = batch(&device(10), entries);
        if atomic { batch.atomic() } else { batch }
    });
    let submissions: Vec<Submission> = batches.map(|batch| hub.submission(batch)).collect();
    let loaded = hub.store.load(&reads(&submissions));
    plan(hub.now_us, loaded, &submissions).writes
}

/// What the copies weigh that a plan keeps alive, each once, and the old values beside them.
fn held(writes: &Writes) -> (usize, usize) {
    let shown = writes.rows.iter().map(|row| &row.data);
    let all = shown.chain(writes.records.iter().map(|write| &write.record.data));
    let copies: HashMap<*const Data, usize> = all.map(|data| (Arc::as_ptr(data), weight(data))).collect();
    (copies.into_values().sum(), writes.rows.iter().map(|row| weight(&row.old)).sum())
}

fn edits(count: u64) -> Vec<Sent> {
    (0..count).map(|n| delta("unit", 1, 1, json!({"n": n}))).collect()
}

fn hub_with_huge_record() -> Hub {
    let mut hub = Hub::default();
    hub.send(&device(10), [create("unit", 1, huge())]);
    hub
}

#[test]
fn a_thousand_small_edits_of_a_huge_record_do_not_keep_a_thousand_copies() {
    let mut hub = hub_with_huge_record();
    let writes = planned(&mut hub, vec![(false, edits(1000))]);
    assert_eq!((writes.rows.len(), writes.rows_are_bare), (1000, true));
    let (copies, old) = held(&writes);
    assert!(copies < 2 * MAX_WEIGHT, "{copies} bytes of copies");
    assert!(old < 1000 * 100, "{old} bytes of old values");

    let written = &writes.records[0].record;
    assert_eq!((written.version, &written.data["n"]), (1001, &json!(999)));
    assert!(weight(&written.data) > MAX_WEIGHT / 2, "the record itself is whole");
    let lived = writes.rows.iter().all(|row| row.before.is_some() && row.after.is_some());
    assert!(lived, "whether a record lived is still said");
    hub.send(&device(10), edits(1000));
}

#[test]
fn what_fits_is_kept_and_what_was_taken_back_does_not_count() {
    let mut hub = hub_with_huge_record();
    let one = weight(&data(huge()));
    let fitting = (MAX_ROWS_WEIGHT / (one + 1000)) as u64;
    for (sunk, count, bare) in [(0, fitting, false), (0, fitting + 1, true), (fitting, fitting, false)] {
        let mut sinking = edits(sunk);
        sinking.extend((sunk > 0).then(|| delete("unit", 2, 1)));
        let batches = [(true, sinking), (false, edits(count))].into_iter();
        let writes = planned(&mut hub, batches.filter(|(_, entries)| !entries.is_empty()).collect());
        assert_eq!((writes.rows.len() as u64, writes.rows_are_bare), (count, bare), "after {sunk}: {count}");
        assert!(held(&writes).0 < MAX_ROWS_WEIGHT);
    }
}

#[test]
fn the_bound_itself_is_still_kept() {
    for (over, bare) in [(0, false), (1, true)] {
        let field = "x".repeat(MAX_ROWS_WEIGHT - weight(&data(json!({"f": ""}))) + over);
        let writes =
            planned(&mut Hub::default(), vec![(false, vec![create("unit", 1, json!({"f": field}))])]);
        assert_eq!(writes.rows_are_bare, bare, "{over} over");
    }
}

#[test]
fn v4_a_list_that_may_shrink_is_kept_whole() {
    let mut hub = Hub::default();
    hub.send(&device(10), [create("ticket", 1, json!({"subject": "s", "tags": ["a", "b"]}))]);
    let writes = planned(&mut hub, vec![(false, vec![delta("ticket", 1, 1, json!({"tags": ["b"]}))])]);
    assert_eq!(writes.rows[0].old["tags"], json!(["a", "b"]));
}

#[test]
fn e9_a_list_that_grows_is_not_kept_with_each_element_that_joins_it() {
    let mut hub = Hub::default();
    let element = |id: usize, text: &str| json!({"id": id, "text": text});
    let long: Vec<Value> = (0..4).map(|n| element(n, &"x".repeat(MAX_WEIGHT / 5))).collect();
    hub.send(&device(10), [create("ticket", 1, json!({"subject": "s", "history": long}))]);
    let joining = (10..500).map(|n| delta("ticket", 1, 1, json!({"history": [element(n, "y")]})));
    let writes = planned(&mut hub, vec![(false, joining.collect())]);
    let (copies, old) = held(&writes);
    assert!(copies < 2 * MAX_WEIGHT && old < 490 * 100, "{copies} and {old} bytes");
    assert!(writes.rows.iter().all(|row| row.old["history"] == json!([])), "that a list stood");
    hub.send(&device(10), [create("ticket", 2, json!({"subject": "s"}))]);
    let writes =
        planned(&mut hub, vec![(false, vec![delta("ticket", 2, 1, json!({"history": [element(1, "y")]}))])]);
    assert_eq!(writes.rows[0].old["history"], Value::Null, "that none stood");
}
