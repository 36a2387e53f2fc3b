//! Pages of the log and of snapshots: only what was asked for, in order, from one moment.

use synchub::store::{LogPage, LogQuery, SnapshotPage, SnapshotQuery};
use synchub_protocol::Priority;
use synchub_rules::record::{Head, RecordNo, RowKind, Scope, Sight};

use super::world::{Backend, Edit, World, key, registration};

async fn log(world: &World, scopes: &[Scope], after: u64, limit: usize) -> LogPage {
    let query = LogQuery {
        tenant: world.me.tenant,
        sight: Sight::Scopes(scopes.to_vec()),
        address: None,
        after,
        limit,
        bytes: 1 << 20,
    };
    world.store.log_page(query).await.unwrap()
}

fn places(page: &LogPage) -> Vec<u64> {
    page.rows.iter().map(|row| row.seq).collect()
}

/// Rows 1 to 8: tenant, user, unit, device, tenant, user, unit, device.
async fn in_four_scopes(world: &World) -> [Scope; 4] {
    let scopes = [Scope::Tenant, world.user(), world.unit(), Scope::Device(world.me.device)];
    let edits = (1..).zip(scopes.iter().cycle().take(8)).map(|(n, scope)| Edit::create(n, *scope)).collect();
    world.edit(edits).await;
    scopes
}

pub(crate) async fn v2_a_log_page_has_only_its_scopes_in_order(backend: &dyn Backend) {
    let world = World::new(backend).await;
    let [tenant, user, unit, device] = in_four_scopes(&world).await;
    world.edit(vec![Edit::update(2, user, 5), Edit::delete(1, tenant)]).await;

    let page = log(&world, &[user, tenant, user], 1, 100).await;
    assert_eq!(places(&page), [2, 5, 6, 9, 10]);
    assert_eq!(page.records.len(), 4);
    let row = &page.rows[3];
    assert_eq!((row.scope, row.kind, row.version, row.priority), (user, RowKind::Update, 2, Priority::High));
    assert_eq!((row.domain, page.records[&row.record].key), (world.domain, key(2)));
    assert_eq!(row.time_us, page.records[&row.record].time_us);
    assert_eq!(page.rows[0].record, row.record);
    assert!(page.records[&page.rows[4].record].deleted);
    assert_eq!(places(&log(&world, &[device, unit], 0, 100).await), [3, 4, 7, 8]);
    assert!(log(&world, &[], 0, 100).await.rows.is_empty());
}

pub(crate) async fn inv4_a_full_page_ends_at_its_last_row_another_at_the_head(backend: &dyn Backend) {
    let world = World::new(backend).await;
    let [tenant, user, ..] = in_four_scopes(&world).await;
    let head = world.store.place(world.me.tenant).await.unwrap().head;
    assert_eq!(head.seq, 8);

    let full = log(&world, &[tenant, user], 0, 3).await;
    assert_eq!((places(&full), full.place.head), (vec![1, 2, 5], head));
    assert_eq!(full.end, Head { seq: 5, time_us: full.rows[2].time_us });
    let rest = log(&world, &[tenant, user], full.end.seq, 3).await;
    assert_eq!((places(&rest), rest.end), (vec![6], head));
    let nothing = log(&world, &[tenant, user], 8, 3).await;
    assert_eq!((places(&nothing), nothing.end), (vec![], head));
}

pub(crate) async fn inv4_a_page_never_stands_beyond_the_counter(backend: &dyn Backend) {
    let world = World::new(backend).await;
    let write = async {
        for number in 0..60 {
            let edits = [2 * number, 2 * number + 1].map(|number| Edit::create(number, Scope::Tenant));
            world.edit(edits.to_vec()).await;
        }
    };
    let read = async {
        let mut seen = Head::default();
        while seen.seq < 120 {
            let page = log(&world, &[Scope::Tenant], seen.seq, 1000).await;
            // Contiguous up to the head: nothing at or below a place that was read appears later.
            let expected: Vec<u64> = (seen.seq + 1..=page.place.head.seq).collect();
            assert_eq!((places(&page), page.end), (expected, page.place.head));
            assert_eq!(page.place.head.seq % 2, 0, "half a group was read");
            assert!(page.rows.is_sorted_by(|a, b| a.time_us < b.time_us));
            seen = page.end;
            let place = world.store.place(world.me.tenant).await.unwrap();
            assert!(place.head.seq >= seen.seq);
        }
    };
    futures::join!(write, read);
}

