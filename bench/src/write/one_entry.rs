//! Group commit: sixteen devices that write one entry at a time against one that does.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::{DEVICES, NAME};
use crate::chance::Chance;
use crate::context::Context;
use crate::crowd::{Crowd, Waits};
use crate::frames::{self, Kind};
use crate::hub::{Device, Folder, Hub};
use crate::process::Place;
use crate::report::{Goal, Row};
use crate::stats::{Spread, ratios, real};

/// Bytes of an entry's data.
const BODY_BYTES: usize = 300;
const PATIENCE: Duration = Duration::from_secs(10);

/// Measures on one medium.
pub(super) fn run(context: &Context, medium: &str, folder: &Path) -> Result<Vec<Row>> {
    let (mut one, mut many) = (Vec::new(), Vec::new());
    for _ in 0..context.rounds {
        one.push(entries_per_second(context, folder, 1)?);
        many.push(entries_per_second(context, folder, DEVICES)?);
    }
    let gain = ratios(&many, &one);
    let median = |values: &[f64]| Spread::of(values).map_or(0.0, |spread| spread.median);
    context.say(&format!(
        "write, {medium}: one-entry writers: {:.0}/s alone, {:.0}/s of {DEVICES}",
        median(&one),
        median(&many)
    ));
    let what = |writers| format!("entries a second, batches of 1, {writers} devices, {medium}");
    Ok(vec![
        Row::alone(NAME, what(1), "/s", one),
        Row::alone(NAME, what(DEVICES), "/s", many),
        Row::alone(NAME, format!("{DEVICES} one-entry devices through one, {medium}"), "x", gain)
            .goal(Goal::AtLeast(3.0)),
    ])
}

fn entries_per_second(context: &Context, parent: &Path, writers: usize) -> Result<f64> {
    let folder = Folder::new(parent)?;
    let hub = Hub::start(&context.hub, &folder, (context.scheduling, Place::Everywhere))?;
    let devices: Vec<_> = (0..writers).map(|n| Device::new(format!("writer-{n}"), &[])).collect();
    let mut crowd = Crowd::new(hub.connect(&devices)?, Waits::Blocking)?;
    let mut chance = Chance::new(5);
    let mut sent = 0;
    let mut batch = || {
        sent += 1;
        let entry = frames::entry("note", chance.uuid(), 0, &frames::text_of(BODY_BYTES, sent));
        frames::sync(sent + 1, chance.uuid(), None, &[entry])
    };
    for writer in 0..writers {
        crowd.send(writer, &batch())?;
    }
    let begin = Instant::now();
    let (from, end) = (begin + context.warm_up, begin + context.warm_up + context.window);
    let mut counted = 0;
    loop {
        let now = Instant::now();
        if now > end {
            break;
        }
        let (mut ready, mut refused) = (Vec::new(), None);
        crowd.turn(PATIENCE, &mut |writer, frame| match frames::kind(frame) {
            Kind::SyncResult => ready.push(writer),
            Kind::Error => refused = Some(frames::show(frame)),
            _ => {}
        })?;
        if let Some(error) = refused {
            bail!("the hub answered {error}");
        }
        for writer in ready {
            counted += u64::from(now >= from);
            crowd.send(writer, &batch())?;
        }
    }
    drop(crowd);
    hub.stop()?;
    Ok(real(counted) / context.window.as_secs_f64())
}
