//! Batches: once, in order, whole or not at all, and what is kept of what was refused.

use serde_json::json;
use synchub_protocol::ErrorCode;
use synchub_protocol::server::Status;
use synchub_rules::group::{Author, BatchAnswer, Decision, ReviewKind};
use synchub_rules::record::Scope;

use crate::support::{Asked, Hub, answered, batch, create, delete, delta, device, edit, fault, publisher};

const RECENT: &str = "most_recent_wins";

fn statuses(answer: &BatchAnswer) -> Vec<Status> {
    answer.outcomes.iter().map(Asked::status).collect()
}

fn codes(answer: &BatchAnswer) -> Vec<Option<ErrorCode>> {
    answer.outcomes.iter().map(Asked::code).collect()
}

#[test]
fn o1_the_same_batch_again_is_answered_again() {
    let mut hub = Hub::default();
    let send = || batch(&device(10), [create(RECENT, 1, json!({"a": 1})), delete(RECENT, 2, 1)]).id(5);
    let first = answered(hub.one(send()));
    hub.put(&device(10), create(RECENT, 3, json!({})));
    let again = answered(hub.one(send()));
    assert!(!first.repeated && again.repeated);
    assert_eq!(first.outcomes, again.outcomes);
    assert_eq!((first.seq, again.seq, hub.rows().len()), (1, 2, 2));
    // Another device's batch of the same id is another batch.
    assert!(!answered(hub.one(batch(&device(20), [create(RECENT, 4, json!({}))]).id(5))).repeated);
}

#[test]
fn o1_copies_in_one_group_are_decided_once() {
    let mut hub = Hub::default();
    let one = batch(&device(10), [create(RECENT, 1, json!({"a": 1}))]).id(5);
    let decisions = hub.group(vec![one.clone(), one.clone(), one.hash(1)]);
    let [Decision::Answered(first), Decision::Answered(again), Decision::KeyReused] = &decisions[..] else {
        panic!("{decisions:?}")
    };
    assert_eq!((first.repeated, again.repeated, hub.rows().len()), (false, true, 1));
}

#[test]
fn o1_the_same_id_with_other_contents_is_refused() {
    let mut hub = Hub::default();
    hub.one(batch(&device(10), [create(RECENT, 1, json!({"a": 1}))]).id(5));
    let before = hub.store.clone();
    let other = batch(&device(10), [create(RECENT, 2, json!({"a": 1}))]).id(5).hash(9);
    assert_eq!(hub.one(other), Decision::KeyReused);
    assert_eq!(hub.store.unnumbered(), before.unnumbered());
}

#[test]
fn o1_v3_a_repeated_answer_shows_what_may_be_seen_now() {
    let mut hub = Hub::default();
    hub.put(&device(10), create("unit", 1, json!({"a": 1})));
    hub.put(&device(20), delta("unit", 1, 1, json!({"a": 2})));
    let send = || batch(&device(30), [delta("unit", 1, 1, json!({"b": 3}))]).id(5);
    let first = answered(hub.one(send()));
    assert_eq!(first.outcomes[0].status(), Status::Merged);
    hub.put(&device(20), delta("unit", 1, 3, json!({"a": 4})));
    let again = answered(hub.one(send()));
    assert_eq!(again.outcomes[0].server_data.as_ref(), Some(&hub.record("unit", 1).data));
    hub.put(&publisher(), delta("unit", 1, 4, json!({})).unit(Some(901)));
    let again = answered(hub.one(send()));
    assert_eq!(again.outcomes[0].server_data, None);
    assert_eq!(again.outcomes[0].stored, first.outcomes[0].stored);
}

