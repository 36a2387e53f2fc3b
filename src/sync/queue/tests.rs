//! Batches in a queue, told from each other by the memory that they say they take.

use std::sync::Arc;

use serde_json::Value;
use synchub_protocol::ErrorCode;
use synchub_protocol::entry::{EntryFault, FaultKind};
use synchub_protocol::server::Origin;
use synchub_rules::group::{Author, SubmittedEntry};
use synchub_rules::record::Sight;
use uuid::Uuid;

use super::*;

const MOST: Most = Most { batches: 4, entries: 300 };
const LARGE: usize = SMALL_ENTRIES + 1;

fn sender() -> Sender {
    Sender { answer: oneshot::channel().0, trace: None }
}

/// A batch of a device that is told from others by its heap.
fn batch(device: DeviceNo, entries: usize, mark: usize) -> Submission {
    let author = Author {
        device,
        generation: None,
        install: device,
        user: 1,
        unit: None,
        sight: Sight::Everything,
        priority: 0,
        clock_offset_us: 0,
        trusted: false,
        origin: Arc::new(Origin { user: String::new(), device: None }),
    };
    Submission {
        author,
        batch_id: Uuid::nil(),
        hash: [0; 32],
        first_number: None,
        atomic: false,
        entries: vec![fault(); entries],
        pushes: Vec::new(),
        heap: mark,
        received_us: 0,
    }
}

fn fault() -> SubmittedEntry {
    let fault = EntryFault {
        kind: FaultKind::Invalid,
        message: String::new(),
        field: None,
        domain: None,
        mobile_id: None,
        partial: Value::Null,
    };
    SubmittedEntry::Fault { fault, code: ErrorCode::ValidationFailed, domain: None }
}

fn queue(batches: impl IntoIterator<Item = (TenantNo, Submission)>) -> Queue {
    let queue = Queue { state: Mutex::default(), wake: Notify::new(), most: MOST };
    for (tenant, batch) in batches {
        queue.push(tenant, batch, sender());
    }
    queue
}

/// The next group, by its marks.
fn next(queue: &Queue) -> (TenantNo, Vec<usize>) {
    let (tenant, group) = queue.state.lock().take(MOST).unwrap();
    (tenant, group.iter().map(|(batch, _)| batch.heap).collect())
}

fn is_empty(queue: &Queue) -> bool {
    let state = queue.state.lock();
    state.entries == 0 && state.waiting.is_empty() && state.turns.is_empty()
}

#[test]
fn inv5_what_waits_is_bounded_in_bytes_and_large_batches_leave_room_for_small_ones() {
    let state = |bytes| State { bytes, ..State::default() };
    let large_most = WAITING_BYTES - KEPT_FOR_SMALL;
    assert!(state(0).has_room(1, 10 * WAITING_BYTES), "a batch that is alone passes");
    assert!(state(1).has_room(1, large_most - 1) && !state(2).has_room(1, large_most - 1));
    assert!(state(WAITING_BYTES - SMALL_BYTES).has_room(1, SMALL_BYTES));
    assert!(!state(WAITING_BYTES - SMALL_BYTES + 1).has_room(1, SMALL_BYTES));
    assert!(!state(0).has_room(WAITING_ENTRIES + 1, 0));
}

#[test]
fn tenants_take_turns() {
    let queue = queue([(1, batch(1, LARGE, 1)), (1, batch(2, LARGE, 2)), (2, batch(3, 1, 3))]);
    assert_eq!(next(&queue), (1, vec![1]));
    assert_eq!(next(&queue), (2, vec![3]));
    assert_eq!(next(&queue), (1, vec![2]));
    assert!(is_empty(&queue));
}

#[test]
fn small_batches_go_first_and_each_large_one_alone() {
    let queue = queue([
        (1, batch(1, LARGE, 1)),
        (1, batch(2, LARGE, 2)),
        (1, batch(3, SMALL_ENTRIES, 3)),
        (1, batch(4, 1, 4)),
    ]);
    let groups: Vec<_> = (0..3).map(|_| next(&queue).1).collect();
    assert_eq!(groups, [vec![3, 4], vec![1], vec![2]]);
    assert!(is_empty(&queue));
}

#[test]
fn o2_the_batches_of_one_device_keep_their_order() {
    let queue = queue([(1, batch(1, LARGE, 1)), (1, batch(1, 1, 2)), (1, batch(2, 1, 3))]);
    let groups: Vec<_> = (0..3).map(|_| next(&queue).1).collect();
    assert_eq!(groups, [vec![3], vec![1], vec![2]]);
}

#[test]
fn a_group_holds_so_many_batches_and_entries() {
    let small = |mark| (1, batch(1, 100, mark));
    let queue = queue((1..=5).map(small));
    assert_eq!(next(&queue).1, [1, 2, 3], "no more entries");
    for mark in 6..=9 {
        queue.push(1, batch(1, 1, mark), sender());
    }
    assert_eq!(next(&queue).1, [4, 5, 6, 7], "no more batches");
    assert_eq!(next(&queue).1, [8, 9]);
    assert!(is_empty(&queue));
}

#[test]
fn a_large_batch_is_overtaken_so_often_and_no_more() {
    let queue = queue([(1, batch(1, LARGE, 1))]);
    for group in 0..=OVERTAKEN_MOST {
        queue.push(1, batch(2, 1, 2), sender());
        let expected = if group < OVERTAKEN_MOST { 2 } else { 1 };
        assert_eq!(next(&queue).1, [expected]);
    }
    assert_eq!(next(&queue).1, [2]);
    assert!(is_empty(&queue));
}
