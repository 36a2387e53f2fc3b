//! Plays the lines of a trace: each device sends its own in order, all devices at once.
//!
//! A line waits for its time, for the answer to its base line, and for its device to hold the version
//! which that answer named. Lines rest on earlier lines only and the window of lines that are read
//! and not yet answered moves in the order of the trace, so its oldest line can always go on.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use synchub_protocol::server::{EntryResult, Status};
use synchub_protocol::{Data, Entry};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::board::{Board, Named, Outcome};
use crate::ledger::Ledger;
use crate::pace::Pace;
use crate::savings::Edits;
use crate::sightings::Sightings;
use crate::survey::{DeviceIndex, LineNo, Survey};
use crate::timing::{Durations, Spread};
use crate::trace::Line;

/// How many lines are read and not yet answered at most: the bound on memory.
const WINDOW: usize = 16_384;
/// How many entries of one device wait for an answer at most.
const OUTSTANDING: usize = 64;

/// What a replay needs of a device's client.
pub(crate) trait Peer: Clone + Send + Sync + 'static {
    /// Whether the copy holds at least this version of a record.
    fn holds(&self, domain: &str, id: Uuid, version: u64) -> bool;

    /// Waits until it does.
    fn wait_for(&self, domain: &str, id: Uuid, version: u64) -> impl Future<Output = ()> + Send;

    /// How many entries wait for an answer, and whether the device is connected to get one.
    fn due(&self) -> (u64, bool);

    /// The version of a record in the copy, and its fields.
    fn held(&self, domain: &str, id: Uuid) -> Option<(u64, Arc<Data>)>;

    /// Takes an entry now, and gives its answer when it comes; none when the client has stopped.
    fn submit(&self, entry: Entry) -> impl Future<Output = Option<EntryResult>> + Send + 'static;
}

/// What all devices of a replay share.
pub(crate) struct Stage {
    pub(crate) survey: Arc<Survey>,
    pub(crate) board: Board,
    pub(crate) ledger: Ledger,
    pub(crate) pace: Pace,
    /// How long a device waits for a version before it acts without it.
    pub(crate) patience: Duration,
    pub(crate) edits: Edits,
    pub(crate) latency: Durations,
    pub(crate) spread: Spread,
    /// What the devices are given on the way.
    pub(crate) sightings: Arc<Sightings>,
    /// One device of each tenant, by which the way of others' changes is timed.
    pub(crate) observers: HashSet<DeviceIndex>,
    /// Ends the replay before its end.
    pub(crate) stop: CancellationToken,
    pub(crate) tasks: TaskTracker,
    /// Ends the watchers: nothing more is to be timed.
    pub(crate) done: CancellationToken,
    pub(crate) watchers: TaskTracker,
}

