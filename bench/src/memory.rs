//! Memory of an idle device: subscribed, authenticated, everything counted, at 10,000 sockets; and again after
//! each has sent a batch of 20 kB.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::chance::Chance;
use crate::connection::Connection;
use crate::context::Context;
use crate::crowd::{Crowd, Waits};
use crate::fanout::stage::connect_bare;
use crate::frames::{self, Kind};
use crate::hub::{AT_ONCE, Device, Folder, Hub};
use crate::process::{Place, Server};
use crate::report::{Goal, Row};
use crate::stats::{real, real_size};

/// The name in the report.
const NAME: &str = "memory";
/// Sockets before it is counted: what the server needs for itself is there then.
const BASE: usize = 200;
/// Entries of the batch, and bytes of the data of each: 20 kB in all.
const ENTRIES: usize = 50;
const ENTRY_BYTES: usize = 240;
/// How much more than when idle is good enough, so that nobody waits for more.
const AFTER_BATCH: f64 = 1.4;
const PATIENCE: Duration = Duration::from_mins(1);

/// Kilobytes a socket.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    idle: f64,
    after: f64,
    /// When the second was reached, in seconds.
    settled: f64,
}

/// Measures the hub and the bare broadcaster, once a round.
pub(crate) fn run(context: &Context) -> Result<Vec<Row>> {
    context.scheduling.take_place(Place::Everywhere);
    let (mut hub, mut bare) = (Vec::new(), Vec::new());
    // Memory varies less between rounds than anything else, and each takes minutes.
    for round in 1..=context.rounds.min(2) {
        hub.push(of_hub(context)?);
        bare.push(of_bare(context)?);
        for (name, sizes) in [("hub", hub[round - 1]), ("bare", bare[round - 1])] {
            let Sizes { idle, after, settled } = sizes;
            context.say(&format!(
                "memory, round {round}, {name}: {idle:.2} kB idle, {after:.2} kB {settled:.0} s after a batch"
            ));
        }
    }
    let each = |side: &[Sizes], value: fn(&Sizes) -> f64| side.iter().map(value).collect::<Vec<_>>();
    let at = format!("at {} sockets", context.many_subscribers);
    let grown: fn(&Sizes) -> f64 = |sizes| sizes.after / sizes.idle;
    Ok(vec![
        Row::alone(NAME, format!("idle device, {at}"), "kB", each(&hub, |sizes| sizes.idle))
            .against(each(&bare, |sizes| sizes.idle))
            .goal(Goal::AtMost(10.0)),
        Row::alone(NAME, format!("after a batch of 20 kB, {at}"), "kB", each(&hub, |sizes| sizes.after))
            .against(each(&bare, |sizes| sizes.after)),
        Row::alone(NAME, "the same through idle, within 60 s", "x", each(&hub, grown))
            .against(each(&bare, grown))
            .goal(Goal::AtMost(AFTER_BATCH)),
    ])
}

fn of_hub(context: &Context) -> Result<Sizes> {
    let folder = Folder::new(&context.memory)?;
    let hub = Hub::start(&context.hub, &folder, (context.scheduling, Place::Everywhere))?;
    let domains = ["note", "diary"];
    let device = |n| Device::new(format!("owner-{n}"), &domains);
    let devices: Vec<_> = (0..BASE + context.many_subscribers).map(device).collect();
    let mut chance = Chance::new(11);
    let batch = move || {
        let entry =
            |n: usize| frames::entry("diary", chance.uuid(), 0, &frames::text_of(ENTRY_BYTES, n as u64));
        let entries: Vec<_> = (0..ENTRIES).map(entry).collect();
        frames::sync(2, Chance::new(chance.next()).uuid(), None, &entries)
    };
    let connect = |from: usize, to: usize| hub.connect(&devices[from..to]);
    let sizes = measure(context, (&hub.server, true), connect, batch)?;
    hub.stop()?;
    Ok(sizes)
}

fn of_bare(context: &Context) -> Result<Sizes> {
    let folder = Folder::new(&context.memory)?;
    let server = Server::start(context.scheduling, &context.own, Place::Everywhere, |command, address| {
        command.args(["yardstick", "broadcaster"]).arg(address.to_string()).arg(folder.database());
    })?;
    let connect = |from: usize, to: usize| connect_bare(server.address(), "/subscribe", to - from);
    let sizes = measure(context, (&server, false), connect, || vec![7; 20_000])?;
    server.stop()?;
    Ok(sizes)
}

/// Connects, lets each send a message, and looks at the server's memory; the hub answers messages.
fn measure(
    context: &Context,
    (server, answers): (&Server, bool),
    connect: impl Fn(usize, usize) -> Result<Vec<Connection>>,
    mut message: impl FnMut() -> Vec<u8>,
) -> Result<Sizes> {
    let (sockets, base_sockets) = (context.many_subscribers, BASE.min(context.many_subscribers));
    let mut connections = connect(0, base_sockets)?;
    std::thread::sleep(context.rest);
    let base = server.resident_bytes()?;
    connections.append(&mut connect(base_sockets, base_sockets + sockets)?);
    std::thread::sleep(context.rest);
    let each = |bytes: u64| real(bytes.saturating_sub(base)) / 1000.0 / real_size(sockets);
    let idle = each(server.resident_bytes()?);
    let mut crowd = Crowd::new(connections, Waits::Blocking)?;
    for first in (0..base_sockets + sockets).step_by(AT_ONCE) {
        let last = (first + AT_ONCE).min(base_sockets + sockets);
        for member in first..last {
            crowd.send(member, &message())?;
        }
        if answers {
            await_answers(&mut crowd, last - first)?;
        }
    }
    let begin = Instant::now();
    loop {
        // What comes has to be read: a server keeps what nobody takes.
        crowd.turn(Duration::from_millis(500), &mut |_, _| {})?;
        let after = each(server.resident_bytes()?);
        if after <= AFTER_BATCH * idle || begin.elapsed() > context.settles {
            return Ok(Sizes { idle, after, settled: begin.elapsed().as_secs_f64() });
        }
    }
}

fn await_answers(crowd: &mut Crowd, count: usize) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let (mut answered, mut refused) = (0, None);
    while answered < count {
        crowd.turn(PATIENCE, &mut |_, frame| match frames::kind(frame) {
            Kind::SyncResult => answered += 1,
            Kind::Error => refused = Some(frames::show(frame)),
            _ => {}
        })?;
        ensure!(refused.is_none(), "the hub answered {refused:?}");
        ensure!(Instant::now() < deadline, "{answered} of {count} batches were answered");
    }
    Ok(())
}
