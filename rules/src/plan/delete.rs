//! Deletes, and edits that they did not know of (D1, D2).

use std::sync::Arc;

use synchub_protocol::Data;
use synchub_protocol::server::{Resolution, Status, Strategy};

use crate::group::ReviewKind;
use crate::plan::entry::{Case, Dispute, Ruling};
use crate::plan::slot::Slot;
use crate::plan::write::{Change, Home};
use crate::record::RowKind;

/// Decides a delete of a record that the sender may see.
pub(super) fn decide(slot: &Slot, case: &Case<'_>) -> Ruling {
    let record = &slot.record;
    if record.deleted {
        return Ruling::plain(Status::Unchanged);
    }
    let (base, install) = (case.base(record), case.author.install);
    let strategy = case.domain.definition.strategy();
    let stays = match strategy {
        Strategy::ServerWins | Strategy::Unknown => Some((Resolution::Server, ReviewKind::Resolved)),
        Strategy::Manual => Some((Resolution::ManualRequired, ReviewKind::Manual)),
        Strategy::ClientWins
        | Strategy::MostRecentWins
        | Strategy::PreserveEscalation
        | Strategy::DevicePriority => None,
    };
    if let Some((resolution, kind)) = stays.filter(|_| slot.has_foreign_fields(base, install)) {
        let dispute = Dispute { strategy, resolution, kind, fields: Data::new(), barred: None };
        return Ruling::disputed(None, dispute);
    }
    let status = if slot.is_newer(base, install) { Status::Merged } else { Status::Updated };
    let change = Change {
        kind: RowKind::Delete,
        data: record.data.clone(),
        old: Arc::default(),
        home: Home { unit: record.unit, owner: record.owner, scope: record.scope },
        stamp: case.stamp(Some(slot)),
        priority: case.priority(&record.data),
    };
    Ruling::changed(status, change)
}
