//! Latency at half load: from when a change was to be sent until a subscriber has it, and what answers to batches
//! take meanwhile.

use anyhow::Result;

use crate::context::Context;
use crate::fanout::stage::{Side, Stage};
use crate::process::Place;
use crate::report::{Goal, Row};
use crate::stats::{percentile, real, real_size};

/// The name in the report.
const NAME: &str = "latency";

/// What a round gave, in milliseconds.
#[derive(Debug, Clone, Copy)]
struct Round {
    p50: f64,
    p99: f64,
}

/// What answers took beside the load, in milliseconds, rising.
#[derive(Debug, Default)]
struct Answers {
    large: Vec<f64>,
    small: Vec<f64>,
}

/// Measures both sides at half of the rate that each one bears with one change on its way.
pub(crate) fn run(context: &Context) -> Result<Vec<Row>> {
    context.scheduling.take_place(Place::Apart);
    let (mut hub, mut bare, mut answers) = (Vec::new(), Vec::new(), Answers::default());
    let mut frame_bytes = 0;
    for round in 1..=context.latency_rounds {
        let mut stage = Stage::new(context, context.subscribers, Side::Hub)?;
        let rate = half_load(context, &mut stage)?;
        hub.push(one(context, &mut stage, rate)?);
        frame_bytes = stage.frame_bytes.max(frame_bytes);
        let [large, small] = stage.answers(rate, context.window)?;
        answers.large.push(p99(large));
        answers.small.push(p99(small));
        stage.stop()?;
        let mut stage = Stage::new(context, context.subscribers, Side::Bare { frame_bytes })?;
        let rate = half_load(context, &mut stage)?;
        bare.push(one(context, &mut stage, rate)?);
        stage.stop()?;
        let (one, other) = (hub[round - 1], bare[round - 1]);
        context.say(&format!(
            "latency, round {round}: hub p50 {:.2} p99 {:.2} ms, bare p50 {:.2} p99 {:.2} ms, answers p99 {:.1} and {:.1} ms",
            one.p50, one.p99, other.p50, other.p99, answers.large[round - 1], answers.small[round - 1],
        ));
    }
    Ok(rows(context, (&hub, &bare), answers))
}

fn rows(context: &Context, (hub, bare): (&[Round], &[Round]), answers: Answers) -> Vec<Row> {
    let each = |side: &[Round], value: fn(&Round) -> f64| side.iter().map(value).collect::<Vec<_>>();
    let what = |text: &str| format!("{text}, {} devices, half load", context.subscribers);
    vec![
        Row::alone(NAME, what("change to device, p50"), "ms", each(hub, |round| round.p50))
            .against(each(bare, |round| round.p50))
            .goal(Goal::RatioAtMost(1.25)),
        Row::alone(NAME, what("change to device, p99"), "ms", each(hub, |round| round.p99))
            .against(each(bare, |round| round.p99))
            .goal(Goal::RatioAtMost(2.0)),
        Row::alone(NAME, what("answer to 100 entries, p99"), "ms", answers.large).goal(Goal::AtMost(500.0)),
        Row::alone(NAME, what("answer to one entry, p99"), "ms", answers.small).goal(Goal::AtMost(200.0)),
    ]
}

/// Half of the changes a second that the server bears with one on its way.
fn half_load(context: &Context, stage: &mut Stage) -> Result<f64> {
    let window = stage.closed_loop(1, context.warm_up, context.window)?;
    let changes = real(window.deliveries) / real_size(context.subscribers);
    Ok((changes / window.time.as_secs_f64() / 2.0).max(1.0))
}

fn one(context: &Context, stage: &mut Stage, rate: f64) -> Result<Round> {
    let took = stage.open_loop(rate, context.warm_up, context.window)?;
    Ok(Round { p50: percentile(&took, 50.0) / 1000.0, p99: percentile(&took, 99.0) / 1000.0 })
}

fn p99(mut micros: Vec<u32>) -> f64 {
    micros.sort_unstable();
    percentile(&micros, 99.0) / 1000.0
}
