//! A tenth of the devices read hardly anything while changes flow: all end with what the hub holds, what waits for them
//! is bounded, and nobody waits for them (C8, invariant 5).
//!
//! The slow ones sit behind a line that lets a kilobyte through for each batch that is answered: slow by what
//! happens, not by a clock.

use std::net::SocketAddr;
use std::sync::Arc;

use futures::future::join_all;
use serde_json::{Value, json};
use synchub_protocol::Encoding;
use synchub_protocol::digest::part;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use uuid::Uuid;

use crate::support::{Copy, Hello, Hub, Peer, edit};

const DUTY: &str = "name = \"duty\"\nstrategy = \"most_recent_wins\"\nvisibility = \"unit\"\n";
/// A change goes to the devices of its unit: five of them, in every second unit a slow one among them.
const UNITS: usize = 20;
const DEVICES: usize = 5;
const BATCHES: usize = 10;
const BATCH: usize = 100;
const LANE_BYTES: usize = 32 * 1024;

/// A line to the hub on which each kilobyte of what comes back waits for a permit; it ends with the set.
async fn narrow_line(lines: &mut JoinSet<()>, hub: SocketAddr, kilobytes: Arc<Semaphore>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    lines.spawn(async move {
        let (mut near, _) = listener.accept().await.unwrap();
        let far = TcpSocket::new_v4().unwrap();
        far.set_recv_buffer_size(4 * 1024).unwrap();
        let mut far = far.connect(hub).await.unwrap();
        let ((mut from_near, mut to_near), (mut from_far, mut to_far)) = (near.split(), far.split());
        let back = async {
            let mut kilobyte = [0; 1024];
            loop {
                kilobytes.acquire().await.unwrap().forget();
                let count = from_far.read(&mut kilobyte).await.unwrap_or(0);
                if count == 0 || to_near.write_all(&kilobyte[..count]).await.is_err() {
                    return;
                }
            }
        };
        tokio::select! {
            () = back => {}
            _ = copy(&mut from_near, &mut to_far) => {}
        }
    });
    address
}

fn hello(unit: usize, device: &str) -> Hello {
    let user = format!("{unit} {device}");
    // The slow ones are silent for long.
    Hello::of(&user, device).unit(&format!("unit {unit}")).with(json!({"heartbeat_secs": 300}))
}

/// A device with its copy.
struct Device {
    unit: usize,
    peer: Peer,
    copy: Copy,
}

impl Device {
    async fn of(unit: usize, mut peer: Peer) -> Self {
        let mut copy = Copy::default();
        copy.take(&peer.until("caught_up").await);
        Self { unit, peer, copy }
    }

    /// Reads up to a place and holds the copy against the hub's digest.
    async fn converges(mut self, seq: u64) {
        self.copy.follow(&mut self.peer, seq).await;
        let records =
            self.copy.records.iter().map(|((_, id), (version, _))| part(id.parse().unwrap(), *version));
        let (count, sum) = records.fold((0, 0_u64), |(count, sum), part| (count + 1, sum.wrapping_add(part)));
        assert_eq!(count, BATCHES * BATCH);
        let answer = self.peer.ask(json!({"type": "digest"})).await;
        assert_eq!(answer["domains"]["duty"], json!({"count": count, "digest": format!("{sum:016x}")}));
    }
}

/// Writes a unit's changes, with a permit for each answer; the place of the last.
async fn write(mut writer: Peer, kilobytes: Arc<Semaphore>) -> u64 {
    let mut last = 0;
    for _ in 0..BATCHES {
        let data = json!({"text": "x".repeat(600)});
        let entries: Value = (0..BATCH).map(|_| edit("duty", Uuid::now_v7(), 0, &data)).collect();
        last = writer.commit(entries).await;
        kilobytes.add_permits(1);
    }
    last
}

fn queued(hub: &Hub, numbers: &str) -> usize {
    let line = numbers.lines().find_map(|line| line.strip_prefix("synchub_queue_bytes{queue=\"sessions\"} "));
    line.unwrap_or_else(|| panic!("no queue at {}", hub.http())).parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c8_inv5_a_tenth_that_hardly_reads_converges_and_holds_nobody_up() {
    let hub = Hub::with(|settings| {
        settings.feed.lane_bytes = LANE_BYTES;
        settings.feed.changes_per_sec = usize::MAX;
    });
    let hub = hub.definition("duty.toml", DUTY).start().await;
    let (mut lines, mut fast, mut slow, mut writers) = (JoinSet::new(), Vec::new(), Vec::new(), Vec::new());
    for unit in 0..UNITS {
        let kilobytes = Arc::new(Semaphore::new(0));
        for device in 0..DEVICES {
            let hello = hello(unit, &device.to_string()).to(&["duty"]);
            if device == 0 && unit % 2 == 0 {
                let address = narrow_line(&mut lines, hub.node.address(), Arc::clone(&kilobytes)).await;
                // The upgrade and the hello are let through.
                kilobytes.add_permits(6);
                let mut request = format!("ws://{address}/ws").into_client_request().unwrap();
                let offered = Encoding::Json.subprotocol().parse().unwrap();
                request.headers_mut().insert("Sec-WebSocket-Protocol", offered);
                let mut peer = Peer::open_as(request, Encoding::Json).await;
                peer.greet(&hub, &hello).await;
                slow.push((Device::of(unit, peer).await, Arc::clone(&kilobytes)));
            } else {
                let (peer, _) = Peer::hello(&hub, &hello).await;
                fast.push(Device::of(unit, peer).await);
            }
        }
        writers.push(write(Peer::live(&hub, &hello(unit, "writer")).await.0, kilobytes));
    }

    let mut reading = JoinSet::new();
    let (told, places) = tokio::sync::watch::channel(Vec::new());
    for device in fast {
        let mut places = places.clone();
        reading.spawn(async move {
            let unit = device.unit;
            let mut device = device;
            // It reads all along, and learns where to stop when all is written.
            let seq = loop {
                tokio::select! {
                    changed = places.changed() => {
                        changed.unwrap();
                        break places.borrow()[unit];
                    }
                    frame = device.peer.next_or_close() => device.copy.take(&[frame.unwrap()]),
                }
            };
            device.converges(seq).await;
        });
    }
    let seqs: Vec<u64> = join_all(writers).await;
    told.send_replace(seqs.clone());
    reading.join_all().await;

    // All others have everything, and the slow ones have not: nobody waited for them.
    let numbers = reqwest::get(format!("{}/metrics", hub.http())).await.unwrap().text().await.unwrap();
    let queued = queued(&hub, &numbers);
    assert!(queued <= slow.len() * 2 * LANE_BYTES, "{queued} bytes wait for {} slow devices", slow.len());
    assert!(hub.slow_readers() >= 1, "nobody was slow");
    for (device, kilobytes) in slow {
        assert_eq!(kilobytes.available_permits(), 0, "it waits for its line");
        kilobytes.add_permits(1 << 20);
        let seq = seqs[device.unit];
        device.converges(seq).await;
    }
    hub.stop().await;
}
