//! Writing: acknowledged durable entries, against a bare loop that runs the same statements in the same groups.

mod one_entry;
pub(crate) mod session;
pub(crate) mod work;

use std::path::Path;

use anyhow::Result;
use serde_json::Value;

use self::work::{BATCH, Size};
use crate::context::Context;
use crate::hub::Folder;
use crate::process::{Place, run_to_end};
use crate::report::{Goal, Row};
use crate::stats::real_size;
use crate::yardstick::items::Items;
use crate::yardstick::writer::Took;

/// The name in the report.
pub(crate) const NAME: &str = "write";
/// Devices that write.
pub(crate) const DEVICES: usize = 16;

/// As much as takes longer than a profile.
pub(crate) fn profiled_size(context: &Context) -> Size {
    Size { devices: DEVICES, preloaded: context.preloaded, batches: 6 * context.batches }
}

/// What the rounds on one medium gave.
#[derive(Debug, Default)]
struct Rounds {
    hub: Vec<Took>,
    bare: Vec<Took>,
    items: Vec<Items>,
}

/// Measures in memory and on disk.
pub(crate) fn run(context: &Context) -> Result<Vec<Row>> {
    context.scheduling.take_place(Place::Everywhere);
    let mut rows = Vec::new();
    for (medium, folder) in [("memory", &context.memory), ("disk", &context.disk)] {
        rows.extend(on(context, medium, folder)?);
        rows.extend(one_entry::run(context, medium, folder)?);
    }
    Ok(rows)
}

fn on(context: &Context, medium: &'static str, folder: &Path) -> Result<Vec<Row>> {
    let size = Size { devices: DEVICES, preloaded: context.preloaded, batches: context.batches };
    context.say(&format!("write, {medium}: {} records are written first", size.devices * size.preloaded));
    let seed = session::seed(context, folder, size)?;
    let mut rounds = Rounds::default();
    for round in 1..=context.rounds {
        let (took, group) = session::measure(context, &copy_of(&seed, folder)?, size, |_| Ok(()))?;
        let bare: Took = yardstick(context, "writer", &copy_of(&seed, folder)?, size, group)?;
        let items: Items = yardstick(context, "items", &copy_of(&seed, folder)?, size, group)?;
        context.say(&format!(
            "write, {medium}, round {round}: groups of {group} batches; hub {:.0} entries/s, {:.1} us; bare {:.0} entries/s, {:.1} us",
            per_second(&took), cpu_us(&took), per_second(&bare), cpu_us(&bare),
        ));
        rounds.hub.push(took);
        rounds.bare.push(bare);
        rounds.items.push(items);
    }
    Ok(rows(medium, &rounds))
}

/// A folder with a copy of the store.
fn copy_of(seed: &Folder, parent: &Path) -> Result<Folder> {
    let folder = Folder::new(parent)?;
    std::fs::copy(seed.database(), folder.database())?;
    Ok(folder)
}

/// Runs a yardstick on a store, and gives what it says.
fn yardstick<T: serde::de::DeserializeOwned>(
    context: &Context,
    name: &str,
    folder: &Folder,
    size: Size,
    group: usize,
) -> Result<T> {
    let numbers = [size.devices, size.preloaded, size.batches, group].map(|number| number.to_string());
    let mut arguments =
        vec!["yardstick".to_owned(), name.to_owned(), folder.database().display().to_string()];
    arguments.extend(numbers);
    let text = run_to_end(context.scheduling, &context.own, Place::Everywhere, &arguments)?;
    Ok(serde_json::from_value(serde_json::from_str::<Value>(text.trim())?)?)
}

fn per_second(took: &Took) -> f64 {
    real_size(took.entries) / took.seconds
}

fn cpu_us(took: &Took) -> f64 {
    took.cpu_seconds * 1e6 / real_size(took.entries)
}

fn rows(medium: &str, rounds: &Rounds) -> Vec<Row> {
    let Rounds { hub, bare, items } = rounds;
    let each = |side: &[Took], value: fn(&Took) -> f64| side.iter().map(value).collect::<Vec<_>>();
    let what = |text: &str| format!("{text}, batches of {BATCH}, {DEVICES} devices, {medium}");
    let mut rows = vec![
        Row::alone(NAME, what("entries a second"), "/s", each(hub, per_second))
            .against(each(bare, per_second))
            .goal(Goal::RatioAtLeast(0.6)),
        Row::alone(NAME, what("CPU an entry"), "us", each(hub, cpu_us))
            .against(each(bare, cpu_us))
            .goal(Goal::RatioAtMost(2.0)),
    ];
    let item = |name: &str, value: &dyn Fn(usize) -> f64| {
        let values = (0..items.len()).map(value).collect();
        Row::alone(NAME, format!("  of it {name}, {medium}"), "us", values)
    };
    let driver = |round: usize| items[round].commit - items[round].plan - cpu_us(&bare[round]);
    let rest = |round: usize| {
        let Items { decode, hash, commit, .. } = items[round];
        cpu_us(&hub[round]) - decode - hash - commit
    };
    rows.push(item("statements (the bare loop)", &|round| cpu_us(&bare[round])));
    rows.push(item("driver: bodies, thread, rusqlite's values", &driver));
    rows.push(item("plan", &|round| items[round].plan));
    rows.push(item("decode and checks", &|round| items[round].decode));
    rows.push(item("hash", &|round| items[round].hash));
    rows.push(item("socket, answers, feed (the rest)", &rest));
    rows
}
