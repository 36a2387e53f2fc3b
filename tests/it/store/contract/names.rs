//! Sessions that open, names, places, and the store's own life.

use serde_json::json;
use synchub::store::{CommitError, PartyKind, Registration, StoreError};
use synchub_rules::group::{Loaded, Reads, Writes};
use synchub_rules::record::Scope;

use super::world::{Backend, Edit, NOON, World, key, registration};

pub(crate) async fn c11_each_registration_takes_the_next_generation(backend: &dyn Backend) {
    let store = backend.open().await;
    let phone = registration("acme", "ann", "phone", 7);
    let tablet = registration("acme", "ann", "tablet", 8);
    let reinstalled = registration("acme", "ann", "phone", 9);
    let all = vec![phone.clone(), tablet, phone.clone(), reinstalled];
    let opened = store.register(all).await.unwrap();
    let generations: Vec<u64> = opened.iter().map(|opened| opened.generation).collect();
    assert_eq!(generations, [1, 1, 2, 3]);
    assert_eq!(opened[0].device, opened[3].device);
    assert_ne!(opened[0].device, opened[1].device);
    assert_eq!(store.register(vec![phone]).await.unwrap()[0].generation, 4);
    assert!(opened.iter().all(|opened| !opened.deactivated));
}

pub(crate) async fn o2_installs_are_told_apart_and_keep_their_marks(backend: &dyn Backend) {
    let world = World::new(backend).await;
    let install = world.me.install;
    let plan =
        move |loaded: Loaded| Writes { head: loaded.head, marks: vec![(install, 12)], ..Writes::default() };
    world.commit(Reads::default(), plan).await.unwrap();
    let all = [7, 8, 0, 0].map(|install| registration("acme", "ann", "phone", install));
    let opened = world.store.register(all.to_vec()).await.unwrap();
    let marks: Vec<u64> = opened.iter().map(|opened| opened.mark).collect();
    assert_eq!(marks, [12, 0, 0, 0]);
    assert_eq!(opened[0].install, install);
    assert_ne!(opened[1].install, install);
    assert_ne!(opened[2].install, opened[1].install);
    assert_eq!(opened[2].install, opened[3].install);
}

pub(crate) async fn p2_a_new_device_starts_from_the_head(backend: &dyn Backend) {
    let world = World::new(backend).await;
    assert_eq!((world.me.acked, world.me.place.head.seq), (0, 0));
    let head = world.edit(vec![Edit::create(1, Scope::Tenant), Edit::create(2, Scope::Tenant)]).await.head;
    let all = ["phone", "tablet"].map(|device| registration("acme", "ann", device, 7));
    let opened = world.store.register(all.to_vec()).await.unwrap();
    assert_eq!((opened[0].acked, opened[1].acked), (0, head.seq));
    assert_eq!((opened[0].place.head, opened[0].place.epoch), (head, world.store.epoch()));
}

pub(crate) async fn c1_a_domain_turns_with_each_other_text_and_a_reopened_store_remembers(
    backend: &dyn Backend,
) {
    let store = backend.open().await;
    let say = |store: std::sync::Arc<dyn synchub::store::Store>, texts: [&'static str; 2]| async move {
        store.turns(vec![(7, texts[0].to_owned()), (70, texts[1].to_owned())]).await.unwrap()
    };
    for (texts, turns) in [
        (["a", "x y"], [0, 0]),
        (["a", "x y"], [0, 0]),
        (["b", "x y"], [1, 0]),
        (["a", "x z"], [2, 1]),
        (["a", "x z"], [2, 1]),
    ] {
        assert_eq!(say(store.clone(), texts).await, turns, "{texts:?}");
    }
    store.close().await;
    assert_eq!(say(backend.open().await, ["a", "x y"]).await, [2, 2]);
}

