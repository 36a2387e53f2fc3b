//! The engine: what every way in hands its batches to.
//!
//! [`validate`] turns a frame into a submission, `committer` joins what waits for one tenant into one
//! transaction and answers each, the rules themselves are `synchub_rules::plan`. It does not know who is
//! connected: what was committed goes to the bus.

mod committer;
mod failures;
mod load;
mod outcome;
pub mod publish;
mod queue;
mod trace;
pub mod validate;

use std::sync::Arc;

use synchub_protocol::server::Origin;
use synchub_rules::group::{Author, Decision, Submission};
use synchub_rules::push::SubmittedPush;
use synchub_rules::record::{Sight, TenantNo};
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::bus::Bus;
use crate::clock::SharedClock;
use crate::config::{AdmissionSettings, CommitSettings};
use crate::observe::{Metrics, QueueLevel, Span};
use crate::recorder::Recorder;
use crate::store::Store;
use crate::tasks::Tasks;

pub use outcome::{entry_results, sync_result};

/// Why a batch was not decided; it may be sent again as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// The store cannot write now, or the hub is stopping.
    #[error("the hub cannot store anything now; send the batch again later")]
    Unavailable,
    /// The store refused the batch.
    #[error("the batch could not be stored; send it again, and tell the operator if that repeats")]
    Internal,
}

/// A batch's decision, once it is durable.
pub type Answer = oneshot::Receiver<Result<Decision, SubmitError>>;

/// Decides and stores batches.
#[derive(Debug, Clone)]
pub struct Engine {
    queue: Arc<queue::Queue>,
    load: Arc<load::Load>,
    failures: failures::Failures,
}

impl Engine {
    /// Starts the committer over a store; what it commits is told to the bus and the recorder.
    pub fn start(
        store: Arc<dyn Store>,
        (bus, recorder): (Arc<dyn Bus>, Recorder),
        clock: SharedClock,
        (settings, admission): (&CommitSettings, &AdmissionSettings),
        metrics: Metrics,
        tasks: &Tasks,
    ) -> Self {
        let queue = Arc::new(queue::Queue::new(settings));
        let load = load::Load::new(Arc::clone(&queue), Arc::clone(&clock), admission.slow_commit_ms);
        let (load, failures) = (Arc::new(load), failures::Failures::default());
        let committer = committer::Committer {
            queue: Arc::clone(&queue),
            load: Arc::clone(&load),
            store,
            bus,
            recorder,
            clock,
            metrics,
            failures: failures.clone(),
        };
        tasks.spawn_vital(committer.run());
        Self { queue, load, failures }
    }

    /// Whether the store could not write a group a moment ago, and none as large since; by the clock's ticks.
    pub fn is_failing(&self, ticks_us: i64) -> bool {
        self.failures.are_recent(ticks_us)
    }

    /// Queues a batch. The answer comes after the commit that holds it (invariant 1); dropping it does
    /// not take the batch back.
    pub fn submit(&self, tenant: TenantNo, submission: Submission) -> Answer {
        self.submit_traced(tenant, submission, None)
    }

    /// The same for a batch of which `span` may be a trace.
    pub fn submit_traced(&self, tenant: TenantNo, submission: Submission, span: Option<&Span>) -> Answer {
        let (sender, answer) = oneshot::channel();
        let trace = span.map(|span| Box::new(trace::Queued::begin(span)));
        self.queue.push(tenant, submission, queue::Sender { answer: sender, trace });
        answer
    }

    /// Logs pushes that the hub raises itself: alerts of conflicts, how refused entries ended (P1). The same
    /// `id` with the same pushes logs them once within a day. An alert of a conflict that the tenant does not
    /// have refuses them all.
    pub fn push(&self, tenant: TenantNo, id: Uuid, pushes: Vec<SubmittedPush>, now_us: i64) -> Answer {
        let heap = pushes.len() * std::mem::size_of::<SubmittedPush>();
        let submission = Submission {
            author: hub(),
            batch_id: id,
            hash: [0; 32],
            first_number: None,
            atomic: false,
            entries: Vec::new(),
            pushes,
            heap,
            received_us: now_us,
        };
        self.submit(tenant, submission)
    }

    /// How busy the engine is, in percent of what it is to bear; may be more.
    pub fn load_percent(&self) -> u64 {
        self.load.percent()
    }

    /// How many entries wait to be committed, and what they take.
    pub fn waiting(&self, now_us: i64) -> (usize, QueueLevel) {
        let (entries, bytes, oldest) = self.queue.level();
        (
            entries,
            QueueLevel { bytes: bytes as u64, age_us: oldest.map_or(0, |oldest| (now_us - oldest).max(0)) },
        )
    }

    /// Takes no more batches; what is queued is still committed.
    pub fn close(&self) {
        self.queue.close();
    }
}

/// The hub as the author of its own pushes; it writes no records.
fn hub() -> Author {
    Author {
        device: 0,
        generation: None,
        install: 0,
        user: 0,
        unit: None,
        sight: Sight::Everything,
        priority: 0,
        clock_offset_us: 0,
        trusted: true,
        origin: Arc::new(Origin { user: "hub".to_owned(), device: None }),
    }
}
