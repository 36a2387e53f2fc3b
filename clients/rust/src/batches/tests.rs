//! What goes together, when it goes, and what a refusal does.

use std::collections::BTreeMap;
use std::sync::Arc;

use synchub_protocol::codec::decode_client;

use super::*;
use crate::copy::HubCopy;
use crate::storage::{Journal, OutboxEntry, Stored};
use crate::testing::{Counting, edit, id, moment};

const INSTALL: Uuid = Uuid::from_u128(0xA);
const LIMITS: Limits = Limits {
    max_frame_bytes: 1 << 20,
    max_entry_bytes: 1 << 16,
    max_batch_entries: 1000,
    max_in_flight: 2,
    recommended_batch: 3,
};

struct Fixture {
    outbox: Outbox,
    journal: Journal,
    batches: Batches,
    stored: u64,
    next_request: u64,
    entropy: Counting,
}

impl Fixture {
    /// An outbox with so many edits, stored, on a connection with these limits.
    fn new(edits: u128, limits: Limits) -> Self {
        let mut journal = Journal::default();
        let copy = HubCopy::default();
        let mut outbox = Outbox::load(&mut Stored::default(), INSTALL, Duration::ZERO, &copy, &mut journal);
        for record in 1..=edits {
            outbox.push(edit(id(record), "t"), &mut journal);
        }
        let batches = Batches::new(INSTALL, Encoding::Json, limits, usize::MAX, Backoff::default());
        let stored = journal.revision();
        Self { outbox, journal, batches, stored, next_request: 10, entropy: Counting::default() }
    }

    fn step(&mut self, later: Duration) -> Step {
        let mut moment = moment(&self.entropy);
        moment.instant += later;
        self.batches.next(&self.outbox, self.stored, moment, &mut self.next_request)
    }

    /// Sends all that may go now: (request, first number, entries, batch id) of each.
    fn sent(&mut self) -> Vec<(u64, u64, usize, Uuid)> {
        let mut sent = Vec::new();
        while let Step::Send(bytes) = self.step(Duration::ZERO) {
            let Ok(ClientFrame::Sync(sync)) = decode_client(Encoding::Json, &bytes) else {
                panic!("no sync")
            };
            sent.push((sync.id, sync.first_client_seq.unwrap(), sync.entries.len(), sync.batch_id));
        }
        sent
    }

    fn refuse(&mut self, request: u64, code: ErrorCode) -> Refusal {
        let error = ErrorFrame::new(Some(request), code, "no");
        self.batches.refused(request, &error, moment(&self.entropy))
    }

    fn answer(&mut self, request: u64) {
        let local_ids = self.batches.answered(request, None, Instant::now()).expect("a batch in flight");
        for local_id in local_ids {
            self.outbox.discard(local_id, &mut self.journal).expect("it waited");
        }
    }
}

fn numbers(sent: &[(u64, u64, usize, Uuid)]) -> Vec<(u64, usize)> {
    sent.iter().map(|(_, first, entries, _)| (*first, *entries)).collect()
}

#[test]
fn o2_batches_are_cut_to_the_limits_and_numbered_without_gaps() {
    let mut f = Fixture::new(8, LIMITS);
    let sent = f.sent();
    assert_eq!(numbers(&sent), [(1, 3), (4, 3)], "two in flight at most");
    f.answer(sent[0].0);
    assert_eq!(numbers(&f.sent()), [(7, 2)]);
    f.answer(sent[1].0);
    assert_eq!(f.sent(), []);
    let mut f = Fixture::new(8, Limits { recommended_batch: 50, max_batch_entries: 5, ..LIMITS });
    assert_eq!(numbers(&f.sent()), [(1, 5), (6, 3)]);
}

#[test]
fn bw3_batches_are_cut_to_what_the_hub_recommends_on_the_way() {
    let mut f = Fixture::new(20, LIMITS);
    let sent = f.sent();
    assert_eq!(numbers(&sent), [(1, 3), (4, 3)]);
    f.batches.recommend(2);
    f.answer(sent[0].0);
    assert_eq!(numbers(&f.sent()), [(7, 2)]);
    f.batches.recommend(u64::MAX);
    f.answer(sent[1].0);
    let most = usize::try_from(LIMITS.max_batch_entries).unwrap().min(12);
    assert_eq!(numbers(&f.sent()), [(9, most)]);
    f.batches.recommend(0);
    assert_eq!(f.batches.in_flight(), 2, "what is on the way stays as it is");
}

#[test]
fn o2_only_what_is_stored_is_sent() {
    let mut f = Fixture::new(2, LIMITS);
    f.outbox.push(edit(id(9), "not stored"), &mut f.journal);
    assert_eq!(numbers(&f.sent()), [(1, 2)]);
    f.stored = f.journal.revision();
    assert_eq!(numbers(&f.sent()), [(3, 1)]);
}

#[test]
fn o1_a_batch_that_was_refused_for_now_goes_again_as_it_was() {
    let mut f = Fixture::new(3, LIMITS);
    let first = f.sent();
    assert_eq!(f.refuse(first[0].0, ErrorCode::Unavailable), Refusal::Again);
    f.outbox.push(edit(id(9), "later"), &mut f.journal);
    f.stored = f.journal.revision();
    assert_eq!(f.sent(), [], "not at once");
    let_time_pass(&mut f);
    let again = f.sent();
    assert_eq!(numbers(&again), [(1, 3), (4, 1)]);
    assert_eq!(again[0].3, first[0].3, "the same batch id");
    assert_ne!(again[0].0, first[0].0, "another request");
}

/// Lets every pause be over.
fn let_time_pass(f: &mut Fixture) {
    f.batches.not_before = None;
}

