//! What was measured: rows with both sides, their ratio round by round, and whether a goal is met.

use std::fmt::{self, Display, Formatter};

use serde::Serialize;

use crate::stats::{Spread, ratios};

/// What a row is held to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Goal {
    /// The hub's value through the yardstick's is at least this.
    RatioAtLeast(f64),
    /// It is at most this.
    RatioAtMost(f64),
    /// The hub's own value is at least this.
    AtLeast(f64),
    /// It is at most this.
    AtMost(f64),
}

/// One line of the report.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Row {
    /// The benchmark that it belongs to.
    pub(crate) benchmark: &'static str,
    /// What was measured.
    pub(crate) what: String,
    /// In which unit.
    pub(crate) unit: &'static str,
    /// The hub, round by round.
    pub(crate) hub: Vec<f64>,
    /// The yardstick in the same rounds; empty where there is none.
    pub(crate) yardstick: Vec<f64>,
    /// What it is held to; none: it only explains.
    pub(crate) goal: Option<Goal>,
}

impl Row {
    /// A row without a yardstick.
    pub(crate) fn alone(
        benchmark: &'static str,
        what: impl Into<String>,
        unit: &'static str,
        hub: Vec<f64>,
    ) -> Self {
        Self { benchmark, what: what.into(), unit, hub, yardstick: Vec::new(), goal: None }
    }

    /// The same beside a yardstick.
    pub(crate) fn against(mut self, yardstick: Vec<f64>) -> Self {
        self.yardstick = yardstick;
        self
    }

    /// The same with a goal.
    pub(crate) fn goal(mut self, goal: Goal) -> Self {
        self.goal = Some(goal);
        self
    }

    fn ratio(&self) -> Option<Spread> {
        Spread::of(&ratios(&self.hub, &self.yardstick))
    }

    /// Whether the medians meet the goal; none without a goal.
    fn is_met(&self) -> Option<bool> {
        let own = Spread::of(&self.hub).map_or(f64::NAN, |spread| spread.median);
        let ratio = self.ratio().map_or(f64::NAN, |spread| spread.median);
        self.goal.map(|goal| match goal {
            Goal::RatioAtLeast(least) => ratio >= least,
            Goal::RatioAtMost(most) => ratio <= most,
            Goal::AtLeast(least) => own >= least,
            Goal::AtMost(most) => own <= most,
        })
    }
}

/// Everything that a run measured.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// On what, and how it was scheduled.
    pub(crate) machine: String,
    /// The lines, in the order in which they were measured.
    pub(crate) rows: Vec<Row>,
}

impl Report {
    /// Whether every goal was met.
    pub(crate) fn is_met(&self) -> bool {
        self.rows.iter().all(|row| row.is_met() != Some(false))
    }

    /// The report for machines: each row with its spreads and its verdict.
    pub(crate) fn json(&self) -> serde_json::Value {
        let rows = self.rows.iter().map(|row| {
            serde_json::json!({
                "benchmark": row.benchmark, "what": row.what, "unit": row.unit, "goal": row.goal,
                "hub": Spread::of(&row.hub), "yardstick": Spread::of(&row.yardstick),
                "ratio": row.ratio(), "met": row.is_met(),
                "rounds": {"hub": row.hub, "yardstick": row.yardstick},
            })
        });
        let rows: Vec<_> = rows.collect();
        serde_json::json!({"machine": self.machine, "met": self.is_met(), "rows": rows})
    }
}

impl Display for Row {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let own = Spread::of(&self.hub).map_or(String::new(), |spread| shown(spread, self.unit));
        write!(f, "{:<10} {:<52} {own:>30}", self.benchmark, self.what)?;
        if let (Some(yardstick), Some(ratio)) = (Spread::of(&self.yardstick), self.ratio()) {
            write!(f, " | {:>30} | ratio {}", shown(yardstick, self.unit), shown(ratio, ""))?;
        }
        if let (Some(goal), Some(met)) = (self.goal, self.is_met()) {
            write!(f, " | {goal}: {}", if met { "met" } else { "MISSED" })?;
        }
        Ok(())
    }
}

impl Display for Goal {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::RatioAtLeast(least) => write!(f, "at least {least} x"),
            Self::RatioAtMost(most) => write!(f, "at most {most} x"),
            Self::AtLeast(least) => write!(f, "at least {least}"),
            Self::AtMost(most) => write!(f, "at most {most}"),
        }
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.machine)?;
        writeln!(
            f,
            "hub | yardstick | hub through yardstick, round by round; each: median (lowest-highest)"
        )?;
        self.rows.iter().try_for_each(|row| writeln!(f, "{row}"))?;
        let missed = self.rows.iter().filter(|row| row.is_met() == Some(false)).count();
        let held = self.rows.iter().filter(|row| row.goal.is_some()).count();
        write!(f, "{} of {held} goals met", held - missed)
    }
}

fn shown(Spread { median, min, max }: Spread, unit: &str) -> String {
    let text = format!("{} ({}-{}) {unit}", short(median), short(min), short(max));
    text.trim_end().to_owned()
}

/// Three digits are more than the rounds agree in.
fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 10_000.0 => format!("{:.0}k", value / 1000.0),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(goal: Goal) -> Row {
        Row::alone("fanout", "deliveries", "/s", vec![8.0, 9.0, 4.0])
            .against(vec![10.0, 10.0, 10.0])
            .goal(goal)
    }

    #[test]
    fn the_median_of_the_rounds_decides() {
        for (goal, met) in [
            (Goal::RatioAtLeast(0.8), true),
            (Goal::RatioAtLeast(0.81), false),
            (Goal::RatioAtMost(0.8), true),
            (Goal::RatioAtMost(0.79), false),
            (Goal::AtLeast(8.0), true),
            (Goal::AtLeast(8.5), false),
            (Goal::AtMost(8.0), true),
            (Goal::AtMost(7.5), false),
        ] {
            assert_eq!(row(goal).is_met(), Some(met), "{goal}");
            let report = Report { machine: String::new(), rows: vec![row(goal)] };
            assert_eq!(report.is_met(), met);
        }
    }

    #[test]
    fn a_row_that_was_not_measured_meets_nothing() {
        let row = Row::alone("fanout", "deliveries", "/s", Vec::new());
        assert_eq!(row.clone().goal(Goal::AtMost(1.0)).is_met(), Some(false));
        assert_eq!(row.is_met(), None);
    }

    #[test]
    fn a_line_shows_both_sides_and_the_verdict() {
        let line = row(Goal::RatioAtLeast(0.8)).to_string();
        for part in
            ["8.00 (4.00-9.00) /s", "10.0 (10.0-10.0) /s", "ratio 0.80 (0.40-0.90)", "at least 0.8 x: met"]
        {
            assert!(line.contains(part), "{line}");
        }
    }
}
