//! A server with its subscribers and publishers, and the loops that load it.
//!
//! The hub and the bare broadcaster are loaded by the same code: only what is published, and that the hub
//! answers its publishers, differs.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use uuid::Uuid;

use super::progress::Progress;
use crate::chance::Chance;
use crate::connection::Connection;
use crate::context::Context;
use crate::crowd::{Crowd, Waits};
use crate::frames::{self, Kind};
use crate::hub::{AT_ONCE, Device, Folder, Hub};
use crate::process::{Place, Server};

/// Devices that publish.
pub(crate) const PUBLISHERS: usize = 8;
/// Batches that each of them may have outstanding.
pub(crate) const IN_FLIGHT: usize = 4;
/// Bytes of a change's data.
const CHANGE_BYTES: usize = 200;
/// The domain of what is published.
const DOMAIN: &str = "note";
/// How long nothing may come before something is broken.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is loaded.
#[derive(Debug)]
enum Target {
    Hub(Hub),
    Bare(Server),
}

/// One of a publisher's records, changed again and again.
#[derive(Debug)]
struct Slot {
    key: Uuid,
    version: u64,
}

/// A server under load.
pub(crate) struct Stage {
    target: Target,
    _folder: Folder,
    crowd: Crowd,
    subscribers: usize,
    progress: Progress,
    slots: Vec<Slot>,
    /// The slots whose answers each publisher waits for, in order.
    waiting: Vec<VecDeque<usize>>,
    free: VecDeque<usize>,
    chance: Chance,
    sent: u64,
    /// The size of the frame that a subscriber was sent last.
    pub(crate) frame_bytes: usize,
}

/// What a window gave.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    /// Deliveries in it.
    pub(crate) deliveries: u64,
    /// The server's processor time.
    pub(crate) cpu: Duration,
    /// How long it was.
    pub(crate) time: Duration,
}

impl Stage {
    /// The hub with so many subscribed devices.
    pub(crate) fn hub(context: &Context, subscribers: usize) -> Result<Self> {
        let folder = Folder::new(&context.memory)?;
        let hub = Hub::start(&context.hub, &folder, (context.scheduling, Place::Apart))?;
        let subscribed = [DOMAIN];
        let mut devices: Vec<_> =
            (0..subscribers).map(|n| Device::new(format!("reader-{n}"), &subscribed)).collect();
        devices.extend((0..PUBLISHERS).map(|n| Device::new(format!("writer-{n}"), &[])));
        let members = hub.connect(&devices)?;
        Self::new(Target::Hub(hub), folder, members, subscribers)
    }

    /// The bare broadcaster with so many subscribers; each message has `frame_bytes`.
    pub(crate) fn bare(context: &Context, subscribers: usize, frame_bytes: usize) -> Result<Self> {
        let folder = Folder::new(&context.memory)?;
        let database = folder.database();
        let server = Server::start(context.scheduling, &context.own, Place::Apart, |command, address| {
            command.args(["yardstick", "broadcaster"]).arg(address.to_string()).arg(database);
        })?;
        let mut members = Vec::new();
        let path = |n| if n < subscribers { "/subscribe" } else { "/publish" };
        for first in (0..subscribers + PUBLISHERS).step_by(AT_ONCE) {
            let last = (first + AT_ONCE).min(subscribers + PUBLISHERS);
            let begun = (first..last).map(|n| Connection::begin(server.address(), path(n)));
            let mut some = begun.collect::<Result<Vec<_>>>()?;
            some.iter_mut().try_for_each(Connection::upgraded)?;
            members.append(&mut some);
        }
        let mut stage = Self::new(Target::Bare(server), folder, members, subscribers)?;
        stage.frame_bytes = frame_bytes;
        Ok(stage)
    }

    fn new(target: Target, folder: Folder, members: Vec<Connection>, subscribers: usize) -> Result<Self> {
        let mut chance = Chance::new(1);
        let slot = |_| Slot { key: chance.uuid(), version: 0 };
        let slots: Vec<_> = (0..PUBLISHERS * IN_FLIGHT).map(slot).collect();
        Ok(Self {
            target,
            _folder: folder,
            crowd: Crowd::new(members, Waits::Napping)?,
            subscribers,
            progress: Progress::new(subscribers),
            free: (0..slots.len()).collect(),
            slots,
            waiting: vec![VecDeque::new(); PUBLISHERS],
            chance,
            sent: 0,
            frame_bytes: 0,
        })
    }

    /// The server.
    pub(crate) fn server(&self) -> &Server {
        match &self.target {
            Target::Hub(hub) => &hub.server,
            Target::Bare(server) => server,
        }
    }

    /// Ends it.
    pub(crate) fn stop(self) -> Result<()> {
        drop(self.crowd);
        match self.target {
            Target::Hub(hub) => hub.stop(),
            Target::Bare(server) => server.stop(),
        }
    }

