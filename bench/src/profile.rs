//! Load for a profiler: the hub as in a benchmark, with `perf` watching it. What perf wrote becomes a flamegraph
//! in `scripts/profile`.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::context::Context;
use crate::fanout::stage::{Side, Stage};
use crate::process::Place;
use crate::write::{profiled_size, session};

/// How long perf looks.
const SECONDS: u64 = 8;
/// Samples a second: no round number, so that nothing regular is met again and again.
const FREQUENCY: &str = "997";

/// Loads the hub with one change on its way to all subscribers.
pub(crate) fn fanout(context: &Context, output: &Path) -> Result<()> {
    context.scheduling.take_place(Place::Apart);
    let mut stage = Stage::new(context, context.subscribers, Side::Hub)?;
    stage.closed_loop(1, Duration::ZERO, context.warm_up)?;
    let perf = perf(stage.server().id(), output)?;
    stage.closed_loop(1, Duration::ZERO, Duration::from_secs(SECONDS + 1))?;
    finish(perf)?;
    stage.stop()
}

/// Lets devices write batches of 100.
pub(crate) fn write(context: &Context, output: &Path) -> Result<()> {
    context.scheduling.take_place(Place::Everywhere);
    let size = profiled_size(context);
    let folder = session::seed(context, &context.memory, size)?;
    let mut started = None;
    session::measure(context, &folder, size, |hub| {
        started = Some(perf(hub.server.id(), output)?);
        Ok(())
    })?;
    finish(started.context("perf was not started")?)
}

fn perf(process: u32, output: &Path) -> Result<Child> {
    let mut command = Command::new("perf");
    command.args(["record", "--quiet", "--call-graph", "fp", "-F", FREQUENCY, "-p", &process.to_string()]);
    command.arg("-o").arg(output).args(["--", "sleep", &SECONDS.to_string()]);
    command.stdin(Stdio::null()).spawn().context("perf cannot be started")
}

fn finish(mut perf: Child) -> Result<()> {
    let status = perf.wait()?;
    ensure!(status.success(), "perf ended with {status}");
    Ok(())
}