pub(crate) async fn names_keep_their_numbers_and_tenants_share_none(backend: &dyn Backend) {
    let world = World::new(backend).await;
    let store = &world.store;
    let all = [("acme", "ann"), ("other", "ann"), ("acme", "bob")].map(|(tenant, user)| {
        let priority = |mut registration: Registration| {
            registration.device.as_mut().unwrap().priority = 90;
            registration
        };
        priority(registration(tenant, user, "phone", 7))
    });
    let opened = store.register(all.to_vec()).await.unwrap();
    assert_eq!(
        (opened[0].tenant, opened[0].user, opened[0].unit),
        (world.me.tenant, world.me.user, world.me.unit)
    );
    assert_eq!((opened[0].device, opened[0].priority, opened[1].priority), (world.me.device, 40, 90));
    assert_ne!(opened[1].tenant, opened[0].tenant);
    assert_ne!(opened[1].user, opened[0].user);
    assert_eq!((opened[2].tenant, opened[2].unit), (opened[0].tenant, opened[0].unit));
    assert_ne!(opened[2].device, opened[0].device);

    let tenant = world.me.tenant;
    let party = async |kind, name: &str| store.party(tenant, kind, name.to_owned()).await.unwrap();
    assert_eq!(party(PartyKind::User, "ann").await, world.me.user);
    assert_eq!(Some(party(PartyKind::Unit, "north").await), world.me.unit);
    assert_ne!(party(PartyKind::Unit, "ann").await, world.me.user);
    assert_eq!(party(PartyKind::Unit, "south").await, party(PartyKind::Unit, "south").await);

    let names = ["a", "tickets", "a", "b"].map(str::to_owned).to_vec();
    let domains = store.domains(names).await.unwrap();
    assert_eq!((domains[1], domains[0]), (world.domain, domains[2]));
    assert!(domains[0] != domains[3] && domains[0] != domains[1]);
}

pub(crate) async fn a_publisher_has_a_row_without_a_device(backend: &dyn Backend) {
    let store = backend.open().await;
    let publisher = Registration { device: None, unit: None, ..registration("acme", "desk", "", 0) };
    let opened = store.register(vec![publisher.clone(), publisher]).await.unwrap();
    assert_eq!(opened[0].device, opened[1].device);
    assert_eq!((opened[0].install, opened[0].mark, opened[0].unit), (-opened[0].user, 0, None));
}

pub(crate) async fn c10_acknowledged_places_only_rise(backend: &dyn Backend) {
    let world = World::new(backend).await;
    let device = world.me.device;
    for (saved, stands) in [(5, 5), (3, 5), (6, 6)] {
        world.store.save_acks(vec![(device, saved), (device + 1000, 9)]).await.unwrap();
        let again = world.store.register(vec![registration("acme", "ann", "phone", 7)]).await.unwrap();
        assert_eq!(again[0].acked, stands);
    }
}

pub(crate) async fn everything_is_there_after_reopening(backend: &dyn Backend) {
    let world = World::new(backend).await;
    let first = world.edit(vec![Edit::create(1, Scope::Tenant)]).await;
    let (cursor_key, epoch) = (world.store.cursor_key(), world.store.epoch());
    world.store.close().await;
    let again = World::new(backend).await;
    assert_eq!((again.store.cursor_key(), again.store.epoch()), (cursor_key, epoch));
    assert_eq!(
        (again.me.tenant, again.me.user, again.domain),
        (world.me.tenant, world.me.user, world.domain)
    );
    assert_eq!((again.me.generation, again.me.place.head), (2, first.head));
    let reads =
        Reads { records: vec![(again.domain, key(1), 0), (again.domain, key(2), 0)], ..Reads::default() };
    let loaded = again.load(reads).await;
    assert_eq!(loaded.records[&(again.domain, key(1))].record.no, first.rows[0].record);
    assert!(loaded.free_numbers[0] > first.rows[0].record);
    assert_eq!(again.edit(vec![Edit::update(1, Scope::Tenant, 2)]).await.head.seq, 2);
}

