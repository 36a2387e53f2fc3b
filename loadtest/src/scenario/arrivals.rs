//! When changes reach the devices, against the time at which their entries were due.
//!
//! A change is known by the number that it carries, so nothing is shared between the one who wrote it and
//! those who receive it. What a device missed while it was away counts as its coming back, not as an arrival.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use synchub_protocol::Data;
use tokio::time::Instant;
use uuid::Uuid;

use super::plan::{Plan, line_of};
use super::recorders::Recorders;
use crate::survey::{DeviceIndex, LineNo};

/// A device that is not there.
const AWAY: u64 = u64::MAX;

/// What arrived, at all devices.
#[derive(Debug)]
pub(crate) struct Arrivals {
    plan: Arc<Plan>,
    start: OnceLock<Instant>,
    recorders: Recorders,
    /// Since when each device has been live, in microseconds from the start.
    there_since: Vec<AtomicU64>,
}

/// What arrived at one device.
#[derive(Debug)]
pub(crate) struct Arrival {
    all: Arc<Arrivals>,
    device: DeviceIndex,
    /// The entry that each record carried last.
    carried: HashMap<Uuid, LineNo>,
}

impl Arrivals {
    /// Nothing has arrived and no time runs.
    pub(crate) fn new(plan: &Arc<Plan>) -> Self {
        let devices = plan.survey.devices.len();
        Self {
            plan: Arc::clone(plan),
            start: OnceLock::new(),
            recorders: Recorders::new(devices),
            there_since: (0..devices).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// What arrives at a device.
    pub(crate) fn at(self: &Arc<Self>, device: DeviceIndex) -> Arrival {
        Arrival { all: Arc::clone(self), device, carried: HashMap::new() }
    }

    /// The load begins now.
    pub(crate) fn begin(&self) {
        self.start.get_or_init(Instant::now);
    }

    /// Whether it has.
    pub(crate) fn has_begun(&self) -> bool {
        self.start.get().is_some()
    }

    /// The instant of a time of the plan; now, before the load has begun.
    pub(crate) fn instant(&self, at: Duration) -> Instant {
        self.start.get().map_or_else(Instant::now, |start| *start + at)
    }

    /// Notes that a device goes.
    pub(crate) fn left(&self, device: DeviceIndex) {
        self.there_since[device].store(AWAY, Ordering::Relaxed);
    }

    /// Notes that a device is back with everything.
    pub(crate) fn is_back(&self, device: DeviceIndex) {
        let since = self.start.get().map_or(Duration::ZERO, Instant::elapsed);
        self.there_since[device].store(micros(since), Ordering::Relaxed);
    }

    /// Whether a device has been there from this time of the plan on.
    pub(crate) fn was_there(&self, device: DeviceIndex, since: Duration) -> bool {
        self.there_since[device].load(Ordering::Relaxed) <= micros(since)
    }

    /// What was counted at these devices.
    pub(crate) fn recorders(&self) -> &Recorders {
        &self.recorders
    }
}

impl Arrival {
    /// The device's copy has this of a record now.
    pub(crate) fn saw(&mut self, id: Uuid, data: &Data) {
        let Some(number) = line_of(data) else { return };
        if self.carried.insert(id, number) == Some(number) {
            return;
        }
        let (all, plan) = (&self.all, &self.all.plan);
        let (Some(line), Some(start)) = (plan.lines.get(number), all.start.get()) else { return };
        let is_others = plan.survey.steps[number].device != self.device;
        let was_there = all.was_there(self.device, line.due);
        if number >= plan.before && is_others && !line.offline && was_there {
            all.recorders.add(self.device, (*start + line.due).elapsed());
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(AWAY)
}

#[cfg(test)]
mod tests {
    use super::super::options::Kind;
    use super::super::plan::body;
    use super::super::plan::tests::{load, planned};
    use super::*;

    /// How often each of these entries, arriving at device 1, is timed. Device 0 writes all.
    fn timed(numbers: &[LineNo], prepare: impl Fn(&Arrivals)) -> u64 {
        let plan = Arc::new(planned(Kind::Fanout, &load()));
        let arrivals = Arc::new(Arrivals::new(&plan));
        prepare(&arrivals);
        for device in [0, 1] {
            let mut arrival = arrivals.at(device);
            for number in numbers {
                let id = plan.survey.records[plan.survey.steps[*number].record].id;
                arrival.saw(id, &body(*number, &plan.lines[*number], 10));
            }
        }
        arrivals.recorders().percentiles(|_| true).map_or(0, |all| all.count)
    }

    #[test]
    fn a_change_is_timed_once_at_each_other_device_that_was_there() {
        let before = planned(Kind::Fanout, &load()).before;
        assert_eq!(timed(&[before, before], Arrivals::begin), 1);
        assert_eq!(timed(&[before, before + 1], Arrivals::begin), 2);
        assert_eq!(timed(&[0, 1], Arrivals::begin), 0, "they are no part of the load");
        assert_eq!(timed(&[before], |_| {}), 0, "the load has not begun");
        let gone = |arrivals: &Arrivals| {
            arrivals.begin();
            arrivals.left(1);
        };
        assert_eq!(timed(&[before], gone), 0, "the device was away");
    }
}
