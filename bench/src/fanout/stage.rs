//! A server with its subscribers and publishers, and the loops that load it.
//!
//! The hub and the bare broadcaster are loaded by the same code: only what is published, and that the hub
//! answers its publishers, differs.

use std::collections::VecDeque;
use std::net::SocketAddr;
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
/// Those that write beside the load: how many entries at once, how often.
const OTHERS: [(usize, Duration); 2] = [(100, Duration::from_millis(100)), (1, Duration::from_millis(25))];
/// Where they write: nobody subscribes to it.
const OTHER_DOMAIN: &str = "diary";
/// How long nothing may come before something is broken.
const PATIENCE: Duration = Duration::from_secs(30);

/// Which server is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// The hub.
    Hub,
    /// The bare broadcaster, with messages of so many bytes.
    Bare {
        /// The size of the hub's frames.
        frame_bytes: usize,
    },
}

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

/// A device that writes beside the load, to see what its answers take.
#[derive(Debug)]
struct Other {
    entries: usize,
    pause: Duration,
    /// When its batch was to be sent that has no answer yet.
    waiting: Option<Instant>,
    due: Option<Instant>,
    took: Vec<u32>,
}

impl Other {
    fn new((entries, pause): (usize, Duration)) -> Self {
        Self { entries, pause, waiting: None, due: None, took: Vec::new() }
    }
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
    others: [Other; OTHERS.len()],
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
    /// A server with so many subscribers.
    pub(crate) fn new(context: &Context, subscribers: usize, side: Side) -> Result<Self> {
        let folder = Folder::new(&context.memory)?;
        match side {
            Side::Hub => Self::hub(context, folder, subscribers),
            Side::Bare { frame_bytes } => {
                let mut stage = Self::bare(context, folder, subscribers)?;
                stage.frame_bytes = frame_bytes;
                Ok(stage)
            }
        }
    }

    fn hub(context: &Context, folder: Folder, subscribers: usize) -> Result<Self> {
        let hub = Hub::start(&context.hub, &folder, (context.scheduling, Place::Apart))?;
        let subscribed = [DOMAIN];
        let mut devices: Vec<_> =
            (0..subscribers).map(|n| Device::new(format!("reader-{n}"), &subscribed)).collect();
        let writers = PUBLISHERS + OTHERS.len();
        devices.extend((0..writers).map(|n| Device::new(format!("writer-{n}"), &[])));
        let members = hub.connect(&devices)?;
        Self::of(Target::Hub(hub), folder, members, subscribers)
    }

    fn bare(context: &Context, folder: Folder, subscribers: usize) -> Result<Self> {
        let database = folder.database();
        let server = Server::start(context.scheduling, &context.own, Place::Apart, |command, address| {
            command.args(["yardstick", "broadcaster"]).arg(address.to_string()).arg(database);
        })?;
        let mut members = connect_bare(server.address(), "/subscribe", subscribers)?;
        members.append(&mut connect_bare(server.address(), "/publish", PUBLISHERS)?);
        Self::of(Target::Bare(server), folder, members, subscribers)
    }

    fn of(target: Target, folder: Folder, members: Vec<Connection>, subscribers: usize) -> Result<Self> {
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
            others: OTHERS.map(Other::new),
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
        self.drain(&mut |_| {})?;
        Ok(Window { deliveries, cpu, time })
    }

    /// Publishes so many changes a second, whatever comes back, and gives what each delivery took from when its
    /// change was to be sent, in microseconds.
    pub(crate) fn open_loop(&mut self, rate: f64, warm_up: Duration, window: Duration) -> Result<Vec<u32>> {
        let begin = Instant::now();
        let (from, mut took) = (begin + warm_up, Vec::new());
        self.open(rate, from + window, false, &mut |sent| {
            if sent >= from {
                took.push(micros(sent));
            }
        })?;
        took.sort_unstable();
        Ok(took)
    }

