//! Plays a plan: each device makes its moves at their times and waits for nothing.
//!
//! An entry is timed from when it was due, not from when it was submitted, so that neither a slow hub nor a
//! busy load tester makes latency look better than it was.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use synchub_protocol::server::{EntryResult, Status};
use synchub_protocol::{Data, Entry, Timestamp};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::arrivals::Arrivals;
use super::plan::{Act, Plan, body};
use super::recorders::Recorders;
use crate::board::Outcome;
use crate::devices::Device;
use crate::ledger::Ledger;
use crate::pace::WallClock;
use crate::play::Peer;
use crate::sightings::Sightings;
use crate::survey::{DeviceIndex, LineNo};

/// What all devices of a scenario share.
pub(crate) struct Flow {
    pub(crate) plan: Arc<Plan>,
    pub(crate) ledger: Ledger,
    pub(crate) arrivals: Arc<Arrivals>,
    /// From an entry's time to its answer, if its device was there all the while.
    pub(crate) answers: Recorders,
    /// From an entry's time to its submission: how late the load tester itself is.
    pub(crate) lateness: Recorders,
    /// From a device's coming back until everything is sent and received.
    pub(crate) comebacks: Recorders,
    /// Ends everything before its end.
    pub(crate) stop: CancellationToken,
    sightings: Arc<Sightings>,
    wall: WallClock,
    tasks: TaskTracker,
    /// When the last answer came, in microseconds from the start of the load.
    last_answer: AtomicU64,
}

impl Flow {
    /// A flow of which nothing was played yet.
    pub(crate) fn new(plan: Arc<Plan>, sightings: Arc<Sightings>, wall: WallClock) -> Self {
        let devices = plan.survey.devices.len();
        Self {
            ledger: Ledger::new(plan.lines.len()),
            arrivals: Arc::new(Arrivals::new(&plan)),
            answers: Recorders::new(devices),
            lateness: Recorders::new(devices),
            comebacks: Recorders::new(devices),
            stop: CancellationToken::new(),
            sightings,
            wall,
            tasks: TaskTracker::new(),
            last_answer: AtomicU64::new(0),
            plan,
        }
    }

    /// Plays what is to be there before the load begins, and returns when it is answered.
    pub(crate) async fn prepare(self: &Arc<Self>, devices: &[Device]) {
        for number in 0..self.plan.before {
            let device = self.plan.survey.steps[number].device;
            self.submit(number, &devices[device]);
        }
        self.wait().await;
        self.tasks.reopen();
    }

    /// Plays the load, and returns when all is answered and everyone is back, or when it was stopped.
    pub(crate) async fn play(self: &Arc<Self>, devices: &[Device]) {
        self.arrivals.begin();
        for (index, device) in devices.iter().enumerate() {
            let moves = run_device(Arc::clone(self), index, device.clone());
            self.spawn(moves);
        }
        self.wait().await;
    }

    /// Whether something should be answered by now.
    pub(crate) fn is_due(&self) -> bool {
        let has_begun = self.arrivals.has_begun();
        let is_over = has_begun && Instant::now() > self.arrivals.instant(self.plan.length);
        is_over || (!has_begun && self.ledger.submitted() > self.ledger.answered())
    }

    /// From the time of the first entry to the last answer.
    pub(crate) fn took(&self) -> Duration {
        let first = self.plan.lines.get(self.plan.before).map_or(Duration::ZERO, |line| line.due);
        Duration::from_micros(self.last_answer.load(Ordering::Relaxed)).saturating_sub(first)
    }

    async fn wait(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tasks.spawn(async move { stop.run_until_cancelled(task).await });
    }

    fn submit(self: &Arc<Self>, number: LineNo, device: &Device) {
        let step = self.plan.survey.steps[number];
        let line = &self.plan.lines[number];
        let id = self.plan.survey.records[step.record].id;
        let data = body(number, line, self.plan.size);
        let version = if line.creates { 0 } else { device.version(line.kept.domain(), id) };
        let mut entry = Entry::upsert(line.kept.domain(), id, version, data.clone());
        entry.delta = !line.creates;
        entry.client_timestamp = Some(Timestamp((self.wall)()));
        if number >= self.plan.before {
            self.lateness.add(step.device, self.since(line.due));
        }
        self.ledger.submit(number, version);
        let answer = device.submit(entry);
        let flow = Arc::clone(self);
        self.spawn(async move {
            if let Some(result) = answer.await {
                flow.answered(number, version, &result, data);
            }
        });
    }

    fn answered(&self, number: LineNo, named: u64, result: &EntryResult, data: Data) {
        let (step, line) = (self.plan.survey.steps[number], &self.plan.lines[number]);
        if number >= self.plan.before {
            if !line.offline && self.arrivals.was_there(step.device, line.due) {
                self.answers.add(step.device, self.since(line.due));
            }
            let took = self.since(Duration::ZERO);
            self.last_answer
                .fetch_max(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
        let outcome = self.ledger.answer(number, result);
        let is_new = matches!(result.status, Status::Created | Status::Updated | Status::Merged);
        if let (true, Outcome::Version(version)) = (is_new, outcome)
            && version == named + 1
        {
            let record = &self.plan.survey.records[step.record];
            let key = (record.tenant.as_str().into(), record.domain.as_str().into(), record.id);
            self.sightings.sent(key, version, Arc::new(data));
        }
    }

    fn since(&self, due: Duration) -> Duration {
        self.arrivals.instant(due).elapsed()
    }
}

async fn run_device(flow: Arc<Flow>, index: DeviceIndex, device: Device) {
    let plan = Arc::clone(&flow.plan);
    for step in &plan.moves[index] {
        tokio::time::sleep_until(flow.arrivals.instant(step.at)).await;
        match step.act {
            Act::Submit(number) => flow.submit(number, &device),
            Act::Leave => {
                flow.arrivals.left(index);
                device.leave().await;
            }
            Act::ComeBack => {
                let back = come_back(Arc::clone(&flow), index, device.clone(), step.at);
                flow.spawn(back);
            }
        }
    }
}

async fn come_back(flow: Arc<Flow>, index: DeviceIndex, device: Device, at: Duration) {
    if device.come_back().await {
        flow.comebacks.add(index, flow.since(at));
        flow.arrivals.is_back(index);
    }
}
