//! What a scenario showed, for people and as JSON.

use std::fmt::{self, Display, Formatter};

use serde::Serialize;

use super::thresholds::Threshold;
use super::usage::Usage;
use crate::kills::Kills;
use crate::ledger::Tally;
use crate::report::{Sockets, Verdict, write_counts, write_percentiles};
use crate::timing::Percentiles;

/// Everything that a scenario tells.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Report {
    pub(crate) scenario: &'static str,
    pub(crate) seed: u64,
    pub(crate) tenants: u32,
    /// How many entries flowed, beside those that were there before.
    pub(crate) entries: usize,
    /// How many of them were written while their device was offline.
    pub(crate) offline_entries: usize,
    /// How many entries a second were due.
    pub(crate) offered_per_second: f64,
    /// How many were answered, until the last answer.
    pub(crate) answered_per_second: f64,
    /// How long the devices took to connect at the start.
    pub(crate) connect_seconds: f64,
    /// How long the load took by the plan.
    pub(crate) seconds: f64,
    /// From the last answer until every device had everything.
    pub(crate) settle_seconds: f64,
    pub(crate) sockets: Sockets,
    /// From an entry's time to its answer, if its device was there all the while.
    pub(crate) answer: Option<Percentiles>,
    /// From an entry's time to each other device that holds its change.
    pub(crate) arrival: Option<Percentiles>,
    /// The same at the devices that are kept from reading in time.
    pub(crate) slow_arrival: Option<Percentiles>,
    /// From a device's coming back until everything is sent and received.
    pub(crate) comeback: Option<Percentiles>,
    /// How late the load tester itself was: with a high one the other figures are partly its own.
    pub(crate) lateness: Option<Percentiles>,
    /// Entries that were answered with an error, or not at all.
    pub(crate) failed: u64,
    /// Requests that the hub refused for the sake of a rate; the devices sent them again later.
    pub(crate) rate_limited: u64,
    #[serde(flatten)]
    pub(crate) tally: Tally,
    pub(crate) kills: Kills,
    pub(crate) server: Option<Usage>,
    pub(crate) client: Option<Usage>,
    pub(crate) thresholds: Vec<Threshold>,
    pub(crate) verdict: Verdict,
}

impl Report {
    /// Whether every threshold held and the verdict is yes.
    pub(crate) fn holds(&self) -> bool {
        self.verdict.yes && self.thresholds.iter().all(|threshold| threshold.held)
    }

    fn write_times(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (title, percentiles) in [
            ("to the answer", &self.answer),
            ("to other devices", &self.arrival),
            ("to slow devices", &self.slow_arrival),
            ("back in sync", &self.comeback),
            ("tester was late", &self.lateness),
        ] {
            if let Some(percentiles) = percentiles {
                write_percentiles(f, title, percentiles)?;
            }
        }
        Ok(())
    }

    fn write_processes(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (title, usage) in [("hub", &self.server), ("load tester", &self.client)] {
            let Some(usage) = usage else { continue };
            let Usage { rss_empty_mib, rss_before_mib, rss_peak_mib, rss_after_mib, cpu_seconds } = usage;
            writeln!(
                f,
                "  {title:<16} {rss_empty_mib:.1} MiB empty, {rss_before_mib:.1} before, {rss_peak_mib:.1} at most, \
                 {rss_after_mib:.1} after; {cpu_seconds:.2} s of processor time"
            )?;
        }
        Ok(())
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { sockets, tally, kills, .. } = self;
        writeln!(
            f,
            "{}: devices {}, tenants {}, seed {}",
            self.scenario, sockets.devices, self.tenants, self.seed
        )?;
        writeln!(
            f,
            "  took             {:.1} s to connect, {:.1} s of load, {:.1} s to settle",
            self.connect_seconds, self.seconds, self.settle_seconds
        )?;
        writeln!(
            f,
            "  sockets          {} open at once, {} reconnects, {} repeats dropped, {} requests rate limited",
            sockets.open_at_once, sockets.reconnects, sockets.repeats, self.rate_limited
        )?;
        writeln!(
            f,
            "  entries          {} ({} offline), {:.1}/s due, {:.1}/s answered, {} failed, {} stale",
            self.entries,
            self.offline_entries,
            self.offered_per_second,
            self.answered_per_second,
            self.failed,
            tally.stale
        )?;
        self.write_times(f)?;
        write_counts(f, "results", &tally.status)?;
        write_counts(f, "conflicts", &tally.conflicts)?;
        write_counts(f, "errors", &tally.errors)?;
        kills.fmt(f)?;
        self.write_processes(f)?;
        for threshold in &self.thresholds {
            writeln!(f, "  {threshold}")?;
        }
        self.verdict.fmt(f)
    }
}

impl Display for Threshold {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let word = if self.held { "held" } else { "BROKEN" };
        write!(f, "{word:<16} --{} {}: ", self.name, self.limit)?;
        match self.measured {
            Some(measured) => write!(f, "{measured:.1}"),
            None => f.write_str("nothing was measured"),
        }
    }
}