#[test]
fn a_busy_hub_is_given_the_time_that_it_asks_for() {
    let mut f = Fixture::new(6, LIMITS);
    let sent = f.sent();
    let error =
        ErrorFrame { retry_after_ms: Some(5000), ..ErrorFrame::new(None, ErrorCode::RateLimited, "") };
    f.batches.refused(sent[0].0, &error, moment(&f.entropy));
    f.answer(sent[1].0);
    assert_eq!(f.step(Duration::from_millis(4900)), Step::Wait);
    assert!(matches!(f.step(Duration::from_millis(5100)), Step::Send(_)));

    // Of several refusals the longest counts, and no answer makes it shorter.
    let mut f = Fixture::new(9, Limits { max_in_flight: 3, ..LIMITS });
    let sent = f.sent();
    f.batches.refused(sent[0].0, &error, moment(&f.entropy));
    f.batches.refused(sent[1].0, &ErrorFrame { retry_after_ms: Some(1), ..error }, moment(&f.entropy));
    f.batches.answered(sent[2].0, Some(Duration::from_millis(1)), Instant::now());
    assert_eq!(f.step(Duration::from_millis(4900)), Step::Wait);
    assert!(matches!(f.step(Duration::from_millis(5100)), Step::Send(_)));

    let mut f = Fixture::new(6, Limits { max_in_flight: 1, ..LIMITS });
    let sent = f.sent();
    f.batches.answered(sent[0].0, Some(Duration::from_secs(5)), Instant::now());
    assert_eq!(f.step(Duration::from_millis(4900)), Step::Wait);
}

#[test]
fn o2_after_a_refusal_nothing_goes_until_all_in_flight_is_answered() {
    let mut f = Fixture::new(9, LIMITS);
    let sent = f.sent();
    assert_eq!(f.refuse(sent[0].0, ErrorCode::Unavailable), Refusal::Again);
    let_time_pass(&mut f);
    assert_eq!(f.sent(), [], "the second is still in flight");
    assert_eq!(f.refuse(sent[1].0, ErrorCode::OutOfOrder), Refusal::Again);
    let again = f.sent();
    assert_eq!(numbers(&again), [(1, 3), (4, 3)]);
    assert_eq!((again[0].3, again[1].3), (sent[0].3, sent[1].3));
    assert_eq!(f.batches.resent(), 2);
}

#[test]
fn o2_out_of_order_to_the_first_that_waits_asks_for_another_hello() {
    let mut f = Fixture::new(6, LIMITS);
    let sent = f.sent();
    assert_eq!(f.refuse(sent[0].0, ErrorCode::OutOfOrder), Refusal::HelloAgain);
}

#[test]
fn a_batch_that_will_never_be_taken_is_halved_until_the_guilty_entry_stands_alone() {
    let mut f = Fixture::new(3, LIMITS);
    let whole = f.sent();
    assert_eq!(f.refuse(whole[0].0, ErrorCode::TooLarge), Refusal::Again);
    let halves = f.sent();
    assert_eq!(numbers(&halves), [(1, 1), (2, 2)]);
    assert_ne!(halves[0].3, whole[0].3, "other contents, another batch id");
    assert_ne!(halves[1].3, whole[0].3);
    assert_eq!(f.refuse(halves[0].0, ErrorCode::TooLarge), Refusal::Entry(1));
}

#[test]
fn o1_a_batch_id_that_was_used_is_replaced() {
    let mut f = Fixture::new(3, LIMITS);
    let sent = f.sent();
    assert_eq!(f.refuse(sent[0].0, ErrorCode::IdempotencyKeyReused), Refusal::Again);
    let again = f.sent();
    assert_eq!(numbers(&again), [(1, 3)]);
    assert_ne!(again[0].3, sent[0].3);
}

#[test]
fn frames_stay_below_the_hubs_limit() {
    let mut f = Fixture::new(3, Limits { max_frame_bytes: 420, ..LIMITS });
    let Step::Send(bytes) = f.step(Duration::ZERO) else { panic!("something fits") };
    assert!(bytes.len() <= 420, "{}", bytes.len());
    assert_eq!(numbers(&f.sent()), [(2, 2)]);
    assert_eq!(f.batches.resent(), 0, "cutting smaller is not sending again");
    let mut f = Fixture::new(1, Limits { max_frame_bytes: 50, ..LIMITS });
    assert_eq!(f.step(Duration::ZERO), Step::TooLarge(1));
}

#[test]
fn o4_what_waits_under_another_install_needs_another_hello() {
    let mut f = Fixture::new(2, LIMITS);
    f.batches = Batches::new(id(0xB), Encoding::Json, LIMITS, usize::MAX, Backoff::default());
    assert_eq!(f.step(Duration::ZERO), Step::HelloAgain);
}

#[test]
fn o4_no_batch_mixes_installs() {
    let mut f = Fixture::new(0, LIMITS);
    let entry = |local_id, install| {
        let entry = Arc::new(edit(id(1), "t"));
        (local_id, OutboxEntry { local_id, install, number: local_id, entry, answer: None })
    };
    let entries = BTreeMap::from([entry(1, INSTALL), entry(2, id(0xB))]);
    let mut stored = Stored { entries, ..Stored::default() };
    f.outbox = Outbox::load(&mut stored, INSTALL, Duration::ZERO, &HubCopy::default(), &mut f.journal);
    assert_eq!(numbers(&f.sent()), [(1, 1)]);
}

#[test]
fn an_answer_to_another_request_is_nobodys() {
    let mut f = Fixture::new(2, LIMITS);
    f.sent();
    assert_eq!(f.batches.answered(99, None, Instant::now()), None);
    assert_eq!(f.refuse(99, ErrorCode::BadRequest), Refusal::NotMine);
}