pub(crate) async fn a_page_names_who_wrote_its_rows(backend: &dyn Backend) {
    let mut world = World::new(backend).await;
    world.edit(vec![Edit::create(1, Scope::Tenant)]).await;
    let bob = registration("acme", "bob", "tablet", 0);
    let desk = synchub::store::Registration { device: None, ..registration("acme", "desk", "", 0) };
    for registration in [bob, desk] {
        world.me = world.store.register(vec![registration]).await.unwrap().remove(0);
        world.edit(vec![Edit::create(world.me.user.unsigned_abs().into(), Scope::Tenant)]).await;
    }
    world.me.install = 0;
    world.edit(vec![Edit::create(99, Scope::Tenant)]).await;
    for _ in 0..2 {
        let page = log(&world, &[Scope::Tenant], 0, 10).await;
        let origins: Vec<_> =
            page.rows.iter().map(|row| (row.origin.user.as_str(), row.origin.device.as_deref())).collect();
        let expected = [("ann", Some("phone")), ("bob", Some("tablet")), ("desk", None), ("hub", None)];
        assert_eq!(origins, expected);
    }
}

async fn snapshot(
    world: &World,
    scopes: &[Scope],
    after: Option<(Scope, RecordNo)>,
    limit: usize,
) -> SnapshotPage {
    let scopes = scopes.to_vec();
    let query = SnapshotQuery {
        tenant: world.me.tenant,
        domain: world.domain,
        sight: Sight::Scopes(scopes),
        after,
        limit,
        bytes: 1 << 20,
    };
    world.store.snapshot_page(query).await.unwrap()
}

fn keys(page: &SnapshotPage) -> Vec<u128> {
    page.records.iter().map(|record| record.key.as_u128() & 0xffff).collect()
}

pub(crate) async fn c4_a_snapshot_walks_scopes_and_goes_on_where_it_stopped(backend: &dyn Backend) {
    let world = World::new(backend).await;
    let [tenant, user, unit, device] = in_four_scopes(&world).await;
    let mut scopes = vec![tenant, user, unit];
    scopes.sort_unstable();
    let expected: Vec<u128> = scopes
        .iter()
        .flat_map(|scope| {
            if *scope == tenant {
                [1, 5]
            } else if *scope == user {
                [2, 6]
            } else {
                [3, 7]
            }
        })
        .collect();

    let whole = snapshot(&world, &scopes, None, 6).await;
    assert_eq!((keys(&whole), whole.is_last, whole.total), (expected.clone(), true, Some(6)));
    for limit in 1..6 {
        let (mut walked, mut after) = (Vec::new(), None);
        loop {
            let page = snapshot(&world, &scopes, after, limit).await;
            assert_eq!(page.total.is_some(), after.is_none());
            walked.extend(keys(&page));
            let last = page.records.last().unwrap();
            after = Some((last.scope, last.no));
            if page.is_last {
                break;
            }
            assert_eq!(page.records.len(), limit);
        }
        assert_eq!(walked, expected, "in pages of {limit}");
    }
    // The scope that the page before ended in may have gone: the walk goes on behind it.
    let rest = snapshot(&world, &scopes[1..], Some((tenant, 1)), 10).await;
    assert_eq!((keys(&rest), rest.is_last), (expected[2..].to_vec(), true));
    assert_eq!(keys(&snapshot(&world, &[device], None, 10).await), [4, 8]);
}

pub(crate) async fn c4_a_snapshot_has_no_tombstones(backend: &dyn Backend) {
    let world = World::new(backend).await;
    let [tenant, user, ..] = in_four_scopes(&world).await;
    world.edit(vec![Edit::delete(1, tenant), Edit::update(2, tenant, 3), Edit::update(5, tenant, 3)]).await;
    let page = snapshot(&world, &[tenant], None, 10).await;
    assert_eq!((keys(&page), page.total, page.is_last), (vec![2, 5], Some(2), true));
    assert_eq!(keys(&snapshot(&world, &[user], None, 10).await), [6]);
    world.edit(vec![Edit::update(1, user, 4)]).await;
    assert_eq!(keys(&snapshot(&world, &[user], None, 10).await), [1, 6]);
    let empty = snapshot(&world, &[Scope::Device(999)], None, 10).await;
    assert_eq!((keys(&empty), empty.is_last, empty.total), (vec![], true, Some(0)));
}
