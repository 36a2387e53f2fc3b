//! What a replay showed, for people and as JSON.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};

use serde::Serialize;

use crate::kills::Kills;
use crate::ledger::Tally;
use crate::savings::Savings;
use crate::size::Size;
use crate::timing::Percentiles;
use crate::verdict::Findings;

/// Everything that a replay tells.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Report {
    /// The trace, and how much of it was played how fast.
    pub(crate) trace: String,
    pub(crate) lines: usize,
    pub(crate) speed: String,
    /// From the first line to the last answer.
    pub(crate) seconds: f64,
    /// From there until every device had everything.
    pub(crate) settle_seconds: f64,
    pub(crate) sockets: Sockets,
    /// Entries answered per second.
    pub(crate) entries_per_second: f64,
    /// Changes that arrived at devices per second.
    pub(crate) changes_per_second: f64,
    /// From an entry to its answer.
    pub(crate) answer: Percentiles,
    /// From an entry to another device of its tenant, which has its change.
    pub(crate) other_device: Percentiles,
    /// Lines of the trace that rest on an older line of their record than the one before them.
    pub(crate) behind_in_trace: usize,
    #[serde(flatten)]
    pub(crate) tally: Tally,
    /// What went over the wire.
    pub(crate) savings: Savings,
    pub(crate) kills: Kills,
    /// What the store takes, where its file was read.
    pub(crate) size: Option<Size>,
    pub(crate) verdict: Verdict,
}

/// The devices' connections.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Sockets {
    pub(crate) devices: usize,
    /// Devices that only receive.
    pub(crate) silent: usize,
    /// The most sockets that were live at once, as far as looked at.
    pub(crate) open_at_once: usize,
    /// Connections beyond each device's first.
    pub(crate) reconnects: u64,
    /// Frames that brought a change which the copy already had (C6).
    pub(crate) repeats: u64,
}

/// Whether every device and the store agree.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Verdict {
    pub(crate) yes: bool,
    /// What the copies were compared with.
    pub(crate) source: &'static str,
    /// How many copies, of how many records in all, were compared.
    pub(crate) copies: u64,
    pub(crate) copied_records: u64,
    /// How many records' answers were accounted for.
    pub(crate) records: u64,
    /// What makes it less than sure.
    pub(crate) notes: Vec<String>,
    #[serde(flatten)]
    pub(crate) findings: Findings,
}

impl Report {
    fn stale_percent(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "counts of lines")]
        let percent = self.tally.stale as f64 * 100.0 / self.lines.max(1) as f64;
        percent
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { sockets, tally, kills, .. } = self;
        writeln!(f, "{}: {} lines at speed {}", self.trace, self.lines, self.speed)?;
        writeln!(f, "  took             {:.1} s, then {:.1} s to settle", self.seconds, self.settle_seconds)?;
        writeln!(
            f,
            "  sockets          {} devices ({} only receive), {} open at once, {} reconnects, {} repeats dropped",
            sockets.devices, sockets.silent, sockets.open_at_once, sockets.reconnects, sockets.repeats
        )?;
        writeln!(f, "  entries          {:.0}/s", self.entries_per_second)?;
        writeln!(f, "  changes arrived  {:.0}/s", self.changes_per_second)?;
        write_percentiles(f, "to the answer", &self.answer)?;
        write_percentiles(f, "to other device", &self.other_device)?;
        writeln!(
            f,
            "  waits            {} for a base to arrive, {} of them given up, {} on a refused base",
            tally.waited, tally.gave_up_waiting, tally.base_refused
        )?;
        writeln!(
            f,
            "  stale edits      {} ({:.1} %; {} lines of the trace are behind)",
            tally.stale,
            self.stale_percent(),
            self.behind_in_trace
        )?;
        write_counts(f, "results", &tally.status)?;
        write_counts(f, "conflicts", &tally.conflicts)?;
        write_counts(f, "errors", &tally.errors)?;
        self.savings.fmt(f)?;
        kills.fmt(f)?;
        if let Some(size) = &self.size {
            size.fmt(f)?;
        }
        self.verdict.fmt(f)
    }
}

