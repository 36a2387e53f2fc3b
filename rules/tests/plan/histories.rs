//! Random histories: what must hold for every order, cut and repetition of entries.

use std::collections::HashMap;

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};
use synchub_protocol::Data;
use synchub_protocol::server::Status;
use synchub_rules::group::{Author, Submission};
use synchub_rules::record::{InstallNo, RecordNo, RowKind};

use crate::support::{Asked as _, Batch, Hub, Sent, Store, batch, create, delete, delta, device, edit};

const DOMAINS: [&str; 6] =
    ["client_wins", "server_wins", "most_recent_wins", "device_priority", "manual", "unit"];

/// One entry of a random history, in plain numbers.
#[derive(Debug, Clone)]
struct Step {
    domain: &'static str,
    id: u128,
    /// How far the version that it names lies behind the record's; 3: version 0.
    behind: u64,
    kind: u8,
    fields: Vec<(&'static str, u8)>,
    clock: i64,
}

fn step() -> impl Strategy<Value = Step> {
    let fields = prop::collection::vec((select(vec!["a", "b", "c"]), 0_u8..4), 1..3);
    (select(DOMAINS.to_vec()), 1_u128..3, 0_u64..4, 0_u8..8, fields, -3_000_i64..3_000).prop_map(
        |(domain, id, behind, kind, fields, clock)| Step { domain, id, behind, kind, fields, clock },
    )
}

impl Step {
    fn entry(&self, hub: &Hub) -> Sent {
        let standing = hub.find(self.domain, self.id).map_or(0, |record| record.version);
        let version = if self.behind == 3 { 0 } else { standing.saturating_sub(self.behind) };
        let value = |value: u8| if value == 0 { Value::Null } else { json!(value) };
        let fields = self.fields.iter().map(|(field, n)| ((*field).to_owned(), value(*n))).collect();
        let entry = match self.kind {
            0 => delete(self.domain, self.id, version),
            1..4 => delta(self.domain, self.id, version, Value::Object(fields)),
            4 if standing == 0 => create(self.domain, self.id, Value::Object(fields)),
            _ => edit(self.domain, self.id, version, Value::Object(fields)),
        };
        entry.made(hub.now_us + self.clock)
    }
}

/// Batches of a group: a device's place, whether it is atomic, and its entries.
fn group() -> impl Strategy<Value = Vec<(i64, bool, Vec<Step>)>> {
    prop::collection::vec((0_i64..3, prop::bool::weighted(0.3), prop::collection::vec(step(), 1..5)), 1..5)
}

/// Three devices with priorities of their own.
fn devices() -> impl Strategy<Value = Vec<Author>> {
    prop::collection::vec(select(vec![40_i64, 60, 100]), 4).prop_map(|priorities| {
        let numbered = priorities.into_iter().zip(1..);
        numbered.map(|(priority, no)| Author { priority, ..device(no * 10) }).collect()
    })
}

fn submissions(hub: &mut Hub, devices: &[Author], group: &[(i64, bool, Vec<Step>)]) -> Vec<Submission> {
    let mut batches: Vec<Batch> = Vec::new();
    for (who, atomic, steps) in group {
        let author = &devices[usize::try_from(*who).expect("small")];
        let entries: Vec<Sent> = steps.iter().map(|step| step.entry(hub)).collect();
        let one = batch(author, entries);
        batches.push(if *atomic { one.atomic() } else { one });
    }
    hub.now_us += 1_000;
    batches.into_iter().map(|batch| hub.submission(batch)).collect()
}

/// Numbers the batches of a group, each as if those before it were decided, but for its `shift`: -1 begins
/// at a number that was given, 1 leaves a gap; where it is 2 the batch is numbered right and comes twice.
fn numbered(group: Vec<Submission>, shifts: &[i64]) -> Vec<Submission> {
    let mut given: HashMap<InstallNo, u64> = HashMap::new();
    let mut numbered = Vec::new();
    for (mut one, shift) in group.into_iter().zip(shifts) {
        let given = given.entry(one.author.install).or_default();
        let first = (*given + 1).saturating_add_signed(if *shift == 2 { 0 } else { *shift }).max(1);
        *given = first + one.entries.len() as u64 - 1;
        one.first_number = Some(first);
        numbered.extend((*shift == 2).then(|| one.clone()));
        numbered.push(one);
    }
    numbered
}

/// The store without the numbers of records, which hang on how they were asked for.
fn plain(store: &Store) -> Store {
    let mut store = store.clone().unnumbered();
    let mut numbers: Vec<RecordNo> = store.records.values().map(|record| record.no).collect();
    numbers.sort_unstable();
    let place = |no: RecordNo| (0..).zip(&numbers).find(|(_, known)| **known == no).expect("known").0;
    for record in store.records.values_mut() {
        record.no = place(record.no);
    }
    for row in &mut store.rows {
        row.record = place(row.record);
    }
    store
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn inv7_a_group_is_planned_as_its_batches_one_by_one(
        devices in devices(),
        before in prop::collection::vec(group(), 0..6),
        last in group(),
        shifts in prop::option::of(prop::collection::vec(select(vec![0, 0, 0, -1, 1, 2]), 5)),
    ) {
        let mut hub = Hub::default();
        for group in &before {
            let group = submissions(&mut hub, &devices, group);
            hub.decide(&group);
        }
        let mut single = hub.clone();
        let group = submissions(&mut hub, &devices, &last);
        let group = if let Some(shifts) = shifts { numbered(group, &shifts) } else { group };
        single.now_us = hub.now_us;
        let together = hub.decide(&group);
        let alone: Vec<_> = group.iter().flat_map(|one| single.decide(std::slice::from_ref(one))).collect();
        prop_assert_eq!(together, alone);
        prop_assert_eq!(plain(&hub.store), plain(&single.store));
    }

    #[test]
    fn inv2_o1_o2_what_is_repeated_changes_nothing(
        devices in devices(),
        groups in prop::collection::vec(group(), 1..6),
    ) {
        let mut hub = Hub::default();
        let mut marks = [0; 4];
        for group in &groups {
            for mut one in submissions(&mut hub, &devices, group) {
                let place = usize::try_from(one.author.install / 10).expect("small");
                one.first_number = Some(marks[place] + 1);
                marks[place] += one.entries.len() as u64;
                let first = crate::support::answered(hub.decide(std::slice::from_ref(&one)).remove(0));
                let stands = hub.store.clone();
                let again = crate::support::answered(hub.decide(std::slice::from_ref(&one)).remove(0));
                prop_assert!(again.repeated);
                let stored = |answer: &synchub_rules::group::BatchAnswer| -> Vec<_> {
                    answer.outcomes.iter().map(|outcome| outcome.stored.clone()).collect()
                };
                prop_assert_eq!(stored(&first), stored(&again));
                prop_assert_eq!(stands.clone().unnumbered(), hub.store.clone().unnumbered());
                one.batch_id = uuid::Uuid::from_u128(one.batch_id.as_u128() + 1);
                let other = crate::support::answered(hub.decide(std::slice::from_ref(&one)).remove(0));
                for (outcome, first) in other.outcomes.iter().zip(&first.outcomes) {
                    prop_assert_eq!(outcome.status(), Status::Duplicate);
                    prop_assert_eq!(outcome.code(), first.code());
                }
                prop_assert_eq!(&stands.records, &hub.store.records);
                prop_assert_eq!(&stands.rows, &hub.store.rows);
                prop_assert_eq!(&stands.reviews, &hub.store.reviews);
            }
        }
    }
}

proptest! {
    #[test]
    fn v4_old_values_put_back_give_every_earlier_version(
        devices in devices(),
        groups in prop::collection::vec(group(), 1..8),
    ) {
        let mut hub = Hub::default();
        for group in &groups {
            let group = submissions(&mut hub, &devices, group);
            hub.decide(&group);
        }
        for record in hub.store.records.values() {
            let mut data = record.data.as_ref().clone();
            let rows = hub.rows().iter().rev().filter(|row| row.record == record.no);
            for row in rows.filter(|row| row.kind != RowKind::Leave) {
                prop_assert_eq!(without_null(&data), without_null(&row.data));
                data.extend(Data::clone(&row.old));
            }
        }
    }

    #[test]
    fn e9_a_list_is_the_union_of_what_came_in_the_order_in_which_it_came(
        lists in prop::collection::vec((0_i64..3, 0_u64..3, prop::collection::vec(0_u8..6, 0..4)), 1..6),
    ) {
        let mut hub = Hub::default();
        hub.put(&device(10), create("ticket", 1, json!({"subject": "s"})));
        let mut expected: Vec<(u8, usize)> = Vec::new();
        for (n, (who, behind, ids)) in lists.iter().enumerate() {
            let version = hub.record("ticket", 1).version.saturating_sub(*behind).max(1);
            let list: Vec<_> = ids.iter().map(|id| json!({"id": id, "text": n})).collect();
            hub.put(&device(10 * (who + 1)), edit("ticket", 1, version, json!({"history": list})));
            for id in ids {
                if !expected.iter().any(|(known, _)| known == id) {
                    expected.push((*id, n));
                }
            }
        }
        let expected: Vec<_> = expected.iter().map(|(id, n)| json!({"id": id, "text": n})).collect();
        let history = hub.value("ticket", 1, "history");
        prop_assert_eq!(history.as_array().cloned().unwrap_or_default(), expected);
    }
}

fn without_null(data: &Data) -> Data {
    data.iter().filter(|(_, value)| !value.is_null()).map(|(f, v)| (f.clone(), v.clone())).collect()
}

/// Two edits of one field that did not know of each other.
#[derive(Debug, Clone)]
struct Pair {
    /// Who wrote the field before, and how far behind each writer was.
    writes: Vec<(usize, u64)>,
    bases: [u64; 2],
    clocks: [i64; 2],
}

fn pair() -> impl Strategy<Value = Pair> {
    let writes = prop::collection::vec((0_usize..2, 0_u64..3), 0..4);
    (writes, [0_u64..4, 0_u64..4], [0_i64..6_000, 0_i64..6_000]).prop_map(|(writes, bases, clocks)| Pair {
        writes,
        bases,
        clocks,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]

    #[test]
    fn t3_two_edits_that_did_not_know_of_each_other_end_the_same_in_either_order(
        devices in devices(),
        pair in pair(),
        domain in select(vec!["most_recent_wins", "device_priority"]),
    ) {
        let mut hub = Hub::default();
        hub.put(&devices[0], create(domain, 1, json!({"a": "first"})));
        for (n, (who, behind)) in pair.writes.iter().enumerate() {
            let version = hub.record(domain, 1).version.saturating_sub(*behind).max(1);
            let made = hub.now_us + 1_000;
            hub.put(&devices[*who], delta(domain, 1, version, json!({"a": format!("write {n}")})).made(made));
        }
        let top = hub.record(domain, 1).version;
        let edit = |n: usize| {
            let base = top.saturating_sub(pair.bases[n]).max(1);
            delta(domain, 1, base, json!({"a": format!("edit {n}")})).made(1_000_000 + pair.clocks[n])
        };
        hub.now_us += 10_000;
        let mut ends = Vec::new();
        for order in [[0, 1], [1, 0]] {
            let mut hub = hub.clone();
            for n in order {
                hub.put(&devices[2 + n], edit(n));
            }
            ends.push(hub.value(domain, 1, "a"));
        }
        prop_assert_eq!(&ends[0], &ends[1]);
    }

    #[test]
    fn e4_e7_a_chain_may_be_cut_into_any_batches(
        fields in prop::collection::vec(prop::collection::vec((select(vec!["a", "b", "c"]), 1_u8..5), 1..3), 1..8),
        foreign in prop::collection::vec((select(vec!["a", "b", "d"]), 5_u8..9), 0..3),
        cuts in prop::collection::vec(any::<bool>(), 8),
        domain in select(DOMAINS.to_vec()),
    ) {
        let run = |cut: &dyn Fn(usize) -> bool| {
            let mut hub = Hub::default();
            hub.put(&device(20), create(domain, 1, json!({"a": 0, "b": 0})));
            for (field, value) in &foreign {
                hub.put(&device(20), delta(domain, 1, 9, json!({*field: value})).made(900_000));
            }
            let mut batch = Vec::new();
            for ((n, time_us), fields) in (0..).zip(950_000..).zip(&fields) {
                let fields = fields.iter().map(|(field, value)| ((*field).to_owned(), json!(value))).collect();
                batch.push(delta(domain, 1, 1, Value::Object(fields)).made(time_us));
                if cut(n) {
                    hub.send(&device(10), std::mem::take(&mut batch));
                }
            }
            if !batch.is_empty() {
                hub.send(&device(10), batch);
            }
            hub.record(domain, 1).data.clone()
        };
        prop_assert_eq!(run(&|_| false), run(&|n| cuts[n]));
    }
}