    /// What answers to batches of 100 entries and of one take beside such a load, in microseconds.
    pub(crate) fn answers(&mut self, rate: f64, window: Duration) -> Result<[Vec<u32>; 2]> {
        self.open(rate, Instant::now() + window, true, &mut |_| {})?;
        Ok(self.others.each_mut().map(|other| std::mem::take(&mut other.took)))
    }

    /// Tells of each delivery when its change was to be sent.
    fn open(
        &mut self,
        rate: f64,
        end: Instant,
        others: bool,
        on_delivery: &mut dyn FnMut(Instant),
    ) -> Result<()> {
        let pause = Duration::from_secs_f64(1.0 / rate);
        let (mut due, mut scheduled, mut first) = (Instant::now(), Vec::new(), None);
        while due < end {
            while due <= Instant::now() && due < end && !self.free.is_empty() {
                let number = self.publish()?;
                first.get_or_insert(number);
                scheduled.push(due);
                due += pause;
            }
            if others {
                self.write_beside()?;
            }
            let first = first.unwrap_or_default();
            let rest = due.saturating_duration_since(Instant::now());
            self.turn(rest, &mut |number| on_delivery(scheduled[number - first]))?;
        }
        let first = first.unwrap_or_default();
        self.drain(&mut |number| on_delivery(scheduled[number - first]))
    }

    /// Lets those write whose time has come and who have their last answer.
    fn write_beside(&mut self) -> Result<()> {
        for at in 0..self.others.len() {
            let other = &mut self.others[at];
            let due = *other.due.get_or_insert_with(Instant::now);
            if other.waiting.is_some() || due > Instant::now() {
                continue;
            }
            (other.waiting, other.due) = (Some(due), Some(due + other.pause));
            self.sent += 1;
            let entry = |_| {
                frames::entry(OTHER_DOMAIN, self.chance.uuid(), 0, &frames::text_of(CHANGE_BYTES, self.sent))
            };
            let entries: Vec<_> = (0..other.entries).map(entry).collect();
            let batch = frames::sync(self.sent, self.chance.uuid(), None, &entries);
            self.crowd.send(self.subscribers + PUBLISHERS + at, &batch)?;
        }
        Ok(())
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
    fn drain(&mut self, on_delivery: &mut dyn FnMut(usize)) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let is_waiting = |other: &Other| other.waiting.is_some();
        while self.progress.outstanding() > 0
            || self.free.len() < self.slots.len()
            || self.others.iter().any(is_waiting)
        {
            self.turn(PATIENCE, on_delivery)?;
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
        let Self { crowd, progress, waiting, free, subscribers, target, frame_bytes, others, .. } = self;
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
                (Kind::SyncResult, Some(writer)) => {
                    if let Some(waiting) = waiting.get_mut(writer) {
                        free.extend(waiting.pop_front());
                    } else {
                        let other = &mut others[writer - PUBLISHERS];
                        other.took.extend(other.waiting.take().map(micros));
                    }
                }
                (Kind::Error, _) => refused = Some(frames::show(frame)),
                _ => {}
            }
        })?;
        refused.map_or(Ok(()), |error| bail!("the hub answered {error}"))
    }
}

/// Opens connections to the bare broadcaster.
pub(crate) fn connect_bare(address: SocketAddr, path: &str, count: usize) -> Result<Vec<Connection>> {
    let mut connections = Vec::with_capacity(count);
    while connections.len() < count {
        let begun = (connections.len()..count).take(AT_ONCE).map(|_| Connection::begin(address, path));
        let mut some = begun.collect::<Result<Vec<_>>>()?;
        some.iter_mut().try_for_each(Connection::upgraded)?;
        connections.append(&mut some);
    }
    Ok(connections)
}

/// What has passed since, in microseconds.
fn micros(since: Instant) -> u32 {
    u32::try_from(since.elapsed().as_micros()).unwrap_or(u32::MAX)
}
