//! A hub whose store is older than what its devices know (R1).

use std::collections::HashSet;

use serde_json::json;
use synchub::store::Witness;
use synchub_rules::record::Head;
use uuid::Uuid;

use super::tools::{
    PLACES, Shelf, all_fresh, come_back, device, is_sent_away, printed, snapshot, synchub, write,
};
use crate::support::{Hello, Hub, Peer, edit, ticket};

#[tokio::test]
async fn r1_a_restored_store_begins_a_new_epoch_and_every_device_loads_everything_anew() {
    let (hub, shelf) = (Hub::start().await, Shelf::new());
    let kept = write(&hub, "alice", 2).await;
    // While the hub runs.
    let done = synchub("backup", &shelf.file("one"), hub.database().parent().unwrap());
    assert!(done.status.success(), "{}", printed(&done));
    let lost = write(&hub, "bob", 3).await;
    let hub = shelf.restore(hub, "one").await;

    for (user, cursor, stand) in [("alice", kept, 2), ("bob", lost, 3)] {
        let (mut peer, welcome) = come_back(&hub, &device(user), &cursor).await.unwrap();
        assert_eq!((&welcome["epoch"], &welcome["fresh"]), (&json!(1), &all_fresh()));
        assert_eq!(snapshot(&mut peer).await.len(), stand);
        assert!(peer.commit(json!([ticket(Uuid::now_v7(), "new")])).await > PLACES);
        let change = peer.find("data_update").await;
        assert_eq!(change["version"], (1_u64 << 32) + 1);
    }
}

#[tokio::test]
async fn r1_a_data_folder_put_back_by_hand_is_noticed_by_the_first_device_that_knows_more() {
    let (hub, shelf) = (Hub::start().await, Shelf::new());
    write(&hub, "alice", 2).await;
    let hub = shelf.keep(hub).await;
    let knows_more = write(&hub, "alice", 2).await;
    let hub = shelf.put_back(hub).await;

    let (mut bystander, welcome) = Peer::hello(&hub, &device("bob")).await;
    assert_eq!(welcome["epoch"], 0);
    bystander.until("caught_up").await;
    let bystanders = bystander.cursor.clone().unwrap();
    let (elsewhere, _) = Peer::live(&hub, &Hello { tenant: "other".into(), ..device("eve") }).await;
    assert!(come_back(&hub, &device("alice"), &knows_more).await.is_none());
    is_sent_away(bystander).await;
    is_sent_away(elsewhere).await;

    for (user, cursor) in [("alice", knows_more), ("bob", bystanders)] {
        let (mut peer, welcome) = come_back(&hub, &device(user), &cursor).await.unwrap();
        assert_eq!((&welcome["epoch"], &welcome["fresh"]), (&json!(1), &all_fresh()));
        snapshot(&mut peer).await;
        assert!(peer.commit(json!([ticket(Uuid::now_v7(), "new")])).await > PLACES);
        assert_eq!(peer.find("data_update").await["version"], (1_u64 << 32) + 1);
    }
    // Durable, and known to the next hub from its start.
    let hub = hub.restart().await;
    assert_eq!(hub.store().epoch(), 1);
}

/// The tenants come back in another order and get each other's numbers.
#[tokio::test]
async fn r1_a_data_folder_put_back_by_hand_to_before_its_tenants_came() {
    let (hub, shelf) = (Hub::start().await, Shelf::new());
    let hub = shelf.keep(hub).await;
    let knows_more = write(&hub, "alice", 2).await;
    let elsewhere = Hello { tenant: "other".into(), ..device("eve") };
    let (eve, _) = Peer::live(&hub, &elsewhere).await;
    eve.close().await;
    let hub = shelf.put_back(hub).await;

    let (mut eve, _) = Peer::live(&hub, &elsewhere).await;
    eve.commit(json!([ticket(Uuid::now_v7(), "new")])).await;
    assert_eq!(hub.store().epoch(), 0);
    assert!(come_back(&hub, &device("alice"), &knows_more).await.is_none());
    is_sent_away(eve).await;
    let (mut peer, welcome) = come_back(&hub, &device("alice"), &knows_more).await.unwrap();
    assert_eq!((&welcome["epoch"], &welcome["fresh"]), (&json!(1), &all_fresh()));
    snapshot(&mut peer).await;
    assert!(peer.commit(json!([ticket(Uuid::now_v7(), "new")])).await > PLACES);
}

