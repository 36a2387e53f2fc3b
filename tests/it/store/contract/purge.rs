//! What is past its time goes, in steps of bounded size, and the store says what it no longer has (D3).

use serde_json::json;
use synchub::store::{LogQuery, PurgeQuery, Purgeable, Purged, SnapshotQuery};
use synchub_protocol::ErrorCode;
use synchub_protocol::server::EntryError;
use synchub_rules::group::{BatchRow, Loaded, Reads, RefusedNumber, Review, ReviewKind, StoredBatch, Writes};
use synchub_rules::record::{History, Scope, Sight};
use uuid::Uuid;

use super::world::{Backend, Edit, NOON, World, data, key, registration};

/// One step. Row `n` of a world has the time `NOON + n`: `before` names the first row that stays.
async fn step(world: &World, what: Purgeable, before: i64, limit: u32) -> Purged {
    world.store.purge(PurgeQuery { what, before_us: NOON + before, limit }).await.unwrap()
}

async fn log_step(world: &World, before: i64, limit: u32) -> Purged {
    step(world, Purgeable::Log(world.me.tenant), before, limit).await
}

async fn places(world: &World) -> Vec<u64> {
    let rows = world.store.find_log("acme", 0, 1000).await.unwrap();
    rows.iter().map(|row| row["seq"].as_u64().unwrap()).collect()
}

async fn horizon(world: &World) -> u64 {
    world.store.place(world.me.tenant).await.unwrap().horizon
}

async fn with_old_log(world: &World, before: i64) -> Vec<i64> {
    world.store.tenants_to_purge(0, NOON + before, 100).await.unwrap()
}

async fn history(world: &World, number: u128, since: u64) -> Option<History> {
    let records = vec![(world.domain, key(number), since)];
    let mut loaded = world.load(Reads { records, ..Reads::default() }).await;
    loaded.records.remove(&(world.domain, key(number)))
}

pub(crate) async fn d3_old_rows_go_step_by_step_and_the_horizon_moves_with_them(backend: &dyn Backend) {
    let world = World::new(backend).await;
    world.edit((1..=10).map(|n| Edit::create(n, Scope::Tenant)).collect()).await;
    assert_eq!(with_old_log(&world, 1).await, Vec::<i64>::new());
    assert_eq!(log_step(&world, 1, 100).await, Purged::default(), "the first row is not old enough");
    assert_eq!(with_old_log(&world, 2).await, [world.me.tenant]);

    for (rows, horizon, more) in [(3, 3, true), (3, 6, true), (1, 7, false), (0, 7, false)] {
        let purged = log_step(&world, 8, 3).await;
        assert_eq!(purged, Purged { rows, tombstones: 0, more, horizon });
        assert_eq!(self::horizon(&world).await, horizon);
        assert_eq!(places(&world).await, (horizon + 1..=10).collect::<Vec<_>>());
    }
    assert_eq!(with_old_log(&world, 8).await, Vec::<i64>::new());

    // Whoever reads is told, and from the horizon on everything is there.
    let (tenant, sight) = (world.me.tenant, Sight::Everything);
    let query =
        LogQuery { tenant, sight: sight.clone(), address: None, after: 7, limit: 100, bytes: 1 << 20 };
    let page = world.store.log_page(query).await.unwrap();
    assert_eq!((page.place.horizon, page.rows.len(), page.end.seq), (7, 3, 10));
    let domain = world.domain;
    let query = SnapshotQuery { tenant, domain, sight, after: None, limit: 100, bytes: 1 << 20 };
    let page = world.store.snapshot_page(query).await.unwrap();
    assert_eq!((page.place.horizon, page.place.head.seq, page.records.len()), (7, 10, 10), "records stay");
    let again = world.store.register(vec![registration("acme", "ann", "phone", 7)]).await.unwrap();
    assert_eq!(again[0].place.horizon, 7);
}

pub(crate) async fn d3_a_log_that_went_whole_goes_on_where_it_ended(backend: &dyn Backend) {
    let world = World::new(backend).await;
    world.edit((1..=3).map(|n| Edit::create(n, Scope::Tenant)).collect()).await;
    assert_eq!(log_step(&world, 100, 100).await.horizon, 3);
    assert_eq!(places(&world).await, Vec::<u64>::new());
    world.store.close().await;
    let world = World::on(backend.open().await).await;
    assert_eq!((world.me.place.head.seq, world.me.place.horizon), (3, 3));
    assert_eq!(world.edit(vec![Edit::update(1, Scope::Tenant, 5)]).await.head.seq, 4);
    assert_eq!(places(&world).await, [4]);
}

