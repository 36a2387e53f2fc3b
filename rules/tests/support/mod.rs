//! A hub in memory: it loads what a plan reads, writes what it says, and checks on the way what must
//! hold for every plan.

mod domains;
mod script;
mod store;

pub use domains::domain;
pub use script::{Batch, Sent, batch, create, data, delete, delta, device, edit, fault, key, publisher};
pub use store::Store;

use serde_json::Value;
use synchub_protocol::ErrorCode;
use synchub_protocol::server::{ConflictInfo, Resolution, Status};
use synchub_rules::group::{Author, BatchAnswer, Decision, Outcome, Review, ReviewKind, Submission};
use synchub_rules::record::{LogRow, Record};

/// One tenant's hub.
#[derive(Debug, Clone)]
pub struct Hub {
    pub store: Store,
    pub now_us: i64,
    n_batches: u128,
}

impl Default for Hub {
    fn default() -> Self {
        Self { store: Store::default(), now_us: 1_000_000, n_batches: 0 }
    }
}

impl Hub {
    /// Plans a group and writes it. Batches that were given no id or time get the next ones.
    pub fn group(&mut self, batches: Vec<Batch>) -> Vec<Decision> {
        self.now_us += 1_000;
        let submissions: Vec<Submission> = batches.into_iter().map(|batch| self.submission(batch)).collect();
        self.decide(&submissions)
    }

    /// Plans submissions as they are, at the hub's present time.
    pub fn decide(&mut self, submissions: &[Submission]) -> Vec<Decision> {
        let loaded = self.store.load(&synchub_rules::plan::reads(submissions));
        let plan = synchub_rules::plan::plan(self.now_us, loaded, submissions);
        self.store.write(self.now_us, plan.writes);
        plan.decisions
    }

    pub fn submission(&mut self, batch: Batch) -> Submission {
        self.n_batches += 1;
        batch.submission(self.n_batches, self.now_us)
    }

    pub fn one(&mut self, batch: Batch) -> Decision {
        self.group(vec![batch]).remove(0)
    }

    /// Sends entries as a batch that is to be answered.
    pub fn send(&mut self, author: &Author, entries: impl IntoIterator<Item = Sent>) -> BatchAnswer {
        answered(self.one(batch(author, entries)))
    }

    /// Sends one entry.
    pub fn put(&mut self, author: &Author, entry: Sent) -> Outcome {
        self.send(author, [entry]).outcomes.remove(0)
    }

    pub fn record(&self, domain_name: &str, id: u128) -> &Record {
        self.find(domain_name, id).expect("the record exists")
    }

    pub fn find(&self, domain_name: &str, id: u128) -> Option<&Record> {
        self.store.records.get(&(domain(domain_name).no, key(id)))
    }

    /// A field of a record.
    pub fn value(&self, domain_name: &str, id: u128, field: &str) -> Value {
        self.record(domain_name, id).data.get(field).cloned().unwrap_or_default()
    }

    pub fn rows(&self) -> &[LogRow] {
        &self.store.rows
    }

    pub fn reviews(&self, kind: ReviewKind) -> Vec<&Review> {
        self.store.reviews.values().filter(|review| review.kind == kind).collect()
    }
}

pub fn answered(decision: Decision) -> BatchAnswer {
    match decision {
        Decision::Answered(answer) => answer,
        other => panic!("the batch was not decided: {other:?}"),
    }
}

/// What tests ask of an outcome.
pub trait Asked {
    fn status(&self) -> Status;
    fn version(&self) -> u64;
    fn code(&self) -> Option<ErrorCode>;
    fn field(&self) -> Option<&str>;
    fn resolution(&self) -> Option<Resolution>;
    fn conflict(&self) -> &ConflictInfo;
}

impl Asked for Outcome {
    fn status(&self) -> Status {
        self.stored.status
    }

    fn version(&self) -> u64 {
        self.stored.version.expect("the answer names a version")
    }

    fn code(&self) -> Option<ErrorCode> {
        self.stored.error.as_ref().map(|error| error.code)
    }

    fn field(&self) -> Option<&str> {
        self.stored.error.as_ref()?.field.as_deref()
    }

    fn resolution(&self) -> Option<Resolution> {
        self.stored.conflict.as_ref().map(|conflict| conflict.resolution)
    }

    fn conflict(&self) -> &ConflictInfo {
        self.stored.conflict.as_ref().expect("the answer names a conflict")
    }
}