#[test]
fn o2_what_lies_at_or_below_the_mark_was_decided() {
    let mut hub = Hub::default();
    let author = device(10);
    let entries = [create(RECENT, 1, json!({"a": 1})), delete(RECENT, 2, 1), create(RECENT, 3, json!({}))];
    hub.one(batch(&author, entries).from(1));
    assert_eq!(hub.store.marks[&10], 3);
    hub.put(&device(20), delta(RECENT, 1, 1, json!({"a": 2})));
    hub.put(&device(20), delete(RECENT, 3, 1));
    let again = [
        create(RECENT, 1, json!({"a": 1})),
        delete(RECENT, 2, 1),
        create(RECENT, 3, json!({})),
        create(RECENT, 4, json!({})),
    ];
    let answer = answered(hub.one(batch(&author, again).from(1)));
    assert_eq!(statuses(&answer), [Status::Duplicate, Status::Duplicate, Status::Duplicate, Status::Created]);
    assert_eq!(codes(&answer), [None, Some(ErrorCode::NotFound), None, None]);
    let versions: Vec<_> = answer.outcomes.iter().map(|outcome| outcome.stored.version).collect();
    assert_eq!(versions, [Some(2), None, Some(2), Some(1)]);
    assert!(answer.outcomes[2].stored.deleted);
    assert_eq!(hub.store.marks[&10], 4);
    assert_eq!(hub.store.refused.keys().collect::<Vec<_>>(), [&(10, 2)]);
}

#[test]
fn o2_v3_a_duplicate_names_no_version_of_what_is_hidden() {
    let mut hub = Hub::default();
    hub.one(batch(&device(10), [create("unit", 1, json!({}))]).from(1));
    hub.put(&publisher(), delta("unit", 1, 1, json!({})).unit(Some(901)));
    let answer = answered(hub.one(batch(&device(10), [create("unit", 1, json!({}))]).from(1)));
    assert_eq!((answer.outcomes[0].status(), answer.outcomes[0].stored.version), (Status::Duplicate, None));
}

#[test]
fn o2_a_gap_decides_nothing() {
    let mut hub = Hub::default();
    let send = |first| batch(&device(10), [create(RECENT, u128::from(first), json!({}))]).from(first);
    assert_eq!(hub.one(send(2)), Decision::OutOfOrder);
    assert_eq!(hub.store.clone().unnumbered(), Hub::default().store);
    // In one group each batch follows on the one before.
    let decisions = hub.group(vec![send(1), send(2), send(4), send(3)]);
    let decided: Vec<bool> = decisions.iter().map(|one| matches!(one, Decision::Answered(_))).collect();
    assert_eq!(decided, [true, true, false, true]);
    assert_eq!(hub.store.marks[&10], 3);
}

#[test]
fn o2_an_install_counts_for_itself() {
    let mut hub = Hub::default();
    hub.one(batch(&device(10), [create(RECENT, 1, json!({}))]).from(1));
    let second = Author { install: 12, ..device(10) };
    assert_eq!(hub.one(batch(&second, [create(RECENT, 2, json!({}))]).from(2)), Decision::OutOfOrder);
    let answer = answered(hub.one(batch(&second, [create(RECENT, 2, json!({}))]).from(1)));
    assert_eq!(statuses(&answer), [Status::Created]);
}

#[test]
fn o2_a_refused_number_in_the_same_group_keeps_its_error() {
    let mut hub = Hub::default();
    let send = || batch(&device(10), [delete(RECENT, 1, 1)]).from(1);
    let decisions = hub.group(vec![send(), send()]);
    let answer = answered(decisions[1].clone());
    assert_eq!(
        (statuses(&answer), codes(&answer)),
        (vec![Status::Duplicate], vec![Some(ErrorCode::NotFound)])
    );
    assert_eq!(hub.store.marks[&10], 1);
}

#[test]
fn o3_a_fault_is_its_entrys_own_result() {
    for (name, code, n_kept) in [
        (Some(RECENT), ErrorCode::ValidationFailed, 1),
        (Some(RECENT), ErrorCode::TooLarge, 0),
        (None, ErrorCode::ValidationFailed, 0),
        (None, ErrorCode::UnknownDomain, 0),
    ] {
        let mut hub = Hub::default();
        hub.put(&device(20), create(RECENT, 1, json!({"a": 0})));
        let entries = [fault(name, 1, code), create(RECENT, 2, json!({}))];
        let answer = answered(hub.one(batch(&device(10), entries).from(1)));
        assert_eq!(statuses(&answer), [Status::Error, Status::Created]);
        assert_eq!((codes(&answer)[0], answer.outcomes[0].field()), (Some(code), Some("version")));
        assert_eq!(answer.outcomes[0].mobile_id, Some(crate::support::key(1)));
        assert_eq!(answer.outcomes[0].stored.version, name.map(|_| 1));
        let kept = hub.reviews(ReviewKind::Refused);
        assert_eq!(kept.len(), n_kept);
        for review in kept {
            assert_eq!((review.number, review.code, review.device), (Some(1), Some(code), 10));
            assert_eq!(review.entry["data"], json!({"a": 1}));
            assert_eq!(review.server, crate::support::data(json!({"a": 0})));
        }
    }
}

