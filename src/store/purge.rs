//! What a store removes when it is past its time, and what it says of it (D3).
//!
//! One call is one short transaction over a bounded number of rows: whoever wants more asks again, and
//! what waits for the store meanwhile comes first.

use synchub_rules::record::TenantNo;

/// What may be removed when it is old enough. Open reviews never are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purgeable {
    /// A tenant's log rows, then its tombstones at or below the horizon. The horizon rises to the last row
    /// that goes, the version floor to the highest version that goes.
    Log(TenantNo),
    /// Batches with their answers (O1).
    Batches,
    /// Refused numbers with their errors (O2).
    Refused,
    /// Closed reviews, by the time they were made.
    Reviews,
    /// What happened to pushes.
    Deliveries,
}

/// Asks for one step of a purge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PurgeQuery {
    /// What goes.
    pub what: Purgeable,
    /// Only what is older than this, in microseconds since 1970.
    pub before_us: i64,
    /// The most rows that go, at least 1.
    pub limit: u32,
}

/// What a step of a purge removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Purged {
    /// Rows that are gone, without tombstones.
    pub rows: u64,
    /// Tombstones that are gone.
    pub tombstones: u64,
    /// Whether more may be past its time.
    pub more: bool,
    /// The tenant's horizon; 0 where no log was asked for.
    pub horizon: u64,
}
