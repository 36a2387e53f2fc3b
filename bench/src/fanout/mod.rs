//! Fan-out: what a delivery costs the server, with one change on its way and with many.

pub(crate) mod progress;
pub(crate) mod stage;

use anyhow::Result;

use self::stage::{IN_FLIGHT, PUBLISHERS, Side, Stage, Window};
use crate::context::Context;
use crate::process::Place;
use crate::report::{Goal, Row};
use crate::stats::real;

/// The name in the report.
const NAME: &str = "fanout";

/// How many subscribers, and how many changes on their way at once.
#[derive(Debug, Clone, Copy)]
struct Load {
    name: &'static str,
    outstanding: usize,
    goal: f64,
}

const ONE: Load = Load { name: "one change on its way", outstanding: 1, goal: 0.8 };
const MANY: Load = Load { name: "8 devices, 4 batches each", outstanding: PUBLISHERS * IN_FLIGHT, goal: 0.7 };

/// Measures with 1000 and with 10,000 subscribers.
pub(crate) fn run(context: &Context) -> Result<Vec<Row>> {
    let mut rows = of_size(context, context.subscribers, &[ONE, MANY])?;
    rows.extend(of_size(context, context.many_subscribers, &[ONE])?);
    Ok(rows)
}

/// Measures with so many subscribers.
fn of_size(context: &Context, subscribers: usize, loads: &[Load]) -> Result<Vec<Row>> {
    context.scheduling.take_place(Place::Apart);
    let (mut hub, mut bare) = (vec![Vec::new(); loads.len()], vec![Vec::new(); loads.len()]);
    for round in 0..context.rounds {
        context.say(&format!("fanout, {subscribers} subscribers, round {}: the hub", round + 1));
        let mut stage = Stage::new(context, subscribers, Side::Hub)?;
        windows(context, &mut stage, loads, &mut hub)?;
        let frame_bytes = stage.frame_bytes;
        stage.stop()?;
        context.say(&format!("fanout, {subscribers} subscribers, round {}: the yardstick", round + 1));
        let mut stage = Stage::new(context, subscribers, Side::Bare { frame_bytes })?;
        windows(context, &mut stage, loads, &mut bare)?;
        stage.stop()?;
    }
    Ok(loads
        .iter()
        .zip(hub.iter().zip(&bare))
        .flat_map(|(load, sides)| rows(subscribers, *load, sides))
        .collect())
}

fn windows(context: &Context, stage: &mut Stage, loads: &[Load], into: &mut [Vec<Window>]) -> Result<()> {
    for (load, into) in loads.iter().zip(into) {
        let window = stage.closed_loop(load.outstanding, context.warm_up, context.window)?;
        context.say(&format!(
            "  {}: {:.0} deliveries/s, {:.2} us of the server each, frames of {} bytes",
            load.name,
            real(window.deliveries) / window.time.as_secs_f64(),
            window.cpu.as_secs_f64() * 1e6 / real(window.deliveries),
            stage.frame_bytes,
        ));
        into.push(window);
    }
    Ok(())
}

fn rows(subscribers: usize, load: Load, (hub, bare): (&Vec<Window>, &Vec<Window>)) -> Vec<Row> {
    let what = |unit| format!("{unit}, {subscribers} devices, {}", load.name);
    let each = |windows: &[Window], value: fn(&Window) -> f64| windows.iter().map(value).collect::<Vec<_>>();
    let per_cpu: fn(&Window) -> f64 = |window| real(window.deliveries) / window.cpu.as_secs_f64();
    let per_second: fn(&Window) -> f64 = |window| real(window.deliveries) / window.time.as_secs_f64();
    vec![
        Row::alone(NAME, what("deliveries per CPU second"), "", each(hub, per_cpu))
            .against(each(bare, per_cpu))
            .goal(Goal::RatioAtLeast(load.goal)),
        Row::alone(NAME, what("deliveries a second"), "", each(hub, per_second))
            .against(each(bare, per_second)),
    ]
}
