//! What makes a batch and a number count once: batches, marks, refused numbers, the inbox.

use serde_json::json;
use synchub::store::CommitError;
use synchub_protocol::ErrorCode;
use synchub_protocol::server::{ConflictInfo, EntryError, Resolution, Status, Strategy};
use synchub_rules::group::{
    BatchRow, Loaded, Reads, RefusedNumber, Review, ReviewKind, StoredBatch, StoredOutcome, StoredReview,
    Writes,
};
use uuid::Uuid;

use super::world::{Backend, NOON, World, data, key};

fn error() -> EntryError {
    let message = "there is no step from open to archived".to_owned();
    EntryError { code: ErrorCode::InvalidTransition, message, field: Some("status".to_owned()) }
}

fn batch(world: &World, id: u128) -> BatchRow {
    let conflict = ConflictInfo {
        conflict_id: key(99),
        strategy: Strategy::PreserveEscalation,
        resolution: Resolution::ManualRequired,
    };
    let plain = StoredOutcome {
        status: Status::Created,
        version: Some(1),
        deleted: false,
        conflict: None,
        error: None,
    };
    let outcomes = vec![
        plain.clone(),
        StoredOutcome {
            status: Status::Conflict,
            version: Some(1 << 40),
            deleted: true,
            conflict: Some(conflict),
            ..plain.clone()
        },
        StoredOutcome { status: Status::Error, version: None, error: Some(error()), ..plain },
    ];
    let stored = StoredBatch { hash: [3; 32], outcomes };
    BatchRow { device: world.me.device, batch_id: Uuid::from_u128(id), stored, at_us: NOON }
}

async fn write(world: &World, writes: Writes) -> Result<(), CommitError> {
    let plan = move |loaded: Loaded| Writes { head: loaded.head, ..writes };
    world.commit(Reads::default(), plan).await.map(|_| ())
}

pub(crate) async fn o1_a_batch_is_found_again_with_its_answer(backend: &dyn Backend) {
    let world = World::new(backend).await;
    let rows = vec![batch(&world, 1), batch(&world, 2)];
    write(&world, Writes { batches: rows.clone(), ..Writes::default() }).await.unwrap();
    let device = world.me.device;
    let ids = [(device, 2), (device, 3), (device + 1, 2)].map(|(device, id)| (device, Uuid::from_u128(id)));
    let loaded = world.load(Reads { batches: ids.to_vec(), ..Reads::default() }).await;
    assert_eq!(loaded.batches.len(), 1);
    assert_eq!(loaded.batches[&ids[0]], rows[1].stored);
}

pub(crate) async fn o1_the_same_batch_twice_is_refused(backend: &dyn Backend) {
    let world = World::new(backend).await;
    write(&world, Writes { batches: vec![batch(&world, 1)], ..Writes::default() }).await.unwrap();
    let again = Writes {
        batches: vec![batch(&world, 2), batch(&world, 1)],
        marks: vec![(world.me.install, 3)],
        ..Writes::default()
    };
    let error = write(&world, again).await.unwrap_err();
    assert!(matches!(error, CommitError::Refused(_)), "{error}");
    let reads = Reads {
        batches: vec![(world.me.device, Uuid::from_u128(2))],
        installs: vec![world.me.install],
        ..Reads::default()
    };
    let loaded = world.load(reads).await;
    assert!(loaded.batches.is_empty());
    assert_eq!(loaded.marks[&world.me.install], 0);
}

pub(crate) async fn o2_marks_rise_and_never_fall(backend: &dyn Backend) {
    let world = World::new(backend).await;
    let install = world.me.install;
    let mark = |mark| Writes { marks: vec![(install, mark)], ..Writes::default() };
    write(&world, mark(8)).await.unwrap();
    let error = write(&world, mark(7)).await.unwrap_err();
    assert!(matches!(error, CommitError::Refused(_)), "{error}");
    let reads = Reads {
        installs: vec![install, install + 100, 0, -5],
        devices: vec![world.me.device],
        ..Reads::default()
    };
    let loaded = world.load(reads).await;
    assert_eq!(loaded.marks, [(install, 8)].into());
    assert_eq!(loaded.generations, [(world.me.device, world.me.generation)].into());
}

