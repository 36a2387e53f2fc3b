//! What a record was before a change: rebuilt from the record as it stands and the old values that log
//! rows keep (V4).

use synchub_protocol::Data;

use crate::filter::Filters;
use crate::record::{History, PastChange, RowKind, Scope, Sight};

/// Whether a record was in view before any of the changes that made `versions` (C5). Where the history
/// does not reach back far enough, the answer is yes: a `remove` too much does no harm.
pub fn was_in_view(history: &History, versions: &[u64], sight: &Sight, filters: &Filters) -> bool {
    let Some(first) = versions.iter().min() else { return false };
    if history.changes.last().is_none_or(|oldest| oldest.version > *first) {
        return true;
    }
    let mut data = Data::clone(&history.record.data);
    history.changes.iter().enumerate().take_while(|(_, change)| change.version >= *first).any(
        |(n, change)| {
            data.extend(Data::clone(&change.old));
            versions.contains(&change.version)
                && match scope_before(change, history.changes.get(n + 1)) {
                    Standing::Nowhere => false,
                    Standing::Unknown => true,
                    Standing::In(scope) => sight.covers(scope) && filters.matches(&data),
                }
        },
    )
}

/// Where a record stood before a change.
enum Standing {
    /// It did not exist, or was deleted.
    Nowhere,
    /// The log does not say any more.
    Unknown,
    In(Scope),
}

fn scope_before(change: &PastChange, older: Option<&PastChange>) -> Standing {
    match older {
        _ if change.prev == 0 => Standing::Nowhere,
        None => Standing::Unknown,
        Some(older) if older.kind == RowKind::Delete => Standing::Nowhere,
        Some(older) => Standing::In(older.scope),
    }
}
