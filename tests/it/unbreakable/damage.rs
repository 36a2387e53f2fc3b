//! A database file that is damaged: while no hub runs, and under a running one (invariant 1).

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use uuid::Uuid;

use super::process::serve;
use crate::disaster::tools::{Shelf, printed, synchub};
use crate::support::{Hello, Hub, Peer, edit, tickets};

const PAGE: usize = 4096;

/// What a file may have become of.
type Damage = fn(&mut Vec<u8>);

const DAMAGES: [(&str, Damage); 6] = [
    ("another file", |bytes| *bytes = b"these are words and no database ".repeat(500)),
    ("cut in half", |bytes| bytes.truncate(bytes.len() / 2 / PAGE * PAGE)),
    ("cut within a page", |bytes| bytes.truncate(PAGE + 100)),
    ("emptied", Vec::clear),
    ("without its first bytes", |bytes| bytes[..16].fill(0)),
    ("with a broken list of tables", |bytes| bytes[100..PAGE].fill(0xa5)),
];

/// Starts the command as an operator would, and expects it to refuse the folder.
fn refused(folder: &Path) -> String {
    let ended = serve(folder, 20, None).output().unwrap();
    let said = printed(&ended);
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(!said.contains("panicked") && !said.contains("listening"), "{said}");
    said
}

/// The tickets that a new device is sent.
async fn snapshot(hub: &Hub, device: &str) -> usize {
    let (_peer, frames) = Peer::live(hub, &Hello::of("alice", device).to(&["ticket"])).await;
    let pages = frames.iter().filter_map(|frame| frame["records"].as_array());
    pages.map(Vec::len).sum()
}

async fn written(count: usize) -> Hub {
    let hub = Hub::start().await;
    let (mut alice, _) = Peer::live(&hub, &Hello::of("alice", "a")).await;
    for _ in 0..count / 100 {
        let data = json!({"subject": "x".repeat(2000), "status": "NEW"});
        let entries: Value = (0..100).map(|_| edit("ticket", Uuid::now_v7(), 0, &data)).collect();
        alice.commit(entries).await;
    }
    alice.close().await;
    hub
}

#[tokio::test]
async fn inv1_a_damaged_file_is_named_with_what_to_do_and_left_as_it_is() {
    let (mut hub, shelf) = (written(200).await, Shelf::new());
    let folder = hub.database().parent().unwrap().to_owned();
    let done = synchub("backup", &shelf.file("good"), &folder);
    assert!(done.status.success(), "{}", printed(&done));
    for (name, damage) in DAMAGES {
        hub.node.stop().await;
        let mut bytes = fs::read(hub.database()).unwrap();
        damage(&mut bytes);
        fs::write(hub.database(), &bytes).unwrap();
        let said = refused(&folder);
        for part in ["synchub.db is damaged: ", "synchub restore BACKUP --data-dir "] {
            assert!(said.contains(part), "{name}: {said}");
        }
        assert!(fs::read(hub.database()).unwrap() == bytes, "{name}: the file is not what it was");
        let done = synchub("restore", &shelf.file("good"), &folder);
        assert!(done.status.success(), "{name}: {}", printed(&done));
        hub = hub.let_go().start().await;
        assert_eq!(snapshot(&hub, name).await, 200, "{name}");
    }
    hub.stop().await;
}

/// SQLite takes a missing or empty file for a new database, and throws its log away.
#[tokio::test]
async fn inv1_a_log_without_its_file_is_not_thrown_away() {
    let hub = written(100).await;
    let shelf = Shelf::new();
    let folder = shelf.file("folder");
    fs::create_dir(&folder).unwrap();
    let log = folder.join("synchub.db-wal");
    fs::copy(hub.database().with_extension("db-wal"), &log).unwrap();
    let bytes = fs::read(&log).unwrap();
    assert!(bytes.len() > 100_000);
    for empty in [false, true] {
        if empty {
            fs::write(folder.join("synchub.db"), "").unwrap();
        }
        assert!(refused(&folder).contains("synchub.db is damaged: "));
        assert!(fs::read(&log).unwrap() == bytes);
    }
    hub.stop().await;
}

/// All pages but the first are overwritten while the hub runs, with nothing of them in its memory.
#[tokio::test]
async fn inv1_a_file_that_is_damaged_under_a_running_hub_loses_no_answered_batch() {
    let (hub, shelf) = (written(2000).await, Shelf::new());
    let folder = hub.database().parent().unwrap().to_owned();
    assert!(synchub("backup", &shelf.file("good"), &folder).status.success());
    let hub = hub.restart().await;
    let (mut alice, _) = Peer::live(&hub, &Hello::of("alice", "a")).await;
    let mut bytes = fs::read(hub.database()).unwrap();
    assert!(bytes.len() > 500 * PAGE);
    bytes[PAGE..].fill(0xa5);
    fs::write(hub.database(), bytes).unwrap();

    let mut failed = 0;
    for _ in 0..5 {
        let (entries, ids) = tickets(20);
        let answer = alice.ask(json!({"type": "sync", "batch_id": Uuid::now_v7(), "entries": entries})).await;
        if answer["type"] == "error" {
            assert_eq!((&answer["code"], &answer["temporary"]), (&json!("unavailable"), &json!(true)));
            failed += 1;
        } else {
            for id in ids {
                assert!(hub.store().find_record("acme", "ticket", id).await.unwrap().is_some());
            }
        }
    }
    assert!(failed > 0, "the damage was not met");
    let ready = reqwest::get(format!("{}/health/ready", hub.http())).await.unwrap();
    assert_eq!(ready.status(), 503);
    let error = hub.store().find_log("acme", 0, 10_000).await.unwrap_err().to_string();
    assert!(error.contains("the database file is damaged") && error.contains("synchub restore"), "{error}");
    // Who comes now is told nothing wrong: no snapshot that lacks something ends.
    let mut bob = Peer::open(&hub, synchub_protocol::Encoding::Json).await;
    bob.send(&Hello::of("bob", "b").to(&["ticket"]).frame(&hub)).await;
    assert!(bob.quiet().await.iter().all(|frame| frame["type"] != "caught_up" && frame["last"] != true));

    hub.node.stop().await;
    let done = synchub("restore", &shelf.file("good"), &folder);
    assert!(done.status.success(), "{}", printed(&done));
    let hub = hub.let_go().start().await;
    assert_eq!(snapshot(&hub, "new").await, 2000);
    hub.stop().await;
}