    /// Keeps so many changes on their way, each until everybody has it, and measures after a warm-up.
    pub(crate) fn closed_loop(
        &mut self,
        outstanding: usize,
        warm_up: Duration,
        window: Duration,
    ) -> Result<Window> {
        self.run_until(outstanding, Instant::now() + warm_up)?;
        let (before, deliveries) = (self.server().used()?, self.progress.deliveries());
        self.run_until(outstanding, Instant::now() + window)?;
        let (cpu, time) = self.server().since(before)?;
        let deliveries = self.progress.deliveries() - deliveries;
        self.drain()?;
        Ok(Window { deliveries, cpu, time })
    }

    /// Publishes so many changes a second, whatever comes back, and gives what each delivery took from when its
    /// change was to be sent, in microseconds, rising.
    pub(crate) fn open_loop(&mut self, rate: f64, warm_up: Duration, window: Duration) -> Result<Vec<u32>> {
        let (begin, pause) = (Instant::now(), Duration::from_secs_f64(1.0 / rate));
        let (from, end) = (begin + warm_up, begin + warm_up + window);
        let (mut due, mut scheduled, mut took) = (begin, VecDeque::new(), Vec::new());
        let mut first = None;
        while due < end {
            while due <= Instant::now() && due < end && !self.free.is_empty() {
                let number = self.publish()?;
                first.get_or_insert(number);
                scheduled.push_back(due);
                due += pause;
            }
            let rest = due.saturating_duration_since(Instant::now());
            let first = first.unwrap_or_default();
            self.turn(rest, &mut |number| {
                let sent = scheduled[number - first];
                if sent >= from {
                    let micros = sent.elapsed().as_micros();
                    took.push(u32::try_from(micros).unwrap_or(u32::MAX));
                }
            })?;
        }
        self.drain()?;
        took.sort_unstable();
        Ok(took)
    }

    fn run_until(&mut self, outstanding: usize, end: Instant) -> Result<()> {
        let mut last = Instant::now();
        while Instant::now() < end {
            while self.progress.outstanding() < outstanding && self.has_free(outstanding) {
                self.publish()?;
            }
            let before = self.progress.deliveries();
            self.turn(PATIENCE, &mut |_| {})?;
            if self.progress.deliveries() > before {
                last = Instant::now();
            }
            ensure!(last.elapsed() < PATIENCE, "nothing was delivered for {PATIENCE:?}");
        }
        Ok(())
    }

    /// With one change outstanding only the first record is changed, by one device.
    fn has_free(&mut self, outstanding: usize) -> bool {
        if outstanding > 1 {
            return !self.free.is_empty();
        }
        let at = self.free.iter().position(|slot| *slot == 0);
        at.is_some_and(|at| {
            self.free.swap(0, at);
            true
        })
    }

    /// Waits until everything that was published has come.
    fn drain(&mut self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while self.progress.outstanding() > 0 || self.free.len() < self.slots.len() {
            self.turn(PATIENCE, &mut |_| {})?;
            ensure!(Instant::now() < deadline, "{} changes did not come", self.progress.outstanding());
        }
        Ok(())
    }

    /// Publishes a change of the next free record.
    fn publish(&mut self) -> Result<usize> {
        let Some(slot) = self.free.pop_front() else { bail!("no publisher is free") };
        let publisher = slot % PUBLISHERS;
        self.sent += 1;
        let data = frames::text_of(CHANGE_BYTES, self.sent);
        if matches!(self.target, Target::Bare(_)) {
            let mut message = frames::encode(&data);
            message.resize(self.frame_bytes, 0);
            self.crowd.send(self.subscribers + publisher, &message)?;
            self.free.push_back(slot);
        } else {
            let Slot { key, version } = &mut self.slots[slot];
            let entry = frames::entry(DOMAIN, *key, *version, &data);
            *version += 1;
            let batch = frames::sync(self.sent, self.chance.uuid(), None, &[entry]);
            self.crowd.send(self.subscribers + publisher, &batch)?;
            self.waiting[publisher].push_back(slot);
        }
        Ok(self.progress.publish())
    }

    fn turn(&mut self, most: Duration, on_delivery: &mut dyn FnMut(usize)) -> Result<()> {
        let Self { crowd, progress, waiting, free, subscribers, target, frame_bytes, .. } = self;
        let is_hub = matches!(target, Target::Hub(_));
        let mut refused = None;
        crowd.turn(most, &mut |member, frame| {
            let kind = if is_hub { frames::kind(frame) } else { Kind::DataUpdate };
            match (kind, member.checked_sub(*subscribers)) {
                (Kind::DataUpdate, None) => {
                    *frame_bytes = frame.len();
                    if let Some(number) = progress.deliver(member) {
                        on_delivery(number);
                    }
                }
                (Kind::SyncResult, Some(publisher)) => free.extend(waiting[publisher].pop_front()),
                (Kind::Error, _) => refused = Some(frames::show(frame)),
                _ => {}
            }
        })?;
        refused.map_or(Ok(()), |error| bail!("the hub answered {error}"))
    }
}
