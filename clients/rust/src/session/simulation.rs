//! Random histories of one client and a hub that keeps the numbers (O2): connections break, answers are
//! lost, the app is killed, the phone or the hub is restored from a backup. Whatever happens, each edit
//! that was stored is applied once, in the order in which they were made.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use synchub_protocol::client::{Hello, Sync};
use synchub_protocol::codec::decode_client;
use synchub_protocol::server::{ErrorFrame, Limits, SyncResult};
use synchub_protocol::{ClientFrame, DeviceKind, ServerFrame, Timestamp};

use super::*;
use crate::batches::Moment;
use crate::testing::{Counting, edit, id, moment, result};

/// Numbers that look random and are the same at each run (xorshift).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

#[derive(Clone, Default)]
struct Hub {
    marks: HashMap<Uuid, u64>,
    applied: Vec<u128>,
}

impl Hub {
    fn on_sync(&mut self, install: Uuid, sync: &Sync, dice: &mut Dice) -> ServerFrame {
        let refuse = |code| ServerFrame::Error(ErrorFrame::new(Some(sync.id), code, "no"));
        let first = sync.first_client_seq.expect("numbered");
        let mark = self.marks.entry(install).or_default();
        if first > *mark + 1 {
            return refuse(ErrorCode::OutOfOrder);
        }
        if dice.below(6) == 0 {
            return refuse(ErrorCode::Unavailable);
        }
        let mut results = Vec::new();
        for (raw, number) in sync.entries.iter().zip(first..) {
            let is_new = number > *mark;
            if is_new {
                *mark = number;
                self.applied.push(raw.entry.as_ref().expect("readable").mobile_id.as_u128());
            }
            results.push(result(if is_new { Status::Created } else { Status::Duplicate }, 1));
        }
        ServerFrame::SyncResult(SyncResult {
            id: sync.id,
            batch_id: sync.batch_id,
            results,
            seq: 1,
            server_timestamp: Timestamp(0),
            repeated: false,
            backoff_ms: None,
            recommended_batch: None,
        })
    }
}

struct World {
    dice: Dice,
    entropy: Counting,
    hub: Hub,
    state: State,
    stored: Stored,
    install: Install,
    /// The install of the open connection, and what is on the way on it.
    connection: Option<(Uuid, VecDeque<Sync>, VecDeque<ServerFrame>)>,
    made: u128,
    /// The edits that are stored on the phone as it is now, or were before it was restored.
    promised: BTreeSet<u128>,
    forgiven: BTreeSet<u128>,
    steps: u32,
}

impl World {
    fn new(seed: u64) -> Self {
        let entropy = Counting::default();
        let install = Install::KeptApart(entropy.uuid());
        let state = load(Stored::default(), install, &entropy);
        Self {
            dice: Dice(seed * 7919 + 1),
            entropy,
            hub: Hub::default(),
            state,
            stored: Stored::default(),
            install,
            connection: None,
            made: 0,
            promised: BTreeSet::new(),
            forgiven: BTreeSet::new(),
            steps: 0,
        }
    }

    fn step(&mut self) {
        self.steps += 1;
        match self.dice.below(12) {
            0 | 1 => {
                self.made += 1;
                self.state.submit(edit(id(self.made), "t"));
            }
            2 | 3 => self.store(),
            4 | 5 => self.send(),
            6 | 7 => self.hub_takes(),
            8 | 9 => self.client_takes(),
            10 if self.dice.below(3) == 0 => self.connect(),
            11 if self.dice.below(6) == 0 => self.lose(),
            _ => {}
        }
    }

    fn store(&mut self) {
        let Some((changes, revision)) = self.state.take_changes() else { return };
        for change in changes {
            self.stored.apply(change);
        }
        self.promised.extend(self.stored.entries.values().map(|kept| kept.entry.mobile_id.as_u128()));
        self.state.stored(revision);
    }

    fn connect(&mut self) {
        if self.connection.is_some() {
            return;
        }
        self.state.begin_attempt();
        self.store();
        let hello = self.state.hello(None, later(&self.entropy, self.steps));
        let hello: Hello = match decode_client(Encoding::Json, &hello) {
            Ok(ClientFrame::Hello(hello)) => hello,
            other => panic!("hello, not {other:?}"),
        };
        let install = hello.device.and_then(|device| device.install_id).expect("an install");
        let welcome = Welcome {
            id: hello.id,
            session_id: String::new(),
            server_time: Timestamp(0),
            epoch: 0,
            last_client_seq: self.hub.marks.get(&install).copied().unwrap_or(0),
            fresh: Vec::new(),
            compression: None,
            features: Vec::new(),
            heartbeat_secs: 25,
            limits: Limits {
                max_frame_bytes: 700,
                max_entry_bytes: 700,
                max_batch_entries: 5,
                max_in_flight: 3,
                recommended_batch: 1 + self.dice.below(5),
            },
        };
        self.connection = Some((install, VecDeque::new(), VecDeque::from([ServerFrame::Welcome(welcome)])));
    }