pub(crate) async fn d3_tombstones_go_after_their_rows_and_leave_the_version_floor(backend: &dyn Backend) {
    let world = World::new(backend).await;
    // Rows 1 to 4 create; 5 and 6 raise record 1; 7, 8, 9 delete 1, 2 and 3; 10 deletes 4.
    world.edit((1..=4).map(|n| Edit::create(n, Scope::Tenant)).collect()).await;
    for value in [5, 6] {
        world.edit(vec![Edit::update(1, Scope::Tenant, value)]).await;
    }
    for number in [1, 2, 3, 4] {
        world.edit(vec![Edit::delete(number, Scope::Tenant)]).await;
    }
    let first = log_step(&world, 10, 9).await;
    assert_eq!(first, Purged { rows: 9, tombstones: 0, more: true, horizon: 9 }, "tombstones wait for rows");
    assert!(history(&world, 1, u64::MAX).await.unwrap().record.deleted);
    assert_eq!(with_old_log(&world, 10).await, [world.me.tenant], "tombstones are left");

    let floor = async || world.load(Reads::default()).await.version_floor;
    for (tombstones, more, expected) in [(2, true, 4), (1, false, 4), (0, false, 4)] {
        let purged = log_step(&world, 10, 2).await;
        assert_eq!(purged, Purged { rows: 0, tombstones, more, horizon: 9 });
        assert_eq!(floor().await, expected, "the highest version that went");
    }
    assert_eq!(with_old_log(&world, 10).await, Vec::<i64>::new());
    for (number, is_there) in [(1, false), (2, false), (3, false), (4, true)] {
        assert_eq!(history(&world, number, u64::MAX).await.is_some(), is_there, "{number}");
    }
    assert_eq!(log_step(&world, 11, 9).await.tombstones, 1);
    assert_eq!(floor().await, 4, "a floor never falls");
}

pub(crate) async fn d3_a_history_ends_where_the_log_begins(backend: &dyn Backend) {
    let world = World::new(backend).await;
    world.edit(vec![Edit::create(1, Scope::Tenant), Edit::create(2, Scope::Tenant)]).await;
    for value in 2..=6 {
        world.edit(vec![Edit::update(1, Scope::Tenant, value)]).await;
    }
    log_step(&world, 5, 100).await;
    let inside = history(&world, 1, 1).await.unwrap();
    let versions: Vec<_> = inside.changes.iter().map(|change| (change.version, change.prev)).collect();
    assert_eq!(versions, [(6, 6), (5, 5), (4, 4)], "row 4 is gone, and the last change still names it");
    let outside = world.store.histories(world.me.tenant, vec![(inside.record.no, 1)]).await.unwrap();
    assert_eq!(outside[&inside.record.no], inside);
    assert_eq!(history(&world, 2, 0).await.unwrap().changes, [], "a record may have outlived all its rows");
}

pub(crate) async fn d3_a_purge_of_one_tenant_leaves_the_others(backend: &dyn Backend) {
    let world = World::new(backend).await;
    let other = world.store.register(vec![registration("zeta", "ann", "phone", 7)]).await.unwrap().remove(0);
    let other = World { store: world.store.clone(), me: other, domain: world.domain };
    for world in [&world, &other] {
        world.edit(vec![Edit::create(1, Scope::Tenant), Edit::create(2, Scope::Tenant)]).await;
        world.edit(vec![Edit::delete(1, Scope::Tenant)]).await;
    }
    assert_eq!(with_old_log(&world, 100).await, [world.me.tenant, other.me.tenant]);
    let rest = world.store.tenants_to_purge(world.me.tenant, NOON + 100, 100).await.unwrap();
    assert_eq!(rest, [other.me.tenant]);
    assert_eq!(log_step(&world, 100, 100).await, Purged { rows: 3, tombstones: 1, more: false, horizon: 3 });
    assert_eq!(horizon(&other).await, 0);
    assert!(history(&other, 1, 0).await.unwrap().changes.len() == 2);
    assert_eq!(other.load(Reads::default()).await.version_floor, 0);
    assert_eq!(with_old_log(&world, 100).await, [other.me.tenant]);
}

async fn write(world: &World, writes: Writes) {
    let plan = move |loaded: Loaded| Writes { head: loaded.head, ..writes };
    world.commit(Reads::default(), plan).await.unwrap();
}