#[tokio::test]
async fn r1_new_writes_past_the_old_place_before_the_first_old_device_returns() {
    let (hub, shelf) = (Hub::start().await, Shelf::new());
    write(&hub, "alice", 2).await;
    let hub = shelf.keep(hub).await;
    let knows_another_row = write(&hub, "alice", 2).await;
    let hub = shelf.put_back(hub).await;

    write(&hub, "bob", 5).await;
    assert_eq!(hub.store().epoch(), 0);
    assert!(come_back(&hub, &device("alice"), &knows_another_row).await.is_none());
    let (mut peer, welcome) = come_back(&hub, &device("alice"), &knows_another_row).await.unwrap();
    assert_eq!((&welcome["epoch"], &welcome["fresh"]), (&json!(1), &all_fresh()));
    assert_eq!(snapshot(&mut peer).await.len(), 7);
}

#[tokio::test]
async fn r1_another_row_at_the_very_head_is_noticed_too() {
    let (hub, shelf) = (Hub::start().await, Shelf::new());
    let hub = shelf.keep(hub).await;
    let knows_another_row = write(&hub, "alice", 2).await;
    let hub = shelf.put_back(hub).await;
    write(&hub, "bob", 2).await;
    assert!(come_back(&hub, &device("alice"), &knows_another_row).await.is_none());
}

#[tokio::test]
async fn r1_a_cursor_of_a_later_epoch_raises_the_epoch_above_it() {
    let (hub, shelf) = (Hub::start().await, Shelf::new());
    write(&hub, "alice", 2).await;
    let hub = shelf.keep(hub).await;
    let done = synchub("backup", &shelf.file("one"), hub.database().parent().unwrap());
    assert!(done.status.success());
    let hub = shelf.restore(hub, "one").await;
    let hub = shelf.restore(hub, "one").await;
    let of_epoch_2 = write(&hub, "alice", 1).await;
    let hub = shelf.put_back(hub).await;
    assert_eq!(hub.store().epoch(), 0);

    assert!(come_back(&hub, &device("alice"), &of_epoch_2).await.is_none());
    assert_eq!(hub.store().epoch(), 3);
    let (_peer, welcome) = come_back(&hub, &device("alice"), &of_epoch_2).await.unwrap();
    assert_eq!((&welcome["epoch"], &welcome["fresh"]), (&json!(3), &all_fresh()));
}