#[test]
fn c11_a_session_that_was_replaced_decides_nothing() {
    let mut hub = Hub::default();
    hub.store.generations.insert(10, 4);
    let of = |generation| Author { generation, ..device(10) };
    let send = |generation| batch(&of(generation), [create(RECENT, 1, json!({}))]).id(5);
    assert_eq!(hub.one(send(Some(3))), Decision::Replaced);
    assert_eq!(hub.one(send(Some(5))), Decision::Replaced);
    assert!(matches!(hub.one(send(Some(4))), Decision::Answered(_)));
    assert_eq!(hub.one(send(Some(3))), Decision::Replaced, "not even answered again");
    assert!(matches!(hub.one(send(None)), Decision::Answered(_)));
}

#[test]
fn e10_an_entry_that_ends_in_error_sinks_the_batch() {
    let mut hub = Hub::default();
    hub.put(&device(20), create(RECENT, 1, json!({"a": 1})));
    let before = hub.store.clone();
    let entries = [
        delta(RECENT, 1, 1, json!({"a": 2})),
        create(RECENT, 2, json!({})),
        delete(RECENT, 9, 1),
        create(RECENT, 3, json!({})),
    ];
    let answer = answered(hub.one(batch(&device(10), entries).from(1).atomic()));
    let not_applied = Some(ErrorCode::NotApplied);
    assert_eq!(codes(&answer), [not_applied, not_applied, Some(ErrorCode::NotFound), not_applied]);
    assert_eq!(statuses(&answer), [Status::Error; 4]);
    let versions: Vec<_> = answer.outcomes.iter().map(|outcome| outcome.stored.version).collect();
    assert_eq!(versions, [Some(1), None, None, None]);
    assert_eq!(answer.seq, 1);
    assert_eq!((&hub.store.records, &hub.store.rows), (&before.records, &before.rows));
    assert_eq!(hub.store.reviews.len(), 0, "nothing goes to the inbox");
    // It is decided all the same: the numbers are used up, their codes are known.
    assert_eq!((hub.store.marks[&10], hub.store.refused.len()), (4, 4));
}

#[test]
fn e10_a_conflict_sinks_unless_the_entry_had_its_way() {
    for (domain, made, sinks, n_audit) in [
        ("client_wins", 0, false, 1),
        (RECENT, 0, true, 1),
        (RECENT, 9_000_000, false, 1),
        ("server_wins", 0, true, 1),
        ("manual", 0, true, 0),
    ] {
        let mut hub = Hub::default();
        hub.put(&device(10), create(domain, 1, json!({"a": 1})));
        hub.put(&device(20), delta(domain, 1, 1, json!({"a": 2})));
        let entries = [
            create(domain, 2, json!({})),
            delta(domain, 1, 1, json!({"b": 3})),
            delta(domain, 1, 1, json!({"a": 3})).made(made),
        ];
        let answer = answered(hub.one(batch(&device(30), entries).atomic()));
        assert_eq!(answer.outcomes[2].status(), Status::Conflict, "it answers its own status");
        assert_eq!(answer.outcomes[0].code().is_some(), sinks, "{domain}");
        assert_eq!(answer.outcomes[2].version(), if sinks { 2 } else { 4 });
        assert_eq!(answer.outcomes[2].server_data.as_ref(), Some(&hub.record(domain, 1).data));
        assert_eq!(hub.find(domain, 2).is_some(), !sinks);
        assert_eq!(hub.reviews(ReviewKind::Resolved).len(), n_audit);
        assert_eq!(hub.reviews(ReviewKind::Manual).len(), 0);
    }
}

