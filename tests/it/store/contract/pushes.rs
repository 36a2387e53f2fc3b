//! Pushes: what is owed, by place, in pages, and what became of them.

use std::sync::Arc;

use serde_json::json;
use synchub::store::{DeliveryEvent, DeliveryNote, DeliveryQuery, LogQuery, Owed, OwedQuery, Registered};
use synchub_protocol::Priority;
use synchub_protocol::server::{Outcome, TriggerReason};
use synchub_rules::group::{Loaded, Reads, Writes};
use synchub_rules::push::{Address, PushBody, PushRow};
use synchub_rules::record::{Head, Scope, Sight};
use uuid::Uuid;

use super::world::{Backend, Edit, NOON, World, data, registration, writes};

const HOUR_US: i64 = 3_600_000_000;

/// A push that follows the last one of the group.
fn push(loaded: &Loaded, writes: &mut Writes, scope: Scope, (expires_us, body): (i64, PushBody)) {
    let last = if writes.head == Head::default() { loaded.head } else { writes.head };
    let head = Head { seq: last.seq + 1, time_us: last.time_us.max(NOON) + 1 };
    let id = Uuid::from_u128(head.seq.into());
    let (seq, time_us) = (head.seq, head.time_us);
    writes.pushes.push(PushRow {
        seq,
        time_us,
        scope,
        id,
        priority: Priority::High,
        install: 0,
        expires_us,
        body,
    });
    writes.head = head;
}

fn message(text: &str) -> PushBody {
    PushBody::Message {
        topic: Some("news".to_owned()),
        data: Arc::new(data(json!({"text": text, "n": [1, null]}))),
    }
}

/// Logs one push for each of these scopes and ends.
async fn pushed(world: &World, wanted: Vec<(Scope, i64)>) {
    let plan = move |loaded: Loaded| {
        let mut writes = Writes { head: loaded.head, ..Writes::default() };
        for (n, (scope, expires_us)) in wanted.into_iter().enumerate() {
            push(&loaded, &mut writes, scope, (expires_us, message(&n.to_string())));
        }
        writes
    };
    world.commit(Reads::default(), plan).await.unwrap();
}

fn address(of: &Registered) -> Address {
    Address { user: of.user, device: Some(of.device) }
}

async fn owed(world: &World, change: impl FnOnce(&mut OwedQuery)) -> Owed {
    let place = world.store.place(world.me.tenant).await.unwrap();
    let mut query = OwedQuery {
        tenant: world.me.tenant,
        address: address(&world.me),
        after: 0,
        upto: place.head.seq,
        now_us: NOON,
        most: 100,
    };
    change(&mut query);
    world.store.owed(query).await.unwrap()
}

pub(crate) async fn p2_a_device_is_owed_the_newest_of_its_address_that_have_not_ended(backend: &dyn Backend) {
    let world = World::new(backend).await;
    let other = world.store.register(vec![registration("acme", "eve", "phone", 0)]).await.unwrap().remove(0);
    let own = [Scope::Tenant, world.user(), Scope::Device(world.me.device)];
    let others = [Scope::Party(other.user), Scope::Device(other.device), world.unit()];
    let late = NOON + HOUR_US;
    let wanted = own.into_iter().chain(others).chain(own).map(|scope| (scope, late));
    pushed(&world, wanted.chain([(Scope::Tenant, NOON)]).collect()).await;
    let all = owed(&world, |_| {}).await;
    assert_eq!((all.seqs, all.overflowed, all.expired), (vec![1, 2, 3, 7, 8, 9], None, true));
    assert_eq!(all.place.head.seq, 10);
    let few = owed(&world, |query| (query.after, query.upto, query.most) = (1, 9, 2)).await;
    assert_eq!((few.seqs, few.overflowed, few.expired), (vec![8, 9], Some(7), false));
    let none = owed(&world, |query| query.now_us = late).await;
    assert_eq!((none.seqs, none.expired), (vec![], true));
    let service = owed(&world, |query| query.address.device = None).await;
    assert_eq!(service.seqs, [1, 2, 7, 8], "who has no device is not sent a device's");
}

