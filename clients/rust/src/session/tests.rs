//! Whole conversations without a socket.

use std::time::Duration;

use synchub_protocol::client::{Subscribe, Subscription, Sync, Unsubscribe};
use synchub_protocol::codec::decode_client;
use synchub_protocol::server::ChangeOperation::Unknown;
use synchub_protocol::server::{
    CaughtUp, ErrorFrame, Fresh, FreshReason, Goaway, Limits, Position, Subscribed, SyncResult,
};
use synchub_protocol::{ClientFrame, Data, DeviceKind, ServerFrame, Timestamp};

use super::*;
use crate::testing::{Counting, change, edit, id, moment, page, result};

struct Fixture {
    state: State,
    entropy: Counting,
    later: Duration,
}

fn subscription(domain: &str) -> Subscription {
    Subscription { domain: domain.to_owned(), filter: None, priority: None }
}

fn welcome(last_client_seq: u64, limits: Limits) -> ServerFrame {
    ServerFrame::Welcome(Welcome {
        id: HELLO_ID,
        session_id: "s".to_owned(),
        server_time: Timestamp(0),
        epoch: 0,
        last_client_seq,
        fresh: Vec::new(),
        compression: None,
        features: Vec::new(),
        heartbeat_secs: 25,
        limits,
    })
}

const LIMITS: Limits = Limits {
    max_frame_bytes: 1 << 20,
    max_entry_bytes: 1 << 16,
    max_batch_entries: 1000,
    max_in_flight: 4,
    recommended_batch: 100,
};

impl Fixture {
    fn new() -> Self {
        let device = Device {
            id: "d".to_owned(),
            kind: DeviceKind::Phone,
            install_id: None,
            name: None,
            os: None,
            app_version: None,
        };
        let settings = Settings {
            is_service: false,
            device,
            encoding: Encoding::Json,
            backoff: Backoff::default(),
            ack_every: Duration::from_secs(1),
            keep_accepted: Duration::from_hours(24),
            compression: true,
            delta: true,
            heartbeat_secs: None,
        };
        let entropy = Counting::default();
        let wish = vec![subscription("task")];
        let state = State::load(Stored::default(), settings, Install::InStorage, wish, &entropy);
        Self { state, entropy, later: Duration::ZERO }
    }

    fn connected() -> Self {
        let mut fixture = Self::new();
        fixture.connect();
        fixture
    }

    fn connect(&mut self) -> synchub_protocol::client::Hello {
        self.state.begin_attempt();
        self.store();
        let bytes = self.state.hello(None, moment(&self.entropy));
        let Ok(ClientFrame::Hello(hello)) = decode_client(Encoding::Json, &bytes) else { panic!("no hello") };
        self.frame(welcome(0, LIMITS));
        hello
    }

    fn frame(&mut self, frame: ServerFrame) -> Vec<Outcome> {
        let mut moment = moment(&self.entropy);
        moment.instant += self.later;
        self.state.on_frame(frame, moment)
    }

    fn store(&mut self) {
        if let Some((_, revision)) = self.state.take_changes() {
            self.state.stored(revision);
        }
    }

    fn send(&mut self) -> Option<ClientFrame> {
        self.send_noting(&mut Vec::new())
    }

    fn send_noting(&mut self, outcomes: &mut Vec<Outcome>) -> Option<ClientFrame> {
        let mut moment = moment(&self.entropy);
        moment.instant += self.later;
        let bytes = self.state.next_frame(moment, outcomes)?;
        Some(decode_client(Encoding::Json, &bytes).expect("a frame"))
    }

    fn error(&mut self, request: u64, code: ErrorCode) -> Vec<Outcome> {
        self.frame(ServerFrame::Error(ErrorFrame::new(Some(request), code, "no")))
    }
}

fn end_of(outcomes: &[Outcome]) -> Option<&End> {
    outcomes.iter().find_map(|outcome| if let Outcome::End(end) = outcome { Some(end) } else { None })
}

/// The hub's answer to a batch, at place 9 of the log.
fn answer(sync: &Sync, results: Vec<EntryResult>) -> ServerFrame {
    ServerFrame::SyncResult(SyncResult {
        id: sync.id,
        batch_id: sync.batch_id,
        results,
        seq: 9,
        server_timestamp: Timestamp(0),
        repeated: false,
        backoff_ms: None,
        recommended_batch: None,
    })
}

