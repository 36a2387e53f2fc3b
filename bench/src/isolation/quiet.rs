//! The tenant that does nothing wrong: devices that sync one small batch each now and then, on a fixed schedule.
//!
//! What an answer took counts from when its batch was to be sent. One thread sends and sleeps until the next
//! batch is due; another waits for answers: neither holds up the other.

use std::collections::VecDeque;
use std::net::TcpStream;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::flood::small_entries;
use crate::chance::Chance;
use crate::connection::send_framed;
use crate::crowd::{Crowd, Waits};
use crate::frames::{self, Kind};
use crate::hub::{Device, Hub};
use crate::process::{Running, Server};
use crate::wire;

/// Devices, each of a user of its own.
const DEVICES: usize = 50;
/// Entries of a batch.
const ENTRIES: usize = 3;
/// From one batch to the next, of all devices together: each sends five a second.
const PAUSE: Duration = Duration::from_millis(4);
/// How long no answer may come; a refused batch counts as one that took so long.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the receiving thread waits before it looks at the time.
const LOOK: Duration = Duration::from_millis(20);

/// What a phase gave.
#[derive(Debug)]
pub(super) struct Took {
    /// What answers took, in microseconds, rising.
    pub(super) answers: Vec<u32>,
    /// How much of a processor the hub used meanwhile, in percent.
    pub(super) hub_busy: f64,
    /// The same of the flooder; 0 without one.
    pub(super) flooder_busy: f64,
}

/// The devices, connected.
pub(super) struct Quiet {
    crowd: Crowd,
    sending: Vec<TcpStream>,
    /// When the batches that each device has no answer to were to be sent.
    waiting: Mutex<Vec<VecDeque<Instant>>>,
    chance: Chance,
}

impl Quiet {
    /// Connects them.
    pub(super) fn new(hub: &Hub) -> Result<Self> {
        let devices: Vec<_> = (0..DEVICES).map(|n| Device::new(format!("quiet-{n}"), &["diary"])).collect();
        let connections = hub.connect(&devices)?;
        let sending = connections.iter().map(crate::connection::Connection::sender).collect::<Result<_>>()?;
        let crowd = Crowd::new(connections, Waits::Blocking)?;
        let waiting = Mutex::new(vec![VecDeque::new(); DEVICES]);
        Ok(Self { crowd, sending, waiting, chance: Chance::new(41) })
    }

    /// Goes on for a while; batches count that are due in the window after the warm-up.
    pub(super) fn go_on(
        &mut self,
        hub: &Server,
        flooder: Option<&Running>,
        (warm_up, window): (Duration, Duration),
    ) -> Result<Took> {
        let begin = Instant::now();
        let (from, end) = (begin + warm_up, begin + warm_up + window);
        let Self { crowd, sending, waiting, chance } = self;
        let (sending, waiting) = (&*sending, &*waiting);
        std::thread::scope(|scope| {
            let sender = scope.spawn(move || send(sending, waiting, chance, (begin, end)));
            let (mut answers, mut used, mut busy) = (Vec::new(), None, [0.0; 2]);
            while Instant::now() < end || is_waiting(waiting) {
                receive(crowd, waiting, from, &mut answers)?;
                let now = Instant::now();
                if now >= from && used.is_none() {
                    used = Some((hub.used()?, now, flooder.map(Running::cpu).transpose()?));
                }
                if let Some((before, since, flooders)) = used.filter(|_| now < end) {
                    let (cpu, time) = hub.since(before)?;
                    let flooders = flooders.zip(flooder.map(Running::cpu).transpose()?);
                    let flooders =
                        flooders.map_or(0.0, |(before, now)| now.saturating_sub(before).as_secs_f64());
                    let passed = (now - since).as_secs_f64();
                    busy = [percent(cpu.as_secs_f64(), time.as_secs_f64()), percent(flooders, passed)];
                }
                ensure!(now < end + PATIENCE, "another tenant's batches were not answered for {PATIENCE:?}");
            }
            sender.join().map_err(|_| anyhow::anyhow!("the sending thread panicked"))??;
            answers.sort_unstable();
            Ok(Took { answers, hub_busy: busy[0], flooder_busy: busy[1] })
        })
    }
}

fn percent(part: f64, of: f64) -> f64 {
    if of > 0.0 { 100.0 * part / of } else { 0.0 }
}

fn is_waiting(waiting: &Mutex<Vec<VecDeque<Instant>>>) -> bool {
    waiting.lock().is_ok_and(|waiting| waiting.iter().any(|due| !due.is_empty()))
}

/// Sends one batch after the other, each when it is due, late or not.
fn send(
    sending: &[TcpStream],
    waiting: &Mutex<Vec<VecDeque<Instant>>>,
    chance: &mut Chance,
    (begin, end): (Instant, Instant),
) -> Result<()> {
    let (mut due, mut id) = (begin, 1);
    while due < end {
        let device = usize::try_from(id).unwrap_or(0) % sending.len();
        id += 1;
        let mut framed = Vec::new();
        wire::put(&mut framed, &frames::sync(id, chance.uuid(), None, &small_entries(chance, ENTRIES)));
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let mut waits = waiting.lock().map_err(|_| anyhow::anyhow!("the receiving thread panicked"))?;
        waits[device].push_back(due);
        drop(waits);
        send_framed(&sending[device], &framed)?;
        due += PAUSE;
    }
    Ok(())
}

/// Takes the answers that have come, or waits a little.
fn receive(
    crowd: &mut Crowd,
    waiting: &Mutex<Vec<VecDeque<Instant>>>,
    from: Instant,
    answers: &mut Vec<u32>,
) -> Result<()> {
    let mut unasked = None;
    crowd.turn(LOOK, &mut |device, frame| {
        let kind = frames::kind(frame);
        if !matches!(kind, Kind::SyncResult | Kind::Error) {
            return;
        }
        let due = waiting.lock().ok().and_then(|mut waiting| waiting[device].pop_front());
        let Some(due) = due else { return unasked = Some(frames::show(frame)) };
        let took = if kind == Kind::Error { PATIENCE } else { due.elapsed() };
        if due >= from {
            answers.push(u32::try_from(took.as_micros()).unwrap_or(u32::MAX));
        }
    })?;
    unasked
        .map_or(Ok(()), |frame| Err(anyhow::anyhow!("an answer to nothing: {frame}")))
        .context("another tenant's devices")
}
