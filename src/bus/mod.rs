//! Tells every node that a tenant's log moved.
//!
//! The bus is a hint (invariant 4): it may lose, repeat and delay, and says so where it knows. What it
//! carries can always be asked again from the store, and nothing above it knows how it travels.

pub mod local;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use synchub_rules::push::Logged;
use synchub_rules::record::{Head, TenantNo};

use crate::observe::SpanPlace;

/// The rows of one commit.
#[derive(Debug, Clone)]
pub struct Update {
    /// The tenant.
    pub tenant: TenantNo,
    /// The history that the rows belong to.
    pub epoch: u64,
    /// The rows, without gaps, in order; none where they were too large to be carried: ask the store.
    pub rows: Arc<[Logged]>,
    /// The log's head after them.
    pub head: Head,
    /// Which of the rows are of traced batches.
    pub traces: Vec<RowsTrace>,
}

/// The rows of a traced batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowsTrace {
    /// The place before the first.
    pub after: u64,
    /// The place of the last.
    pub through: u64,
    /// Their commit.
    pub place: SpanPlace,
}

/// What a reader of the bus is told.
#[derive(Debug, Clone)]
pub enum BusEvent {
    /// A commit.
    Update(Update),
    /// Something may have been lost: ask the store.
    Gap,
    /// The bus is closed.
    Closed,
}

/// Carries updates between the nodes of a hub.
#[async_trait]
pub trait Bus: fmt::Debug + Send + Sync + 'static {
    /// Tells all nodes, this one too. Never waits for anybody.
    fn publish(&self, update: Update);

    /// Listens to a tenant. What is published after this returns is heard.
    async fn subscribe(&self, tenant: TenantNo) -> Box<dyn BusReader>;
}

/// One node's ear for one tenant.
#[async_trait]
pub trait BusReader: fmt::Debug + Send {
    /// Waits for the next event. Safe to cancel.
    async fn next(&mut self) -> BusEvent;
}