pub(crate) async fn o1_old_batches_go_oldest_first(backend: &dyn Backend) {
    let world = World::new(backend).await;
    let device = world.me.device;
    let row = |n: i64| BatchRow {
        device,
        batch_id: Uuid::from_u128(100 - u128::from(n.unsigned_abs())),
        stored: StoredBatch { hash: [1; 32], outcomes: Vec::new() },
        at_us: NOON + n,
    };
    let rows: Vec<_> = (0..5).map(row).collect();
    let ids: Vec<_> = rows.iter().map(|row| (device, row.batch_id)).collect();
    write(&world, Writes { batches: rows, ..Writes::default() }).await;
    for (rows, more, left) in [(2, true, 3), (1, false, 2), (0, false, 2)] {
        let purged = step(&world, Purgeable::Batches, 3, 2).await;
        assert_eq!(purged, Purged { rows, more, ..Purged::default() });
        let found = world.load(Reads { batches: ids.clone(), ..Reads::default() }).await.batches;
        assert!(found.len() == left && ids[5 - left..].iter().all(|id| found.contains_key(id)), "{found:?}");
    }
}

pub(crate) async fn o2_old_refused_numbers_go_and_the_mark_stays(backend: &dyn Backend) {
    let world = World::new(backend).await;
    let install = world.me.install;
    let error = EntryError { code: ErrorCode::NotFound, message: "no".to_owned(), field: None };
    let at = [(1, 4), (2, 0), (3, 2)];
    let row = |(number, at)| RefusedNumber { install, number, error: error.clone(), at_us: NOON + at };
    let refused = at.map(row).to_vec();
    write(&world, Writes { refused, marks: vec![(install, 3)], ..Writes::default() }).await;
    for (rows, more, left) in [(1, true, vec![1, 3]), (1, true, vec![1]), (0, false, vec![1])] {
        let purged = step(&world, Purgeable::Refused, 3, 1).await;
        assert_eq!(purged, Purged { rows, more, ..Purged::default() });
        let numbers = at.map(|(number, _)| (install, number)).to_vec();
        let loaded = world.load(Reads { numbers, installs: vec![install], ..Reads::default() }).await;
        let mut found: Vec<_> = loaded.refused.keys().map(|(_, number)| *number).collect();
        found.sort_unstable();
        assert_eq!((found, loaded.marks[&install]), (left, 3));
    }
}

pub(crate) async fn e11_closed_reviews_go_with_age_and_open_ones_never(backend: &dyn Backend) {
    let world = World::new(backend).await;
    let review = |n: u64, kind| Review {
        id: key(n.into()),
        kind,
        domain: world.domain,
        key: Some(key(1)),
        scope: world.user(),
        device: world.me.device,
        install: world.me.install,
        number: Some(n),
        at_us: NOON + i64::try_from(n).unwrap(),
        code: None,
        strategy: None,
        resolution: None,
        base_version: 1,
        server_version: 2,
        entry: json!({}),
        server: data(json!({})),
        fields: data(json!({})),
    };
    let kinds = [
        ReviewKind::Refused,
        ReviewKind::Resolved,
        ReviewKind::Manual,
        ReviewKind::Refused,
        ReviewKind::Resolved,
    ];
    let reviews = (1..).zip(kinds).map(|(n, kind)| review(n, kind)).collect();
    write(&world, Writes { reviews, ..Writes::default() }).await;
    let corrections = async || {
        let corrections = [1, 4].map(|number| (world.me.install, number)).to_vec();
        world.load(Reads { corrections, ..Reads::default() }).await.corrections
    };
    let closed = corrections().await[&(world.me.install, 4)].no;
    write(&world, Writes { corrected: vec![closed], ..Writes::default() }).await;
    // Closed are 2, 4 and 5; 1 and 3 are open.
    for (rows, more) in [(1, true), (1, true), (0, false)] {
        assert_eq!(step(&world, Purgeable::Reviews, 5, 1).await, Purged { rows, more, ..Purged::default() });
    }
    let left = corrections().await;
    assert_eq!(left.keys().map(|(_, number)| *number).collect::<Vec<_>>(), [1]);
    assert_eq!(step(&world, Purgeable::Reviews, 100, 10).await.rows, 1, "the last one that is closed");
    assert_eq!(step(&world, Purgeable::Reviews, 100, 10).await.rows, 0, "open ones stay");
}
