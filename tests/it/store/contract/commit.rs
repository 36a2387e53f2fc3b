//! Group commits: what was written is read back, whole or not at all.

use std::collections::HashMap;

use serde_json::json;
use synchub::store::CommitError;
use synchub_rules::group::{Loaded, Reads, Writes};
use synchub_rules::record::{HISTORY_LIMIT, Head, PastChange, RowKind, Scope};

use super::world::{Backend, Edit, NOON, World, data, key, registration, writes};

fn reads_of(world: &World, number: u128, since: u64) -> Reads {
    Reads { records: vec![(world.domain, key(number), since)], ..Reads::default() }
}

pub(crate) async fn inv1_a_commit_keeps_everything_it_was_given(backend: &dyn Backend) {
    let world = World::new(backend).await;
    let body =
        json!({"text": "ä\u{0}", "deep": [{"a": [1.5, -3, null, true]}], "big": 9_007_199_254_740_991_u64});
    let edit = Edit { data: data(body), ..Edit::create(1, world.user()) };
    let committed = world.edit(vec![edit]).await;
    assert_eq!(committed.head, Head { seq: 1, time_us: NOON + 1 });
    assert_eq!(committed.epoch, world.store.epoch());

    let loaded = world.load(reads_of(&world, 1, 0)).await;
    let history = &loaded.records[&(world.domain, key(1))];
    let row = &committed.rows[0];
    assert_eq!(loaded.head, committed.head);
    assert_eq!(history.record.data, row.data);
    assert_eq!((history.record.no, history.record.seq, history.record.version), (row.record, 1, 1));
    assert_eq!((history.record.unit, history.record.owner), (world.me.unit, Some(world.me.user)));
    assert_eq!((history.record.scope, history.record.priority), (world.user(), row.priority));
    assert_eq!(history.record.writes[0].stamp.time_us, NOON);
    assert_eq!(history.record.writes[0].fields, ["n"]);
    let change = PastChange {
        version: 1,
        seq: 1,
        prev: 0,
        time_us: row.time_us,
        kind: RowKind::Create,
        scope: world.user(),
        install: world.me.install,
        old: data(json!({"n": null})).into(),
    };
    assert_eq!(history.changes, [change]);
}

pub(crate) async fn inv1_a_group_that_breaks_a_constraint_leaves_nothing(backend: &dyn Backend) {
    let world = World::new(backend).await;
    world.edit(vec![Edit::create(1, Scope::Tenant)]).await;
    let (domain, author) = (world.domain, world.me.clone());
    let reads = Reads { records: vec![(domain, key(2), 0)], ..Reads::default() };
    let guilty = move |loaded: Loaded| {
        let mut planned = writes(&loaded, domain, &author, vec![Edit::create(2, Scope::Tenant)]);
        let mut twin =
            writes(&loaded, domain, &author, vec![Edit::create(1, Scope::Tenant)]).records.remove(0);
        twin.record.no += 1;
        planned.records.push(twin);
        planned
    };
    let error = world.commit(reads, guilty).await.unwrap_err();
    assert!(matches!(error, CommitError::Refused(_)), "{error}");

    let loaded = world.load(reads_of(&world, 2, 0)).await;
    assert!(loaded.records.is_empty());
    assert_eq!(loaded.head.seq, 1);
    assert_eq!(world.store.place(world.me.tenant).await.unwrap().head.seq, 1);
    assert_eq!(world.edit(vec![Edit::create(2, Scope::Tenant)]).await.head.seq, 2);
}

pub(crate) async fn inv1_a_plan_that_panics_leaves_nothing_and_the_store_goes_on(backend: &dyn Backend) {
    let world = World::new(backend).await;
    let error = world.commit(Reads::default(), |_| panic!("a bad plan")).await.unwrap_err();
    assert!(matches!(&error, CommitError::Refused(why) if why.contains("a bad plan")), "{error}");
    assert_eq!(world.edit(vec![Edit::create(1, Scope::Tenant)]).await.head.seq, 1);
}

pub(crate) async fn inv3_a_log_that_does_not_go_on_from_the_head_is_refused(backend: &dyn Backend) {
    let world = World::new(backend).await;
    world.edit(vec![Edit::create(1, Scope::Tenant)]).await;
    let breaks: [fn(&mut Writes); 4] = [
        |writes| writes.rows[0].seq = 1,
        |writes| writes.rows[0].time_us = NOON + 1,
        |writes| writes.head.seq = 1,
        |writes| writes.head.seq = 3,
    ];
    for breaks in breaks {
        let (domain, author) = (world.domain, world.me.clone());
        let plan = move |loaded: Loaded| {
            let mut planned = writes(&loaded, domain, &author, vec![Edit::create(2, Scope::Tenant)]);
            breaks(&mut planned);
            planned
        };
        let error = world.commit(reads_of(&world, 2, 0), plan).await.unwrap_err();
        assert!(matches!(error, CommitError::Refused(_)), "{error}");
    }
    assert_eq!(world.edit(vec![Edit::create(2, Scope::Tenant)]).await.head.seq, 2);
}

