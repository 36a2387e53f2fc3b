//! The table while everyone comes and goes: snapshots, replays and live changes run into each other in
//! whatever order they happen to, and nobody is ever sent what they may not see (C4, C5, C8).

use std::sync::atomic::{AtomicBool, Ordering};

use synchub::config::Settings;
use uuid::Uuid;

use super::copy::Copy;
use super::table::{Case, LOOKERS, Looker};
use super::ways::{World, happen};
use super::world::{Hands, Watcher};
use crate::support::Hub;

/// Every record that came was one that the looker might see, as it was at that version.
fn check_frames(watcher: &Watcher, cases: &[(Case, Uuid)]) {
    let looker = watcher.looker;
    for (case, id) in cases {
        let mut came = watcher.changes(case.domain, *id);
        came.extend(watcher.snapshots(case.domain, *id));
        let ever = (1..=case.steps.len()).any(|version| case.sees(looker, version));
        for frame in came {
            let version = usize::try_from(frame["version"].as_u64().unwrap()).unwrap();
            let context = format!("{looker:?}, {}: {frame}", case.name);
            assert!(ever, "{context}");
            if let Some(data) = frame.get("data") {
                assert!(case.sees(looker, version), "{context}");
                assert_eq!(*data, case.data(version), "{context}");
            }
        }
    }
}

/// Comes again and again until all has happened: mostly with what was kept, now and then without.
async fn come_and_go(hub: &Hub, looker: Looker, cases: &[(Case, Uuid)], done: &AtomicBool) -> (String, Copy) {
    let mut watcher = Watcher::start(hub, looker, None).await;
    for turn in 1.. {
        check_frames(&watcher, cases);
        let kept = watcher.leave().await;
        if done.load(Ordering::SeqCst) {
            return kept;
        }
        watcher = if turn % 3 == 0 {
            Watcher::start_afresh(hub, looker, kept.1).await
        } else {
            Watcher::start(hub, looker, Some(kept)).await
        };
    }
    unreachable!("turns do not end")
}

async fn turmoil(change: impl FnOnce(&mut Settings)) {
    let mut world = World::new(change).await;
    let done = AtomicBool::new(false);
    let World { hub, hands, cases } = &mut world;
    let write = async |hands: &mut Hands| {
        happen(hub, hands, cases).await;
        done.store(true, Ordering::SeqCst);
    };
    let looks = LOOKERS.map(|looker| come_and_go(hub, looker, cases, &done));
    let ((), kept) = futures::future::join(write(hands), futures::future::join_all(looks)).await;
    for (looker, kept) in LOOKERS.into_iter().zip(kept) {
        let watcher = Watcher::start(&world.hub, looker, Some(kept)).await;
        check_frames(&watcher, &world.cases);
        world.check_held(&watcher, |case| case.steps.len());
    }
    world.hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn v2_v4_c5_who_comes_and_goes_meanwhile_ends_with_what_may_be_seen() {
    turmoil(|_| {}).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn v2_v4_c5_who_comes_and_goes_meanwhile_ends_right_in_small_pages_from_the_store() {
    turmoil(|settings| {
        settings.feed.tail_bytes = 0;
        settings.catch_up.page_rows = 4;
    })
    .await;
}
