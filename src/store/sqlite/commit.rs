//! The group commit: read what the plan needs, plan, write what comes back, all in one transaction
//! (invariants 1 and 3). It decides nothing; what it checks is that the log goes on where it ended.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use synchub_rules::group::{Loaded, Plan, Writes};
use synchub_rules::record::Head;

use super::fault::Fault;
use super::writer::Writer;
use super::{history, load, write};
use crate::store::{Committed, Group, LogPlace, PlanFn};

pub(super) fn commit(writer: &mut Writer, group: Group) -> Result<Committed, Fault> {
    fail::fail_point!("store::commit", |error| Err(injected(error.as_deref())));
    let Group { tenant, reads, plan } = group;
    let known = Arc::clone(&writer.known);
    let next_record = writer.next_record;
    let transaction = writer.begin()?;
    fail::fail_point!("store::after_begin");
    let loaded = load::load(&transaction, tenant, &reads, next_record)?;
    let before = loaded.head;
    let epoch = history::stored_epoch(&transaction)?;
    // The node says which head it knew: on less, nothing of the group is written (invariant 11).
    if let Some(loss) = history::find_loss(&transaction, &known, tenant, place(epoch, before), None)? {
        let losses = [loss];
        let epoch = history::raise(&transaction, epoch, &losses)?;
        transaction.commit()?;
        known.enter(epoch, &losses);
        return Err(Fault::Stopped("a part of the log was lost"));
    }
    fail::fail_point!("store::after_load");
    let Plan { decisions, writes } = run_plan(plan, Loaded { epoch, ..loaded })?;
    fail::fail_point!("store::after_plan");
    check_log(before, &writes)?;
    write::write(&transaction, tenant, &writes)?;
    fail::fail_point!("store::before_commit");
    if forgets() {
        transaction.rollback()?;
    } else {
        transaction.commit()?;
        known.enter(epoch, &[]);
        known.saw(tenant, writes.head);
    }
    fail::fail_point!("store::after_commit");
    let inserted = writes.records.iter().filter(|write| write.is_new).map(|write| write.record.no + 1);
    writer.next_record = inserted.max().unwrap_or(next_record).max(next_record);
    let Writes { rows, pushes, rows_are_bare, head, .. } = writes;
    Ok(Committed { decisions, rows, pushes, rows_are_bare, epoch, head })
}

fn place(epoch: u64, head: Head) -> LogPlace {
    LogPlace { epoch, head, horizon: 0 }
}

/// Answers without a commit when a test asks for it, to prove that the lie is found (invariant 1).
fn forgets() -> bool {
    fail::fail_point!("store::forget_commit", |_| true);
    false
}

fn run_plan(plan: PlanFn, loaded: Loaded) -> Result<Plan, Fault> {
    catch_unwind(AssertUnwindSafe(|| plan(loaded)))
        .map_err(|panic| Fault::panicked("the plan of the group", &*panic))
}

/// Places and times rise strictly from the head on, and the new head is the last row (T1).
fn check_log(before: Head, writes: &Writes) -> Result<(), Fault> {
    let rows = writes.rows.iter().map(|row| Head { seq: row.seq, time_us: row.time_us });
    let pushes = writes.pushes.iter().map(|row| Head { seq: row.seq, time_us: row.time_us });
    let mut places: Vec<_> = rows.chain(pushes).collect();
    // Each of the two has to be in order by itself: stable, so that what is not stays so.
    if !writes.pushes.is_empty() {
        places.sort_by_key(|place| place.seq);
    }
    let mut last = before;
    for place in places {
        if place.seq <= last.seq || place.time_us <= last.time_us {
            return Err(Fault::Mismatch(format!("log row {} does not follow row {}", place.seq, last.seq)));
        }
        last = place;
    }
    if writes.head == last {
        return Ok(());
    }
    Err(Fault::Mismatch(format!("the log ends at {}, not at {}", last.seq, writes.head.seq)))
}

#[cfg(feature = "fail-points")]
fn injected(error: Option<&str>) -> Fault {
    match error {
        Some("unavailable") => Fault::Stopped("a fail point says so"),
        _ => Fault::Mismatch("a fail point says so".to_owned()),
    }
}
