//! Who is sent what, live and by replay: both sides of one table.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};
use synchub_protocol::Data;
use synchub_protocol::client::Subscription;
use synchub_rules::filter::Filters;
use synchub_rules::record::{LogRow, Record, RecordNo, RowKind, Scope, Sight};
use synchub_rules::route::{
    Audience, Delivery, PageDelivery, PageRow, ReplayPage, is_in_view, verdict, was_in_view,
};
use uuid::Uuid;

use crate::support::{Hub, Sent, create, data, delete, delta, device, domain, edit, publisher};

const UNIT: &str = "unit";

fn filters(filter: Option<Value>) -> Filters {
    let filter = filter.map(data);
    Filters::compile(&[Subscription { domain: UNIT.to_owned(), filter, priority: None }]).expect("filters")
}

/// Sees the tenant, the unit 900 and the user 102, and of the domain what has `f: 1`.
fn reader() -> Audience {
    let filters = Arc::new(filters(Some(json!({"f": 1}))));
    Audience { sight: device(20).sight, domains: BTreeMap::from([(domain(UNIT).no, filters)]) }
}

fn seen(hub: &Hub, audience: &Audience, from: u64) -> Vec<(u64, Delivery)> {
    let filters = &audience.domains[&domain(UNIT).no];
    let rows = hub.rows().iter().filter(|row| row.seq > from);
    rows.filter_map(|row| Some((row.seq, verdict(row, &audience.sight, filters)?))).collect()
}

fn page(hub: &Hub, audience: &Audience, from: u64, n_rows: usize) -> Vec<PageDelivery> {
    let rows =
        hub.rows().iter().filter(|row| row.seq > from && audience.sight.covers(row.scope)).take(n_rows);
    let rows: Vec<PageRow> = rows.map(page_row).collect();
    let records: HashMap<RecordNo, Arc<Record>> =
        hub.store.records.values().map(|record| (record.no, Arc::new(record.clone()))).collect();
    let page = ReplayPage::new(&rows, &records, audience);
    let histories =
        page.wanted().into_iter().map(|(no, since)| (no, hub.store.history(&records[&no], since)));
    let histories = histories.collect();
    page.deliveries(&histories)
}

fn page_row(row: &LogRow) -> PageRow {
    PageRow { seq: row.seq, domain: row.domain, record: row.record, version: row.version }
}

