//! Digests over the socket: what a device, an operator or a client can prove with them (EN13).

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use synchub::auth::Role;
use synchub_client::{Backoff, Client, CompareError, Config};
use synchub_protocol::client::{Device, Subscription};
use synchub_protocol::digest::part;
use synchub_protocol::{Data, DeviceKind, Digest, Encoding};
use synchub_rules::group::Belonging;
use uuid::Uuid;

use crate::support::{Copy, Hello, Hub, Peer, Publisher, delete, edit, journal, journals, ticket, tickets};

const UNIT: &str = "name = \"parcel\"\nstrategy = \"client_wins\"\nvisibility = \"unit\"\n";

fn said(records: impl IntoIterator<Item = (Uuid, u64)>) -> Value {
    let (mut count, mut sum) = (0, 0_u64);
    for (id, version) in records {
        (count, sum) = (count + 1, sum.wrapping_add(part(id, version)));
    }
    json!({"count": count, "digest": format!("{sum:016x}")})
}

fn of_copy(copy: &Copy, domain: &str) -> Value {
    let records = copy.records.iter().filter(|((of, _), _)| of == domain);
    said(records.map(|((_, id), (version, _))| (id.parse().unwrap(), *version)))
}

async fn digest(peer: &mut Peer, domains: Option<&[&str]>) -> Value {
    let answer = peer.ask(json!({"type": "digest", "domains": domains})).await;
    assert_eq!(answer["type"], "digest_result", "{answer}");
    answer
}

/// Reads up to the place of a digest and holds the copy against it.
async fn proven(peer: &mut Peer, copy: &mut Copy, domains: &[&str]) {
    let answer = digest(peer, None).await;
    copy.follow(peer, answer["seq"].as_u64().unwrap()).await;
    let of_copies: serde_json::Map<_, _> =
        domains.iter().map(|domain| ((*domain).to_owned(), of_copy(copy, domain))).collect();
    assert_eq!(answer["domains"], Value::Object(of_copies));
}

fn desk(hub: &Hub, role: Role) -> Value {
    let token = hub.token("acme", "desk", |grant| grant.role = role);
    json!({"type": "hello", "id": 1, "token": token})
}

#[tokio::test]
async fn en13_a_copy_is_what_the_hub_holds_after_every_kind_of_change() {
    for encoding in [Encoding::Json, Encoding::MessagePack] {
        let hub = Hub::with(|settings| settings.catch_up.page_rows = 7).start().await;
        let (mut alice, _) = Peer::live(&hub, &Hello::of("alice", "a").unit("north")).await;
        let (entries, ids) = tickets(20);
        alice.commit(entries).await;
        alice.commit(journals(3).0).await;

        let hello = Hello::of("bob", "b").unit("north").with(json!({"subscriptions": [
            {"domain": "ticket", "filter": {"subject": ["fire", "flood"]}}, {"domain": "journal"}]}));
        let (mut bob, _) = Peer::hello_in(&hub, &hello, encoding).await;
        let mut copy = Copy::default();
        copy.take(&bob.until("caught_up").await);
        proven(&mut bob, &mut copy, &["ticket", "journal"]).await;
        for entries in [
            json!([edit("ticket", ids[0], 1, &json!({"subject": "flood"}))]),
            json!([edit("ticket", ids[1], 1, &json!({"subject": "storm"})), delete("ticket", ids[2], 1)]),
            json!([edit("ticket", ids[1], 2, &json!({"subject": "fire"})), ticket(Uuid::now_v7(), "storm")]),
            json!([edit("ticket", ids[2], 2, &json!({"subject": "fire"})), journal(Uuid::now_v7(), "sun")]),
        ] {
            alice.sync(entries).await;
            proven(&mut bob, &mut copy, &["ticket", "journal"]).await;
        }
        bob.commit(json!([journal(Uuid::now_v7(), "own")])).await;
        proven(&mut bob, &mut copy, &["ticket", "journal"]).await;
        assert!(copy.version("ticket", ids[2]) == Some(3) && copy.records.len() > 20);
        hub.stop().await;
    }
}