impl Display for Kills {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.count == 0 {
            return Ok(());
        }
        let Self { count, while_due, due } = self;
        writeln!(f, "  kills            {count}, {while_due} of them while answers were due (due: {due:?})")
    }
}

impl Display for Verdict {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for note in &self.notes {
            writeln!(f, "  note             {note}")?;
        }
        write!(
            f,
            "verdict: {}: {} copies holding {} records against the {}, answers for {} records",
            if self.yes { "YES" } else { "NO" },
            self.copies,
            self.copied_records,
            self.source,
            self.records
        )?;
        for (kind, count) in &self.findings.counts {
            write!(f, "\n  {count:>8} {kind}")?;
        }
        for difference in &self.findings.first {
            write!(f, "\n  - {difference}")?;
        }
        Ok(())
    }
}

pub(crate) fn write_percentiles(f: &mut Formatter<'_>, title: &str, all: &Percentiles) -> fmt::Result {
    if all.count == 0 {
        return Ok(());
    }
    writeln!(
        f,
        "  {title:<16} p50 {:.1} ms, p90 {:.1}, p99 {:.1}, max {:.1} ({} timed)",
        all.p50_ms, all.p90_ms, all.p99_ms, all.max_ms, all.count
    )
}

pub(crate) fn write_counts(
    f: &mut Formatter<'_>,
    title: &str,
    counts: &BTreeMap<String, u64>,
) -> fmt::Result {
    if counts.is_empty() {
        return Ok(());
    }
    let all: Vec<String> = counts.iter().map(|(name, count)| format!("{name} {count}")).collect();
    writeln!(f, "  {title:<16} {}", all.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Offers;
    use crate::savings::{EditSizes, Way};
    use crate::timing::Durations;

    fn report(findings: Findings) -> Report {
        let percentiles = Durations::default().percentiles();
        let (copies, copied_records, records) = (2, 2, 1);
        let yes = findings.is_empty();
        let verdict =
            Verdict { yes, source: "store", copies, copied_records, records, notes: vec![], findings };
        Report {
            trace: "t.jsonl".to_owned(),
            lines: 200,
            speed: "max".to_owned(),
            seconds: 2.0,
            settle_seconds: 0.5,
            sockets: Sockets::default(),
            entries_per_second: 100.0,
            changes_per_second: 50.0,
            answer: percentiles,
            other_device: percentiles,
            behind_in_trace: 20,
            tally: Tally { stale: 24, ..Tally::default() },
            savings: Savings {
                offers: Offers::Both,
                from_hub: Way::default(),
                to_hub: Way::default(),
                new_devices: Way::default(),
                edits: EditSizes::default(),
            },
            kills: Kills { count: 2, while_due: 1, due: vec![0, 7] },
            size: None,
            verdict,
        }
    }

    #[test]
    fn a_report_says_how_it_ended_and_what_is_wrong() {
        let text = report(Findings::default()).to_string();
        assert!(text.contains("verdict: YES") && text.contains("24 (12.0 %"), "{text}");
        assert!(text.contains("2, 1 of them while answers were due"), "{text}");
        let mut findings = Findings::default();
        findings.add("copy lacks", || "d lacks r".to_owned());
        let text = report(findings).to_string();
        assert!(text.contains("verdict: NO") && text.contains("- copy lacks: d lacks r"), "{text}");
    }

    #[test]
    fn the_json_has_the_counts_at_its_top_and_the_verdict_apart() {
        let json = serde_json::to_value(report(Findings::default())).unwrap();
        assert_eq!((json["stale"].as_u64(), json["verdict"]["yes"].as_bool()), (Some(24), Some(true)));
        assert_eq!(json["kills"]["while_due"], 1);
    }
}