/// A name, what is done, the live deliveries, and the one of a replay.
type Case = (&'static str, Vec<Sent>, Vec<Delivery>, Option<Delivery>);

/// What is done to the record `{f: 1}` of unit 900, and what the reader is sent, live and by replay.
fn cases() -> Vec<Case> {
    use Delivery::{Delete, Remove, Upsert};
    let to = |version, unit| delta(UNIT, 1, version, json!({})).unit(unit);
    let set = |version, f: u8| delta(UNIT, 1, version, json!({"f": f}));
    vec![
        ("an edit", vec![delta(UNIT, 1, 1, json!({"a": 1}))], vec![Upsert], Some(Upsert)),
        ("out of the filter", vec![set(1, 2)], vec![Remove], Some(Remove)),
        ("out, and changed outside", vec![set(1, 2), set(2, 3)], vec![Remove], Some(Remove)),
        ("out and in again", vec![set(1, 2), set(2, 1)], vec![Remove, Upsert], Some(Upsert)),
        ("a delete", vec![delete(UNIT, 1, 1)], vec![Delete], Some(Delete)),
        ("out, then deleted", vec![set(1, 2), delete(UNIT, 1, 2)], vec![Remove], Some(Delete)),
        ("to another unit", vec![to(1, Some(901))], vec![Remove], Some(Remove)),
        ("away, and changed there", vec![to(1, Some(901)), set(2, 3)], vec![Remove], Some(Remove)),
        ("away and back", vec![to(1, Some(901)), to(2, Some(900))], vec![Remove, Upsert], Some(Upsert)),
        ("away and deleted there", vec![to(1, Some(901)), delete(UNIT, 1, 2)], vec![Remove], Some(Delete)),
        // Both scopes are the reader's: the leave row and the change bring it.
        ("to the whole tenant", vec![to(1, None)], vec![Upsert, Upsert], Some(Upsert)),
        (
            "deleted and made anew",
            vec![delete(UNIT, 1, 1), edit(UNIT, 1, 2, json!({"f": 1}))],
            vec![Delete, Upsert],
            Some(Upsert),
        ),
        (
            "made anew outside the filter",
            vec![delete(UNIT, 1, 1), edit(UNIT, 1, 2, json!({"f": 2}))],
            vec![Delete],
            Some(Remove),
        ),
    ]
}

fn hub_with(steps: Vec<Sent>) -> Hub {
    let mut hub = Hub::default();
    hub.put(&device(10), create(UNIT, 1, json!({"f": 1})));
    for step in steps {
        hub.put(&publisher(), step);
    }
    hub
}

#[test]
fn v4_live_rows_say_what_entered_and_what_left() {
    for (name, steps, live, _) in cases() {
        let hub = hub_with(steps);
        let sent: Vec<Delivery> =
            seen(&hub, &reader(), 1).into_iter().map(|(_, delivery)| delivery).collect();
        assert_eq!(sent, live, "{name}");
    }
}

#[test]
fn v4_c5_a_replay_says_the_same_as_its_rows_did() {
    for (name, steps, _, replayed) in cases() {
        let hub = hub_with(steps);
        let sent = page(&hub, &reader(), 1, 100);
        assert_eq!(sent.first().map(|one| one.delivery), replayed, "{name}");
        assert!(sent.len() <= 1, "{name}: a record once");
        for one in sent {
            assert_eq!(
                (one.seq, one.record.version),
                (2, hub.record(UNIT, 1).version),
                "{name}: what stands"
            );
        }
    }
}

#[test]
fn v2_live_rows_of_hidden_scopes_are_nothing() {
    let mut hub = hub_with(vec![delta(UNIT, 1, 1, json!({})).unit(Some(901))]);
    let change = hub.rows()[2].clone();
    assert_eq!((change.kind, change.scope), (RowKind::Create, Scope::Party(901)));
    assert_eq!(verdict(&change, &reader().sight, &filters(None)), None, "the leave row says it");
    let there = Sight::Scopes(vec![Scope::Party(901)]);
    assert_eq!(verdict(&change, &there, &filters(None)), Some(Delivery::Upsert));
    assert_eq!(verdict(&change, &Sight::Everything, &filters(None)), Some(Delivery::Upsert));
    hub.put(&publisher(), delete(UNIT, 1, 2));
    assert_eq!(verdict(&hub.rows()[3], &there, &filters(None)), Some(Delivery::Delete));
    assert_eq!(verdict(&hub.rows()[3], &there, &filters(Some(json!({"f": 2})))), None);
}

#[test]
fn c5_what_was_never_in_view_is_not_told() {
    let set = |version, f: u8| delta(UNIT, 1, version, json!({"f": f}));
    let hub = hub_with(vec![set(1, 2), set(2, 3), set(3, 4), delete(UNIT, 1, 4)]);
    assert_eq!(page(&hub, &reader(), 2, 100), []);
    assert_eq!(page(&hub, &reader(), 4, 100), []);
    assert_eq!(page(&hub, &reader(), 1, 1).len(), 1, "before the first row of this page it was");
    let mut hub = Hub::default();
    hub.put(&device(10), create(UNIT, 1, json!({"f": 2})));
    hub.put(&device(10), delete(UNIT, 1, 1));
    assert_eq!(page(&hub, &reader(), 0, 100), [], "it never was");
}

#[test]
fn c5_a_deleted_record_was_not_in_view_before_it_was_made_anew() {
    let hub = hub_with(vec![delete(UNIT, 1, 1), edit(UNIT, 1, 2, json!({"f": 2}))]);
    assert_eq!(page(&hub, &reader(), 2, 100), [], "who has the delete holds nothing to remove");
}

#[test]
fn c5_before_any_of_its_rows_in_the_page_counts() {
    let set = |version, f: u8| delta(UNIT, 1, version, json!({"f": f}));
    let hub = hub_with(vec![set(1, 2), set(2, 1), set(3, 3)]);
    assert_eq!(page(&hub, &reader(), 2, 2)[0].delivery, Delivery::Remove);
    let record = hub.record(UNIT, 1);
    let history = hub.store.history(record, 0);
    let was =
        |versions: &[u64]| was_in_view(&history, versions, &reader().sight, &filters(Some(json!({"f": 1}))));
    assert_eq!([was(&[1]), was(&[2]), was(&[3]), was(&[4])], [false, true, false, true]);
    assert!(was(&[3, 4]) && was(&[4, 3]) && was(&[2, 3]) && !was(&[1, 3]));
    assert!(!was(&[]));
}

#[test]
fn c5_in_doubt_it_was_in_view() {
    let set = |version, f: u8| delta(UNIT, 1, version, json!({"f": f}));
    let mut hub = hub_with(vec![set(1, 5), set(2, 6), set(3, 7)]);
    assert_eq!(page(&hub, &reader(), 3, 100), []);
    hub.store.horizon = 2;
    assert_eq!(page(&hub, &reader(), 3, 100), [], "the row before tells where it stood");
    assert_eq!(page(&hub, &reader(), 2, 100).len(), 1, "where it stood before version 3 is unknown");
    hub.store.horizon = 4;
    assert_eq!(page(&hub, &reader(), 3, 100)[0].delivery, Delivery::Remove);
    let rows: Vec<PageRow> = hub.rows()[3..].iter().map(page_row).collect();
    let records = HashMap::from([(hub.record(UNIT, 1).no, Arc::new(hub.record(UNIT, 1).clone()))]);
    let reader = reader();
    let page = ReplayPage::new(&rows, &records, &reader);
    assert_eq!(page.wanted(), [(hub.record(UNIT, 1).no, 3)]);
    assert_eq!(page.deliveries(&HashMap::new()).len(), 1, "a history that was not found is a doubt");
}

#[test]
fn c5_a_page_keeps_the_order_of_first_rows_and_leaves_out_the_rest() {
    let mut hub = Hub::default();
    for id in [1, 2, 3] {
        hub.put(&device(10), create(UNIT, id, json!({"f": 1})));
    }
    hub.put(&device(10), create("manual", 4, json!({"f": 1})));
    hub.put(&device(10), delta(UNIT, 2, 1, json!({"a": 1})));
    hub.put(&device(10), delete(UNIT, 1, 1));
    hub.put(&device(10), delta(UNIT, 3, 1, json!({"f": 2})));
    let sent = page(&hub, &reader(), 1, 100);
    let got: Vec<_> = sent.iter().map(|one| (one.seq, one.delivery, one.record.version)).collect();
    assert_eq!(got, [(2, Delivery::Upsert, 2), (3, Delivery::Remove, 2), (6, Delivery::Delete, 2)]);
    let got = page(&hub, &reader(), 3, 100);
    assert_eq!(got.iter().map(|one| one.seq).collect::<Vec<_>>(), [5, 6, 7]);
}

/// What a client holds: adopts a change only with a higher version (C6).
type Copy = BTreeMap<Uuid, (u64, Arc<Data>)>;

fn adopt(copy: &mut Copy, key: Uuid, version: u64, data: Option<Arc<Data>>) {
    let held = copy.get(&key).map(|(version, _)| *version);
    match data {
        Some(data) if held.is_none_or(|held| held < version) => {
            copy.insert(key, (version, data));
        }
        None if held.is_some_and(|held| held < version) => {
            copy.remove(&key);
        }
        _ => {}
    }
}

fn adopt_live(copy: &mut Copy, rows: &[LogRow], audience: &Audience) {
    let filters = &audience.domains[&domain(UNIT).no];
    for row in rows {
        if let Some(delivery) = verdict(row, &audience.sight, filters) {
            let data = (delivery == Delivery::Upsert).then(|| Arc::clone(&row.data));
            adopt(copy, row.key, row.version, data);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn c5_c6_live_rows_and_replay_pages_lead_to_the_same_copy(
        steps in prop::collection::vec((1_u128..4, 0_u8..8, 1_u8..4, select(vec![900_i64, 901, 0])), 1..24),
        cut in 0_u64..24,
        n_rows in 1_usize..6,
    ) {
        let mut hub = Hub::default();
        for (id, kind, f, unit) in steps {
            let standing = hub.find(UNIT, id).map_or(0, |record| record.version);
            let fields = json!({"f": f});
            let step = match kind {
                0 => delete(UNIT, id, standing),
                1 | 2 => edit(UNIT, id, standing, json!({})).unit((unit > 0).then_some(unit)),
                _ => edit(UNIT, id, standing, fields),
            };
            hub.put(&publisher(), step);
        }
        let reader = reader();
        let (before, after) = hub.rows().split_at(hub.rows().partition_point(|row| row.seq <= cut));
        let mut live = Copy::new();
        adopt_live(&mut live, before, &reader);
        let mut replayed = live.clone();
        adopt_live(&mut live, after, &reader);

        let mut place = cut;
        while place < hub.store.head.seq {
            for one in page(&hub, &reader, place, n_rows) {
                let data = Arc::clone(&one.record.data);
                let data = Some(data).filter(|_| one.delivery == Delivery::Upsert);
                adopt(&mut replayed, one.record.key, one.record.version, data);
            }
            let rows = hub.rows().iter().filter(|row| row.seq > place && reader.sight.covers(row.scope));
            place = rows.take(n_rows).last().map_or(hub.store.head.seq, |row| row.seq);
        }
        let in_view: Copy = hub
            .store
            .records
            .values()
            .filter(|record| {
                let filters = &reader.domains[&domain(UNIT).no];
                is_in_view(record, &reader.sight, filters)
            })
            .map(|record| (record.key, (record.version, Arc::clone(&record.data))))
            .collect();
        prop_assert_eq!(&live, &in_view);
        prop_assert_eq!(&replayed, &in_view);
    }
}