pub(crate) async fn a_group_without_rows_leaves_the_head(backend: &dyn Backend) {
    let world = World::new(backend).await;
    let before = world.edit(vec![Edit::create(1, Scope::Tenant)]).await.head;
    let plan = |loaded: Loaded| Writes { head: loaded.head, ..Writes::default() };
    assert_eq!(world.commit(Reads::default(), plan).await.unwrap().head, before);
    assert_eq!(world.store.place(world.me.tenant).await.unwrap().head, before);
}

pub(crate) async fn a_record_of_another_tenant_is_neither_found_nor_written(backend: &dyn Backend) {
    let world = World::new(backend).await;
    let committed = world.edit(vec![Edit::create(1, Scope::Tenant)]).await;
    let stolen = committed.rows[0].record;
    let other = world.store.register(vec![registration("other", "ann", "phone", 7)]).await.unwrap().remove(0);
    let other = World { me: other, domain: world.domain, store: world.store.clone() };

    assert!(other.load(reads_of(&other, 1, 0)).await.records.is_empty());
    assert!(other.store.histories(other.me.tenant, vec![(stolen, 0)]).await.unwrap().is_empty());
    let (domain, author) = (other.domain, other.me.clone());
    let plan = move |loaded: Loaded| {
        let mut planned = writes(&loaded, domain, &author, vec![Edit::create(1, Scope::Tenant)]);
        planned.records[0].is_new = false;
        planned.records[0].record.no = stolen;
        planned
    };
    let error = other.commit(reads_of(&other, 1, 0), plan).await.unwrap_err();
    assert!(matches!(error, CommitError::Refused(_)), "{error}");
}

pub(crate) async fn numbers_for_new_records_rise_and_are_as_many_as_needed(backend: &dyn Backend) {
    let world = World::new(backend).await;
    world.edit(vec![Edit::create(1, Scope::Tenant), Edit::create(2, Scope::Tenant)]).await;
    let wanted = [1, 3, 4, 3, 2].map(|number| (world.domain, key(number), 0));
    let loaded = world.load(Reads { records: wanted.to_vec(), ..Reads::default() }).await;
    let last = loaded.records.values().map(|history| history.record.no).max().unwrap();
    assert_eq!(loaded.records.len(), 2);
    assert_eq!(loaded.free_numbers.len(), 2);
    assert!(last < loaded.free_numbers[0] && loaded.free_numbers[0] < loaded.free_numbers[1]);
}

async fn edited(world: &World, times: u64) {
    world.edit(vec![Edit::create(1, Scope::Tenant)]).await;
    for value in 2..=times {
        let other =
            if value == 2 { Edit::create(2, Scope::Tenant) } else { Edit::update(2, Scope::Tenant, value) };
        world.edit(vec![other, Edit::update(1, Scope::Tenant, value)]).await;
    }
}

pub(crate) async fn e3_history_goes_back_to_the_version_asked_for(backend: &dyn Backend) {
    let world = World::new(backend).await;
    edited(&world, 5).await;
    for (since, versions) in [
        (0, vec![5, 4, 3, 2, 1]),
        (1, vec![5, 4, 3, 2, 1]),
        (3, vec![5, 4, 3]),
        (4, vec![5, 4]),
        (5, vec![]),
        (9, vec![]),
    ] {
        let loaded = world.load(reads_of(&world, 1, since)).await;
        let history = &loaded.records[&(world.domain, key(1))];
        let found: Vec<u64> = history.changes.iter().map(|change| change.version).collect();
        assert_eq!(found, versions, "since {since}");
        for change in &history.changes {
            let before = if change.version == 1 { json!(null) } else { json!(change.version - 1) };
            assert_eq!(*change.old, data(json!({"n": before})));
        }
    }
}

pub(crate) async fn e3_history_stops_at_its_limit(backend: &dyn Backend) {
    let world = World::new(backend).await;
    let times = HISTORY_LIMIT as u64 + 20;
    edited(&world, times).await;
    let loaded = world.load(reads_of(&world, 1, 3)).await;
    let changes = &loaded.records[&(world.domain, key(1))].changes;
    assert_eq!(changes.len(), HISTORY_LIMIT);
    assert_eq!((changes[0].version, changes[HISTORY_LIMIT - 1].version), (times, 21));
}

pub(crate) async fn histories_outside_a_commit_are_the_same(backend: &dyn Backend) {
    let world = World::new(backend).await;
    edited(&world, 6).await;
    let loaded = world.load(reads_of(&world, 1, 3)).await;
    let inside = &loaded.records[&(world.domain, key(1))];
    let no = inside.record.no;
    let wanted = vec![(no, 5), (no, 3), (no + 1, 6), (no + 99, 0)];
    let outside = world.store.histories(world.me.tenant, wanted).await.unwrap();
    assert_eq!(outside.len(), 2);
    assert_eq!(&outside[&no], inside);
    let unchanged: HashMap<_, _> = world.store.histories(world.me.tenant, vec![(no, 6)]).await.unwrap();
    assert!(unchanged[&no].changes.is_empty());
}
