//! A decision as the frame that answers it.

use synchub_protocol::Timestamp;
use synchub_protocol::server::{EntryResult, SyncResult};
use synchub_rules::group::{BatchAnswer, Outcome};
use uuid::Uuid;

/// The `sync_result` of a decided batch.
pub fn sync_result(id: u64, batch_id: Uuid, answer: BatchAnswer, now_us: i64) -> SyncResult {
    SyncResult {
        id,
        batch_id,
        results: answer.outcomes.into_iter().map(entry_result).collect(),
        seq: answer.seq,
        server_timestamp: Timestamp(now_us),
        repeated: answer.repeated,
        backoff_ms: None,
    }
}

fn entry_result(outcome: Outcome) -> EntryResult {
    EntryResult {
        mobile_id: outcome.mobile_id,
        status: outcome.stored.status,
        server_version: outcome.stored.version,
        server_data: outcome.server_data,
        deleted: outcome.stored.deleted.then_some(true),
        conflict: outcome.stored.conflict,
        error: outcome.stored.error,
    }
}