#[tokio::test]
async fn r1_an_acknowledged_cursor_is_a_witness_too() {
    let (hub, shelf) = (Hub::start().await, Shelf::new());
    write(&hub, "alice", 1).await;
    let hub = shelf.keep(hub).await;
    let ahead = write(&hub, "alice", 2).await;
    let hub = shelf.put_back(hub).await;

    let (mut peer, _) = Peer::live(&hub, &device("alice")).await;
    peer.send(&json!({"type": "ack", "cursor": ahead})).await;
    is_sent_away(peer).await;
    assert_eq!(hub.store().epoch(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r1_a_session_of_the_epoch_before_decides_nothing_any_more() {
    let hub = Hub::start().await;
    let known = write(&hub, "alice", 1).await;
    // Whether a batch comes before the session is told is a race: it is run several times.
    for round in 1..=8 {
        let mut peers = Vec::new();
        for number in 0..8 {
            let hello = Hello { device: format!("d{number}"), ..device("bob") };
            peers.push(Peer::live(&hub, &hello).await.0);
        }
        let ahead = Witness { tenant: 1, epoch: 10 * round, place: Head { seq: 1, time_us: 1 } };
        assert_eq!(hub.store().examine(ahead).await.unwrap(), 10 * round + 1);
        for peer in &mut peers {
            let entries = json!([ticket(Uuid::now_v7(), "late")]);
            peer.request(json!({"type": "sync", "batch_id": Uuid::now_v7(), "entries": entries})).await;
        }
        for peer in peers {
            is_sent_away(peer).await;
        }
    }
    let (mut peer, _) = come_back(&hub, &device("alice"), &known).await.unwrap();
    assert_eq!(snapshot(&mut peer).await.len(), 1, "what was sent to the epoch before stays with its device");
}

#[tokio::test]
async fn r1_a_cursor_that_the_hub_did_not_make_or_of_another_tenant_raises_nothing() {
    let (hub, shelf) = (Hub::start().await, Shelf::new());
    let others = Hello { tenant: "other".into(), ..device("eve") };
    let (peer, _) = Peer::live(&hub, &others).await;
    peer.close().await;
    let hub = shelf.keep(hub).await;
    let ahead = write(&hub, "alice", 3).await;
    let hub = shelf.put_back(hub).await;

    let mut forged = ahead.clone().into_bytes();
    forged[3] ^= 1;
    let forged = String::from_utf8(forged).unwrap();
    for (hello, cursor) in [(device("alice"), &forged), (others, &ahead)] {
        let (mut peer, welcome) = come_back(&hub, &hello, cursor).await.unwrap();
        assert_eq!(welcome["fresh"][0]["reason"], "cursor_invalid");
        peer.until("caught_up").await;
        peer.send(&json!({"type": "ack", "cursor": cursor})).await;
        peer.ask(json!({"type": "ping"})).await;
        peer.close().await;
    }
    assert_eq!(hub.store().epoch(), 0);
}

#[tokio::test]
async fn r1_a_row_that_was_purged_is_no_witness() {
    let hub = Hub::start().await;
    let (first, second) = (write(&hub, "alice", 1).await, write(&hub, "alice", 1).await);
    write(&hub, "bob", 2).await;
    let hub = hub
        .restart_after(|folder| {
            let database = rusqlite::Connection::open(folder.join("synchub.db")).unwrap();
            database.execute_batch("DELETE FROM log WHERE seq <= 2; UPDATE tenant SET horizon = 2").unwrap();
        })
        .await;
    let (_peer, welcome) = come_back(&hub, &device("alice"), &first).await.unwrap();
    assert_eq!(welcome["fresh"][0]["reason"], "cursor_expired");
    let (_peer, welcome) = come_back(&hub, &device("alice"), &second).await.unwrap();
    assert_eq!((&welcome["fresh"], &welcome["epoch"]), (&json!([]), &json!(0)));
}

#[tokio::test]
async fn r1_numbers_are_never_given_twice_across_three_restores() {
    let (mut hub, shelf) = (Hub::start().await, Shelf::new());
    let id = Uuid::now_v7();
    let (mut peer, _) = Peer::live(&hub, &device("alice")).await;
    peer.commit(json!([ticket(id, "one")])).await;
    peer.close().await;
    let done = synchub("backup", &shelf.file("one"), hub.database().parent().unwrap());
    assert!(done.status.success());

    let (mut places, mut versions) = (HashSet::new(), HashSet::from([1]));
    for epoch in 0..=3 {
        let (mut peer, welcome) = Peer::hello(&hub, &device("alice")).await;
        assert_eq!(welcome["epoch"], epoch);
        let mut version = snapshot(&mut peer).await[0]["version"].as_u64().unwrap();
        for round in 0..3 {
            let change = edit("ticket", id, version, &json!({"subject": format!("{epoch} {round}")}));
            let place = peer.commit(json!([change])).await;
            version = peer.find("data_update").await["version"].as_u64().unwrap();
            assert!(place >= epoch * PLACES && version >= epoch << 32);
            assert!(places.insert(place) && versions.insert(version), "{place} {version}");
        }
        peer.close().await;
        hub = shelf.restore(hub, "one").await;
    }
}
