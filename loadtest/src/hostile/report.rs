//! What came of the attacks.

use std::fmt;

use serde::Serialize;

use crate::timing::Percentiles;

/// What one kind of attack came to.
#[derive(Debug, Serialize)]
pub(super) struct Tally {
    pub(super) name: &'static str,
    pub(super) expected: &'static str,
    pub(super) count: u64,
    /// What else was heard, or what went wrong; the first few.
    pub(super) wrong: Vec<String>,
    /// By itself: how far the peak of resident memory rose, in KiB.
    pub(super) memory_kib: Option<u64>,
    /// By itself: processor time of one, in milliseconds.
    pub(super) processor_ms: Option<f64>,
}

/// One round.
#[derive(Debug, Serialize)]
pub(super) struct Round {
    pub(super) quiet: Percentiles,
    pub(super) attacked: Percentiles,
    /// Of the two p99.
    pub(super) ratio: f64,
    /// Attacks in the second half.
    pub(super) attacks: u64,
    pub(super) before_kib: u64,
    pub(super) peak_kib: u64,
}

/// The report.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(super) attacks: Vec<Tally>,
    pub(super) rounds: Vec<Round>,
    /// The most that the peak of a round lay above the memory before the first one, in KiB.
    pub(super) growth_kib: u64,
    pub(super) allowed_kib: u64,
    /// What the other device has to complain of.
    pub(super) witness: Option<String>,
}

impl Report {
    /// Whether the hub held.
    pub(crate) fn holds(&self) -> bool {
        self.growth_kib <= self.allowed_kib
            && self.witness.is_none()
            && self.attacks.iter().all(|tally| tally.wrong.is_empty() && tally.count > 0)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<52} {:<26} {:>6} {:>9} {:>8}", "attack", "answer", "count", "KiB", "ms CPU")?;
        for tally in &self.attacks {
            let cost = |number: Option<f64>| number.map_or(String::new(), |number| format!("{number:.1}"));
            let memory = tally.memory_kib.map_or(String::new(), |kib| kib.to_string());
            let (name, expected, count) = (tally.name, tally.expected, tally.count);
            writeln!(f, "{name:<52} {expected:<26} {count:>6} {memory:>9} {:>8}", cost(tally.processor_ms))?;
            for wrong in &tally.wrong {
                writeln!(f, "    WRONG: {wrong}")?;
            }
        }
        for (n, round) in self.rounds.iter().enumerate() {
            let (quiet, attacked) = (round.quiet, round.attacked);
            writeln!(
                f,
                "round {}: quiet p50 {:.2} ms p99 {:.2} ms ({} answers); under {} attacks p50 {:.2} ms p99 {:.2} ms \
                 ({} answers); p99 ratio {:.2}; memory {} KiB, peak {} KiB",
                n + 1,
                quiet.p50_ms,
                quiet.p99_ms,
                quiet.count,
                round.attacks,
                attacked.p50_ms,
                attacked.p99_ms,
                attacked.count,
                round.ratio,
                round.before_kib,
                round.peak_kib,
            )?;
        }
        writeln!(f, "memory grew by {} KiB, {} are allowed", self.growth_kib, self.allowed_kib)?;
        if let Some(complaint) = &self.witness {
            writeln!(f, "the other device: {complaint}")?;
        }
        write!(f, "the hub {}", if self.holds() { "holds" } else { "does NOT hold" })
    }
}
