//! Digests: kept up by every commit, summed over scopes, from one moment.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde_json::json;
use synchub::store::{CommitError, DigestQuery, DigestView, Digests, SnapshotQuery, Visible};
use synchub_protocol::Digest;
use synchub_protocol::client::Subscription;
use synchub_rules::domain::Visibility;
use synchub_rules::filter::Filters;
use synchub_rules::group::{DigestChange, Loaded, Reads, Writes};
use synchub_rules::record::{RowKind, Scope, Sight};

use super::world::{Backend, Edit, World, data, key, registration};

fn filters(filter: serde_json::Value) -> Arc<Filters> {
    let filter = Some(data(filter));
    let subscription = Subscription { domain: "tickets".to_owned(), filter, priority: None };
    Arc::new(Filters::compile([&subscription]).unwrap())
}

async fn ask(world: &World, sight: Sight, filters: Option<Arc<Filters>>) -> Digests {
    let views = vec![DigestView { domain: world.domain, filters }];
    world.store.digest(DigestQuery { tenant: world.me.tenant, sight, views }).await.unwrap()
}

async fn digest(world: &World, scopes: &[Scope]) -> Digest {
    ask(world, Sight::Scopes(scopes.to_vec()), None).await.digests[0]
}

fn of(records: &[(u128, u64)]) -> Digest {
    let mut digest = Digest::default();
    for (number, version) in records {
        digest.add(key(*number), *version);
    }
    digest
}

pub(crate) async fn en13_digests_follow_every_commit(backend: &dyn Backend) {
    let world = World::new(backend).await;
    let (user, unit) = (world.user(), world.unit());
    assert_eq!(digest(&world, &[Scope::Tenant, user]).await, Digest::default());
    world.edit(vec![Edit::create(1, Scope::Tenant), Edit::create(2, user), Edit::create(3, user)]).await;
    assert_eq!(digest(&world, &[user]).await, of(&[(2, 1), (3, 1)]));
    assert_eq!(digest(&world, &[user, Scope::Tenant, user]).await, of(&[(1, 1), (2, 1), (3, 1)]));

    world
        .edit(vec![Edit::update(2, user, 5), Edit::update(3, unit, 6), Edit::delete(1, Scope::Tenant)])
        .await;
    assert_eq!(digest(&world, &[user]).await, of(&[(2, 2)]));
    assert_eq!(digest(&world, &[unit]).await, of(&[(3, 2)]));
    assert_eq!(digest(&world, &[Scope::Tenant]).await, Digest::default());
    world.edit(vec![Edit::update(1, unit, 7)]).await;
    let all = of(&[(1, 3), (2, 2), (3, 2)]);
    assert_eq!(ask(&world, Sight::Everything, None).await.digests, [all]);
    assert_eq!(digest(&world, &[]).await, Digest::default());

    world.store.close().await;
    let world = World::new(backend).await;
    assert_eq!(ask(&world, Sight::Everything, None).await.digests, [all]);
}

pub(crate) async fn en13_sums_wrap_around(backend: &dyn Backend) {
    let world = World::new(backend).await;
    let sums = [u64::MAX, 1, 1 << 63, (1 << 63) + 5, u64::MAX - 3, 0xffff_ffff, 0x8000_0000_ffff_ffff, 17];
    let mut expected = BTreeMap::new();
    for (n, sum) in sums.iter().cycle().take(40).enumerate() {
        let scope = Scope::Party(i64::try_from(n % 3).unwrap() + 1);
        let change = DigestChange { domain: world.domain, scope, count: 1, sum: *sum };
        let plan =
            move |loaded: Loaded| Writes { head: loaded.head, digests: vec![change], ..Writes::default() };
        world.commit(Reads::default(), plan).await.unwrap();
        let known = expected.entry(scope).or_insert(0_u64);
        *known = known.wrapping_add(*sum);
        assert_eq!(digest(&world, &[scope]).await.sum, *known, "after {sum:x}");
        let all = expected.values().fold(0_u64, |all, sum| all.wrapping_add(*sum));
        assert_eq!(
            ask(&world, Sight::Everything, None).await.digests,
            [Digest { count: n as u64 + 1, sum: all }]
        );
    }
}