pub(crate) async fn p1_pushes_are_found_as_they_were_written(backend: &dyn Backend) {
    let world = World::new(backend).await;
    let bodies = [
        message("x"),
        PushBody::SyncTrigger { domains: vec!["a".to_owned()], reason: TriggerReason::Operator },
        PushBody::ConflictAlert { conflict_id: Uuid::from_u128(9) },
        PushBody::EntrySettled {
            client_seq: Some(3),
            mobile_id: Uuid::from_u128(4),
            outcome: Outcome::Discarded,
            server_version: None,
        },
    ];
    let (sent, written) = (bodies.clone(), Arc::new(std::sync::Mutex::new(Vec::new())));
    let keep = Arc::clone(&written);
    let plan = move |loaded: Loaded| {
        let mut writes = Writes { head: loaded.head, ..Writes::default() };
        for body in sent {
            push(&loaded, &mut writes, Scope::Tenant, (NOON + HOUR_US, body));
        }
        keep.lock().unwrap().clone_from(&writes.pushes);
        writes
    };
    let committed = world.commit(Reads::default(), plan).await.unwrap();
    let written = written.lock().unwrap().clone();
    assert_eq!(committed.pushes, written);
    let (found, covered) = world.store.pushes(world.me.tenant, vec![1, 2, 3, 4, 99], 1 << 20).await.unwrap();
    assert_eq!((found, covered), (written.clone(), 5), "a place without a push is passed over");
    let (found, covered) = world.store.pushes(world.me.tenant, vec![2, 3], 1).await.unwrap();
    assert_eq!((&found[..], covered), (&written[1..2], 1), "one at least, whatever its size");
}

pub(crate) async fn p1_a_page_of_the_log_has_changes_by_sight_and_pushes_by_address(backend: &dyn Backend) {
    let world = World::new(backend).await;
    world.edit(vec![Edit::create(1, world.user()), Edit::create(2, Scope::Tenant)]).await;
    pushed(&world, vec![(world.user(), NOON), (Scope::Device(world.me.device), NOON), (Scope::Tenant, NOON)])
        .await;
    world.edit(vec![Edit::create(3, world.user())]).await;
    let page = async |sight: Sight, address: Option<Address>, limit: usize| {
        let query = LogQuery { tenant: world.me.tenant, sight, address, after: 0, limit, bytes: 1 << 20 };
        let page = world.store.log_page(query).await.unwrap();
        let rows: Vec<_> = page.rows.iter().map(|row| row.seq).collect();
        let pushes: Vec<_> = page.pushes.iter().map(|row| row.seq).collect();
        (rows, pushes, page.end.seq)
    };
    let mine = Sight::Scopes(vec![Scope::Tenant, world.user()]);
    let own = Some(address(&world.me));
    assert_eq!(page(mine.clone(), own, 100).await, (vec![1, 2, 6], vec![3, 4, 5], 6));
    assert_eq!(page(mine.clone(), None, 100).await, (vec![1, 2, 6], vec![], 6));
    assert_eq!(page(Sight::Everything, own, 100).await, (vec![1, 2, 6], vec![3, 4, 5], 6));
    let service = Some(Address { user: world.me.user, device: None });
    assert_eq!(
        page(Sight::Scopes(vec![Scope::Tenant]), service, 100).await,
        (vec![2], vec![3, 5], 6),
        "inv9"
    );
    let stranger = Some(Address { user: world.me.user + 1000, device: None });
    assert_eq!(
        page(Sight::Everything, stranger, 100).await,
        (vec![1, 2, 6], vec![5], 6),
        "what is for others is not theirs, whatever they see"
    );
    assert_eq!(
        page(mine, own, 4).await,
        (vec![1, 2], vec![3, 4], 4),
        "inv4: a full page ends at its last row"
    );
}

pub(crate) async fn inv3_pushes_and_changes_follow_the_head_together(backend: &dyn Backend) {
    let world = World::new(backend).await;
    let (domain, author) = (world.domain, world.me.clone());
    let edits = vec![Edit::create(1, Scope::Tenant)];
    let reads = || Reads { records: vec![(domain, edits[0].key, u64::MAX >> 1)], ..Reads::default() };
    for broken in [true, false] {
        let (edits, author) = (edits.clone(), author.clone());
        let plan = move |loaded: Loaded| {
            let mut group = writes(&loaded, domain, &author, edits);
            push(&loaded, &mut group, Scope::Tenant, (NOON, message("x")));
            if broken {
                group.pushes[0].seq -= 1;
                group.head.seq -= 1;
            }
            group
        };
        assert_eq!(world.commit(reads(), plan).await.is_err(), broken);
    }
    assert_eq!(world.store.place(world.me.tenant).await.unwrap().head.seq, 2);
}