impl Stage {
    /// A stage on which nothing was played yet; the trace's clock runs from here.
    pub(crate) fn new(
        survey: Arc<Survey>,
        sightings: Arc<Sightings>,
        pace: Pace,
        patience: Duration,
    ) -> Self {
        Self {
            board: Board::new(Arc::clone(&survey)),
            ledger: Ledger::new(survey.steps.len()),
            pace,
            patience,
            edits: Edits::default(),
            latency: Durations::default(),
            spread: Spread::default(),
            sightings,
            observers: survey.observers(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            done: CancellationToken::new(),
            watchers: TaskTracker::new(),
            survey,
        }
    }
}

/// A line on its way to its device. The permit is its place in the window.
struct Task {
    number: LineNo,
    line: Line,
    place: OwnedSemaphorePermit,
}

/// Plays all lines and returns when each is answered, or when the stage was stopped. `peers` are the
/// clients of the survey's devices, in its order; the silent ones at the end may be left out.
pub(crate) async fn play<P: Peer>(
    stage: &Arc<Stage>,
    peers: &[P],
    lines: impl Iterator<Item = Result<Line>> + Send + 'static,
) -> Result<()> {
    let queues: Vec<_> = peers.iter().map(|peer| start_device(stage, peer.clone())).collect();
    let read = hand_out(stage, queues, lines).await;
    stage.tasks.close();
    stage.tasks.wait().await;
    read
}

fn start_device<P: Peer>(stage: &Arc<Stage>, peer: P) -> mpsc::UnboundedSender<Task> {
    let (sender, queue) = mpsc::unbounded_channel();
    let stopped = stage.stop.clone();
    let device = run_device(Arc::clone(stage), peer, queue);
    stage.tasks.spawn(async move { stopped.run_until_cancelled(device).await });
    sender
}

/// Reads ahead of the devices, at most a window. Reading blocks for no longer than it takes to
/// decompress a block.
async fn hand_out(
    stage: &Stage,
    queues: Vec<mpsc::UnboundedSender<Task>>,
    lines: impl Iterator<Item = Result<Line>>,
) -> Result<()> {
    let window = Arc::new(Semaphore::new(WINDOW));
    for (number, line) in lines.enumerate() {
        let place = Arc::clone(&window).acquire_owned();
        let Some(Ok(place)) = stage.stop.run_until_cancelled(place).await else { break };
        let task = Task { number, line: line?, place };
        // A device whose queue is closed was stopped; its line stays unsent, which the verdict tells.
        drop(queues[stage.survey.steps[number].device].send(task));
    }
    Ok(())
}

async fn run_device<P: Peer>(stage: Arc<Stage>, peer: P, mut queue: mpsc::UnboundedReceiver<Task>) {
    let outstanding = Arc::new(Semaphore::new(OUTSTANDING));
    while let Some(Task { number, line, place }) = queue.recv().await {
        stage.pace.until(line.t_ms).await;
        let named = stage.board.named(number).await;
        hold_base(&stage, &peer, &line, named).await;
        let Ok(permit) = Arc::clone(&outstanding).acquire_owned().await else { return };
        let submitted = Submitted::now(&line, named.version);
        stage.ledger.submit(number, named.version);
        let held = peer.held(&line.domain, line.mobile_id);
        let fields = stage.edits.fields(&line, named.version, held);
        let answer = peer.submit(entry(line, fields, named.version, &stage.pace));
        let stage_of_answer = Arc::clone(&stage);
        stage.tasks.spawn(async move {
            let result = stage_of_answer.stop.run_until_cancelled(answer).await.flatten();
            settle(&stage_of_answer, number, result, submitted);
            drop((permit, place));
        });
    }
}

/// Waits until the device holds the version that its line names.
async fn hold_base<P: Peer>(stage: &Stage, peer: &P, line: &Line, named: Named) {
    if named.base_refused {
        stage.ledger.note(|tally| tally.base_refused += 1);
    }
    if !named.wait || peer.holds(&line.domain, line.mobile_id, named.version) {
        return;
    }
    stage.ledger.note(|tally| tally.waited += 1);
    let held = peer.wait_for(&line.domain, line.mobile_id, named.version);
    if tokio::time::timeout(stage.patience, held).await.is_err() {
        stage.ledger.note(|tally| tally.gave_up_waiting += 1);
    }
}

/// `fields`: what is edited, if that is sent instead of the whole record.
fn entry(line: Line, fields: Option<Data>, version: u64, pace: &Pace) -> Entry {
    let delta = line.delta || fields.is_some();
    let mut entry = Entry::upsert(line.domain, line.mobile_id, version, fields.unwrap_or(line.data));
    entry.operation = line.operation;
    entry.delta = delta;
    entry.client_timestamp = Some(pace.stamp(line.t_ms));
    entry
}

/// What an answer is held against.
struct Submitted {
    tenant: String,
    domain: String,
    id: Uuid,
    version: u64,
    data: Arc<Data>,
    at: Instant,
}

impl Submitted {
    fn now(line: &Line, version: u64) -> Self {
        Self {
            tenant: line.tenant.clone(),
            domain: line.domain.clone(),
            id: line.mobile_id,
            version,
            data: Arc::new(line.data.clone()),
            at: Instant::now(),
        }
    }
}

fn settle(stage: &Stage, number: LineNo, result: Option<EntryResult>, submitted: Submitted) {
    let Some(result) = result else {
        stage.board.settle(number, Outcome::Refused);
        return;
    };
    stage.latency.add(submitted.at.elapsed());
    let outcome = stage.ledger.answer(number, &result);
    stage.board.settle(number, outcome);
    let (Status::Created | Status::Updated | Status::Merged, Outcome::Version(version)) =
        (result.status, outcome)
    else {
        return;
    };
    if version == submitted.version + 1 {
        let key = (submitted.tenant.as_str().into(), submitted.domain.into(), submitted.id);
        stage.sightings.sent(key, version, submitted.data);
    }
    if !stage.observers.contains(&stage.survey.steps[number].device) {
        stage.spread.made((submitted.tenant, submitted.id, version), submitted.at);
    }
}

#[cfg(test)]
mod tests;
