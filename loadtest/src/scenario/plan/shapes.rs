//! One function for each scenario: who writes what when.

use std::time::Duration;

use super::builder::Builder;
use super::{Kept, Plan};
use crate::chance::Chance;
use crate::scenario::options::{Absences, Kind, Load};
use crate::survey::RecordIndex;

/// How many records of its own a device edits.
const OWN: usize = 4;
/// How many shared records a tenant has, unless the command line says it.
const RECORDS: u32 = 20;
/// The same where devices are to edit the same ones.
const FEW_RECORDS: u32 = 3;

/// The plan of a scenario.
pub(crate) fn plan(kind: Kind, load: &Load, seed: u64) -> Plan {
    let chance = Chance::new(seed);
    let mut builder = Builder::new(load, seed, &chance);
    match kind {
        Kind::Idle => idle(&mut builder),
        Kind::Fanout => fanout(&mut builder),
        Kind::Write => write(&mut builder),
        Kind::Mixed | Kind::PoorNetwork(_) => mixed(&mut builder),
        Kind::Churn(absences) => {
            mixed(&mut builder);
            leave_at_random(&mut builder, absences);
        }
        Kind::ReconnectStorm { storms } => {
            fanout(&mut builder);
            leave_together(&mut builder, storms);
        }
        Kind::SlowReaders { slow, .. } => slow_readers(&mut builder, slow),
        Kind::HighConflict(absences) => {
            high_conflict(&mut builder);
            leave_at_random(&mut builder, absences);
        }
    }
    builder.finish(length(kind, load))
}

fn length(kind: Kind, load: &Load) -> Duration {
    match kind {
        Kind::Idle => quiet(load) + at(load, load.devices),
        _ => at(load, entries(load)),
    }
}

/// The time of the entry of this number at the rate.
fn at(load: &Load, number: u32) -> Duration {
    Duration::from_secs_f64(f64::from(number) / load.rate)
}

/// How many entries flow.
fn entries(load: &Load) -> u32 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "both are above 0; a cast saturates"
    )]
    let by_rate = (load.rate * load.duration).round() as u32;
    load.entries.unwrap_or(by_rate).max(1)
}

fn quiet(load: &Load) -> Duration {
    Duration::from_secs_f64(load.duration)
}

/// The shared records that each tenant has before the load begins.
fn shared(builder: &mut Builder<'_>, unless_said: u32) -> Vec<Vec<RecordIndex>> {
    let mut all = Vec::new();
    for devices in builder.tenants() {
        let writers = devices.iter().cycle().take(builder.load.records.unwrap_or(unless_said) as usize);
        all.push(writers.map(|device| builder.create(*device, Kept::Shared, Duration::ZERO)).collect());
    }
    all
}

/// The records that each device has of its own, so many, before the load begins.
fn own(builder: &mut Builder<'_>, count: usize) -> Vec<Vec<RecordIndex>> {
    let mut all = Vec::new();
    for device in 0..builder.load.devices as usize {
        all.push((0..count).map(|_| builder.create(device, Kept::Own, Duration::ZERO)).collect());
    }
    all
}

fn idle(builder: &mut Builder<'_>) {
    shared(builder, RECORDS);
    let (load, own) = (builder.load, own(builder, 1));
    builder.begin();
    for device in 0..load.devices {
        let due = quiet(load) + at(load, device);
        builder.edit(device as usize, own[device as usize][0], Kept::Own, due);
    }
}

fn fanout(builder: &mut Builder<'_>) {
    let (load, records) = (builder.load, shared(builder, RECORDS));
    builder.begin();
    for number in 0..entries(load) {
        // The first devices are those of the tenants in turn.
        let tenant = (number % load.tenants) as usize;
        let record = builder.any(&records[tenant]);
        builder.edit(tenant, record, Kept::Shared, at(load, number));
    }
}

fn write(builder: &mut Builder<'_>) {
    let (load, own) = (builder.load, own(builder, OWN));
    builder.begin();
    for number in 0..entries(load) {
        let (device, due) = ((number % load.devices) as usize, at(load, number));
        if builder.chance.below(2) == 0 {
            builder.create(device, Kept::Own, due);
        } else {
            let record = builder.any(&own[device]);
            builder.edit(device, record, Kept::Own, due);
        }
    }
}

fn mixed(builder: &mut Builder<'_>) {
    let (load, records, own) = (builder.load, shared(builder, RECORDS), own(builder, OWN));
    builder.begin();
    for number in 0..entries(load) {
        let (device, due) = (builder.any_device(), at(load, number));
        match builder.chance.below(10) {
            0..6 => {
                let record = builder.any(&records[device % load.tenants as usize]);
                builder.edit(device, record, Kept::Shared, due);
            }
            6..8 => drop(builder.create(device, Kept::Shared, due)),
            8 => drop(builder.create(device, Kept::Own, due)),
            _ => {
                let record = builder.any(&own[device]);
                builder.edit(device, record, Kept::Own, due);
            }
        }
    }
}

/// The slow ones are the last devices; the others write.
fn slow_readers(builder: &mut Builder<'_>, slow: f64) {
    let (load, records) = (builder.load, shared(builder, RECORDS));
    builder.begin();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a count")]
    let count = ((f64::from(load.devices) * slow).round() as u32).clamp(1, load.devices - load.tenants);
    let quick = load.devices - count;
    builder.slow.extend(quick as usize..load.devices as usize);
    for number in 0..entries(load) {
        let (device, due) = ((number % quick) as usize, at(load, number));
        if builder.chance.below(4) == 0 {
            builder.create(device, Kept::Shared, due);
        } else {
            let record = builder.any(&records[device % load.tenants as usize]);
            builder.edit(device, record, Kept::Shared, due);
        }
    }
}

fn high_conflict(builder: &mut Builder<'_>) {
    let (load, records) = (builder.load, shared(builder, FEW_RECORDS));
    builder.begin();
    for number in 0..entries(load) {
        let device = builder.any_device();
        let record = builder.any(&records[device % load.tenants as usize]);
        builder.edit(device, record, Kept::Shared, at(load, number));
    }
}

/// Each device is away once in each of as many equal parts of the load, at a place of its own.
fn leave_at_random(builder: &mut Builder<'_>, absences: Absences) {
    let part = at(builder.load, entries(builder.load)) / absences.times;
    let (away, there) = (part.mul_f64(absences.share), part.mul_f64(1.0 - absences.share));
    for device in 0..builder.load.devices as usize {
        for number in 0..absences.times {
            let from = part * number + there.mul_f64(builder.chance.part());
            builder.absent(device, from, from + away);
        }
    }
}

/// All devices but the writing ones are away in the second quarter of each part, and come back at once.
fn leave_together(builder: &mut Builder<'_>, storms: u32) {
    let part = at(builder.load, entries(builder.load)) / storms;
    for device in builder.load.tenants as usize..builder.load.devices as usize {
        for number in 0..storms {
            let from = part * number + part / 4;
            builder.absent(device, from, from + part / 4);
        }
    }
}