pub(crate) async fn p4_the_delivery_log_follows_places_and_notes(backend: &dyn Backend) {
    let world = World::new(backend).await;
    pushed(&world, (0..6).map(|_| (world.user(), NOON + HOUR_US)).collect()).await;
    let (store, device) = (&world.store, world.me.device);
    let late = store.register(vec![registration("acme", "ann", "late", 0)]).await.unwrap().remove(0);
    let statuses = async |now_us: i64| -> Vec<String> {
        let query =
            DeliveryQuery { tenant: "acme".to_owned(), limit: 100, now_us, ..DeliveryQuery::default() };
        let lines = store.find_deliveries(query).await.unwrap();
        assert!(
            lines.iter().all(|line| line["device"] == "phone"),
            "not for who came later: {}",
            late.device
        );
        lines.iter().map(|line| line["status"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(statuses(NOON).await, ["queued"; 6]);
    assert_eq!(statuses(NOON + 2 * HOUR_US).await, ["expired"; 6]);
    let note = |seq, upto, event| DeliveryNote { device, seq, upto, event, at_us: NOON };
    let notes = vec![
        note(1, 2, DeliveryEvent::Overflowed),
        note(1, 2, DeliveryEvent::Expired),
        note(3, 3, DeliveryEvent::Merged),
        note(5, 5, DeliveryEvent::Delivered),
        note(4, 4, DeliveryEvent::Held),
        note(2, 2, DeliveryEvent::Delivered),
    ];
    store.note_deliveries(notes).await.unwrap();
    assert_eq!(statuses(NOON).await, ["dropped", "dropped", "merged", "held", "delivered", "queued"]);
    store.note_deliveries(vec![note(4, 4, DeliveryEvent::Released)]).await.unwrap();
    store.save_acks(vec![(device, 5)]).await.unwrap();
    assert_eq!(
        statuses(NOON).await,
        ["dropped", "dropped", "merged", "acknowledged", "acknowledged", "queued"]
    );
    // What a hello brought after all is not dropped.
    store
        .note_deliveries(vec![note(6, 6, DeliveryEvent::Overflowed), note(2, 6, DeliveryEvent::Owed)])
        .await
        .unwrap();
    assert_eq!(
        statuses(NOON).await,
        ["dropped", "acknowledged", "merged", "acknowledged", "acknowledged", "queued"]
    );
}

pub(crate) async fn p1_recipients_are_who_the_tenant_knows(backend: &dyn Backend) {
    let world = World::new(backend).await;
    let store = &world.store;
    let tablet = store.register(vec![registration("acme", "ann", "tablet", 0)]).await.unwrap().remove(0);
    store.register(vec![registration("umbrella", "eve", "phone", 0)]).await.unwrap();
    let name = |user: &str, device: Option<&str>| (user.to_owned(), device.map(str::to_owned));
    let names = vec![
        name("ann", None),
        name("ann", Some("tablet")),
        name("ann", Some("")),
        name("eve", None),
        name("north", None),
    ];
    let found = store.recipients(world.me.tenant, names).await.unwrap();
    assert_eq!(found, [Some(world.user()), Some(Scope::Device(tablet.device)), None, None, None]);
    let scopes = vec![Scope::Tenant, world.user(), Scope::Device(tablet.device), world.unit()];
    assert_eq!(store.count_devices(world.me.tenant, scopes).await.unwrap(), [2, 2, 1, 0]);
}

pub(crate) async fn p2_a_registration_says_whether_something_is_owed(backend: &dyn Backend) {
    let world = World::new(backend).await;
    let again = async |device: &str| {
        world.store.register(vec![registration("acme", "ann", device, 7)]).await.unwrap().remove(0).owes
    };
    assert!(!again("phone").await);
    pushed(&world, vec![(Scope::Device(world.me.device), NOON)]).await;
    assert!(again("phone").await && !again("tablet").await);
    world.store.save_acks(vec![(world.me.device, 1)]).await.unwrap();
    assert!(!again("phone").await);
    pushed(&world, vec![(world.user(), NOON)]).await;
    assert!(again("phone").await && again("tablet").await);
}
