//! From a frame to a submission: what can be said of a batch before any record is read.
//!
//! What is wrong with the request refuses it whole; what is wrong inside one entry becomes that entry's
//! own result. Behind this, nothing is checked again.

use std::sync::Arc;

use serde_json::Value;
use synchub_protocol::client::Sync;
use synchub_protocol::{Entry, EntryFault, ErrorCode, FaultKind, RawEntry};
use synchub_rules::group::{Author, Domain, Submission, SubmittedEntry};
use synchub_rules::plan::request_hash;

use crate::catalog::Catalog;
use crate::config::LimitSettings;

/// Why a `sync` frame was refused whole; nothing was decided.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// A batch has at least one entry.
    #[error("entries is empty; send at least one")]
    Empty,
    /// The batch is over the limit.
    #[error("{count} entries are more than the {most} that a batch may hold; split it")]
    TooMany {
        /// How many came.
        count: usize,
        /// How many may come.
        most: usize,
    },
    /// The batch takes too much memory.
    #[error("the batch holds too many small values; split it")]
    TooLarge,
    /// Numbers belong to an install.
    #[error("first_client_seq needs a device.install_id in hello")]
    NumbersWithoutInstall,
    /// Numbers begin at 1.
    #[error("first_client_seq begins at 1")]
    NumberZero,
}

impl BatchError {
    /// The code of the `error` frame.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::TooMany { .. } => ErrorCode::TooManyEntries,
            Self::TooLarge => ErrorCode::TooLarge,
            Self::Empty | Self::NumbersWithoutInstall | Self::NumberZero => ErrorCode::BadRequest,
        }
    }
}

/// Turns a frame into a submission of `author`; `has_install`: whether its hello named an install.
pub fn batch(
    frame: Sync,
    author: Author,
    has_install: bool,
    (tenant, catalog, limits): (&str, &Catalog, &LimitSettings),
    received_us: i64,
) -> Result<Submission, BatchError> {
    let (count, most) = (frame.entries.len(), limits.max_batch_entries);
    if count == 0 {
        return Err(BatchError::Empty);
    }
    if count > most {
        return Err(BatchError::TooMany { count, most });
    }
    if frame.entries.last().and_then(fault_kind) == Some(FaultKind::BatchTooLarge) {
        return Err(BatchError::TooLarge);
    }
    if frame.first_client_seq.is_some() && !has_install {
        return Err(BatchError::NumbersWithoutInstall);
    }
    if frame.first_client_seq == Some(0) {
        return Err(BatchError::NumberZero);
    }
    let (atomic, cross_device) = (frame.atomic.unwrap_or(false), frame.cross_device.unwrap_or(false));
    let hash = request_hash(&frame.entries, atomic, cross_device);
    let heap = frame.entries.iter().map(|raw| raw.heap).sum();
    let mut domains = Domains { tenant, catalog, last: None };
    let entries = frame.entries.into_iter();
    Ok(Submission {
        author,
        batch_id: frame.batch_id,
        hash,
        first_number: frame.first_client_seq,
        atomic,
        entries: entries.map(|raw| entry(raw, &mut domains, limits)).collect(),
        pushes: Vec::new(),
        heap,
        received_us,
    })
}

/// The domains of a batch's entries: mostly one and the same.
struct Domains<'a> {
    tenant: &'a str,
    catalog: &'a Catalog,
    last: Option<Arc<Domain>>,
}

impl Domains<'_> {
    fn find(&mut self, name: &str) -> Option<Arc<Domain>> {
        if self.last.as_ref().is_none_or(|last| *last.name != *name) {
            self.last = self.catalog.lookup(self.tenant, name);
        }
        self.last.clone()
    }
}

fn fault_kind(raw: &RawEntry) -> Option<FaultKind> {
    raw.entry.as_ref().err().map(|fault| fault.kind)
}

fn entry(raw: RawEntry, domains: &mut Domains<'_>, limits: &LimitSettings) -> SubmittedEntry {
    let size = raw.size;
    let entry = match raw.entry {
        Ok(entry) => entry,
        Err(fault) => {
            let domain = fault.domain.as_deref().and_then(|name| domains.find(name));
            if fault.kind != FaultKind::Invalid {
                return SubmittedEntry::Fault { fault, code: ErrorCode::TooLarge, domain };
            }
            if size > limits.max_entry_bytes {
                // Its size alone refuses it: nothing of it is kept for a person to look at.
                let message = over_limit(size, limits);
                let fault = EntryFault { message, field: None, partial: Value::Null, ..fault };
                return SubmittedEntry::Fault { fault, code: ErrorCode::TooLarge, domain };
            }
            return SubmittedEntry::Fault { fault, code: ErrorCode::ValidationFailed, domain };
        }
    };
    match domains.find(&entry.domain) {
        None => {
            let message = format!("there is no domain `{}`", entry.domain);
            refused(entry, ErrorCode::UnknownDomain, Some("domain"), message, None)
        }
        Some(domain) if size > limits.max_entry_bytes => {
            refused(entry, ErrorCode::TooLarge, None, over_limit(size, limits), Some(domain))
        }
        Some(domain) => SubmittedEntry::Entry { entry, domain, belonging: None },
    }
}

fn over_limit(size: usize, limits: &LimitSettings) -> String {
    format!("the entry takes {size} bytes, more than {}; send less", limits.max_entry_bytes)
}

/// An entry that is refused as it stands; nothing of its contents is kept.
fn refused(
    entry: Entry,
    code: ErrorCode,
    field: Option<&str>,
    message: String,
    domain: Option<Arc<Domain>>,
) -> SubmittedEntry {
    let fault = EntryFault {
        kind: FaultKind::Invalid,
        message,
        field: field.map(str::to_owned),
        mobile_id: Some(entry.mobile_id),
        partial: Value::Null,
        domain: Some(entry.domain),
    };
    SubmittedEntry::Fault { fault, code, domain }
}
