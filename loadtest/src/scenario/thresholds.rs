//! Which of the limits on the command line held.

use serde::Serialize;

use super::options::Limits;
use crate::timing::Percentiles;

/// A limit and what was measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Threshold {
    /// The flag without its dashes.
    pub(crate) name: &'static str,
    pub(crate) limit: f64,
    /// None: nothing was measured, so the limit does not hold.
    pub(crate) measured: Option<f64>,
    pub(crate) held: bool,
}

/// What limits are held against.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Measured {
    pub(crate) answer: Option<Percentiles>,
    pub(crate) arrival: Option<Percentiles>,
    pub(crate) comeback: Option<Percentiles>,
    pub(crate) errors: u64,
    pub(crate) rate: f64,
    pub(crate) server_rss_mib: Option<f64>,
}

/// All limits that were given.
pub(crate) fn judge(limits: &Limits, measured: &Measured) -> Vec<Threshold> {
    let p99 = |of: Option<Percentiles>| of.map(|of| of.p99_ms);
    #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
    let float = |count: u64| count as f64;
    [
        most("max-p99-ms", limits.max_p99_ms, p99(measured.answer)),
        most("max-arrival-p99-ms", limits.max_arrival_p99_ms, p99(measured.arrival)),
        most("max-return-p99-ms", limits.max_return_p99_ms, p99(measured.comeback)),
        most("max-errors", limits.max_errors.map(float), Some(float(measured.errors))),
        least("min-rate", limits.min_rate, Some(measured.rate)),
        most("max-server-rss-mb", limits.max_server_rss_mb, measured.server_rss_mib),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn most(name: &'static str, limit: Option<f64>, measured: Option<f64>) -> Option<Threshold> {
    limit.map(|limit| {
        let held = measured.is_some_and(|measured| measured <= limit);
        Threshold { name, limit, measured, held }
    })
}

fn least(name: &'static str, limit: Option<f64>, measured: Option<f64>) -> Option<Threshold> {
    limit.map(|limit| {
        let held = measured.is_some_and(|measured| measured >= limit);
        Threshold { name, limit, measured, held }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEASURED: Measured = Measured {
        answer: Some(Percentiles { count: 9, p50_ms: 1.0, p90_ms: 2.0, p99_ms: 5.0, max_ms: 9.0 }),
        arrival: None,
        comeback: None,
        errors: 2,
        rate: 100.0,
        server_rss_mib: Some(64.0),
    };

    fn broken(limits: Limits) -> Vec<&'static str> {
        let all = judge(&limits, &MEASURED).into_iter();
        all.filter(|threshold| !threshold.held).map(|threshold| threshold.name).collect()
    }

    #[test]
    fn limits_that_are_reached_hold_and_those_that_are_passed_do_not() {
        let none = Limits::default;
        assert!(judge(&none(), &MEASURED).is_empty());
        for (limits, expected) in [
            (Limits { max_p99_ms: Some(5.0), ..none() }, None),
            (Limits { max_p99_ms: Some(4.9), ..none() }, Some("max-p99-ms")),
            (Limits { max_errors: Some(2), ..none() }, None),
            (Limits { max_errors: Some(1), ..none() }, Some("max-errors")),
            (Limits { min_rate: Some(100.0), ..none() }, None),
            (Limits { min_rate: Some(100.1), ..none() }, Some("min-rate")),
            (Limits { max_server_rss_mb: Some(64.0), ..none() }, None),
            (Limits { max_server_rss_mb: Some(63.0), ..none() }, Some("max-server-rss-mb")),
        ] {
            assert_eq!(broken(limits), Vec::from_iter(expected));
        }
    }

    #[test]
    fn a_limit_on_what_was_not_measured_does_not_hold() {
        let limits =
            Limits { max_arrival_p99_ms: Some(1e9), max_return_p99_ms: Some(1e9), ..Limits::default() };
        assert_eq!(broken(limits), ["max-arrival-p99-ms", "max-return-p99-ms"]);
    }
}
