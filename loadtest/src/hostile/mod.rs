//! A hub under attack: what it answers, what memory it takes, and how another device fares meanwhile.
//!
//! Quiet and attacked halves take turns, so that both meet the same machine. The other device sends one
//! entry after the other all the time.

mod attacks;
mod frames;
mod report;
mod wire;
mod witness;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use futures::future::join_all;
use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use self::attacks::{Attack, Means, QUICK, SLOW};
use self::report::{Round, Tally};
use self::witness::Witness;
use crate::args::Hostile;
use crate::chance::Chance;
use crate::hub::{Hub, HubOptions, without_rates};
use crate::process::Process;
use crate::progress::say;
use crate::timing::Durations;
use crate::token::Signer;

pub(crate) use self::report::Report;

/// How long the hub waits for a hello here, in seconds: a round shall not wait for ten.
const HELLO_SECS: u64 = 5;
/// How much of what went wrong is told of each attack.
const WRONG_MOST: usize = 3;
/// How often an attack is tried by itself, by each attacker.
const EACH_TIMES: usize = 10;
/// How long the other device works before anything is measured.
const WARM_UP: Duration = Duration::from_secs(2);
/// How many batches of a thousand good entries come before anything is measured: they fill the store's
/// cache, which is no cost of an attack.
const WARM_UP_BATCHES: usize = 150;