#[tokio::test]
async fn en13_the_view_is_scope_and_filter_and_of_other_domains_the_scope_alone() {
    let hub = Hub::with(|_| {}).definition("parcel.toml", UNIT).start().await;
    let desk_hello = desk(&hub, Role::Operator);
    let mut operator = Peer::open(&hub, Encoding::Json).await;
    operator.send(&desk_hello).await;
    operator.find("caught_up").await;
    let none = said([]);
    assert_eq!(digest(&mut operator, None).await["domains"], json!({}));
    assert_eq!(
        digest(&mut operator, Some(&["ticket", "parcel"])).await["domains"],
        json!({"ticket": none, "parcel": none})
    );

    let [north, south, moved] = [1, 2, 3].map(Uuid::from_u128);
    for (user, unit, id) in [("ann", "north", north), ("sue", "south", south), ("sue", "south", moved)] {
        let (mut peer, _) = Peer::live(&hub, &Hello::of(user, "x").unit(unit)).await;
        peer.commit(json!([edit("parcel", id, 0, &json!({"n": 1}))])).await;
    }
    let publisher = Publisher::of(&hub, "acme").await;
    let belonging = Belonging { unit: Some(Some(publisher.unit(&hub, "north").await)), owner: None };
    publisher.publish(&hub, edit("parcel", moved, 1, &json!({"n": 2})), Some(belonging)).await;

    let of_all = said([(north, 1), (south, 1), (moved, 2)]);
    let answer = digest(&mut operator, Some(&["parcel", "parcel"])).await;
    assert_eq!((&answer["domains"], answer["seq"].as_u64()), (&json!({"parcel": of_all}), Some(5)));
    let (mut ann, _) = Peer::live(&hub, &Hello::of("ann", "x").unit("north").to(&["ticket"])).await;
    let of_north = said([(north, 1), (moved, 2)]);
    assert_eq!(digest(&mut ann, Some(&["parcel"])).await["domains"]["parcel"], of_north);
    let filtered = json!([{"domain": "parcel", "filter": {"n": 2}}]);
    ann.ask(json!({"type": "subscribe", "subscriptions": filtered})).await;
    assert_eq!(digest(&mut ann, Some(&["parcel"])).await["domains"]["parcel"], said([(moved, 2)]));
    let (mut sue, _) = Peer::live(&hub, &Hello::of("sue", "x").unit("south").to(&["parcel"])).await;
    assert_eq!(digest(&mut sue, None).await["domains"], json!({"parcel": said([(south, 1)])}));
    let (mut other, _) = Peer::live(&hub, &Hello { tenant: "other".into(), ..Hello::of("sue", "x") }).await;
    assert_eq!(digest(&mut other, Some(&["parcel"])).await["domains"], json!({"parcel": none}));
    hub.stop().await;
}

#[tokio::test]
async fn en13_what_may_not_be_asked_is_refused_whole() {
    let telemetry = "name = \"position\"\nstrategy = \"client_wins\"\nvisibility = \"owner\"\nfeed = false\n";
    let hub = Hub::with(|_| {}).definition("position.toml", telemetry).start().await;
    let (mut alice, _) = Peer::live(&hub, &Hello::of("alice", "a").to(&["ticket"])).await;
    alice.commit(json!([edit("position", Uuid::from_u128(7), 0, &json!({"n": 1}))])).await;
    for (domains, code) in [
        (json!(["ticket", "nothing"]), "unknown_domain"),
        (json!(["position"]), "unknown_domain"),
        (json!("ticket"), "bad_request"),
        (json!([7]), "bad_request"),
    ] {
        let answer = alice.ask(json!({"type": "digest", "domains": domains})).await;
        assert_eq!((&answer["type"], &answer["code"]), (&json!("error"), &json!(code)), "{domains}");
    }
    assert_eq!(digest(&mut alice, Some(&[])).await["domains"], json!({}));
    let lines = hub.store().find_digests("acme", None).await.unwrap();
    let counted = said([(Uuid::from_u128(7), 1)]);
    assert_eq!(
        (lines.len(), &lines[0]["domain"], &lines[0]["digest"]),
        (1, &json!("position"), &counted["digest"])
    );

    let mut publisher = Peer::open(&hub, Encoding::Json).await;
    publisher.send(&desk(&hub, Role::Publisher)).await;
    publisher.find("caught_up").await;
    assert_eq!(publisher.ask(json!({"type": "digest"})).await["code"], "forbidden");
    hub.stop().await;
}

