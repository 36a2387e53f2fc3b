//! A conflict as the frame that alerts somebody of it: its data only for who may see the record now (V3).

use std::sync::Arc;

use synchub_protocol::server::{ConflictAlert, Resolution};
use synchub_protocol::{ServerFrame, Timestamp};
use synchub_rules::push::PushRow;
use synchub_rules::record::Sight;

use crate::store::Conflict;

/// The alert that a push brings.
pub(super) fn of_row(row: &PushRow, conflict: &Conflict, sight: &Sight) -> ServerFrame {
    alert(row.id.to_string(), conflict, sight)
}

/// The alert of a conflict that still awaits the user after a hello (P5). It is no row of the log: its name is the
/// conflict's, so that it is the same after every hello.
pub(super) fn again(conflict: &Conflict, sight: &Sight) -> ServerFrame {
    alert(conflict.id.to_string(), conflict, sight)
}

fn alert(push_id: String, conflict: &Conflict, sight: &Sight) -> ServerFrame {
    let visible = conflict.record.as_ref().filter(|record| sight.covers(record.scope));
    ServerFrame::ConflictAlert(ConflictAlert {
        push_id: Some(push_id),
        conflict_id: conflict.id,
        domain: conflict.domain.clone(),
        mobile_id: conflict.key,
        action_required: conflict.awaits,
        strategy: conflict.strategy,
        resolution: conflict.resolution,
        reason: reason(conflict).to_owned(),
        server_version: visible.map_or(conflict.met_version, |record| record.version),
        server_data: visible.filter(|record| !record.deleted).map(|record| Arc::clone(&record.data)),
        client_data: visible.map(|_| Arc::clone(&conflict.client_data)),
        server_timestamp: Timestamp(conflict.at_us),
    })
}

/// What happened, as a sentence for people.
fn reason(conflict: &Conflict) -> &'static str {
    match conflict.resolution {
        _ if conflict.awaits => {
            "The record was changed elsewhere before this edit arrived; somebody has to decide."
        }
        Resolution::Client => {
            "The record was changed elsewhere before this edit arrived; the edit was taken."
        }
        Resolution::Server => {
            "The record was changed elsewhere before this edit arrived; what was there stayed."
        }
        Resolution::Merged => {
            "The record was changed elsewhere before this edit arrived; some fields of the edit were taken."
        }
        Resolution::ManualRequired | Resolution::Unknown => {
            "The record was changed elsewhere before this edit arrived; it has been decided since."
        }
    }
}
