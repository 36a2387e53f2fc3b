//! `synchub backup` and `synchub restore` as an operator runs them.

use std::borrow::Cow;
use std::path::Path;

use serde_json::json;
use synchub::store::Store as _;
use synchub::store::sqlite::{SqliteOptions, SqliteStore};
use uuid::Uuid;

use super::tools::{Shelf, device, printed, synchub, write};
use crate::support::{Hub, Peer, ticket};

/// How many records and which epoch a data folder holds.
async fn held(folder: &Path) -> (i64, u64) {
    let path = folder.join("synchub.db");
    let store = SqliteStore::open(&path, SqliteOptions::default(), [1; 32]).await.unwrap();
    let epoch = store.epoch();
    store.close().await;
    let database = rusqlite::Connection::open(path).unwrap();
    (database.query_row("SELECT count(*) FROM record", [], |row| row.get(0)).unwrap(), epoch)
}

/// A backup of this many tickets.
async fn backup_of(shelf: &Shelf, name: &str, tickets: usize) {
    let hub = Hub::start().await;
    write(&hub, "alice", tickets).await;
    let done = synchub("backup", &shelf.file(name), hub.database().parent().unwrap());
    assert!(done.status.success(), "{}", printed(&done));
    hub.stop().await;
}

#[tokio::test]
async fn r1_a_backup_says_what_it_holds_and_overwrites_nothing() {
    let (hub, shelf) = (Hub::start().await, Shelf::new());
    write(&hub, "alice", 3).await;
    let folder = hub.database().parent().unwrap().to_owned();
    let done = synchub("backup", &shelf.file("one"), &folder);
    let bytes = std::fs::metadata(shelf.file("one")).unwrap().len();
    let said = format!("1 tenant, 3 records, the longest log up to place 3, {bytes} bytes, epoch 0\n");
    assert!(done.status.success() && printed(&done).ends_with(&said), "{}", printed(&done));
    assert!(!shelf.file("one.part").exists());

    write(&hub, "alice", 1).await;
    let refused = synchub("backup", &shelf.file("one"), &folder);
    assert_eq!(refused.status.code(), Some(1));
    assert!(printed(&refused).contains("is there already"), "{}", printed(&refused));
    assert_eq!(std::fs::metadata(shelf.file("one")).unwrap().len(), bytes);

    hub.node.stop().await;
    let done = synchub("backup", &shelf.file("two"), &folder);
    assert!(printed(&done).contains("4 records"), "{}", printed(&done));
    let nothing = synchub("backup", &shelf.file("three"), &shelf.file("no such folder"));
    assert!(printed(&nothing).contains("there is no store at"), "{}", printed(&nothing));
    assert!(!shelf.file("no such folder").exists());
}

#[tokio::test]
async fn r1_a_backup_under_load_is_of_one_moment() {
    let (hub, shelf) = (Hub::start().await, Shelf::new());
    let (mut peer, _) = Peer::live(&hub, &device("alice")).await;
    for round in 0..3 {
        for _ in 0..20 {
            let entry = ticket(Uuid::now_v7(), "fire");
            peer.request(json!({"type": "sync", "batch_id": Uuid::now_v7(), "entries": [entry]})).await;
        }
        let file = shelf.file(&round.to_string());
        assert!(synchub("backup", &file, hub.database().parent().unwrap()).status.success());
        let copy = rusqlite::Connection::open(file).unwrap();
        let one = |sql: &str| -> i64 { copy.query_row(sql, [], |row| row.get(0)).unwrap() };
        let head = one("SELECT seq FROM tenant");
        assert_eq!((one("SELECT count(*) FROM log"), one("SELECT count(*) FROM record")), (head, head));
    }
}

#[tokio::test]
async fn r1_a_restore_keeps_what_was_there_and_says_where() {
    let shelf = Shelf::new();
    backup_of(&shelf, "two tickets", 2).await;
    let hub = Hub::start().await;
    write(&hub, "bob", 5).await;
    let folder = hub.database().parent().unwrap().to_owned();
    let refused = synchub("restore", &shelf.file("two tickets"), &folder);
    assert_eq!(refused.status.code(), Some(1));
    assert!(printed(&refused).contains("in use by another hub"), "{}", printed(&refused));
    hub.node.stop().await;

    for (times, stood) in [(1, 5), (2, 2)] {
        let done = synchub("restore", &shelf.file("two tickets"), &folder);
        let (said, kept) = (printed(&done), folder.join(format!("replaced-{times}")));
        assert!(done.status.success(), "{said}");
        assert!(said.contains("1 tenant, 2 records, the longest log up to place 2"), "{said}");
        let above = format!(
            "epoch {times}, above that of the backup (0) and that of the store before ({})",
            times - 1
        );
        assert!(said.contains(&above) && said.contains(kept.to_str().unwrap()), "{said}");
        assert_eq!(held(&folder).await, (2, times));
        assert_eq!(held(&kept).await, (stood, times - 1));
    }
}