#[tokio::test]
async fn en13_the_session_goes_on_while_digests_wait_and_only_so_many_do() {
    let hub = Hub::start().await;
    let hello = Hello::of("alice", "a")
        .with(json!({"subscriptions": [{"domain": "ticket", "filter": {"subject": "fire"}}]}));
    let (mut alice, _) = Peer::live(&hub, &hello).await;
    let most = hub.node.deps().settings.limits.max_in_flight;
    let scans = hub.node.deps().scans.available_permits();
    let all = hub.node.deps().scans.acquire_many(u32::try_from(scans).unwrap()).await.unwrap();
    let mut asked = Vec::new();
    for _ in 0..most {
        asked.push(alice.request(json!({"type": "digest"})).await);
    }
    let one_more = alice.ask(json!({"type": "digest", "domains": ["journal"]})).await;
    assert_eq!((&one_more["code"], &one_more["temporary"]), (&json!("too_many_in_flight"), &json!(true)));
    assert_eq!(alice.ask(json!({"type": "ping"})).await["type"], "pong");
    let (entries, ids) = tickets(2);
    alice.commit(entries).await;
    let (_, frames) = Peer::live(&hub, &Hello::of("bob", "b").to(&["ticket"])).await;
    assert!(frames.iter().any(|frame| frame["records"].as_array().is_some_and(|all| all.len() == 2)));
    drop(all);
    let expected = said(ids.iter().map(|id| (*id, 1)));
    for id in asked {
        let answer = alice.find("digest_result").await;
        assert_eq!((&answer["id"], &answer["domains"]["ticket"]), (&json!(id), &expected));
    }
    hub.stop().await;
}

#[tokio::test]
async fn en13_c4_the_total_of_a_snapshot_is_exact_and_follows_deletes() {
    let hub = Hub::start().await;
    let (mut alice, _) = Peer::live(&hub, &Hello::of("alice", "a")).await;
    let (entries, ids) = tickets(9);
    alice.commit(entries).await;
    alice.commit(json!([delete("ticket", ids[3], 1), delete("ticket", ids[4], 1)])).await;
    let (_, frames) = Peer::live(&hub, &Hello::of("bob", "b").to(&["ticket", "journal"])).await;
    let total =
        |domain: &str| frames.iter().find(|frame| frame["domain"] == domain).unwrap()["total"].clone();
    assert_eq!((total("ticket"), total("journal")), (json!(7), json!(0)));
    hub.stop().await;
}

async fn client(hub: &Hub, user: &str, subscriptions: Vec<Subscription>) -> Client {
    let device = Device {
        id: "phone".to_owned(),
        kind: DeviceKind::Phone,
        install_id: None,
        name: None,
        os: None,
        app_version: None,
    };
    let mut config = Config::new(hub.url(), Arc::new(hub.token("acme", user, |_| {})), device);
    config.subscriptions = subscriptions;
    config.backoff = Backoff { first: Duration::from_millis(10), most: Duration::from_millis(50) };
    Client::start(config).await.unwrap()
}

fn wish(domain: &str, filter: Option<Value>) -> Subscription {
    let filter = filter.map(|filter| serde_json::from_value(filter).unwrap());
    Subscription { domain: domain.to_owned(), filter, priority: None }
}

fn data(value: Value) -> Data {
    serde_json::from_value(value).unwrap()
}

#[tokio::test]
async fn en13_a_client_proves_that_its_copy_is_the_hubs_and_notices_when_it_is_not() {
    let hub = Hub::start().await;
    let mine = client(&hub, "ann", vec![wish("ticket", None), wish("journal", None)]).await;
    let other = client(&hub, "bob", vec![wish("ticket", Some(json!({"subject": "fire"})))]).await;
    let mut ids = Vec::new();
    for subject in ["fire", "flood", "fire"] {
        let created = mine.create("ticket", data(json!({"subject": subject, "status": "NEW"})));
        ids.push(created.mobile_id());
        created.await.unwrap();
    }
    mine.delete("ticket", ids[0]).await.unwrap();
    let compared = mine.compare().await.unwrap();
    assert!(compared.is_equal(), "{compared:?}");
    assert_eq!((compared.domains.len(), mine.digest("ticket").count), (2, 2));
    let compared = other.compare().await.unwrap();
    assert!(compared.is_equal() && compared.domains[0].hub.count == 1, "{compared:?}");

    mine.disconnect().await;
    other.create("ticket", data(json!({"subject": "storm", "status": "NEW"}))).await.unwrap();
    let (compared, ()) = tokio::join!(mine.compare(), async { mine.reconnect() });
    let compared = compared.unwrap();
    assert!(compared.is_equal() && mine.digest("ticket").count == 3, "{compared:?}");

    // A hub whose digest is another: a copy that differs from what the hub holds looks the same.
    let database = rusqlite::Connection::open(hub.database()).unwrap();
    database.busy_timeout(Duration::from_secs(5)).unwrap();
    database.execute("UPDATE digest SET sum = sum + 1", []).unwrap();
    let compared = mine.compare().await.unwrap();
    let tickets = compared.domains.iter().find(|one| one.domain == "ticket").unwrap();
    assert_eq!(tickets.hub, Digest { sum: tickets.copy.sum.wrapping_add(1), ..tickets.copy });
    assert!(!compared.is_equal());
    mine.stop().await;
    assert!(matches!(mine.compare().await, Err(CompareError::Stopped(_))));
    other.stop().await;
    hub.stop().await;
}
