//! Devices that come back at once: what the hub reads of the log and how often it commits for them.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::chance::Chance;
use crate::connection::Connection;
use crate::context::Context;
use crate::crowd::{Crowd, Waits};
use crate::frames::{self, Kind};
use crate::hub::{AT_ONCE, Device, Folder, Hub, await_kind};
use crate::process::Place;
use crate::report::{Goal, Row};
use crate::stats::{real, real_size};

/// The name in the report.
const NAME: &str = "reconnect";
/// Changes that each device has missed.
const MISSED: usize = 20;
/// Bytes of a change's data.
const CHANGE_BYTES: usize = 200;
const PATIENCE: Duration = Duration::from_mins(1);

/// What the devices missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Missed {
    /// All the same changes, of the tenant.
    Shared,
    /// Each those of its own user.
    Own,
}

/// What a storm took.
#[derive(Debug, Clone, Copy)]
struct Storm {
    rows_read: f64,
    rows_sent: f64,
    hello_commits: f64,
    seconds: f64,
}

/// Measures both kinds.
pub(crate) fn run(context: &Context) -> Result<Vec<Row>> {
    context.scheduling.take_place(Place::Everywhere);
    let (mut shared, mut own) = (Vec::new(), Vec::new());
    for round in 1..=context.rounds {
        for (missed, storms) in [(Missed::Shared, &mut shared), (Missed::Own, &mut own)] {
            let storm = storm(context, missed)?;
            let Storm { rows_read, rows_sent, hello_commits, seconds } = storm;
            context.say(&format!(
                "reconnect, round {round}, {missed:?}: {rows_read:.0} rows read, {rows_sent:.0} sent, {hello_commits:.0} commits for hellos, {seconds:.1} s"
            ));
            storms.push(storm);
        }
    }
    let devices = real_size(context.reconnecting);
    let each = |storms: &[Storm], value: &dyn Fn(&Storm) -> f64| storms.iter().map(value).collect::<Vec<_>>();
    let per_commit = |storm: &Storm| devices / storm.hello_commits.max(1.0);
    let read_per_sent = |storm: &Storm| storm.rows_read / storm.rows_sent;
    let what = |text: &str| format!("{text}, {} devices", context.reconnecting);
    Ok(vec![
        Row::alone(
            NAME,
            what("log rows read, 20 shared changes missed"),
            "",
            each(&shared, &|storm| storm.rows_read),
        )
        .goal(Goal::AtMost(1000.0)),
        Row::alone(NAME, what("hellos a commit"), "", each(&shared, &per_commit)).goal(Goal::AtLeast(50.0)),
        Row::alone(NAME, what("until all have caught up"), "s", each(&shared, &|storm| storm.seconds)),
        Row::alone(NAME, what("log rows read through sent, 20 own missed"), "x", each(&own, &read_per_sent))
            .goal(Goal::AtMost(1.1)),
        Row::alone(NAME, what("hellos a commit, 20 own missed"), "", each(&own, &per_commit)),
        Row::alone(
            NAME,
            what("until all have caught up, 20 own missed"),
            "s",
            each(&own, &|storm| storm.seconds),
        ),
    ])
}

fn storm(context: &Context, missed: Missed) -> Result<Storm> {
    let folder = Folder::new(&context.memory)?;
    let hub = Hub::start(&context.hub, &folder, (context.scheduling, Place::Everywhere))?;
    let domain = if missed == Missed::Shared { "note" } else { "diary" };
    let domains = [domain];
    let device = |n| Device::new(format!("user-{n}"), &domains);
    let mut devices: Vec<_> = (0..context.reconnecting).map(device).collect();
    learn_cursors(&hub, &mut devices)?;
    write_missed(&hub, missed, domain, &devices)?;
    let (rows, commits) =
        (hub.counter("synchub_log_rows_read_total")?, hub.counter("synchub_hello_groups_total")?);
    let begin = std::time::Instant::now();
    let rows_sent = come_back(&hub, &devices)?;
    let seconds = begin.elapsed().as_secs_f64();
    let storm = Storm {
        rows_read: hub.counter("synchub_log_rows_read_total")? - rows,
        hello_commits: hub.counter("synchub_hello_groups_total")? - commits,
        rows_sent: real(rows_sent),
        seconds,
    };
    hub.stop()?;
    ensure!(
        rows_sent == (MISSED * devices.len()) as u64,
        "{rows_sent} changes came to {} devices that missed {MISSED} each",
        devices.len()
    );
    Ok(storm)
}

/// Connects each device once, keeps the cursor that it is given, and lets it go.
fn learn_cursors(hub: &Hub, devices: &mut [Device<'_>]) -> Result<()> {
    for some in devices.chunks_mut(AT_ONCE) {
        let mut connections = hub.say_hello(some)?;
        for (connection, device) in connections.iter_mut().zip(some) {
            let caught_up = await_kind(connection, Kind::CaughtUp)?;
            device.cursor = Some(frames::cursor(&caught_up).context("caught_up has no cursor")?);
        }
    }
    Ok(())
}

/// Writes what all of them miss, each user's own by another device of that user.
fn write_missed(hub: &Hub, missed: Missed, domain: &str, devices: &[Device<'_>]) -> Result<()> {
    let mut chance = Chance::new(21);
    let writers: Vec<Device<'_>> = match missed {
        Missed::Shared => vec![Device::new("writer", &[])],
        Missed::Own => {
            let other = |device: &Device<'_>| Device {
                id: format!("{}-tablet", device.user),
                ..Device::new(device.user.clone(), &[])
            };
            devices.iter().map(other).collect()
        }
    };
    for writers in writers.chunks(AT_ONCE) {
        let mut connections = hub.connect(writers)?;
        for connection in &mut connections {
            let entry =
                |n: usize| frames::entry(domain, chance.uuid(), 0, &frames::text_of(CHANGE_BYTES, n as u64));
            let entries: Vec<_> = (0..MISSED).map(entry).collect();
            connection.send(&frames::sync(2, Chance::new(chance.next()).uuid(), None, &entries))?;
        }
        for connection in &mut connections {
            await_kind(connection, Kind::SyncResult)?;
        }
    }
    Ok(())
}

/// All at once: every connection is open before the first hello, and nobody waits for anybody. The changes
/// that came until each had caught up.
fn come_back(hub: &Hub, devices: &[Device<'_>]) -> Result<u64> {
    let connections: Vec<Connection> = hub.say_hello(devices)?;
    let mut crowd = Crowd::new(connections, Waits::Blocking)?;
    let (mut changes, mut left, mut refused) = (0, devices.len(), None);
    let deadline = std::time::Instant::now() + PATIENCE;
    while left > 0 {
        crowd.turn(PATIENCE, &mut |_, frame| match frames::kind(frame) {
            Kind::DataUpdate => changes += 1,
            Kind::CaughtUp => left -= 1,
            Kind::Error => refused = Some(frames::show(frame)),
            _ => {}
        })?;
        ensure!(refused.is_none(), "the hub answered {refused:?}");
        ensure!(std::time::Instant::now() < deadline, "{left} devices have not caught up");
    }
    Ok(changes)
}
