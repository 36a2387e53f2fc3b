//! Runs the table: every case, everyone who looks, one way to look at a time.
//!
//! A test makes all records at once, so that what others do lies between the steps of each, and checks
//! each record for each looker alone.

use synchub::config::Settings;
use uuid::Uuid;

use super::copy::Copy;
use super::table::{Act, Case, LOOKERS, Looker, cases};
use super::world::{Hands, Watcher, hub};
use crate::support::Hub;

/// The table with each case's record, on a hub, at the moment when the lookers come in.
pub(super) struct World {
    pub(super) hub: Hub,
    pub(super) hands: Hands,
    pub(super) cases: Vec<(Case, Uuid)>,
}

impl World {
    pub(super) async fn new(change: impl FnOnce(&mut Settings)) -> Self {
        let hub = hub(change).await;
        let hands = Hands::new(&hub).await;
        let cases = cases().into_iter().map(|case| (case, Uuid::now_v7())).collect();
        let mut world = Self { hub, hands, cases };
        play(&world.hub, &mut world.hands, &world.cases, |case| 0..case.before).await;
        world
    }

    async fn happen(&mut self) {
        happen(&self.hub, &mut self.hands, &self.cases).await;
    }

    async fn watchers(&self) -> Vec<Watcher> {
        let mut watchers = Vec::new();
        for looker in LOOKERS {
            watchers.push(Watcher::start(&self.hub, looker, None).await);
        }
        watchers
    }

    /// Everyone looks once and goes away with what they saw.
    async fn kept(&self) -> Vec<(Looker, String, Copy)> {
        let mut kept = Vec::new();
        for watcher in self.watchers().await {
            let looker = watcher.looker;
            self.check_held(&watcher, |case| case.before);
            let (cursor, copy) = watcher.leave().await;
            kept.push((looker, cursor, copy));
        }
        kept
    }

    /// The copy is exactly what may be seen at a version of each record.
    pub(super) fn check_held(&self, watcher: &Watcher, version: impl Fn(&Case) -> usize) {
        for (case, id) in &self.cases {
            let version = version(case);
            let held = watcher.copy.get(case.domain, &id.to_string());
            let sees = case.sees(watcher.looker, version);
            let expected = sees.then(|| (version as u64, case.data(version)));
            assert_eq!(held, expected, "the copy of {:?}, {}", watcher.looker, case.name);
        }
        let seen = |(case, _): &&(Case, Uuid)| case.sees(watcher.looker, version(case));
        let marks = watcher.copy.len() - self.cases.iter().filter(seen).count();
        assert!(marks <= 1, "{:?} holds records that nobody made", watcher.looker);
    }
}

/// Makes steps of all cases in turns: the first of each, then the second of each.
async fn play(
    hub: &Hub,
    hands: &mut Hands,
    cases: &[(Case, Uuid)],
    steps: impl Fn(&Case) -> std::ops::Range<usize>,
) {
    let most = cases.iter().map(|(case, _)| case.steps.len()).max().unwrap();
    for step in 0..most {
        for (case, id) in cases.iter().filter(|(case, _)| steps(case).contains(&step)) {
            hands.act(hub, case, *id, step + 1).await;
        }
    }
}

/// Makes all steps that the lookers are there for.
pub(super) async fn happen(hub: &Hub, hands: &mut Hands, cases: &[(Case, Uuid)]) {
    play(hub, hands, cases, |case| case.before..case.steps.len()).await;
}

/// Which steps after the beginning gave a looker something to see or took it away.
fn touched(case: &Case, looker: Looker) -> bool {
    (case.before..case.steps.len()).any(|step| case.sees(looker, step) || case.sees(looker, step + 1))
}

/// Every step as it is made: the data to who may see it then, `delete` or `remove` without data to who
/// saw it before, nothing to others.
fn check_live(watcher: &Watcher, case: &Case, id: Uuid) {
    let looker = watcher.looker;
    let changes = watcher.changes(case.domain, id);
    for version in case.before + 1..=case.steps.len() {
        let of = |change: &&&serde_json::Value| change["version"] == version;
        let frames: Vec<_> = changes.iter().filter(of).collect();
        let context = format!("{looker:?}, {}, version {version}: {frames:?}", case.name);
        let (saw, sees) = (case.sees(looker, version - 1), case.sees(looker, version));
        if !saw && !sees {
            assert!(frames.is_empty(), "{context}");
            continue;
        }
        assert!(!frames.is_empty(), "{context}");
        for change in frames {
            if sees {
                assert_eq!(change["data"], case.data(version), "{context}");
                assert!(["create", "update"].contains(&change["operation"].as_str().unwrap()), "{context}");
            } else {
                let deleted = case.steps[version - 1].0 == Act::Delete;
                assert_eq!(change["operation"], if deleted { "delete" } else { "remove" }, "{context}");
                assert!(change.get("data").is_none() && change.get("changed").is_none(), "{context}");
            }
        }
    }
    let early = changes.iter().filter(|change| change["version"].as_u64().unwrap() <= case.before as u64);
    assert_eq!(early.count(), 0, "{looker:?}, {}: {changes:?}", case.name);
}

