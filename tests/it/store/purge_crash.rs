//! Crashes in the middle of a purge: a child process purges step by step and dies at a named point; then
//! the horizon must say exactly which rows are gone, and no tombstone may be gone without the floor.

use std::sync::atomic::{AtomicU32, Ordering};

use synchub::store::{PurgeQuery, Purgeable};
use synchub_rules::record::Scope;

use super::contract::{Backend as _, Edit, NOON, World};
use super::crash::{POINT, start};
use super::sqlite::Sqlite;

const POINTS: [&str; 5] = [
    "purge::after_begin",
    "purge::after_log",
    "purge::after_tombstones",
    "purge::before_commit",
    "purge::after_commit",
];
/// Each record is created and then deleted.
const RECORDS: u64 = 20;
const STEP: u32 = 7;

async fn purge(world: &World) -> bool {
    let what = Purgeable::Log(world.me.tenant);
    world.store.purge(PurgeQuery { what, before_us: NOON + 1_000_000, limit: STEP }).await.unwrap().more
}

#[tokio::test]
async fn d3_a_crash_between_two_steps_of_a_purge_leaves_horizon_and_rows_in_step() {
    for point in POINTS {
        // In the third step log rows go, in the sixth the last of them and the first tombstones.
        for hit in [3, 6] {
            let sqlite = Sqlite::new();
            let world = World::new(&sqlite).await;
            for n in 0..RECORDS {
                world.edit(vec![Edit::create(n.into(), Scope::Tenant)]).await;
            }
            for n in 0..RECORDS {
                world.edit(vec![Edit::delete(n.into(), Scope::Tenant)]).await;
            }
            world.store.close().await;
            drop(world);
            let mut child =
                start("store::purge_crash::child_that_purges", &sqlite, &format!("{point} {hit}"));
            assert!(!child.wait().unwrap().success(), "{point} was not reached {hit} times");
            let (horizon, dead) = check(&sqlite).await;
            assert!(
                horizon < 2 * RECORDS || dead > 0 || hit == 8,
                "at {point} {hit}: nothing was left to do"
            );

            let world = World::new(&sqlite).await;
            while purge(&world).await {}
            world.store.close().await;
            assert_eq!(check(&sqlite).await, (2 * RECORDS, 0), "at {point} {hit}");
        }
    }
}

/// Opens the store, so that it recovers; the horizon and the tombstones that are left.
async fn check(sqlite: &Sqlite) -> (u64, u64) {
    sqlite.open().await.close().await;
    let database = rusqlite::Connection::open(sqlite.path()).unwrap();
    let integrity: String = database.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(integrity, "ok");
    let one = |sql: &str| database.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap().unsigned_abs();
    let (horizon, dead) = (one("SELECT horizon FROM tenant"), one("SELECT count(*) FROM record"));
    assert_eq!(one("SELECT ifnull(min(seq), 41) FROM log"), horizon + 1, "rows and horizon");
    assert_eq!(one("SELECT count(*) FROM log"), 2 * RECORDS - horizon, "rows above it");
    let horizon_us = if horizon == 0 { 0 } else { NOON.unsigned_abs() + horizon };
    assert_eq!(one("SELECT horizon_us FROM tenant"), horizon_us);
    let floor = if dead < RECORDS { 2 } else { 0 };
    assert_eq!(one("SELECT version_floor FROM tenant"), floor, "tombstones and floor");
    assert!(dead == RECORDS || horizon == 2 * RECORDS, "tombstones go after their rows");
    (horizon, dead)
}

#[tokio::test]
#[ignore = "run by the test above, which it kills itself for"]
async fn child_that_purges() {
    let Some(sqlite) = Sqlite::of_the_parent() else { return };
    let world = World::new(&sqlite).await;
    let point = std::env::var(POINT).unwrap();
    let (point, hit) = point.split_once(' ').unwrap();
    let (hits, hit) = (AtomicU32::new(0), hit.parse::<u32>().unwrap());
    let abort = move || {
        if hits.fetch_add(1, Ordering::Relaxed) + 1 == hit {
            std::process::abort();
        }
    };
    fail::cfg_callback(point, abort).unwrap();
    while purge(&world).await {}
}
