//! What is read from the store to send pushes: which are owed, pushes by place with what alerts show, and the
//! conflicts that await a user.

use std::sync::Arc;
use std::time::Duration;

use synchub_rules::push::{PushBody, PushRow};

use super::deps::Deps;
use crate::store::{Conflict, ConflictQuery, Owed, OwedQuery, StoreError};

/// The most pushes that are read at once.
pub(super) const PLACES: usize = 100;
/// The most alerts that are read at once: what they show may be large.
pub(super) const ALERTS: u32 = 16;
/// How long to wait before pushes that could not be read are asked for again.
const RETRY: Duration = Duration::from_secs(1);

/// Why pushes were read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cause {
    /// They are owed since the hello.
    Owed,
    /// They are live.
    Live,
}

/// What was read.
pub(super) enum PushRead {
    Owed(OwedQuery, Owed),
    /// Pushes, the conflicts that they tell of, and the places that the two stand for.
    Pushes {
        cause: Cause,
        rows: Vec<PushRow>,
        conflicts: Vec<Conflict>,
        seqs: Vec<u64>,
    },
    /// The conflicts that await the user.
    Awaiting(Vec<Conflict>),
    /// The store did not answer; it is asked again.
    Failed(String),
}

/// Reads pushes at places, as many as fit, with the conflicts that they tell of.
pub(super) async fn read_places(
    deps: Arc<Deps>,
    tenant: i64,
    (cause, seqs): (Cause, Vec<u64>),
    bytes: usize,
) -> PushRead {
    let permit = deps.permits.acquire().await;
    let read = async {
        let (mut rows, mut covered) = deps.store.pushes(tenant, seqs.clone(), bytes).await?;
        if let Some(first) = one_alert_too_many(&rows) {
            covered = seqs.iter().take(covered).take_while(|seq| **seq < first).count();
            rows.retain(|row| row.seq < first);
        }
        let alerts = rows.iter().filter_map(|row| match row.body {
            PushBody::ConflictAlert { conflict_id } => Some(conflict_id),
            _ => None,
        });
        let alerts: Vec<_> = alerts.collect();
        let conflicts = if alerts.is_empty() {
            Vec::new()
        } else {
            deps.store.conflicts(tenant, ConflictQuery::Named(alerts)).await?
        };
        Ok(PushRead::Pushes { cause, rows, conflicts, seqs: seqs[..covered].to_vec() })
    };
    let read = read.await;
    drop(permit);
    done(read).await
}

pub(super) async fn done(read: Result<PushRead, StoreError>) -> PushRead {
    match read {
        Ok(read) => read,
        Err(error) => {
            tokio::time::sleep(RETRY).await;
            PushRead::Failed(error.to_string())
        }
    }
}

/// The place of the first push that goes into the next read, if there are more alerts than one may show.
fn one_alert_too_many(rows: &[PushRow]) -> Option<u64> {
    let alerts = rows.iter().filter(|row| matches!(row.body, PushBody::ConflictAlert { .. }));
    alerts.map(|row| row.seq).nth(ALERTS as usize)
}