/// A replay: only what stands now, and an end for what was held or glimpsed and is out of view (C5).
fn check_replay(watcher: &Watcher, case: &Case, id: Uuid) {
    let looker = watcher.looker;
    let changes = watcher.changes(case.domain, id);
    let context = format!("{looker:?}, {}: {changes:?}", case.name);
    let last = case.steps.len();
    if last == case.before || !touched(case, looker) {
        assert!(changes.is_empty(), "{context}");
        return;
    }
    if case.sees(looker, last) {
        assert!(!changes.is_empty(), "{context}");
        for change in changes {
            assert_eq!((&change["version"], &change["data"]), (&last.into(), &case.data(last)), "{context}");
            assert!(["create", "update"].contains(&change["operation"].as_str().unwrap()), "{context}");
        }
        return;
    }
    assert!(!changes.is_empty() || !case.sees(looker, case.before), "{context}");
    for change in changes {
        assert!(change.get("data").is_none() && change.get("changed").is_none(), "{context}");
        let operation = change["operation"].as_str().unwrap();
        let deleted = case.steps[last - 1].0 == Act::Delete;
        let in_own_scope = !case.steps.iter().any(|(act, _)| matches!(act, Act::Unit(_) | Act::Owner(_)));
        if !deleted {
            assert_eq!(operation, "remove", "{context}");
        } else if in_own_scope {
            assert_eq!(operation, "delete", "{context}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn v2_v4_c6_live_everyone_is_sent_exactly_what_they_may_see() {
    let mut world = World::new(|_| {}).await;
    let mut watchers = world.watchers().await;
    for watcher in &mut watchers {
        world.check_held(watcher, |case| case.before);
        watcher.frames.clear();
    }
    world.happen().await;
    let mark = world.hands.mark().await;
    for watcher in &mut watchers {
        watcher.take("data_update", |frame| frame["mobile_id"] == mark.to_string()).await;
        world.check_held(watcher, |case| case.steps.len());
        for (case, id) in &world.cases {
            check_live(watcher, case, *id);
        }
    }
    world.hub.stop().await;
}

async fn replays(change: impl FnOnce(&mut Settings)) -> Hub {
    let mut world = World::new(change).await;
    let kept = world.kept().await;
    world.happen().await;
    for (looker, cursor, copy) in kept {
        let watcher = Watcher::start(&world.hub, looker, Some((cursor, copy))).await;
        assert_eq!(watcher.fresh, serde_json::json!([]), "{looker:?}");
        world.check_held(&watcher, |case| case.steps.len());
        for (case, id) in &world.cases {
            check_replay(&watcher, case, *id);
            assert!(watcher.snapshots(case.domain, *id).is_empty());
        }
    }
    world.hub
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn v2_v4_c5_a_replay_from_memory_ends_with_what_may_be_seen() {
    let hub = replays(|settings| settings.feed.tail_bytes = 8 << 20).await;
    let metrics = &hub.node.deps().metrics;
    assert_eq!(metrics.log_rows_read.get(), 0, "the tail in memory had it all");
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn v2_v4_c5_a_replay_from_the_store_ends_with_what_may_be_seen() {
    let hub = replays(|settings| settings.feed.tail_bytes = 0).await;
    assert!(hub.node.deps().metrics.log_rows_read.get() > 0);
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn v2_v4_c5_a_replay_cut_into_pages_of_three_rows_ends_with_what_may_be_seen() {
    let small = |settings: &mut Settings| {
        settings.feed.tail_bytes = 0;
        settings.catch_up.page_rows = 3;
    };
    replays(small).await.stop().await;
}

async fn snapshots(change: impl FnOnce(&mut Settings)) {
    let mut world = World::new(change).await;
    let kept = world.kept().await;
    world.happen().await;
    for (looker, _, copy) in kept {
        let watcher = Watcher::start_afresh(&world.hub, looker, copy).await;
        assert_eq!(watcher.fresh.as_array().unwrap().len(), 3, "{looker:?}");
        world.check_held(&watcher, |case| case.steps.len());
        for (case, id) in &world.cases {
            let came = watcher.snapshots(case.domain, *id);
            let context = format!("{looker:?}, {}: {came:?}", case.name);
            let sees = case.sees(looker, case.steps.len());
            assert_eq!(came.len(), usize::from(sees), "{context}");
            assert!(watcher.changes(case.domain, *id).is_empty(), "{context}");
        }
    }
    world.hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn v2_c4_a_snapshot_ends_with_what_may_be_seen() {
    snapshots(|_| {}).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn v2_c4_a_snapshot_in_pages_of_three_records_ends_with_what_may_be_seen() {
    snapshots(|settings| settings.catch_up.page_rows = 3).await;
}