    fn send(&mut self) {
        let mut outcomes = Vec::new();
        let bytes = self.state.next_frame(later(&self.entropy, self.steps), &mut outcomes);
        if let (Some(bytes), Some((_, up, _))) = (bytes, &mut self.connection)
            && let Ok(ClientFrame::Sync(sync)) = decode_client(Encoding::Json, &bytes)
        {
            up.push_back(sync);
        }
        self.end_if_told(&outcomes);
    }

    fn hub_takes(&mut self) {
        if let Some((install, up, down)) = &mut self.connection
            && let Some(sync) = up.pop_front()
        {
            down.push_back(self.hub.on_sync(*install, &sync, &mut self.dice));
        }
    }

    fn client_takes(&mut self) {
        let frame = self.connection.as_mut().and_then(|(_, _, down)| down.pop_front());
        if let Some(frame) = frame {
            let outcomes = self.state.on_frame(frame, later(&self.entropy, self.steps));
            self.end_if_told(&outcomes);
        }
    }

    fn end_if_told(&mut self, outcomes: &[Outcome]) {
        if outcomes.iter().any(|outcome| matches!(outcome, Outcome::End(_))) {
            self.break_connection();
        }
    }

    /// Some of what is on the way still arrives, the rest and all answers are lost.
    fn break_connection(&mut self) {
        let Some((install, up, _)) = self.connection.take() else { return };
        let arrive = usize::try_from(self.dice.below(up.len() as u64 + 1)).expect("small");
        for sync in up.into_iter().take(arrive) {
            self.hub.on_sync(install, &sync, &mut self.dice);
        }
        self.state.end_session(&End::Silent);
    }

    /// A break or a kill; with the app killed, what was not stored is gone.
    fn lose(&mut self) {
        self.break_connection();
        if self.dice.below(2) == 0 {
            self.restart(self.stored.clone(), self.install);
        }
    }

    fn restart(&mut self, stored: Stored, install: Install) {
        self.stored = stored;
        self.install = install;
        self.state = load(self.stored.clone(), install, &self.entropy);
    }

    /// Everything comes through in the end; then the promises are checked.
    fn settle(&mut self) {
        for _ in 0..4000 {
            self.steps += 1;
            self.connect();
            self.store();
            self.send();
            self.hub_takes();
            self.client_takes();
            let is_quiet = self.connection.as_ref().is_some_and(|(_, _, down)| down.is_empty());
            if is_quiet && self.state.outbox().is_empty() {
                break;
            }
        }
        assert!(self.state.outbox().is_empty(), "everything is answered in the end");
        let applied: BTreeSet<u128> = self.hub.applied.iter().copied().collect();
        assert_eq!(applied.len(), self.hub.applied.len(), "nothing is applied twice: {:?}", self.hub.applied);
        let missing: Vec<_> =
            self.promised.difference(&applied).filter(|edit| !self.forgiven.contains(edit)).collect();
        assert!(missing.is_empty(), "nothing that was stored is lost: {missing:?}");
        assert!(applied.is_subset(&self.promised), "nothing is sent before it is stored");
        assert!(self.hub.applied.is_sorted(), "in the order in which they were made: {:?}", self.hub.applied);
    }
}

/// Time flies, so that no pause of a busy hub lasts.
fn later(entropy: &Counting, steps: u32) -> Moment<'_> {
    let mut moment = moment(entropy);
    moment.instant += Duration::from_hours(1) * steps;
    moment
}

fn load(stored: Stored, install: Install, entropy: &Counting) -> State {
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
    State::load(stored, settings, install, Vec::new(), entropy)
}

fn histories(mut accident: impl FnMut(&mut World)) {
    for seed in 1..=100 {
        let mut world = World::new(seed);
        for _ in 0..120 {
            world.step();
        }
        accident(&mut world);
        for _ in 0..120 {
            world.step();
        }
        world.settle();
    }
}

#[test]
fn o2_each_edit_is_applied_once_whatever_breaks() {
    let mut applied = 0;
    histories(|world| applied += world.hub.applied.len());
    assert!(applied > 500, "the histories do something");
}

#[test]
fn o4_a_phone_restored_from_a_backup_applies_nothing_twice() {
    histories(|world| {
        world.store();
        let backup = world.stored.clone();
        for _ in 0..80 {
            world.step();
        }
        world.break_connection();
        let kept = backup.entries.values().map(|kept| kept.entry.mobile_id.as_u128()).collect();
        world.forgiven = world.promised.difference(&kept).copied().collect();
        let install = Install::KeptApart(world.entropy.uuid());
        world.restart(backup, install);
    });
}

#[test]
fn r2_a_hub_restored_from_a_backup_gets_again_what_it_forgot() {
    histories(|world| {
        let backup = world.hub.clone();
        for _ in 0..80 {
            world.step();
        }
        world.break_connection();
        world.hub = backup;
    });
}
