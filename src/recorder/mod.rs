//! Captures live traffic as a trace that `synchub-loadtest replay` plays: every batch that the hub took, in the
//! order of the commits.
//!
//! The committer hands over what it has committed and waits for nothing: a queue that is full loses batches, and
//! the file says so. Only one task writes. Nothing of a recording is ever read back by the hub.

mod file;
mod lines;
mod mask;
mod names;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use synchub_protocol::Data;
use synchub_rules::group::{Decision, StoredOutcome, Submission};
use synchub_rules::record::{DomainNo, LogRow, TenantNo};
use tokio::sync::mpsc;
use uuid::Uuid;

use self::file::TraceFile;
use self::lines::Lines;
use self::mask::Mask;
pub use self::names::Names;
use crate::config::RecordSettings;
use crate::entropy::Entropy;
use crate::tasks::Tasks;

/// The most groups that wait to be written.
const WAITING_GROUPS: usize = 4096;
/// The most bytes that their entries take in memory, about.
const WAITING_BYTES: usize = 64 << 20;

/// Why nothing can be recorded.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot record into {path}: {source}; name a file that does not exist yet, in a folder that the hub may write"
)]
pub struct RecordError {
    path: String,
    source: std::io::Error,
}

/// A group that was committed.
#[derive(Debug)]
pub(super) struct Took {
    tenant: TenantNo,
    batches: Arc<Vec<Submission>>,
    /// What became of each batch's entries; none where nothing was decided now.
    outcomes: Vec<Option<Vec<StoredOutcome>>>,
    /// Records as they stood after a change: domain, id, version.
    after: Vec<(DomainNo, Uuid, u64, Arc<Data>)>,
    bytes: usize,
}

/// Takes what was committed. When the last one is dropped, the file is completed.
#[derive(Debug, Default)]
pub struct Recorder(Option<Running>);

#[derive(Debug)]
struct Running {
    queue: mpsc::Sender<Took>,
    waiting: Arc<Waiting>,
}

/// What the committer and the writer share.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    bytes: AtomicUsize,
    lost_batches: AtomicU64,
}

impl Recorder {
    /// Begins a recording where the settings ask for one; the names are for the sessions to tell.
    pub fn start(
        settings: &RecordSettings,
        entropy: &dyn Entropy,
        tasks: &Tasks,
    ) -> Result<(Self, Names), RecordError> {
        let Some(path) = &settings.file else { return Ok((Self::default(), Names::default())) };
        let file = create(path)?;
        let mask = settings.masked.then(|| Mask::new(entropy));
        let (queue, waits) = mpsc::channel(WAITING_GROUPS);
        let (names, waiting) = (Names::asked(), Arc::<Waiting>::default());
        let lines = Lines::new(names.clone(), mask);
        tracing::info!(file = %path.display(), masked = settings.masked, "recording what the hub takes");
        let seen = Arc::clone(&waiting);
        // Writing blocks; the tracker waits for it, so that the file is whole when the hub has ended.
        tasks.spawn(async move {
            if tokio::task::spawn_blocking(move || file::write(waits, lines, file, &seen)).await.is_err() {
                tracing::error!("the recording ended by a fault");
            }
        });
        Ok((Self(Some(Running { queue, waiting })), names))
    }

    /// Hands over a group that is durable. Never waits.
    pub fn took(
        &self,
        tenant: TenantNo,
        batches: &Arc<Vec<Submission>>,
        decisions: &[Decision],
        rows: &[LogRow],
    ) {
        let Some(running) = &self.0 else { return };
        let bytes = batches.iter().map(|batch| batch.heap).sum();
        let took = Took {
            tenant,
            batches: Arc::clone(batches),
            outcomes: decisions.iter().map(decided_now).collect(),
            after: rows.iter().filter_map(after).collect(),
            bytes,
        };
        running.hand_over(took, batches.len() as u64);
    }
}

impl Running {
    fn hand_over(&self, took: Took, count: u64) {
        let Waiting { bytes, lost_batches } = &*self.waiting;
        let fits = bytes.load(Ordering::Relaxed) + took.bytes <= WAITING_BYTES;
        bytes.fetch_add(took.bytes, Ordering::Relaxed);
        let given_back = took.bytes;
        if fits && self.queue.try_send(took).is_ok() {
            return;
        }
        bytes.fetch_sub(given_back, Ordering::Relaxed);
        if lost_batches.fetch_add(count, Ordering::Relaxed) == 0 {
            tracing::warn!("the recording cannot keep up: batches are missing in it from here on");
        }
    }
}

fn create(path: &Path) -> Result<TraceFile, RecordError> {
    let failed = |source| RecordError { path: path.display().to_string(), source };
    TraceFile::create(path).map_err(failed)
}

/// What became of the entries of a batch, if it was decided just now.
fn decided_now(decision: &Decision) -> Option<Vec<StoredOutcome>> {
    match decision {
        Decision::Answered(answer) if !answer.repeated => {
            Some(answer.outcomes.iter().map(|outcome| outcome.stored.clone()).collect())
        }
        _ => None,
    }
}

fn after(row: &LogRow) -> Option<(DomainNo, Uuid, u64, Arc<Data>)> {
    row.after?;
    Some((row.domain, row.key, row.version, Arc::clone(&row.data)))
}
