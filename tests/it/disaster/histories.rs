//! A log that is shorter than the node knew it to be (invariant 11), seen from the store and from a
//! socket.

use serde_json::json;
use synchub::store::{CommitError, LogQuery, StoreError, Witness};
use synchub_rules::record::{Head, Scope, Sight};
use uuid::Uuid;

use super::tools::{PLACES, device, is_sent_away};
use crate::store::{Edit, Sqlite, World};
use crate::support::{Hub, Peer, ticket};

/// Takes the last rows from a tenant's log, as somebody does who copies files under a running hub.
fn cut(database: &std::path::Path, to: u64) {
    let database = rusqlite::Connection::open(database).unwrap();
    let cut = format!(
        "DELETE FROM log WHERE seq > {to};
         UPDATE tenant SET seq = {to}, last_us = (SELECT max(time_us) FROM log);
         DELETE FROM record WHERE seq > {to};"
    );
    database.execute_batch(&cut).unwrap();
}

async fn world_of_three_rows(sqlite: &Sqlite) -> World {
    let world = World::new(sqlite).await;
    for n in 1..=3 {
        world.edit(vec![Edit::create(n, Scope::Tenant)]).await;
    }
    world
}

#[tokio::test]
async fn inv11_a_commit_on_a_shorter_log_writes_nothing_and_raises_the_epoch() {
    let sqlite = Sqlite::new();
    let world = world_of_three_rows(&sqlite).await;
    let mut epochs = world.store.epochs();
    cut(&sqlite.path(), 2);
    let refused = world.try_edit(vec![Edit::create(9, Scope::Tenant)]).await.unwrap_err();
    assert!(matches!(refused, CommitError::Unavailable(_)), "{refused}");
    assert!(epochs.has_changed().unwrap());
    assert_eq!((*epochs.borrow_and_update(), world.store.epoch()), (1, 1));
    let place = world.store.place(world.me.tenant).await.unwrap();
    assert_eq!((place.epoch, place.head.seq), (1, 2));

    // What was lost is lost; from here on the log goes on, in the new epoch.
    let committed = world.edit(vec![Edit::create(9, Scope::Tenant)]).await;
    assert_eq!((committed.epoch, world.store.epoch()), (1, 1));
    world.store.close().await;
    assert_eq!(World::new(&sqlite).await.store.epoch(), 1);
}

#[tokio::test]
async fn inv11_another_row_at_the_known_head_is_noticed() {
    let sqlite = Sqlite::new();
    let world = world_of_three_rows(&sqlite).await;
    let database = rusqlite::Connection::open(sqlite.path()).unwrap();
    database.execute_batch("UPDATE tenant SET last_us = last_us + 1").unwrap();
    world.try_edit(vec![Edit::create(9, Scope::Tenant)]).await.unwrap_err();
    assert_eq!(world.store.epoch(), 1);
}

#[tokio::test]
async fn r1_a_page_of_a_shorter_log_is_not_believed() {
    let sqlite = Sqlite::new();
    let world = world_of_three_rows(&sqlite).await;
    cut(&sqlite.path(), 2);
    let query = LogQuery {
        tenant: world.me.tenant,
        sight: Sight::Everything,
        address: None,
        after: 0,
        limit: 10,
        bytes: 1 << 20,
    };
    let refused = world.store.log_page(query.clone()).await.unwrap_err();
    assert!(matches!(refused, StoreError::Unavailable(_)), "{refused}");
    assert_eq!(world.store.epoch(), 1);
    assert_eq!(world.store.log_page(query).await.unwrap().rows.len(), 2);
}

#[tokio::test]
async fn r1_a_lower_epoch_than_the_node_knew_raises_it_above_both() {
    let sqlite = Sqlite::new();
    let world = world_of_three_rows(&sqlite).await;
    let ahead = Witness { tenant: world.me.tenant, epoch: 6, place: Head { seq: 1, time_us: 1 } };
    assert_eq!(world.store.examine(ahead).await.unwrap(), 7);
    // A cursor of an older epoch proves nothing, whatever it says.
    assert_eq!(world.store.examine(ahead).await.unwrap(), 7);
    let database = rusqlite::Connection::open(sqlite.path()).unwrap();
    database.execute_batch("UPDATE meta SET value = 2 WHERE key = 'epoch'").unwrap();
    world.try_edit(vec![Edit::create(9, Scope::Tenant)]).await.unwrap_err();
    assert_eq!(world.store.epoch(), 8);
}

#[tokio::test]
async fn r1_a_later_epoch_than_the_node_knew_is_the_nodes_from_then_on() {
    let sqlite = Sqlite::new();
    let world = world_of_three_rows(&sqlite).await;
    let epochs = world.store.epochs();
    let database = rusqlite::Connection::open(sqlite.path()).unwrap();
    database.execute_batch("UPDATE meta SET value = 4 WHERE key = 'epoch'").unwrap();
    let committed = world.edit(vec![Edit::create(9, Scope::Tenant)]).await;
    assert_eq!((committed.epoch, world.store.epoch()), (4, 4));
    assert!(epochs.has_changed().unwrap());
}

#[tokio::test]
async fn inv11_a_batch_that_meets_a_shorter_log_stays_with_its_device() {
    let hub = Hub::start().await;
    let (mut peer, _) = Peer::live(&hub, &device("alice")).await;
    peer.commit(json!([ticket(Uuid::now_v7(), "one")])).await;
    peer.commit(json!([ticket(Uuid::now_v7(), "two")])).await;
    cut(&hub.database(), 1);
    let batch =
        json!({"type": "sync", "batch_id": Uuid::now_v7(), "entries": [ticket(Uuid::now_v7(), "three")]});
    let refused = peer.ask(batch.clone()).await;
    assert_eq!((&refused["code"], &refused["temporary"]), (&json!("unavailable"), &json!(true)));
    is_sent_away(peer).await;

    let (mut peer, welcome) = Peer::hello(&hub, &device("alice")).await;
    assert_eq!(welcome["epoch"], 1);
    peer.until("caught_up").await;
    let answer = peer.ask(batch).await;
    assert!(answer["seq"].as_u64().unwrap() > PLACES, "{answer}");
}
