//! Our own client against a real hub: what a restored hub forgot comes again (R2), and a restored phone
//! loses and doubles nothing (O4).

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use synchub_client::protocol::client::{Device, Subscription};
use synchub_client::protocol::server::{EntryResult, Status};
use synchub_client::{Backoff, Client, Config, Install, MemoryStorage};
use synchub_protocol::{Data, DeviceKind};
use tokio::sync::watch;
use uuid::Uuid;

use super::tools::{Shelf, device, printed, snapshot, synchub};
use crate::support::{Hub, Peer};

/// A client of alice's phone over this storage.
async fn phone(hub: &Hub, storage: &MemoryStorage, install: Install) -> Client {
    Client::start(config(hub, storage, install)).await.unwrap()
}

/// The same, which says hello only once it is told that it is online.
async fn phone_offline(
    hub: &Hub,
    storage: &MemoryStorage,
    install: Install,
) -> (Client, watch::Sender<bool>) {
    let mut config = config(hub, storage, install);
    let (online, gate) = watch::channel(false);
    let token = hub.token("acme", "alice", |_| {});
    config.token = Arc::new(move || {
        let (mut gate, token) = (gate.clone(), token.clone());
        async move {
            gate.wait_for(|online| *online).await.unwrap();
            Ok(token)
        }
    });
    (Client::start(config).await.unwrap(), online)
}

fn config(hub: &Hub, storage: &MemoryStorage, install: Install) -> Config {
    let device = Device {
        id: "phone".to_owned(),
        kind: DeviceKind::Phone,
        install_id: None,
        name: None,
        os: None,
        app_version: None,
    };
    let mut config = Config::new(hub.url(), Arc::new(hub.token("acme", "alice", |_| {})), device);
    config.storage = Box::new(storage.clone());
    config.install = install;
    config.subscriptions = vec![Subscription { domain: "ticket".to_owned(), filter: None, priority: None }];
    config.backoff = Backoff { first: Duration::from_millis(10), most: Duration::from_millis(50) };
    config
}

fn subject(text: &str) -> Data {
    Data::from_iter([("subject".to_owned(), json!(text)), ("status".to_owned(), json!("NEW"))])
}

async fn create(client: &Client, text: &str) -> EntryResult {
    client.create("ticket", subject(text)).await.unwrap()
}

/// The subjects of all tickets in the hub, sorted.
async fn subjects(hub: &Hub) -> Vec<String> {
    let (mut peer, _) = Peer::hello(hub, &device("operator")).await;
    let records = snapshot(&mut peer).await;
    peer.close().await;
    let mut subjects: Vec<_> =
        records.iter().map(|record| record["data"]["subject"].as_str().unwrap().to_owned()).collect();
    subjects.sort();
    subjects
}

#[tokio::test]
async fn r2_what_a_restored_hub_forgot_comes_again_before_what_waits() {
    let (hub, shelf, storage) = (Hub::start().await, Shelf::new(), MemoryStorage::default());
    let client = phone(&hub, &storage, Install::InStorage).await;
    let kept = create(&client, "kept").await.mobile_id.unwrap();
    let done = synchub("backup", &shelf.file("one"), hub.database().parent().unwrap());
    assert!(done.status.success(), "{}", printed(&done));
    let forgotten = create(&client, "forgotten").await.mobile_id.unwrap();
    client.edit("ticket", forgotten, subject("forgotten, edited")).await.unwrap();
    client.edit("ticket", kept, subject("kept, edited")).await.unwrap();
    client.stop().await;

    let hub = shelf.restore(hub, "one").await;
    assert_eq!(subjects(&hub).await, ["kept"]);
    let (client, online) = phone_offline(&hub, &storage, Install::InStorage).await;
    let waits = client.create("ticket", subject("waits"));
    online.send(true).unwrap();
    assert_eq!(waits.await.unwrap().status, Status::Created);
    client.wait_until_settled(None).await.unwrap();
    assert_eq!(subjects(&hub).await, ["forgotten, edited", "kept, edited", "waits"]);
    // The numbers went on where the hub's mark was: forgotten twice, kept once, and what waited.
    let (_, numbers) = marks(&hub);
    assert_eq!(numbers, [5]);
    client.stop().await;
}