/// What each attack came to so far.
#[derive(Debug, Default)]
struct Tallies(Mutex<BTreeMap<&'static str, Tally>>);

impl Tallies {
    fn with(&self, attack: &Attack, change: impl FnOnce(&mut Tally)) {
        let mut tallies = self.0.lock();
        change(tallies.entry(attack.name).or_insert_with(|| Tally {
            name: attack.name,
            expected: attack.expected,
            count: 0,
            wrong: Vec::new(),
            memory_kib: None,
            processor_ms: None,
        }));
    }

    async fn attack(&self, attack: &Attack, means: &Means) {
        let said = attack.run(means).await;
        self.with(attack, |tally| {
            tally.count += 1;
            let wrong = match said {
                Ok(said) if said == attack.expected => return,
                Ok(said) => said,
                Err(error) => format!("{error:#}"),
            };
            if tally.wrong.len() < WRONG_MOST {
                tally.wrong.push(wrong);
            }
        });
    }

    fn count(&self) -> u64 {
        self.0.lock().values().map(|tally| tally.count).sum()
    }

    fn in_order(&self) -> Vec<Tally> {
        let mut tallies = std::mem::take(&mut *self.0.lock());
        QUICK.iter().chain(SLOW).filter_map(|attack| tallies.remove(attack.name)).collect()
    }
}

/// A hub that is attacked.
struct Siege {
    process: Process,
    means: Vec<Means>,
    tallies: Arc<Tallies>,
    half: Duration,
    /// How long an attacker rests after each attack.
    pause: Duration,
}

/// Attacks as the command line says.
pub(crate) async fn hostile(args: &Hostile) -> Result<Report> {
    let chance = Arc::new(Chance::new(1));
    // Each attack is to meet its own answer, not that of a limit which another one has used up.
    let mut settings = without_rates();
    settings.push(("SYNCHUB_ADMISSION_FULL_PERCENT", "1000".to_owned()));
    settings.push(("SYNCHUB_ADMISSION_SLOW_COMMIT_MS", "0".to_owned()));
    settings.push(("SYNCHUB_LIMITS_HELLO_TIMEOUT_SECS", HELLO_SECS.to_string()));
    let options = HubOptions { binary: args.spawn_hub.clone(), settings, ..HubOptions::default() };
    let mut hub = Hub::start(options, &chance).await?;
    let signer = Signer::new(hub.secret());
    let means = |number| {
        let (address, signer, chance) = (hub.address(), signer.clone(), Arc::clone(&chance));
        Means { address, signer, chance, number }
    };
    let siege = Siege {
        process: Process(hub.process_id().context("the hub does not run")?),
        means: (0..args.attackers.max(1)).map(means).collect(),
        tallies: Arc::default(),
        half: Duration::from_secs(args.seconds),
        pause: pause(args),
    };
    let mut witness = Witness::connect(hub.address(), &signer, Arc::clone(&chance)).await?;
    let warm = Instant::now() + WARM_UP;
    witness.work(|| Instant::now() < warm, &Durations::default()).await?;
    attacks::work(&siege.means[0], WARM_UP_BATCHES).await?;
    let before_kib = siege.process.resident_kib()?;

    let (rounds, complaint) = siege.run(args, &mut witness).await?;
    let peak = rounds.iter().map(|round| round.peak_kib).max().unwrap_or(0);
    let report = Report {
        attacks: siege.tallies.in_order(),
        growth_kib: peak.saturating_sub(before_kib),
        rounds,
        allowed_kib: args.memory_mib * 1024,
        witness: complaint,
    };
    hub.stop().await?;
    Ok(report)
}

impl Siege {
    async fn run(&self, args: &Hostile, witness: &mut Witness) -> Result<(Vec<Round>, Option<String>)> {
        if args.each {
            for attack in QUICK {
                say(args.json, &format!("by itself: {}", attack.name));
                self.alone(attack).await?;
            }
        }
        let mut rounds = Vec::new();
        for round in 0..args.rounds {
            say(args.json, &format!("round {} of {}", round + 1, args.rounds));
            match self.round(witness).await? {
                Ok(round) => rounds.push(round),
                Err(complaint) => return Ok((rounds, Some(format!("{complaint:#}")))),
            }
        }
        let complaint = witness.settle().await.err();
        Ok((rounds, complaint.map(|complaint| format!("{complaint:#}"))))
    }

    /// One kind of attack by all attackers, and what it costs.
    async fn alone(&self, attack: &Attack) -> Result<()> {
        self.process.forget_peak()?;
        let (memory, ticks) = (self.process.resident_kib()?, self.process.ticks()?);
        join_all(self.means.iter().map(async |means| {
            for _ in 0..EACH_TIMES {
                self.tallies.attack(attack, means).await;
            }
        }))
        .await;
        let grown = self.process.peak_kib()?.saturating_sub(memory);
        let ticks = u32::try_from(self.process.ticks()? - ticks).unwrap_or(u32::MAX);
        let count = u32::try_from(self.means.len() * EACH_TIMES).unwrap_or(u32::MAX);
        self.tallies.with(attack, |tally| {
            tally.memory_kib = Some(grown);
            tally.processor_ms = Some(f64::from(ticks) * 10.0 / f64::from(count));
        });
        Ok(())
    }

    /// A quiet half and one under attack. The inner error is the witness's.
    async fn round(&self, witness: &mut Witness) -> Result<Result<Round>> {
        let (quiet, attacked) = (Durations::default(), Durations::default());
        let until = Instant::now() + self.half;
        if let Err(complaint) = witness.work(|| Instant::now() < until, &quiet).await {
            return Ok(Err(complaint));
        }
        self.process.forget_peak()?;
        let (before_kib, count) = (self.process.resident_kib()?, self.tallies.count());
        let until = Instant::now() + self.half;
        let (attackers, over) = (self.attackers(until), AtomicBool::new(false));
        let attack = async {
            attackers.wait().await;
            over.store(true, Ordering::Relaxed);
        };
        let (worked, ()) = tokio::join!(witness.work(|| !over.load(Ordering::Relaxed), &attacked), attack);
        if let Err(complaint) = worked {
            return Ok(Err(complaint));
        }
        let (quiet, attacked) = (quiet.percentiles(), attacked.percentiles());
        let ratio = attacked.p99_ms / quiet.p99_ms;
        let (attacks, peak_kib) = (self.tallies.count() - count, self.process.peak_kib()?);
        Ok(Ok(Round { quiet, attacked, ratio, attacks, before_kib, peak_kib }))
    }

    /// Attackers on tasks of their own, until `until` at least.
    fn attackers(&self, until: Instant) -> TaskTracker {
        let tracker = TaskTracker::new();
        for means in &self.means {
            let (means, tallies) = (means.clone(), Arc::clone(&self.tallies));
            let (first, pause) = (means.number * QUICK.len() / self.means.len(), self.pause);
            tracker.spawn(async move { quick(&means, &tallies, (first, pause), until).await });
        }
        for attack in SLOW {
            let (means, tallies) = (self.means[0].clone(), Arc::clone(&self.tallies));
            tracker.spawn(async move { tallies.attack(attack, &means).await });
        }
        tracker.close();
        tracker
    }
}

fn pause(args: &Hostile) -> Duration {
    let attackers = u32::try_from(args.attackers.max(1)).unwrap_or(u32::MAX);
    Duration::from_secs(1).checked_div(args.per_second).map_or(Duration::ZERO, |share| share * attackers)
}

/// All attacks in turn until `until`, each once at least, beginning with the one at `first`.
async fn quick(means: &Means, tallies: &Tallies, (first, pause): (usize, Duration), until: Instant) {
    for turn in 0.. {
        tallies.attack(&QUICK[(first + turn) % QUICK.len()], means).await;
        tokio::time::sleep(pause).await;
        if turn + 1 >= QUICK.len() && Instant::now() >= until {
            return;
        }
    }
}