fn position(cursor: &str, seq: u64) -> ServerFrame {
    ServerFrame::Position(Position { cursor: cursor.to_owned(), seq })
}

#[test]
fn c3_hello_says_the_last_cursor_and_attempts_rise() {
    let mut f = Fixture::new();
    let hello = f.connect();
    assert_eq!((hello.cursor, hello.attempt), (None, Some(1)));
    f.frame(position("c1", 5));
    f.state.end_session(&End::Silent);
    let again = f.connect();
    assert_eq!((again.cursor.as_deref(), again.attempt), (Some("c1"), Some(2)));
    let install = hello.device.unwrap().install_id;
    assert!(install.is_some());
    assert_eq!(again.device.unwrap().install_id, install);
}

#[test]
fn c11_attempts_rise_over_a_restart() {
    let mut f = Fixture::new();
    f.connect();
    let mut stored = Stored::default();
    f.state.end_session(&End::Silent);
    f.state.begin_attempt();
    for change in f.state.take_changes().unwrap().0 {
        stored.apply(change);
    }
    f.state = State::load(stored, f.state.settings.clone(), Install::InStorage, Vec::new(), &f.entropy);
    assert_eq!(f.connect().attempt, Some(3));
}

#[test]
fn o4_a_restored_phone_says_hello_again_under_a_new_install() {
    let mut f = Fixture::new();
    f.state.begin_attempt();
    let first = f.state.outbox().session_install();
    f.state.hello(None, moment(&f.entropy));
    let outcomes = f.frame(welcome(5, LIMITS));
    assert_eq!(end_of(&outcomes), Some(&End::HelloAgain));
    assert_ne!(f.state.outbox().session_install(), first);
}

#[test]
fn c7_frames_of_the_hub_end_what_is_shown_on_top() {
    let mut f = Fixture::connected();
    f.state.submit(edit(id(1), "mine"));
    f.store();
    let Some(ClientFrame::Sync(sync)) = f.send() else { panic!("a batch goes") };
    f.frame(answer(&sync, vec![result(Status::Created, 1)]));
    let shown = |f: &Fixture| f.state.outbox().shown("task", id(1), f.state.copy());
    assert_eq!(shown(&f).unwrap()["title"], "mine");
    f.frame(position("c", 9));
    assert_eq!(shown(&f), None);
}

#[test]
fn a_role_that_may_not_sync_ends_the_session() {
    let mut f = Fixture::connected();
    f.state.submit(edit(id(1), "a"));
    f.store();
    let Some(ClientFrame::Sync(sync)) = f.send() else { panic!("a batch goes") };
    let outcomes = f.error(sync.id, ErrorCode::Forbidden);
    assert!(matches!(end_of(&outcomes), Some(End::Refused { temporary: false, .. })));
    assert_eq!(f.state.outbox().len(), 1);
}

#[test]
fn batches_shrink_after_a_frame_was_too_large() {
    let closed = End::Closed { code: 4505, text: String::new() };
    for nameless in [false, true] {
        let mut f = Fixture::connected();
        for record in 0..600 {
            f.state.submit(edit(id(record), "a"));
        }
        f.store();
        if nameless {
            let error = ErrorFrame::new(None, ErrorCode::TooLarge, "no");
            assert!(end_of(&f.frame(ServerFrame::Error(error))).is_some());
            f.state.end_session(&End::Silent);
        } else {
            f.state.end_session(&closed);
        }
        f.state.hello(None, moment(&f.entropy));
        f.frame(welcome(0, Limits { recommended_batch: 1000, ..LIMITS }));
        f.store();
        assert!(matches!(f.send(), Some(ClientFrame::Sync(sync)) if sync.entries.len() == 500));
    }
}

#[test]
fn c3_a_changed_filter_that_is_refused_goes_back_to_the_confirmed_one() {
    let mut f = Fixture::connected();
    let filter = serde_json::json!({"status": "open"}).as_object().cloned();
    let changed = Subscription { filter, ..subscription("task") };
    f.state.subscribe(vec![changed.clone()]);
    let asked = f.send();
    let Some(ClientFrame::Subscribe(Subscribe { id, subscriptions })) = asked else { panic!("{asked:?}") };
    assert_eq!(subscriptions, [changed]);
    f.error(id, ErrorCode::BadRequest);
    assert_eq!(f.state.wish, [subscription("task")]);
    assert_eq!(f.send(), None);
}