#[test]
fn e10_d1_a_delete_that_sank_with_its_batch_is_not_said_to_have_happened() {
    let mut hub = Hub::default();
    hub.put(&device(20), create(RECENT, 1, json!({"a": 1})));
    let entries = [delete(RECENT, 1, 1), delta(RECENT, 1, 1, json!({"a": 2}))];
    let answer = answered(hub.one(batch(&device(10), entries).atomic()));
    assert_eq!(statuses(&answer), [Status::Error, Status::Conflict]);
    let stands: Vec<_> = answer.outcomes.iter().map(|one| (one.stored.version, one.stored.deleted)).collect();
    assert_eq!(stands, [(Some(1), false), (Some(1), false)]);
    assert!(!hub.record(RECENT, 1).deleted);
}

#[test]
fn e10_what_was_decided_before_does_not_sink_and_is_not_sunk() {
    let mut hub = Hub::default();
    hub.one(batch(&device(10), [delete(RECENT, 9, 1), create(RECENT, 1, json!({}))]).from(1));
    let entries = [delete(RECENT, 9, 1), create(RECENT, 1, json!({})), create(RECENT, 2, json!({}))];
    let answer = answered(hub.one(batch(&device(10), entries).from(1).atomic()));
    assert_eq!(statuses(&answer), [Status::Duplicate, Status::Duplicate, Status::Created]);
    let entries = [delete(RECENT, 9, 1), create(RECENT, 3, json!({})), delete(RECENT, 9, 1)];
    let answer = answered(hub.one(batch(&device(10), entries).from(3).atomic()));
    assert_eq!(statuses(&answer), [Status::Duplicate, Status::Error, Status::Error]);
    assert_eq!(codes(&answer), [None, Some(ErrorCode::NotApplied), Some(ErrorCode::NotFound)]);
}

#[test]
fn e10_a_sunk_batch_drops_only_its_own_part() {
    let mut hub = Hub::default();
    let edits = |author: &Author, n| {
        batch(author, [delta(RECENT, 1, 1, json!({"a": n})), delete(RECENT, 9, 1)]).atomic()
    };
    hub.put(&device(10), create(RECENT, 1, json!({"a": 0})));
    let decisions = hub.group(vec![
        edits(&device(10), 1),
        batch(&device(10), [delta(RECENT, 1, 1, json!({"b": 2})), create(RECENT, 2, json!({}))]),
        edits(&device(10), 3),
        batch(&device(10), [delta(RECENT, 1, 1, json!({"c": 4})), create(RECENT, 3, json!({}))]),
    ]);
    let seqs: Vec<u64> = decisions.into_iter().map(|one| answered(one).seq).collect();
    assert_eq!(seqs, [1, 3, 3, 5]);
    assert_eq!(*hub.record(RECENT, 1).data, crate::support::data(json!({"a": 0, "b": 2, "c": 4})));
    assert_eq!(hub.record(RECENT, 1).version, 3);
    assert_ne!(hub.record(RECENT, 2).no, hub.record(RECENT, 3).no);
}

#[test]
fn e11_what_was_refused_is_kept_with_its_reason() {
    let mut hub = Hub::default();
    let entry = edit(RECENT, 1, 3, json!({"a": 1}));
    hub.one(batch(&device(10), [create(RECENT, 2, json!({})), entry]).from(1));
    let [review] = hub.reviews(ReviewKind::Refused)[..] else { panic!("one inbox entry") };
    assert_eq!((review.code, review.number, review.base_version), (Some(ErrorCode::NotFound), Some(2), 3));
    assert_eq!((review.key, review.install, review.device), (Some(crate::support::key(1)), 10, 10));
    assert_eq!(review.scope, Scope::Party(101), "only its sender may see it");
    assert_eq!((review.entry["version"].clone(), review.at_us), (json!(3), hub.now_us));
    assert_eq!((review.strategy, review.resolution), (None, None));
    assert_eq!(review.id.get_version_num(), 8);
}

