//! A restore or a backup that is killed between two of its steps.

use std::path::Path;

use synchub::store::Store as _;
use synchub::store::sqlite::{SqliteOptions, SqliteStore};

use super::tools::{Shelf, hub_command, printed, synchub, write};
use crate::support::Hub;

/// Runs a command that dies at a fail point.
fn die_at(point: &str, command: &str, file: &Path, folder: &Path) {
    let died =
        hub_command(command, file, folder).env("FAILPOINTS", format!("{point}=return")).output().unwrap();
    assert_eq!(died.status.code(), None, "{point} was never reached: {}", printed(&died));
}

/// The records and the epoch of a data folder, as the next hub finds them.
async fn found(folder: &Path) -> (i64, u64) {
    let path = folder.join("synchub.db");
    let store = SqliteStore::open(&path, SqliteOptions::default(), [1; 32]).await.unwrap();
    let epoch = store.epoch();
    store.close().await;
    let database = rusqlite::Connection::open(path).unwrap();
    let whole: String = database.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(whole, "ok");
    (database.query_row("SELECT count(*) FROM record", [], |row| row.get(0)).unwrap(), epoch)
}

/// A data folder of five tickets, the last of them only in SQLite's log.
async fn folder_with_a_log(shelf: &Shelf, name: &str) -> std::path::PathBuf {
    let hub = Hub::start().await;
    write(&hub, "bob", 5).await;
    let folder = shelf.file(name);
    std::fs::create_dir(&folder).unwrap();
    for file in ["synchub.db", "synchub.db-wal"] {
        std::fs::copy(hub.database().with_file_name(file), folder.join(file)).unwrap();
    }
    hub.stop().await;
    folder
}

#[tokio::test]
async fn r1_a_restore_that_dies_leaves_the_old_store_or_the_new_one_whole() {
    let shelf = Shelf::new();
    let hub = Hub::start().await;
    write(&hub, "alice", 2).await;
    assert!(synchub("backup", &shelf.file("two"), hub.database().parent().unwrap()).status.success());
    hub.stop().await;

    let (old, new) = ((5, 0), (2, 1));
    for (point, expected) in [
        ("restore::copied", old),
        ("restore::migrated", old),
        ("restore::prepared", old),
        ("restore::ready", new),
        ("restore::log_aside", new),
        ("restore::aside", new),
    ] {
        let folder = folder_with_a_log(&shelf, point).await;
        die_at(point, "restore", &shelf.file("two"), &folder);
        if expected == new {
            let refused = synchub("backup", &shelf.file("half"), &folder);
            assert!(printed(&refused).contains("was interrupted"), "{point}: {}", printed(&refused));
            assert_eq!(found(&folder).await, expected, "{point}");
            assert_eq!(found(&folder.join("replaced-1")).await, old, "{point}");
        }
        assert_eq!(found(&folder).await, expected, "{point}");
        // And once more, to the end.
        let done = synchub("restore", &shelf.file("two"), &folder);
        assert!(done.status.success(), "{point}: {}", printed(&done));
        assert_eq!(found(&folder).await, (2, expected.1 + 1), "{point}");
    }
}

#[tokio::test]
async fn r1_a_backup_that_dies_has_no_name_and_is_in_nobodys_way() {
    let (hub, shelf) = (Hub::start().await, Shelf::new());
    write(&hub, "alice", 2).await;
    let folder = hub.database().parent().unwrap().to_owned();
    die_at("backup::written", "backup", &shelf.file("one"), &folder);
    assert!(!shelf.file("one").exists());
    let done = synchub("backup", &shelf.file("one"), &folder);
    assert!(done.status.success() && shelf.file("one").exists(), "{}", printed(&done));
    assert!(!shelf.file("one.part").exists());
}