#[test]
fn c10_only_a_stored_cursor_is_acknowledged_and_not_too_often() {
    let mut f = Fixture::connected();
    f.frame(position("c1", 5));
    assert_eq!(f.send(), None, "it is not stored yet");
    f.store();
    assert!(matches!(f.send(), Some(ClientFrame::Ack(ack)) if ack.cursor == "c1"));
    f.frame(position("c2", 6));
    f.frame(position("c3", 7));
    f.store();
    assert_eq!(f.send(), None, "too early");
    assert!(f.state.next_due().is_some());
    f.later = Duration::from_millis(1001);
    assert!(matches!(f.send(), Some(ClientFrame::Ack(ack)) if ack.cursor == "c3"));
    assert_eq!(f.send(), None);
    assert_eq!(f.state.next_due(), None);
}

#[test]
fn e1_an_edit_names_the_version_of_the_copy_and_not_of_an_answer() {
    let mut f = Fixture::connected();
    f.frame(ServerFrame::Snapshot(page(true, true, &[(id(1), 3)], "c")));
    let local_id = f.state.submit(edit(id(1), "a"));
    f.store();
    let Some(ClientFrame::Sync(sync)) = f.send() else { panic!("a batch goes") };
    let outcomes = f.frame(answer(&sync, vec![result(Status::Updated, 4)]));
    assert!(outcomes.iter().any(|outcome| matches!(outcome, Outcome::Answered(id, _) if *id == local_id)));
    assert_eq!(f.state.base_version("task", id(1)), 3);
    assert_eq!(f.state.copy().record("task", id(1)).unwrap().version, 3);
}

#[test]
fn o3_an_answer_with_a_result_missing_settles_nothing() {
    let mut f = Fixture::connected();
    f.state.submit(edit(id(1), "a"));
    f.store();
    let Some(ClientFrame::Sync(sync)) = f.send() else { panic!("a batch goes") };
    let outcomes = f.frame(answer(&sync, Vec::new()));
    assert!(matches!(end_of(&outcomes), Some(End::Unreadable(_))));
    assert_eq!(f.state.outbox().len(), 1);
}

#[test]
fn o3_conflict_risk_decides_nothing() {
    let mut f = Fixture::connected();
    f.state.submit(edit(id(1), "a"));
    f.store();
    let Some(ClientFrame::Sync(sync)) = f.send() else { panic!("a batch goes") };
    f.frame(answer(&sync, vec![result(Status::ConflictRisk, 0)]));
    assert_eq!(f.state.outbox().len(), 1);
    f.later = Duration::from_mins(1);
    assert!(matches!(f.send(), Some(ClientFrame::Sync(again)) if again.batch_id == sync.batch_id));
}

#[test]
fn an_entry_too_large_for_any_frame_is_refused_here_and_the_gap_is_closed_by_a_hello() {
    let mut f = Fixture::new();
    f.state.begin_attempt();
    f.state.hello(None, moment(&f.entropy));
    f.frame(welcome(0, Limits { max_frame_bytes: 400, ..LIMITS }));
    let large: Data = serde_json::json!({"title": "x".repeat(500)}).as_object().unwrap().clone();
    f.state.submit(Entry::upsert("task", id(1), 0, large));
    f.state.submit(edit(id(2), "b"));
    f.store();
    let mut outcomes = Vec::new();
    assert_eq!(f.send_noting(&mut outcomes), None);
    let refused = outcomes.iter().find_map(|outcome| match outcome {
        Outcome::Answered(1, result) => result.error.as_ref().map(|error| error.code),
        _ => None,
    });
    assert_eq!(refused, Some(ErrorCode::TooLarge));
    assert_eq!(end_of(&outcomes), Some(&End::HelloAgain));
    f.state.end_session(&End::HelloAgain);
    f.connect();
    f.store();
    assert!(matches!(f.send(), Some(ClientFrame::Sync(sync)) if sync.first_client_seq == Some(1)));
}