pub(crate) async fn o2_refused_numbers_are_found_with_their_error(backend: &dyn Backend) {
    let world = World::new(backend).await;
    let install = world.me.install;
    let bare = EntryError { field: None, code: ErrorCode::NotFound, ..error() };
    let refused = [(2, error()), (5, bare)]
        .map(|(number, error)| RefusedNumber { install, number, error, at_us: NOON })
        .to_vec();
    write(&world, Writes { refused: refused.clone(), ..Writes::default() }).await.unwrap();
    let numbers = vec![(install, 5), (install, 2), (install, 3), (install + 1, 2)];
    let loaded = world.load(Reads { numbers, ..Reads::default() }).await;
    let expected = refused.into_iter().map(|refused| ((install, refused.number), refused.error)).collect();
    assert_eq!(loaded.refused, expected);
}

fn review(world: &World, id: u128, kind: ReviewKind, number: u64) -> Review {
    Review {
        id: key(id),
        kind,
        domain: world.domain,
        key: Some(key(1)),
        scope: world.user(),
        device: world.me.device,
        install: world.me.install,
        number: Some(number),
        at_us: NOON,
        code: Some(ErrorCode::ValidationFailed),
        strategy: Some(Strategy::Manual),
        resolution: None,
        base_version: 1,
        server_version: 2,
        entry: json!({"data": {"status": 5}}),
        server: data(json!({"status": "open"})),
        fields: data(json!({"status": "server"})),
    }
}

async fn corrections(world: &World, numbers: &[u64]) -> Vec<Option<StoredReview>> {
    let wanted: Vec<_> = numbers.iter().map(|number| (world.me.install, *number)).collect();
    let loaded = world.load(Reads { corrections: wanted.clone(), ..Reads::default() }).await;
    wanted.iter().map(|wanted| loaded.corrections.get(wanted).copied()).collect()
}

pub(crate) async fn e11_corrections_find_the_inbox_row_and_close_it(backend: &dyn Backend) {
    let world = World::new(backend).await;
    let kinds = [ReviewKind::Refused, ReviewKind::Resolved, ReviewKind::Manual, ReviewKind::Refused];
    let reviews = (1..).zip(kinds).map(|(n, kind)| review(&world, n.into(), kind, n)).collect();
    write(&world, Writes { reviews, ..Writes::default() }).await.unwrap();
    let found = corrections(&world, &[1, 2, 3, 4, 5]).await;
    assert!(matches!(found[..], [Some(_), None, None, Some(_), None]), "{found:?}");
    assert!(!found[0].unwrap().applied);
    assert_ne!(found[0], found[3]);

    write(&world, Writes { corrected: vec![found[0].unwrap().no], ..Writes::default() }).await.unwrap();
    let error = write(&world, Writes { corrected: vec![1_000_000], ..Writes::default() }).await.unwrap_err();
    assert!(matches!(error, CommitError::Refused(_)), "{error}");
}

pub(crate) async fn e11_a_device_keeps_a_thousand_inbox_rows(backend: &dyn Backend) {
    let world = World::new(backend).await;
    let rows = |from: u64, to: u64, kind| Writes {
        reviews: (from..=to).map(|n| review(&world, n.into(), kind, n)).collect(),
        ..Writes::default()
    };
    write(&world, rows(1, 2, ReviewKind::Manual)).await.unwrap();
    write(&world, rows(3, 1002, ReviewKind::Refused)).await.unwrap();
    let oldest = corrections(&world, &[3, 4]).await;
    assert!(oldest.iter().all(Option::is_some));
    // One that is closed makes room.
    write(&world, Writes { corrected: vec![oldest[0].unwrap().no], ..Writes::default() }).await.unwrap();
    write(&world, rows(1003, 1005, ReviewKind::Refused)).await.unwrap();
    let found = corrections(&world, &[3, 4, 5, 6, 1005]).await;
    assert!(matches!(found[..], [Some(_), None, None, Some(_), Some(_)]), "{found:?}");
}
