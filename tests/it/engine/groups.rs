//! Group commit: many batches in one transaction, each decided as if it were alone (invariants 1 to 3).

use futures::future::join_all;
use rusqlite::Connection;
use serde_json::{Value, json};
use synchub::observe::CommitFailure;
use uuid::Uuid;

use crate::support::{Gate, Hello, Hub, Peer, Publisher};

fn batch(id: Uuid) -> Value {
    let entry = json!({"domain": "task", "mobile_id": id, "version": 0, "data": {"jobdesc": "dig"}});
    json!({"type": "sync", "batch_id": Uuid::now_v7(), "entries": [entry]})
}

async fn peers(hub: &Hub, count: usize) -> Vec<Peer> {
    let hello = |n: usize| Hello::of(&format!("user-{n}"), "phone");
    let mut peers = Vec::new();
    for n in 0..count {
        peers.push(Peer::live(hub, &hello(n)).await.0);
    }
    peers
}

/// Sends a batch and waits until the engine has it: frames are handled in order, so a pong says so.
async fn submit(peer: &mut Peer, batch: &Value) -> u64 {
    let id = peer.request(batch.clone()).await;
    let pong = peer.ask(json!({"type": "ping"})).await;
    assert_eq!(pong["type"], "pong", "{pong}");
    id
}