#[test]
fn c3_subscriptions_are_brought_to_the_wish_and_live_waits_for_the_next_caught_up() {
    let mut f = Fixture::connected();
    f.frame(ServerFrame::CaughtUp(CaughtUp { cursor: "c".to_owned(), seq: 1, id: None }));
    assert!(f.state.is_live());
    f.state.subscribe(vec![subscription("journal")]);
    f.state.unsubscribe(&["task".to_owned()]);
    f.store();
    let left = f.send();
    let Some(ClientFrame::Unsubscribe(Unsubscribe { domains, .. })) = left else { panic!("{left:?}") };
    assert_eq!(domains, ["task"]);
    let added = f.send();
    let Some(ClientFrame::Subscribe(Subscribe { id, subscriptions })) = added else { panic!("{added:?}") };
    assert_eq!(subscriptions, [subscription("journal")]);
    let fresh = vec![Fresh { domain: "journal".to_owned(), reason: FreshReason::New }];
    f.frame(ServerFrame::Subscribed(Subscribed { id, subscriptions, fresh }));
    assert!(!f.state.is_live());
    f.frame(ServerFrame::CaughtUp(CaughtUp { cursor: "c2".to_owned(), seq: 2, id: None }));
    assert!(f.state.is_live());
}

#[test]
fn a_subscription_that_is_refused_leaves_the_wish_and_the_others_stay() {
    let mut f = Fixture::connected();
    f.state.subscribe(vec![subscription("nonsense")]);
    let Some(ClientFrame::Subscribe(Subscribe { id, .. })) = f.send() else { panic!("it is asked for") };
    let outcomes = f.error(id, ErrorCode::UnknownDomain);
    assert!(matches!(outcomes[..], [Outcome::Event(Event::Refused { code: ErrorCode::UnknownDomain, .. })]));
    assert_eq!(f.send(), None);
    assert_eq!(f.state.wish, [subscription("task")]);
}

#[test]
fn a_subscription_that_is_refused_for_now_is_asked_for_again() {
    let mut f = Fixture::connected();
    f.state.subscribe(vec![subscription("journal")]);
    let Some(ClientFrame::Subscribe(Subscribe { id, .. })) = f.send() else { panic!("it is asked for") };
    f.error(id, ErrorCode::RateLimited);
    assert_eq!(f.send(), None);
    f.later = Duration::from_secs(6);
    assert!(matches!(f.send(), Some(ClientFrame::Subscribe(_))));
}

#[test]
fn an_unknown_operation_asks_for_everything_anew() {
    let mut f = Fixture::connected();
    f.frame(position("c1", 5));
    let outcomes = f.frame(ServerFrame::DataUpdate(change(Unknown, id(1), 4)));
    assert!(matches!(end_of(&outcomes), Some(End::Unreadable(_))));
    f.state.end_session(&End::Silent);
    assert_eq!(f.connect().cursor, None);
}

#[test]
fn a_hello_that_is_refused_ends_the_connection() {
    let mut f = Fixture::new();
    f.state.hello(None, moment(&f.entropy));
    let outcomes = f.error(HELLO_ID, ErrorCode::UnknownDomain);
    assert!(matches!(end_of(&outcomes), Some(End::Refused { temporary: false, .. })));
    let outcomes = f.error(HELLO_ID, ErrorCode::Unavailable);
    assert!(matches!(end_of(&outcomes), Some(End::Refused { temporary: true, .. })));
}

#[test]
fn goaway_says_when_to_come_back() {
    let mut f = Fixture::connected();
    let goaway = Goaway { reason: "shutdown".to_owned(), reconnect_after_ms: 700 };
    let outcomes = f.frame(ServerFrame::Goaway(goaway));
    assert!(matches!(outcomes[..], [Outcome::NotWithin(delay)] if delay == Duration::from_millis(700)));
}

#[test]
fn c7_an_answer_under_another_session_is_nobodys() {
    let mut f = Fixture::connected();
    f.state.submit(edit(id(1), "a"));
    f.store();
    let Some(ClientFrame::Sync(sync)) = f.send() else { panic!("a batch goes") };
    f.state.end_session(&End::Silent);
    f.frame(answer(&sync, vec![result(Status::Created, 1)]));
    assert_eq!(f.state.outbox().len(), 1);
}
