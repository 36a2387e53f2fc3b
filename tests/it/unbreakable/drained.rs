//! SIGTERM to a hub with very many sockets: each is told to go and closed, and the hub ends well (invariant 12).
//!
//! `SYNCHUB_TEST_SOCKETS` says how many; the limit on open files bounds it.

use std::process::Command;

use futures::stream::{self, StreamExt};
use serde_json::json;
use synchub::clock::{Clock as _, SystemClock};
use tempfile::TempDir;

use super::process::{Process, hello, open, serve};
use crate::support::Peer;

const SOCKETS: usize = 2000;
/// What this process has open besides.
const OTHERS: usize = 200;
/// How many say hello at once.
const AT_ONCE: usize = 50;

/// How many sockets are opened here: as many as are asked for and the system allows.
fn sockets() -> usize {
    let wanted = std::env::var("SYNCHUB_TEST_SOCKETS").map_or(SOCKETS, |text| text.parse().unwrap());
    let said = Command::new("bash").args(["-c", "ulimit -n"]).output().unwrap();
    let most = String::from_utf8(said.stdout).unwrap().trim().parse().unwrap_or(usize::MAX);
    let count = wanted.min(most.saturating_sub(OTHERS));
    if count < wanted {
        let told = format!("{count} sockets instead of {wanted}: the limit on open files is {most}\n");
        std::io::Write::write_all(&mut std::io::stderr(), told.as_bytes()).unwrap();
    }
    count
}

/// Reads to the end: whether it was told to go, and the code.
async fn rest(mut peer: Peer) -> (bool, u16) {
    let mut told = false;
    loop {
        match peer.next_or_close().await {
            Ok(frame) => told |= frame["type"] == "goaway" && frame["reason"] == "shutting_down",
            Err(code) => return (told, code),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv12_very_many_sockets_are_told_to_go_and_the_hub_ends_well() {
    let (count, folder) = (sockets(), TempDir::new().unwrap());
    let mut command = serve(folder.path(), 300, None);
    command.env("SYNCHUB_DRAIN_SECS", "1").env("SYNCHUB_DRAIN_FINISH_SECS", "30");
    let hub = Process::start(command);
    let (address, now_us) = (hub.address, SystemClock.now_us());
    let live = stream::iter(0..count).map(|number| async move {
        let mut peer = open(address).await;
        let mut hello = hello(&format!("user {}", number % 100), now_us);
        hello["device"]["id"] = json!(format!("device {number}"));
        hello["heartbeat_secs"] = json!(300);
        peer.send(&hello).await;
        peer.until("caught_up").await;
        peer
    });
    let peers: Vec<Peer> = live.buffer_unordered(AT_ONCE).collect().await;
    assert_eq!(peers.len(), count);
    hub.terminate();
    let told: Vec<_> = stream::iter(peers).map(rest).buffer_unordered(count).collect().await;
    let others: Vec<_> = told.iter().filter(|told| **told != (true, 4001)).collect();
    assert!(
        others.is_empty(),
        "{} of {count} ended otherwise: {:?}",
        others.len(),
        &others[..others.len().min(5)]
    );
    let (ended, lines) = hub.ended();
    assert_eq!(ended.code(), Some(0), "{lines:#?}");
    assert!(!lines.iter().any(|line| line.contains("did not end in time")), "{lines:#?}");
}