pub(crate) async fn en13_a_group_that_is_refused_leaves_the_digests(backend: &dyn Backend) {
    let world = World::new(backend).await;
    world.edit(vec![Edit::create(1, Scope::Tenant)]).await;
    let change = DigestChange { domain: world.domain, scope: Scope::Tenant, count: 1, sum: 1 };
    let marks = vec![(world.me.install + 99, 1)];
    let plan =
        move |loaded: Loaded| Writes { head: loaded.head, digests: vec![change], marks, ..Writes::default() };
    let error = world.commit(Reads::default(), plan).await.unwrap_err();
    assert!(matches!(error, CommitError::Refused(_)), "{error}");
    assert_eq!(digest(&world, &[Scope::Tenant]).await, of(&[(1, 1)]));
}

pub(crate) async fn en13_a_filter_counts_only_what_it_wants(backend: &dyn Backend) {
    let world = World::new(backend).await;
    let user = world.user();
    let edits = (0..700_u64).map(|n| {
        let scope = if n % 2 == 0 { Scope::Tenant } else { user };
        Edit { data: data(json!({"n": n % 7, "m": n})), ..Edit::create(n.into(), scope) }
    });
    world.edit(edits.collect()).await;
    world.edit(vec![Edit::delete(14, Scope::Tenant)]).await;
    let of_all = |wanted: &dyn Fn(u64) -> bool| {
        of(&(0..700).filter(|n| wanted(*n) && *n != 14).map(|n| (n.into(), 1)).collect::<Vec<_>>())
    };
    for (sight, seen) in [
        (Sight::Everything, (|_| true) as fn(u64) -> bool),
        (Sight::Scopes(vec![Scope::Tenant, user]), |_| true),
        (Sight::Scopes(vec![Scope::Tenant]), |n| n % 2 == 0),
        (Sight::Scopes(Vec::new()), |_| false),
    ] {
        let found = ask(&world, sight.clone(), Some(filters(json!({"n": 0})))).await.digests;
        assert_eq!(found, [of_all(&|n| seen(n) && n % 7 == 0)], "{sight:?}");
        let found = ask(&world, sight.clone(), Some(filters(json!({"m": {"gte": 100}})))).await.digests;
        assert_eq!(found, [of_all(&|n| seen(n) && n >= 100)], "{sight:?}");
    }
}

/// Each commit makes one record in each of two domains; filtered and not, all say the same head.
pub(crate) async fn en13_digests_of_an_answer_are_from_one_moment(backend: &dyn Backend) {
    let world = World::new(backend).await;
    let write = async {
        for number in 0..60 {
            world
                .edit(vec![Edit::create(number, Scope::Tenant), Edit::create(number + 100, world.user())])
                .await;
        }
    };
    let read = async {
        let mut seen = 0;
        while seen < 120 {
            let view = |filters| DigestView { domain: world.domain, filters };
            let views = vec![view(None), view(Some(filters(json!({"n": 1})))), view(None)];
            let query = DigestQuery { tenant: world.me.tenant, sight: Sight::Everything, views };
            let found = world.store.digest(query).await.unwrap();
            seen = found.place.head.seq;
            let records: Vec<_> = (0..u128::from(seen) / 2).flat_map(|n| [(n, 1), (n + 100, 1)]).collect();
            assert_eq!(found.digests, [of(&records); 3], "at {seen}");
        }
    };
    futures::join!(write, read);
}