#[tokio::test]
async fn r1_what_is_no_sound_backup_is_not_restored() {
    let shelf = Shelf::new();
    backup_of(&shelf, "good", 3).await;
    let good = std::fs::read(shelf.file("good")).unwrap();
    std::fs::write(shelf.file("text"), "no database at all, only words ".repeat(200)).unwrap();
    std::fs::write(shelf.file("empty"), "").unwrap();
    std::fs::write(shelf.file("half"), &good[..good.len() / 2]).unwrap();
    let mut damaged = good.clone();
    damaged[8 * 4096..12 * 4096].fill(7);
    std::fs::write(shelf.file("damaged"), damaged).unwrap();
    std::fs::write(shelf.file("newer"), &good).unwrap();
    let newer = rusqlite::Connection::open(shelf.file("newer")).unwrap();
    newer.execute_batch("UPDATE _sqlx_migrations SET version = 9999 WHERE version = 1").unwrap();
    drop(newer);

    let hub = Hub::start().await;
    write(&hub, "bob", 1).await;
    let folder = hub.database().parent().unwrap().to_owned();
    hub.node.stop().await;
    let unsound = "is no sound backup";
    for (name, why) in [
        ("text", unsound),
        ("empty", unsound),
        ("half", unsound),
        ("damaged", unsound),
        ("newer", "made by a newer synchub"),
        ("no such file", "cannot restore"),
    ] {
        let refused = synchub("restore", &shelf.file(name), &folder);
        assert_eq!(refused.status.code(), Some(1), "{name}");
        assert!(printed(&refused).contains(why), "{name}: {}", printed(&refused));
        assert_eq!(held(&folder).await, (1, 0), "{name}");
        assert!(!folder.join("synchub.db.restoring").exists());
    }
    let itself = synchub("restore", &folder.join("synchub.db"), &folder);
    assert!(printed(&itself).contains("is the store itself"), "{}", printed(&itself));
    assert_eq!(held(&folder).await, (1, 0));
}

#[tokio::test]
async fn r1_a_backup_of_an_older_version_is_brought_up_to_date() {
    let shelf = Shelf::new();
    let mut oldest = sqlx::migrate!("migrations/sqlite");
    let newest = oldest.migrations.len();
    oldest.migrations = Cow::Owned(oldest.migrations[..1].to_vec());
    let address = format!("sqlite:{}?mode=rwc", shelf.file("old").display());
    let pool = sqlx::SqlitePool::connect(&address).await.unwrap();
    oldest.run(&pool).await.unwrap();
    pool.close().await;
    let old = rusqlite::Connection::open(shelf.file("old")).unwrap();
    old.execute_batch("INSERT INTO meta VALUES ('epoch', 4), ('cursor_key', zeroblob(32))").unwrap();
    drop(old);

    let folder = shelf.file("data");
    let done = synchub("restore", &shelf.file("old"), &folder);
    assert!(done.status.success(), "{}", printed(&done));
    let database = rusqlite::Connection::open(folder.join("synchub.db")).unwrap();
    let applied = "SELECT count(*) FROM _sqlx_migrations";
    let applied: i64 = database.query_row(applied, [], |row| row.get(0)).unwrap();
    assert_eq!(usize::try_from(applied).unwrap(), newest);
    assert_eq!(held(&folder).await, (0, 5));
}

#[tokio::test]
async fn r1_a_store_that_cannot_be_read_is_replaced_all_the_same() {
    let shelf = Shelf::new();
    backup_of(&shelf, "two tickets", 2).await;
    let folder = shelf.file("data");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("synchub.db"), "worn out ".repeat(1000)).unwrap();
    std::fs::write(folder.join("synchub.db-wal"), "worn out too").unwrap();
    let done = synchub("restore", &shelf.file("two tickets"), &folder);
    assert!(done.status.success() && printed(&done).contains("could not be read"), "{}", printed(&done));
    assert_eq!(held(&folder).await, (2, 1));
    for kept in ["synchub.db", "synchub.db-wal"] {
        assert!(folder.join("replaced-1").join(kept).exists(), "{kept}");
    }
}
