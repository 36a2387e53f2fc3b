//! Writers and readers at once, with reconnects: every reader ends with what the store holds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};
use synchub_protocol::Encoding;
use uuid::Uuid;

use crate::support::{Copy, Hello, Hub, Peer, delete, edit, ticket};

const WRITERS: usize = 8;
const READERS: usize = 20;
const BATCHES: usize = 25;
/// How many each sends at most until a reader was slow, where one is to be.
const BATCHES_MOST: usize = 1000;

/// Numbers by chance, the same for the same seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % limit
    }
}

/// Writes batches of new, changed and deleted tickets; ids of half of them are shared with other writers.
async fn write(hub: Arc<Hub>, writer: usize, shared: Arc<Vec<Uuid>>, (end, slows): (Arc<AtomicU64>, bool)) {
    let mut chance = Chance(writer as u64 + 1);
    let (mut peer, _) = Peer::live(&hub, &Hello::of("alice", &format!("w{writer}"))).await;
    let mut own: Vec<Uuid> = Vec::new();
    for sent in 0..BATCHES_MOST {
        if sent >= BATCHES && (!slows || hub.slow_readers() > 0) {
            return;
        }
        let entries = (0..6).map(|_| {
            let subject = ["fire", "smoke"][chance.below(2)];
            let id = if chance.below(2) == 0 { shared[chance.below(shared.len())] } else { Uuid::now_v7() };
            match chance.below(6) {
                0..3 => {
                    own.push(id);
                    ticket(id, subject)
                }
                3 if !own.is_empty() => delete("ticket", own[chance.below(own.len())], 1),
                _ if !own.is_empty() => {
                    let group = json!({"subject": subject, "group": format!("{}", chance.below(9))});
                    edit("ticket", own[chance.below(own.len())], 1 + chance.below(3) as u64, &group)
                }
                _ => ticket(id, subject),
            }
        });
        let entries: Value = entries.collect();
        let answer = peer.ask(json!({"type": "sync", "batch_id": Uuid::now_v7(), "entries": entries})).await;
        end.fetch_max(answer["seq"].as_u64().unwrap_or_else(|| panic!("{answer}")), Ordering::SeqCst);
    }
}

fn reader_hello(reader: usize) -> Hello {
    let all = json!([{"domain": "ticket"}]);
    let fire = json!([{"domain": "ticket", "filter": {"subject": "fire"}}]);
    let subscriptions = if reader.is_multiple_of(3) { fire } else { all };
    Hello::of("bob", &format!("r{reader}")).with(json!({"subscriptions": subscriptions}))
}

/// Follows with a strict copy and breaks off at any frame, until everything was written and read.
async fn read(hub: Arc<Hub>, reader: usize, (end, done): (Arc<AtomicU64>, Arc<AtomicU64>)) -> Copy {
    let mut chance = Chance(1000 + reader as u64);
    let encoding = if reader.is_multiple_of(2) { Encoding::Json } else { Encoding::MessagePack };
    // What is stored with a cursor: a reader that breaks off goes on from there.
    let mut stored = Copy::default();
    loop {
        let finished = done.load(Ordering::SeqCst) == WRITERS as u64;
        let goal = end.load(Ordering::SeqCst);
        let mut copy = stored.clone();
        copy.seq = 0;
        let hello = reader_hello(reader).with(json!({"cursor": stored.cursor}));
        let mut peer = if reader.is_multiple_of(5) {
            Peer::open_narrow(&hub, encoding).await
        } else {
            Peer::open(&hub, encoding).await
        };
        copy.take(&[peer.greet(&hub, &hello).await]);
        let mut frames = if finished { usize::MAX } else { 1 + chance.below(200) };
        while frames > 0 {
            let frame = peer.next().await;
            copy.take(std::slice::from_ref(&frame));
            if copy.cursor != stored.cursor {
                stored = copy.clone();
            }
            if finished && frame["seq"].as_u64().is_some_and(|seq| seq >= goal) {
                return copy;
            }
            let idle = frame["seq"].as_u64().is_some_and(|seq| seq >= end.load(Ordering::SeqCst));
            frames = if idle { 0 } else { frames - 1 };
        }
        if chance.below(2) == 0 {
            peer.cut();
        } else {
            peer.close().await;
        }
    }
}

/// Everything in the store that a subscription wants, by a device that never was there.
async fn truth(hub: &Hub, reader: usize) -> BTreeMap<(String, String), (u64, Value)> {
    let hello = Hello { device: "truth".into(), ..reader_hello(reader) };
    let (_, frames) = Peer::live(hub, &hello).await;
    let mut copy = Copy::default();
    copy.take(&frames);
    copy.records
}

async fn inv5_everybody_ends_with_what_the_store_holds(tail_bytes: usize, lane_bytes: usize) {
    let hub = Hub::with(|settings| {
        settings.feed.tail_bytes = tail_bytes;
        settings.feed.lane_bytes = lane_bytes;
        settings.feed.position_ms = 5;
        settings.feed.idle_position_secs = 1;
        settings.catch_up.page_rows = 40;
    });
    let hub = Arc::new(hub.start().await);
    let small = lane_bytes < 2000;
    let shared: Arc<Vec<_>> = Arc::new((0..40).map(|_| Uuid::now_v7()).collect());
    let (end, done) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let (hub, shared, end, done) =
            (Arc::clone(&hub), Arc::clone(&shared), Arc::clone(&end), Arc::clone(&done));
        writers.spawn(async move {
            write(hub, writer, shared, (end, small)).await;
            done.fetch_add(1, Ordering::SeqCst);
        });
    }
    let mut readers = tokio::task::JoinSet::new();
    for reader in 0..READERS {
        let (hub, watch) = (Arc::clone(&hub), (Arc::clone(&end), Arc::clone(&done)));
        readers.spawn(async move { (reader, read(hub, reader, watch).await) });
    }
    writers.join_all().await;
    assert!(!small || hub.slow_readers() > 0, "nobody was slow");
    let truths = [truth(&hub, 0).await, truth(&hub, 1).await];
    assert!(truths[0].len() > 20 && truths[1].len() > truths[0].len(), "the test writes something");
    for (reader, copy) in readers.join_all().await {
        let truth = &truths[usize::from(!reader.is_multiple_of(3))];
        assert!(
            copy.records == *truth,
            "reader {reader}: {} records, {} in the store",
            copy.records.len(),
            truth.len()
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv5_everybody_ends_with_what_the_store_holds_by_the_log() {
    inv5_everybody_ends_with_what_the_store_holds(0, 256 * 1024).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv5_everybody_ends_with_what_the_store_holds_by_the_tail() {
    inv5_everybody_ends_with_what_the_store_holds(4 << 20, 256 * 1024).await;
}

/// Lanes so small that every reader is slow again and again, and a tail that is often too short.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv5_everybody_ends_with_what_the_store_holds_over_small_lanes() {
    inv5_everybody_ends_with_what_the_store_holds(8 * 1024, 1500).await;
}
