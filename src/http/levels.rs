//! How full the node is, for `/metrics`: looked at when somebody asks.

use crate::observe::{Levels, QueueKind, QueueLevel, StoreFile};
use crate::session::Deps;

/// What the file beside the database ends with that holds what was committed last.
const WAL: &str = "-wal";

/// Looks at the queues, the engine and the store's files.
pub(super) async fn levels(deps: &Deps) -> Levels {
    let now_us = deps.clock.now_us();
    let (waiting_entries, commit) = deps.engine.waiting(now_us);
    Levels {
        queues: [(QueueKind::Commit, commit), (QueueKind::Sessions, sessions(deps, now_us))],
        waiting_entries,
        load_percent: deps.engine.load_percent(),
        store_files: store_files(deps).await,
    }
}

/// What sessions have not taken yet, all together, and how old the oldest of it is.
fn sessions(deps: &Deps, now_us: i64) -> QueueLevel {
    let levels = deps.devices.mailboxes().into_iter().map(|mailbox| mailbox.level());
    levels.fold(QueueLevel::default(), |all, (bytes, oldest)| QueueLevel {
        bytes: all.bytes + bytes as u64,
        age_us: oldest.map_or(all.age_us, |oldest| all.age_us.max(now_us - oldest)),
    })
}

async fn store_files(deps: &Deps) -> [(StoreFile, u64); 2] {
    let database = deps.settings.store_path().unwrap_or_default();
    let mut wal = database.clone().into_os_string();
    wal.push(WAL);
    [(StoreFile::Database, size(&database).await), (StoreFile::WriteAheadLog, size(wal.as_ref()).await)]
}

/// 0 for a file that is not there.
async fn size(path: &std::path::Path) -> u64 {
    tokio::fs::metadata(path).await.map_or(0, |file| file.len())
}