pub(crate) async fn a_closed_store_is_unavailable(backend: &dyn Backend) {
    let world = World::new(backend).await;
    world.store.check().await.unwrap();
    world.store.check().await.unwrap();
    world.store.close().await;
    let commit = world.commit(Reads::default(), |_| Writes::default()).await;
    assert!(matches!(commit, Err(CommitError::Unavailable(_))));
    assert!(matches!(world.store.place(world.me.tenant).await, Err(StoreError::Unavailable(_))));
    assert!(matches!(world.store.check().await, Err(StoreError::Unavailable(_))));
    world.store.close().await;
}

pub(crate) async fn people_can_look_at_what_is_there(backend: &dyn Backend) {
    let world = World::new(backend).await;
    world.edit(vec![Edit::create(1, world.user())]).await;
    world.edit(vec![Edit::update(1, world.user(), 2)]).await;
    let store = &world.store;

    let record = store.find_record("acme", "tickets", key(1)).await.unwrap().unwrap();
    assert_eq!(
        (&record["version"], &record["data"], &record["scope"]),
        (&json!(2), &json!({"n": 2}), &json!({"user": "ann"}))
    );
    assert_eq!(
        (&record["owner"], &record["unit"], &record["deleted"]),
        (&json!("ann"), &json!("north"), &json!(false))
    );
    for (tenant, domain, number) in [("acme", "tickets", 2), ("acme", "x", 1), ("x", "tickets", 1)] {
        assert_eq!(store.find_record(tenant, domain, key(number)).await.unwrap(), None);
    }

    store.register(vec![registration("acme", "bob", "phone", 0)]).await.unwrap();
    let devices = store.find_devices("acme", None, None).await.unwrap();
    assert_eq!(
        (devices.len(), &devices[0]["user"], &devices[0]["profile"]),
        (2, &json!("ann"), &json!({"name": "phone"}))
    );
    assert_eq!((&devices[0]["kind"], &devices[0]["head"]), (&json!("phone"), &json!(2)));
    assert_eq!(devices[0]["seen"], synchub_protocol::Timestamp(NOON).to_string());
    assert_eq!(store.find_devices("acme", Some("bob"), Some("phone")).await.unwrap().len(), 1);
    assert!(store.find_devices("acme", Some("bob"), Some("x")).await.unwrap().is_empty());
    assert!(store.find_devices("x", None, None).await.unwrap().is_empty());

    let log = store.find_log("acme", 0, 10).await.unwrap();
    assert_eq!((log.len(), &log[1]["kind"], &log[1]["old"]), (2, &json!("update"), &json!({"n": 1})));
    assert_eq!((&log[0]["domain"], &log[0]["origin"]["user"]), (&json!("tickets"), &json!("ann")));
    assert_eq!(store.find_log("acme", 1, 10).await.unwrap().len(), 1);
    assert_eq!(store.find_log("acme", 0, 1).await.unwrap().len(), 1);
    assert!(store.find_log("x", 0, 1).await.unwrap().is_empty());

    world.edit(vec![Edit::create(2, Scope::Tenant)]).await;
    let parts = [synchub_protocol::digest::part(key(1), 2), synchub_protocol::digest::part(key(2), 1)];
    let line = |scope, count, sum: u64| json!({"domain": "tickets", "scope": scope, "seq": 3, "count": count, "digest": format!("{sum:016x}")});
    let all = line(json!("all"), 2, parts[0].wrapping_add(parts[1]));
    assert_eq!(store.find_digests("acme", None).await.unwrap(), std::slice::from_ref(&all));
    let scopes = [all, line(json!("tenant"), 1, parts[1]), line(json!({"user": "ann"}), 1, parts[0])];
    assert_eq!(store.find_digests("acme", Some("tickets")).await.unwrap(), scopes);
    assert!(store.find_digests("acme", Some("x")).await.unwrap().is_empty());
    assert!(store.find_digests("x", None).await.unwrap().is_empty());
}
