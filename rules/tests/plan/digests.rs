//! What a plan does to the digests; that they equal a recount after every plan is checked by the store
//! in memory, in these tests and in all others.

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::json;
use synchub_protocol::digest::part;
use synchub_rules::group::Submission;
use synchub_rules::record::Scope;

use crate::support::{Hub, Sent, answered, batch, create, delete, delta, device, domain, key, publisher};

const DOMAINS: [&str; 3] = ["manual", "unit", "owner"];

fn digest(hub: &Hub, name: &str, scope: Scope) -> (i64, u64) {
    hub.store.digests.get(&(domain(name).no, scope)).copied().unwrap_or_default()
}

#[test]
fn en13_a_digest_follows_a_record_through_its_life() {
    let mut hub = Hub::default();
    let (north, south) = (Scope::Party(900), Scope::Party(901));
    hub.put(&device(10), create("unit", 1, json!({"a": 1})));
    assert_eq!(digest(&hub, "unit", north), (1, part(key(1), 1)));
    hub.put(&device(10), delta("unit", 1, 1, json!({"a": 2})));
    assert_eq!(digest(&hub, "unit", north), (1, part(key(1), 2)));
    hub.put(&publisher(), delta("unit", 1, 2, json!({})).unit(Some(901)));
    assert_eq!((digest(&hub, "unit", north), digest(&hub, "unit", south)), ((0, 0), (1, part(key(1), 3))));
    hub.put(&publisher(), delete("unit", 1, 3));
    assert_eq!(digest(&hub, "unit", south), (0, 0));
    hub.put(&publisher(), delta("unit", 1, 4, json!({"a": 3})));
    assert!(hub.record("unit", 1).deleted, "d2: only a whole edit re-creates");
    hub.put(&publisher(), crate::support::edit("unit", 1, 4, json!({"a": 3})));
    assert_eq!(digest(&hub, "unit", south), (1, part(key(1), 5)));
}

#[test]
fn en13_v1_a_change_of_owner_in_the_same_scope_counts_once() {
    let mut hub = Hub::default();
    hub.put(&device(10), create("unit", 1, json!({"a": 1})));
    hub.put(&publisher(), delta("unit", 1, 1, json!({})).owner(Some(105)));
    assert_eq!(digest(&hub, "unit", Scope::Party(900)), (1, part(key(1), 2)));
}

#[test]
fn en13_e10_a_sunk_batch_leaves_the_digests() {
    let mut hub = Hub::default();
    hub.put(&device(10), create("manual", 1, json!({"a": 1})));
    let entries =
        [delta("manual", 1, 1, json!({"a": 2})), create("manual", 2, json!({})), delete("manual", 9, 4)];
    let submission = hub.submission(batch(&device(10), entries).atomic());
    let loaded = hub.store.load(&synchub_rules::plan::reads(std::slice::from_ref(&submission)));
    let plan = synchub_rules::plan::plan(hub.now_us, loaded, &[submission]);
    assert_eq!(plan.writes.digests, []);
}

/// One entry: whose, which record of which domain, what, and the unit it moves to.
type Step = (bool, &'static str, u128, u8, Option<i64>);

fn step() -> impl Strategy<Value = Step> {
    (any::<bool>(), select(DOMAINS.to_vec()), 1_u128..4, 0_u8..6, select(vec![None, Some(900), Some(901)]))
}

fn entry(hub: &Hub, (_, name, id, kind, unit): Step) -> Sent {
    let version = hub.find(name, id).map_or(0, |record| record.version);
    let fields = json!({"a": hub.now_us + i64::from(kind)});
    match kind {
        0 => delete(name, id, version),
        1 => delta(name, id, version, json!({})).unit(unit).owner(unit.map(|unit| unit - 799)),
        2 => delta(name, id, version, fields).unit(unit),
        _ => crate::support::edit(name, id, version, fields),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn en13_digests_equal_a_recount_after_every_group(
        groups in prop::collection::vec(prop::collection::vec((any::<bool>(), prop::collection::vec(step(), 1..4)), 1..4), 1..12),
    ) {
        let mut hub = Hub::default();
        for group in &groups {
            hub.now_us += 1_000;
            let batches: Vec<Submission> = group
                .iter()
                .map(|(atomic, steps)| {
                    let author = if steps[0].0 { publisher() } else { device(10) };
                    let entries: Vec<Sent> = steps.iter().map(|step| entry(&hub, *step)).collect();
                    let one = batch(&author, entries);
                    hub.submission(if *atomic { one.atomic() } else { one })
                })
                .collect();
            for decision in hub.decide(&batches) {
                answered(decision);
            }
        }
    }
}
