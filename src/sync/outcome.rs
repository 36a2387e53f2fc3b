//! A decision as the frame that answers it.

use std::sync::Arc;

use synchub_protocol::server::{EntryResult, SyncResult};
use synchub_protocol::{Data, Timestamp};
use synchub_rules::group::{BatchAnswer, Outcome};
use uuid::Uuid;

/// How many bytes of records an answer shows. They are there to be shown, and the data lane brings them
/// anyway; a thousand large ones would make a frame that no client takes.
const SHOWN_BYTES: usize = 512 * 1024;

/// The `sync_result` of a decided batch.
pub fn sync_result(id: u64, batch_id: Uuid, answer: BatchAnswer, now_us: i64) -> SyncResult {
    let (seq, repeated) = (answer.seq, answer.repeated);
    SyncResult {
        id,
        batch_id,
        results: entry_results(answer),
        seq,
        server_timestamp: Timestamp(now_us),
        repeated,
        backoff_ms: None,
        recommended_batch: None,
    }
}

/// The results of a service's changes.
pub fn entry_results(answer: BatchAnswer) -> Vec<EntryResult> {
    let mut room = SHOWN_BYTES;
    answer.outcomes.into_iter().map(|outcome| entry_result(outcome, &mut room)).collect()
}

fn entry_result(outcome: Outcome, room: &mut usize) -> EntryResult {
    EntryResult {
        mobile_id: outcome.mobile_id,
        status: outcome.stored.status,
        server_version: outcome.stored.version,
        server_data: outcome.server_data.filter(|data| fits(data, room)),
        deleted: outcome.stored.deleted.then_some(true),
        conflict: outcome.stored.conflict,
        error: outcome.stored.error,
    }
}

/// Takes a record's size from the room that is left, if it is enough.
fn fits(data: &Arc<Data>, room: &mut usize) -> bool {
    let size = serde_json::to_vec(data).map_or(usize::MAX, |text| text.len());
    let left = room.checked_sub(size);
    *room = left.unwrap_or(*room);
    left.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_shows_only_as_much_as_a_frame_may_hold() {
        let large = Arc::new(Data::from_iter([("text".to_owned(), "x".repeat(SHOWN_BYTES / 2).into())]));
        let mut room = SHOWN_BYTES;
        assert_eq!([&large, &large].map(|data| fits(data, &mut room)), [true, false]);
        assert!(fits(&Arc::new(Data::new()), &mut room), "a smaller one still fits");
    }
}