#[tokio::test]
async fn r2_a_client_comes_back_by_itself_to_a_hub_that_was_put_back_by_hand() {
    let (hub, shelf) = (Hub::with(|settings| settings.drain.reconnect_ms = 0).start().await, Shelf::new());
    let storage = MemoryStorage::default();
    let client = phone(&hub, &storage, Install::InStorage).await;
    create(&client, "kept").await;
    client.stop().await;
    let hub = shelf.keep(hub).await;
    let client = phone(&hub, &storage, Install::InStorage).await;
    create(&client, "forgotten").await;
    // A cursor is a witness of all but the last second: this one has to cover the row.
    client.wait_until_settled(Some(2)).await.unwrap();
    client.stop().await;
    let hub = shelf.put_back(hub).await;

    let client = phone(&hub, &storage, Install::InStorage).await;
    client.wait_until_settled(None).await.unwrap();
    assert_eq!(create(&client, "new").await.status, Status::Created);
    client.stop().await;
    assert_eq!(hub.store().epoch(), 1);
    assert_eq!(subjects(&hub).await, ["forgotten", "kept", "new"]);
}

/// The installs of the hub and the marks of those that have one.
fn marks(hub: &Hub) -> (usize, Vec<i64>) {
    let database = rusqlite::Connection::open(hub.database()).unwrap();
    let mut marks = database.prepare("SELECT mark FROM install ORDER BY no").unwrap();
    let marks: Vec<i64> = marks.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    (marks.len(), marks.into_iter().filter(|mark| *mark > 0).collect())
}

#[tokio::test]
async fn o4_a_phone_restored_from_a_backup_with_edits_made_before_its_first_hello() {
    let (hub, storage) = (Hub::start().await, MemoryStorage::default());
    let (old, new) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let client = phone(&hub, &storage, Install::KeptApart(old)).await;
    create(&client, "one").await;
    let backup = storage.stored();
    // The phone goes on after its backup: numbers 2 and 3 are decided for what the backup does not hold.
    create(&client, "two").await;
    create(&client, "three").await;
    client.stop().await;

    // The restored phone makes more edits than that, before it reaches the hub.
    let (client, online) =
        phone_offline(&hub, &MemoryStorage::holding(backup), Install::KeptApart(new)).await;
    let made: Vec<_> =
        ["four", "five", "six"].map(|text| client.create("ticket", subject(text))).into_iter().collect();
    online.send(true).unwrap();
    for ticket in made {
        assert_eq!(ticket.await.unwrap().status, Status::Created);
    }
    client.stop().await;
    assert_eq!(subjects(&hub).await, ["five", "four", "one", "six", "three", "two"]);
    assert_eq!(marks(&hub).1, [3, 3]);
}

#[tokio::test]
async fn o4_a_restored_phone_without_a_place_apart_is_known_by_the_hubs_mark() {
    let (hub, storage) = (Hub::start().await, MemoryStorage::default());
    let client = phone(&hub, &storage, Install::InStorage).await;
    create(&client, "one").await;
    let backup = MemoryStorage::holding(storage.stored());
    create(&client, "two").await;
    client.stop().await;

    let client = phone(&hub, &backup, Install::InStorage).await;
    client.wait_until_settled(None).await.unwrap();
    assert_eq!(create(&client, "three").await.status, Status::Created);
    client.stop().await;
    assert_eq!(subjects(&hub).await, ["one", "three", "two"]);
    assert_eq!(marks(&hub).1, [2, 1]);
}

#[tokio::test]
async fn o4_a_reinstalled_app_and_the_old_install_coming_back() {
    let (hub, old_storage) = (Hub::start().await, MemoryStorage::default());
    let (old, new) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let client = phone(&hub, &old_storage, Install::KeptApart(old)).await;
    create(&client, "old one").await;
    client.stop().await;

    let client = phone(&hub, &MemoryStorage::default(), Install::KeptApart(new)).await;
    assert_eq!(create(&client, "new one").await.status, Status::Created);
    client.stop().await;

    // The old install is put back, with all it had; it goes on with its own numbers.
    let client = phone(&hub, &old_storage, Install::KeptApart(old)).await;
    assert_eq!(create(&client, "old two").await.status, Status::Created);
    client.wait_until_settled(None).await.unwrap();
    assert_eq!(client.records("ticket").len(), 3);
    client.stop().await;
    assert_eq!(subjects(&hub).await, ["new one", "old one", "old two"]);
    assert_eq!(marks(&hub).1, [2, 1]);
}
