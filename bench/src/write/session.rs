//! Devices that write batch after batch through the socket, each one waiting for its answer.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};

use super::work::{self, Batch, Size};
use crate::context::Context;
use crate::crowd::{Crowd, Waits};
use crate::frames::{self, Kind};
use crate::hub::{Device, Folder, Hub, await_kind};
use crate::process::Place;
use crate::stats::{real, real_size};
use crate::wire;
use crate::yardstick::writer::Took;

/// How long no answer may come.
const PATIENCE: Duration = Duration::from_secs(30);
/// Entries of a batch of the first records.
const LARGE: usize = 1000;

/// A store with the first records of every device, made by a hub.
pub(crate) fn seed(context: &Context, parent: &Path, size: Size) -> Result<Folder> {
    let folder = Folder::new(parent)?;
    let hub = Hub::start(&context.hub, &folder, (context.scheduling, Place::Everywhere))?;
    let mut connections = hub.connect(&devices(size))?;
    for (device, connection) in connections.iter_mut().enumerate() {
        for (id, batch) in work::preload(device, size, LARGE).iter().enumerate() {
            connection.send(&batch.frame(id as u64 + 2))?;
            await_kind(connection, Kind::SyncResult)?;
        }
    }
    ensure_no_errors(&hub)?;
    drop(connections);
    hub.stop()?;
    Ok(folder)
}

/// Lets every device write its batches, after `on_begin`; what that took, and how many batches a group had on average.
pub(crate) fn measure(
    context: &Context,
    folder: &Folder,
    size: Size,
    on_begin: impl FnOnce(&Hub) -> Result<()>,
) -> Result<(Took, usize)> {
    let hub = Hub::start(&context.hub, folder, (context.scheduling, Place::Everywhere))?;
    let frames: Vec<_> = (0..size.devices).map(|device| framed(&work::measured(device, size))).collect();
    let mut crowd = Crowd::new(hub.connect(&devices(size))?, Waits::Blocking)?;
    let groups = hub.counter("synchub_commit_groups_total")?;
    on_begin(&hub)?;
    let (before, begin) = (hub.server.used()?, Instant::now());
    let mut answered = vec![0; size.devices];
    for (device, frames) in frames.iter().enumerate() {
        crowd.send_framed(device, &frames[0])?;
    }
    let mut left = size.devices * size.batches;
    while left > 0 {
        let mut ready = Vec::new();
        let mut refused = None;
        crowd.turn(PATIENCE, &mut |device, frame| match frames::kind(frame) {
            Kind::SyncResult => ready.push(device),
            Kind::Error => refused = Some(frames::show(frame)),
            _ => {}
        })?;
        if let Some(error) = refused {
            bail!("the hub answered {error}");
        }
        ensure!(!ready.is_empty() || begin.elapsed() < PATIENCE * 4, "answers do not come");
        for device in ready {
            (left, answered[device]) = (left - 1, answered[device] + 1);
            if let Some(frame) = frames[device].get(answered[device]) {
                crowd.send_framed(device, frame)?;
            }
        }
    }
    let (cpu, time) = hub.server.since(before)?;
    ensure_no_errors(&hub)?;
    let groups = hub.counter("synchub_commit_groups_total")? - groups;
    drop(crowd);
    hub.stop()?;
    let batches = size.devices * size.batches;
    let took =
        Took { entries: batches * work::BATCH, seconds: time.as_secs_f64(), cpu_seconds: cpu.as_secs_f64() };
    Ok((took, nearest(real_size(batches) / groups)))
}

/// Every entry was taken: else less was done than counted.
fn ensure_no_errors(hub: &Hub) -> Result<()> {
    const NAME: &str = "synchub_entries_total";
    let is_good = |labels: &str| labels.contains("created") || labels.contains("updated");
    let (all, good) = (hub.counter(NAME)?, hub.counter_where(NAME, is_good)?);
    ensure!((all - good).abs() < 0.5, "of {all} entries only {good} were created or updated");
    Ok(())
}

fn devices(size: Size) -> Vec<Device<'static>> {
    let device =
        |device| Device { install: Some(work::install(device)), ..Device::new(work::user(device), &[]) };
    (0..size.devices).map(device).collect()
}

fn framed(batches: &[Batch]) -> Vec<Vec<u8>> {
    let frame = |(id, batch): (usize, &Batch)| {
        let mut framed = Vec::new();
        wire::put(&mut framed, &batch.frame(id as u64 + 2));
        framed
    };
    batches.iter().enumerate().map(frame).collect()
}

/// The nearest whole number, at least 1.
fn nearest(number: f64) -> usize {
    (1..10_000)
        .min_by(|one: &usize, other| {
            let far = |whole: usize| (real(whole as u64) - number).abs();
            far(*one).total_cmp(&far(*other))
        })
        .unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_has_a_whole_number_of_batches() {
        for (number, whole) in [(0.2, 1), (7.4, 7), (7.6, 8)] {
            assert_eq!(nearest(number), whole);
        }
    }
}