#[test]
fn e11_a_correction_takes_the_refused_entry_out_of_the_inbox() {
    let mut hub = Hub::default();
    let author = device(10);
    hub.one(batch(&author, [delete(RECENT, 1, 1), delete(RECENT, 2, 1)]).from(1));
    assert_eq!(hub.reviews(ReviewKind::Refused).len(), 2);
    let corrections = [
        create(RECENT, 1, json!({})).corrects(1),
        create(RECENT, 3, json!({})).corrects(1),
        create(RECENT, 4, json!({})).corrects(77),
    ];
    let answer = answered(hub.one(batch(&author, corrections).from(3)));
    assert_eq!(statuses(&answer), [Status::Created; 3]);
    let left: Vec<_> = hub.reviews(ReviewKind::Refused).iter().map(|review| review.number).collect();
    assert_eq!(left, [Some(2)]);
}

#[test]
fn e11_a_correction_in_the_same_group_or_in_a_sunk_batch() {
    let author = device(10);
    let refused = || batch(&author, [delete(RECENT, 1, 1), delete(RECENT, 2, 1)]).from(1);
    let mut hub = Hub::default();
    hub.group(vec![refused(), batch(&author, [create(RECENT, 1, json!({})).corrects(1)]).from(3)]);
    let left: Vec<_> = hub.reviews(ReviewKind::Refused).iter().map(|review| review.number).collect();
    assert_eq!(left, [Some(2)]);

    let mut hub = Hub::default();
    hub.one(refused());
    let entries = [create(RECENT, 1, json!({})).corrects(1), delete(RECENT, 9, 1)];
    hub.one(batch(&author, entries).from(3).atomic());
    assert_eq!(hub.reviews(ReviewKind::Refused).len(), 2, "e10: a sunk batch corrects nothing");
}

#[test]
fn e11_an_entry_that_names_its_own_or_a_later_number_takes_nothing_out_of_the_inbox() {
    let mut hub = Hub::default();
    // Numbered anew for a hub that was restored: the numbers refused before are given again (R2).
    let entries = [delete(RECENT, 1, 1).corrects(1), delete(RECENT, 2, 1).corrects(3), delete(RECENT, 3, 1)];
    hub.one(batch(&device(10), entries).from(1));
    let left: Vec<_> = hub.reviews(ReviewKind::Refused).iter().map(|review| review.number).collect();
    assert_eq!(left, [Some(1), Some(2), Some(3)]);
}

#[test]
fn e11_what_was_applied_from_the_inbox_meanwhile_is_a_duplicate() {
    let mut hub = Hub::default();
    hub.one(batch(&device(10), [delete(RECENT, 1, 1)]).from(1));
    hub.store.applied.push((10, 1));
    hub.put(&device(20), create(RECENT, 1, json!({"a": 7})));
    let entry = delta(RECENT, 1, 1, json!({"a": 1})).corrects(1);
    let answer = answered(hub.one(batch(&device(10), [entry]).from(2)));
    assert_eq!((statuses(&answer), answer.outcomes[0].version()), (vec![Status::Duplicate], 1));
    assert_eq!(hub.value(RECENT, 1, "a"), json!(7));
}

#[test]
fn o1_conflict_ids_differ_within_and_between_batches() {
    let mut hub = Hub::default();
    hub.put(&device(10), create("server_wins", 1, json!({"a": 1})));
    hub.put(&device(20), delta("server_wins", 1, 1, json!({"a": 2})));
    let entry = |n| delta("server_wins", 1, 1, json!({"a": n}));
    let mut ids = Vec::new();
    let other_install = Author { install: 31, ..device(30) };
    let other_device = Author { install: 30, ..device(40) };
    for author in [device(30), other_install, other_device, device(30)] {
        for id in [5, 6] {
            hub.store.batches.clear();
            let answer = answered(hub.one(batch(&author, [entry(3), entry(4)]).id(id)));
            ids.extend(answer.outcomes.iter().map(|outcome| outcome.conflict().conflict_id));
        }
    }
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 16);
}
