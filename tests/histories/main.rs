//! Random histories: devices that edit, lose their sockets, come back and are put back, against a real hub
//! that crashes; a plain, slow model of docs/semantics.md says what must come of it.
//!
//! `SYNCHUB_HISTORIES=1000` runs that many, `SYNCHUB_HISTORY_SEED=n` that one alone, with its diary.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod chance;
mod conflicts;
mod deliveries;
mod device;
mod disaster;
mod edits;
mod ending;
mod hello;
mod host;
mod ledger;
mod model;
mod numbers;
mod post;
mod pushing;
mod raising;
mod reading;
mod receiving;
mod steps;
#[expect(dead_code, unused_imports, reason = "the histories need a part of what the other tests do")]
#[path = "../it/support/mod.rs"]
mod support;
mod trouble;
mod world;

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;

use futures::FutureExt;
use world::World;

/// How many histories run unless `SYNCHUB_HISTORIES` says otherwise.
const HISTORIES: u64 = 100;
/// How many steps a history has.
const STEPS: usize = 60;

/// How often each thing happened.
type Tally = BTreeMap<String, u64>;

fn add(tally: &mut Tally, more: &Tally) {
    for (what, count) in more {
        *tally.entry(what.clone()).or_default() += count;
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

/// One history from beginning to end; what went wrong ends it with the diary.
async fn play(seed: u64) -> Tally {
    let mut world = World::start(seed).await;
    let mut step = 0;
    let history = AssertUnwindSafe(async {
        while step < STEPS {
            step += 1;
            world.step().await;
        }
        world.finish().await;
    });
    if let Err(panic) = history.catch_unwind().await {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        panic!(
            "{}\n\nhistory {seed} breaks at step {step} of {STEPS}; SYNCHUB_HISTORY_SEED={seed} replays it\n{}",
            world.diary.join("\n"),
            text.unwrap_or_default()
        );
    }
    world.note("-- over".to_owned());
    let mut tally = Tally::new();
    for ledger in &world.ledgers {
        add(&mut tally, &ledger.tally);
    }
    world.tell_hub(&mut tally);
    world.host.end();
    tally
}

#[tokio::test]
async fn random_histories_end_as_the_model_says() {
    if let Some(seed) = number("SYNCHUB_HISTORY_SEED") {
        play(seed).await;
        return;
    }
    let mut tally = Tally::new();
    let first = number("SYNCHUB_HISTORIES_FROM").unwrap_or(0);
    for seed in first..first + number("SYNCHUB_HISTORIES").unwrap_or(HISTORIES) {
        add(&mut tally, &play(seed).await);
    }
    for (what, count) in &tally {
        eprintln!("{count:>8} {what}");
    }
}
