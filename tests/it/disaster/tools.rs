//! What these tests share: devices that know something, backups, and the commands an operator runs.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};
use tempfile::TempDir;
use uuid::Uuid;

use crate::support::{Hello, Hub, NOW_US, Peer, ticket};

/// Where the places of an epoch start.
pub(crate) const PLACES: u64 = 1 << 40;

/// A device of this user, subscribed to tickets.
pub(crate) fn device(user: &str) -> Hello {
    Hello::of(user, user).to(&["ticket"])
}

/// Creates that many tickets through a device of the user; returns its last cursor, which covers them.
pub(crate) async fn write(hub: &Hub, user: &str, count: usize) -> String {
    let (mut peer, _) = Peer::live(hub, &device(user)).await;
    let mut last = 0;
    for _ in 0..count {
        last = peer.commit(json!([ticket(Uuid::now_v7(), user)])).await;
    }
    while peer.next().await["seq"].as_u64().is_none_or(|reached| reached < last) {}
    let cursor = peer.cursor.take().unwrap();
    peer.close().await;
    cursor
}

/// Says hello with a cursor; the welcome, or nothing if the hub said `goaway` for a new epoch and closed.
pub(crate) async fn come_back(hub: &Hub, hello: &Hello, cursor: &str) -> Option<(Peer, Value)> {
    let mut peer = Peer::open(hub, synchub_protocol::Encoding::Json).await;
    peer.send(&hello.clone().with(json!({"cursor": cursor})).frame(hub)).await;
    let first = peer.next().await;
    if first["type"] == "welcome" {
        return Some((peer, first));
    }
    sent_away(first, peer).await;
    None
}

/// The peer is told of a new epoch and closed.
pub(crate) async fn is_sent_away(mut peer: Peer) {
    let goaway = peer.find("goaway").await;
    sent_away(goaway, peer).await;
}

async fn sent_away(frame: Value, mut peer: Peer) {
    assert_eq!((&frame["type"], &frame["reason"]), (&json!("goaway"), &json!("epoch_changed")), "{frame}");
    assert_eq!(peer.close_code().await, 4001);
}

/// What a device that held something is told in a new epoch.
pub(crate) fn all_fresh() -> Value {
    json!([{"domain": "ticket", "reason": "epoch_changed"}])
}

/// The subjects of the tickets in the snapshot that a welcomed peer is sent.
pub(crate) async fn snapshot(peer: &mut Peer) -> Vec<Value> {
    let frames = peer.until("caught_up").await;
    let snapshots = frames.into_iter().filter(|frame| frame["type"] == "snapshot");
    snapshots.flat_map(|frame| frame["records"].as_array().unwrap().clone()).collect()
}

/// A folder with files in it that outlives a hub.
pub(crate) struct Shelf(TempDir);

impl Shelf {
    pub(crate) fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Stops the hub, keeps its database file, and starts it again.
    pub(crate) async fn keep(&self, hub: Hub) -> Hub {
        let file = self.file("by hand");
        let hub = hub.restart_after(|folder| _ = std::fs::copy(folder.join("synchub.db"), file).unwrap());
        later(hub.await)
    }

    /// Stops the hub, puts the kept file back, and starts it again.
    pub(crate) async fn put_back(&self, hub: Hub) -> Hub {
        let file = self.file("by hand");
        let hub = hub.restart_after(|folder| _ = std::fs::copy(file, folder.join("synchub.db")).unwrap());
        later(hub.await)
    }

    /// Stops the hub, restores a backup with the command, and starts it again.
    pub(crate) async fn restore(&self, hub: Hub, name: &str) -> Hub {
        let file = self.file(name);
        let hub = hub.restart_after(|folder| {
            let done = synchub("restore", &file, folder);
            assert!(done.status.success(), "{done:?}");
        });
        later(hub.await)
    }
}

/// Each life of a hub is at another time: without that, rows of two histories could be told apart by
/// nothing.
fn later(hub: Hub) -> Hub {
    use std::sync::atomic::{AtomicI64, Ordering};
    static LIVES: AtomicI64 = AtomicI64::new(1);
    hub.clock.set(NOW_US + LIVES.fetch_add(1, Ordering::Relaxed) * 60_000_000);
    hub
}

/// Runs `synchub backup` or `synchub restore` on a data folder.
pub(crate) fn synchub(command: &str, file: &Path, folder: &Path) -> Output {
    hub_command(command, file, folder).output().unwrap()
}

/// The same, to be run.
pub(crate) fn hub_command(command: &str, file: &Path, folder: &Path) -> Command {
    let mut run = Command::new(env!("CARGO_BIN_EXE_synchub"));
    run.arg(command).arg(file).arg("--data-dir").arg(folder);
    // What a run of all tests sets is no setting, and the hub would say so.
    let is_ours = |name: &OsString| name.to_string_lossy().starts_with("SYNCHUB_");
    for (variable, _) in env::vars_os().filter(|(name, _)| is_ours(name)) {
        run.env_remove(variable);
    }
    run.env_remove("FAILPOINTS");
    run
}

/// What a command printed.
pub(crate) fn printed(output: &Output) -> String {
    [&output.stdout[..], &output.stderr].concat().escape_ascii().to_string().replace("\\n", "\n")
}