fn count(database: &Connection, sql: &str) -> u32 {
    database.query_row(sql, [], |row| row.get(0)).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv1_inv3_sixteen_devices_at_once_share_commits() {
    const ROUNDS: usize = 8;
    let hub = Hub::start().await;
    let most = hub.node.deps().settings.limits.max_in_flight;
    let all = peers(&hub, 16).await;
    let write = |mut peer: Peer| async move {
        for _ in 0..ROUNDS {
            let mut ids = Vec::new();
            for _ in 0..most {
                ids.push(peer.request(batch(Uuid::now_v7())).await);
            }
            for id in ids {
                let answer = peer.answer(id).await;
                assert_eq!(answer["results"][0]["status"], "created", "{answer}");
            }
        }
    };
    join_all(all.into_iter().map(write)).await;
    let metrics = &hub.node.deps().metrics;
    let (groups, batches) = (metrics.commit_groups.get(), metrics.batches.get());
    assert_eq!(batches, (16 * ROUNDS * most) as u64);
    assert!(batches > 4 * groups, "{batches} batches in {groups} groups");
    let database = Connection::open(hub.database()).unwrap();
    assert_eq!(u64::from(count(&database, "SELECT count(*) FROM record")), batches);
    assert_eq!(u64::from(count(&database, "SELECT count(*) FROM log")), batches);
    assert_eq!(u64::from(count(&database, "SELECT max(seq) - min(seq) + 1 FROM log")), batches);
    let falls = "SELECT count(*) FROM log a JOIN log b ON b.seq = a.seq + 1 WHERE b.time_us <= a.time_us";
    assert_eq!(count(&database, falls), 0, "t1: times rise with numbers");
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv1_a_batch_that_the_store_refuses_fails_alone_in_its_group() {
    let hub = Hub::start().await;
    let publisher = Publisher::of(&hub, "acme").await;
    let mut all = peers(&hub, 9).await;
    let keys: Vec<_> = (0..8).map(|_| Uuid::now_v7()).collect();
    let database = Connection::open(hub.database()).unwrap();
    let guilty = keys[3].simple();
    let trigger = format!(
        "CREATE TRIGGER guilty BEFORE INSERT ON record WHEN NEW.key = x'{guilty}'
         BEGIN SELECT RAISE(ABORT, 'refused by the test'); END"
    );
    database.execute_batch(&trigger).unwrap();
    let gate = Gate::close(&hub, &publisher).await;
    let mut first = all.pop().unwrap();
    let waiting = submit(&mut first, &batch(Uuid::now_v7())).await;
    let batches: Vec<_> = keys.iter().map(|key| batch(*key)).collect();
    let mut ids = Vec::new();
    for (peer, batch) in all.iter_mut().zip(&batches) {
        ids.push(submit(peer, batch).await);
    }
    gate.open().await;
    first.answer(waiting).await;
    for (n, (peer, id)) in all.iter_mut().zip(ids).enumerate() {
        let answer = peer.answer(id).await;
        if n == 3 {
            assert_eq!((&answer["type"], &answer["code"]), (&json!("error"), &json!("internal")), "{answer}");
            assert_eq!(answer["temporary"], true);
        } else {
            assert_eq!(answer["results"][0]["status"], "created", "{n}: {answer}");
            assert_eq!(answer["repeated"], false, "{n}: {answer}");
        }
    }
    let metrics = &hub.node.deps().metrics;
    let groups = (metrics.commit_groups.get(), metrics.commit_failures.of(CommitFailure::Refused).get());
    assert_eq!(groups, (1 + 7, 1 + 1), "one before, seven alone; eight together and one alone refused");
    assert_eq!(count(&database, "SELECT count(*) FROM record"), 8);
    assert_eq!(count(&database, "SELECT count(*) FROM log"), 8);
    assert_eq!(count(&database, "SELECT count(*) FROM batch"), 8, "o3: an error decides nothing");

    database.execute_batch("DROP TRIGGER guilty").unwrap();
    let again = all[3].ask(batches[3].clone()).await;
    assert_eq!(again["results"][0]["status"], "created", "{again}");
    assert_eq!(again["repeated"], false);
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv1_a_store_that_cannot_write_fails_all_at_once_and_comes_back() {
    let hub = Hub::start().await;
    let mut all = peers(&hub, 8).await;
    let other = Connection::open(hub.database()).unwrap();
    // Somebody else holds the database: the writer waits its 5 s for it and gives up, once for the first
    // batch and once for the seven behind it. One after the other they would outlast the peers' patience.
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let batches: Vec<_> = all.iter().map(|_| batch(Uuid::now_v7())).collect();
    let mut ids = Vec::new();
    for (peer, batch) in all.iter_mut().zip(&batches) {
        ids.push(submit(peer, batch).await);
    }
    for (peer, id) in all.iter_mut().zip(ids) {
        let answer = peer.answer(id).await;
        let expected = (&json!("error"), &json!("unavailable"), &json!(true));
        assert_eq!((&answer["type"], &answer["code"], &answer["temporary"]), expected, "{answer}");
    }
    other.execute_batch("ROLLBACK").unwrap();
    for (peer, batch) in all.iter_mut().zip(&batches) {
        let answer = peer.ask(batch.clone()).await;
        assert_eq!(answer["results"][0]["status"], "created", "{answer}");
        assert_eq!(answer["repeated"], false, "o3: an error decides nothing");
    }
    assert_eq!(count(&other, "SELECT count(*) FROM record"), 8);
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv2_a_batch_that_comes_again_while_it_is_decided_has_one_effect() {
    let hub = Hub::start().await;
    let publisher = Publisher::of(&hub, "acme").await;
    let mut peer = peers(&hub, 1).await.remove(0);
    let mut plug = Peer::live(&hub, &Hello::of("other", "phone")).await.0;
    let gate = Gate::close(&hub, &publisher).await;
    // Behind the plug both copies wait for the same group.
    let plugged = submit(&mut plug, &batch(Uuid::now_v7())).await;
    let twice = batch(Uuid::now_v7());
    let (one, two) = (submit(&mut peer, &twice).await, submit(&mut peer, &twice).await);
    gate.open().await;
    plug.answer(plugged).await;
    let (one, two) = (peer.answer(one).await, peer.answer(two).await);
    assert_eq!((&one["repeated"], &two["repeated"]), (&json!(false), &json!(true)));
    assert_eq!(one["results"], two["results"]);
    assert_eq!(hub.node.deps().metrics.commit_groups.get(), 2, "both copies in one group");
    let database = Connection::open(hub.database()).unwrap();
    assert_eq!(count(&database, "SELECT count(*) FROM log"), 2);
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv2_a_batch_whose_socket_broke_is_answered_on_the_next_one() {
    let hub = Hub::start().await;
    let publisher = Publisher::of(&hub, "acme").await;
    let hello = Hello::of("user-0", "phone");
    let (mut old, _) = Peer::live(&hub, &hello).await;
    let gate = Gate::close(&hub, &publisher).await;
    let twice = batch(Uuid::now_v7());
    submit(&mut old, &twice).await;
    // The second hello waits in the store behind the batch: the batch is still the old session's.
    let mut new = Peer::open(&hub, synchub_protocol::Encoding::Json).await;
    new.send(&hello.frame(&hub)).await;
    let waiting = new.request(twice.clone()).await;
    gate.open().await;
    let answer = new.answer(waiting).await;
    assert_eq!(answer["results"][0]["status"], "created", "{answer}");
    assert_eq!(old.close_code().await, 4504);
    let database = Connection::open(hub.database()).unwrap();
    assert_eq!(count(&database, "SELECT count(*) FROM log"), 1);
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv2_c11_a_batch_of_a_replaced_session_is_refused_in_its_group() {
    let hub = Hub::start().await;
    let publisher = Publisher::of(&hub, "acme").await;
    let hello = Hello::of("user-0", "phone");
    let (mut old, _) = Peer::live(&hub, &hello).await;
    let mut plug = Peer::live(&hub, &Hello::of("other", "phone")).await.0;
    let gate = Gate::close(&hub, &publisher).await;
    let plugged = submit(&mut plug, &batch(Uuid::now_v7())).await;
    let twice = batch(Uuid::now_v7());
    submit(&mut old, &twice).await;
    // The store opens the new session before it comes to the group with the old one's batch.
    let mut new = Peer::open(&hub, synchub_protocol::Encoding::Json).await;
    new.send(&hello.frame(&hub)).await;
    let waiting = new.request(twice.clone()).await;
    gate.open().await;
    plug.answer(plugged).await;
    let answer = new.answer(waiting).await;
    assert_eq!(answer["results"][0]["status"], "created", "{answer}");
    let database = Connection::open(hub.database()).unwrap();
    assert_eq!(count(&database, "SELECT count(*) FROM log"), 2);
    assert_eq!(old.close_code().await, 4504);
    hub.stop().await;
}
