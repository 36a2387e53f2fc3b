//! What is read outside a commit: pages of the log and of snapshots, and digests, each from one moment.

use std::collections::HashMap;
use std::sync::Arc;

use synchub_protocol::server::Origin;
use synchub_protocol::{Digest, Priority};
use synchub_rules::filter::Filters;
use synchub_rules::push::{Address, PushRow};
use synchub_rules::record::{DomainNo, Head, Record, RecordNo, RowKind, Scope, Sight, TenantNo};

use super::LogPlace;

/// Asks for a page of the log.
#[derive(Debug, Clone)]
pub struct LogQuery {
    /// The tenant.
    pub tenant: TenantNo,
    /// Only changes of scopes that may be seen.
    pub sight: Sight,
    /// Only pushes of this address; none: no pushes.
    pub address: Option<Address>,
    /// Only rows after this place.
    pub after: u64,
    /// The most rows.
    pub limit: usize,
    /// The most bytes of records and pushes; the first row's is read whatever its size.
    pub bytes: usize,
}

/// A page of the log.
#[derive(Debug, Clone, Default)]
pub struct LogPage {
    /// The log at the moment of reading.
    pub place: LogPlace,
    /// Everything for these scopes up to here is in the page: its last row where the page is full, else
    /// the head.
    pub end: Head,
    /// The changes, in order.
    pub rows: Vec<PageRow>,
    /// The pushes, in order, those that ended too.
    pub pushes: Vec<PushRow>,
    /// The records of the rows, as they stood when the page was read.
    pub records: HashMap<RecordNo, Arc<Record>>,
}

/// A log row as a page gives it.
#[derive(Debug, Clone, PartialEq)]
pub struct PageRow {
    /// Its place.
    pub seq: u64,
    /// Its time, in microseconds.
    pub time_us: i64,
    /// Whose view it concerns.
    pub scope: Scope,
    /// What it says.
    pub kind: RowKind,
    /// The domain.
    pub domain: DomainNo,
    /// The record.
    pub record: RecordNo,
    /// The version that the change made.
    pub version: u64,
    /// Who wrote it.
    pub origin: Arc<Origin>,
    /// Its priority.
    pub priority: Priority,
}

/// Asks for a page of a domain's live records: one scope after the other, each by number.
#[derive(Debug, Clone)]
pub struct SnapshotQuery {
    /// The tenant.
    pub tenant: TenantNo,
    /// The domain.
    pub domain: DomainNo,
    /// Only records of scopes that may be seen.
    pub sight: Sight,
    /// The last record of the page before: its scope and number; none: from the beginning.
    pub after: Option<(Scope, RecordNo)>,
    /// The most records.
    pub limit: usize,
    /// The most bytes of records; the first is read whatever its size.
    pub bytes: usize,
}

/// A page of a domain's live records.
#[derive(Debug, Clone, Default)]
pub struct SnapshotPage {
    /// The log at the moment of reading.
    pub place: LogPlace,
    /// The records, in order.
    pub records: Vec<Record>,
    /// Whether nothing follows.
    pub is_last: bool,
    /// About how many live records these scopes hold; only for a page from the beginning.
    pub total: Option<u64>,
}

/// Asks for the digests of a session's view.
#[derive(Debug, Clone)]
pub struct DigestQuery {
    /// The tenant.
    pub tenant: TenantNo,
    /// Only records of scopes that may be seen.
    pub sight: Sight,
    /// The domains.
    pub views: Vec<DigestView>,
}

/// One domain of a [`DigestQuery`].
#[derive(Debug, Clone)]
pub struct DigestView {
    /// The domain.
    pub domain: DomainNo,
    /// Only records that these want; none: all. Each record is looked at then.
    pub filters: Option<Arc<Filters>>,
}

/// Digests of one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digests {
    /// The log at that moment.
    pub place: LogPlace,
    /// One for each view, in order.
    pub digests: Vec<Digest>,
}