pub(crate) async fn en13_tenants_and_domains_are_counted_apart(backend: &dyn Backend) {
    let world = World::new(backend).await;
    world.edit(vec![Edit::create(1, Scope::Tenant)]).await;
    let domain = world.store.domains(vec!["notes".to_owned()]).await.unwrap()[0];
    let notes = World { store: Arc::clone(&world.store), me: world.me.clone(), domain };
    notes.edit(vec![Edit::create(2, Scope::Tenant)]).await;
    let other = world.store.register(vec![registration("other", "ann", "phone", 7)]).await.unwrap().remove(0);
    let other = World { store: Arc::clone(&world.store), me: other, domain: world.domain };
    assert_eq!(ask(&other, Sight::Everything, None).await.digests, [Digest::default()]);
    other.edit(vec![Edit::create(3, Scope::Tenant)]).await;

    let views = [domain, world.domain].map(|domain| DigestView { domain, filters: None });
    let query = DigestQuery { tenant: world.me.tenant, sight: Sight::Everything, views: views.to_vec() };
    let found = world.store.digest(query).await.unwrap();
    assert_eq!((found.digests, found.place.head.seq), (vec![of(&[(2, 1)]), of(&[(1, 1)])], 2));
    assert_eq!(ask(&other, Sight::Everything, None).await.digests, [of(&[(3, 1)])]);
    assert_eq!(ask(&other, Sight::Everything, Some(filters(json!({"n": 1})))).await.digests, [of(&[(3, 1)])]);
}

pub(crate) async fn en13_v2_records_that_get_other_scopes_are_counted_there(backend: &dyn Backend) {
    let world = World::new(backend).await;
    let (user, unit) = (world.user(), world.unit());
    world.edit(vec![Edit::create(1, user), Edit::create(2, user), Edit::create(3, user)]).await;
    world.edit(vec![Edit::delete(3, user)]).await;
    let visible =
        |visibility| vec![Visible { domain: world.domain, shared: Some(visibility), own: BTreeMap::new() }];
    assert_eq!(world.store.rescope(visible(Visibility::Unit)).await.unwrap(), 3);
    assert_eq!(digest(&world, &[unit]).await, of(&[(1, 1), (2, 1)]));
    assert_eq!(digest(&world, &[user, Scope::Tenant]).await, Digest::default());
    world.edit(vec![Edit::update(1, unit, 2)]).await;
    assert_eq!(world.store.rescope(visible(Visibility::Tenant)).await.unwrap(), 3);
    assert_eq!(digest(&world, &[Scope::Tenant]).await, of(&[(1, 2), (2, 1)]));
    assert_eq!(digest(&world, &[unit]).await, Digest::default());
}

/// What a snapshot of the scopes adds up to.
async fn recounted(world: &World, scopes: &[Scope]) -> Digest {
    let query = SnapshotQuery {
        tenant: world.me.tenant,
        domain: world.domain,
        sight: Sight::Scopes(scopes.to_vec()),
        after: None,
        limit: 1000,
        bytes: 1 << 20,
    };
    let page = world.store.snapshot_page(query).await.unwrap();
    assert!(page.is_last);
    let mut digest = Digest::default();
    for record in &page.records {
        digest.add(record.key, record.version);
    }
    assert_eq!(page.total, Some(digest.count), "c4: the total is exact where nothing is filtered");
    digest
}

pub(crate) async fn en13_any_edits_leave_the_digests_equal_to_a_recount(backend: &dyn Backend) {
    let world = World::new(backend).await;
    let scopes = [Scope::Tenant, world.user(), world.unit(), Scope::Device(world.me.device)];
    let kinds = prop::sample::select(vec![RowKind::Create, RowKind::Update, RowKind::Delete]);
    let edit = (0_u128..12, kinds, 0_usize..4);
    let group = prop::collection::btree_map(0_u128..12, edit, 1..6);
    let mut runner = TestRunner::deterministic();
    for _ in 0..80 {
        let edits = group.new_tree(&mut runner).unwrap().current().into_iter();
        let edits =
            edits.map(|(number, (_, kind, scope))| Edit { kind, ..Edit::create(number, scopes[scope]) });
        world.edit(edits.collect()).await;
        for scopes in [&scopes[..1], &scopes[1..2], &scopes[2..], &scopes[..]] {
            assert_eq!(digest(&world, scopes).await, recounted(&world, scopes).await);
        }
    }
}
