//! What a flood sends, encoded before: who says hello, and the frames that follow in turn.

use anyhow::Result;
use serde_json::json;
use uuid::Uuid;

use super::{FLOODER, Kind, entries};
use crate::chance::Chance;
use crate::frames;
use crate::hub::SECRET;
use crate::isolation::limits::{
    CONNECTIONS, DEVICE_HELLOS, ENTRIES, FRAMES, HELLOS, REPLAYED, SOCKETS, TIMES,
};
use crate::token;
use crate::wire;

/// Entries of a full batch, as many as the hub recommends.
const BATCH: u32 = 100;
/// Different batches; each goes out again and again under new ids.
const BATCHES: usize = 20;
/// Sockets of entries: few, so that each goes on before the time that it was told.
const WRITERS: u32 = 10;
/// Frames that ask for everything anew: leave a domain, come back, catch up.
const REPLAY_FRAMES: u32 = 3;
/// Records that each of these threes asks for at least; the store has that many.
const RECORDS: u32 = 10_000;
/// Threes a second: three times as many as ten times the limit needs, for most are cut short by the next.
const REPLAYS: u32 = 3 * TIMES * REPLAYED / RECORDS;
/// The id of batches, whose last digits are written anew each time.
const BATCH_ID: Uuid = Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0000);

/// What one kind of flood sends.
pub(super) struct Traffic {
    kind: Kind,
    /// The most sockets.
    pub(super) sockets: usize,
    /// Sockets opened a second.
    pub(super) dials: f64,
    /// Frames a second.
    pub(super) frames: f64,
    token: String,
    said: Vec<Message>,
    turn: usize,
    opened: u64,
}

/// A frame, and where the digits of its batch id stand.
struct Message {
    framed: Vec<u8>,
    digits: Option<usize>,
}

impl Traffic {
    /// That of a kind; [`Kind::All`] has none of its own.
    pub(super) fn of(kind: Kind) -> Result<Self> {
        let (sockets, frames) = match kind {
            Kind::Connections | Kind::All => (TIMES * SOCKETS, 0),
            Kind::Frames => (CONNECTIONS, TIMES * FRAMES),
            Kind::Entries => (WRITERS, TIMES * ENTRIES / BATCH),
            Kind::Replays => (CONNECTIONS, REPLAYS * REPLAY_FRAMES),
        };
        // Where hellos are not the flood, closed devices come back as often as they may.
        let dials = if frames == 0 { TIMES * HELLOS } else { DEVICE_HELLOS * sockets };
        Ok(Self {
            kind,
            sockets: sockets as usize,
            dials: f64::from(dials),
            frames: f64::from(frames),
            token: token::token(SECRET, FLOODER, &format!("flood-of-{kind}"))?,
            said: said(kind),
            turn: 0,
            opened: 0,
        })
    }

    /// Whether there is nothing but hellos.
    pub(super) fn is_of_hellos(&self) -> bool {
        self.frames <= 0.0
    }

    /// The upgrade and the hello of a socket. Connections come from one address, each as a new device; all else
    /// comes from as many addresses as there are sockets, so that only the limits of the tenant stand against it.
    pub(super) fn opening(&mut self, place: usize) -> Vec<u8> {
        self.opened += 1;
        let is_replay = self.kind == Kind::Replays;
        let (address, device) = if self.is_of_hellos() {
            ("198.51.100.7".to_owned(), format!("new-{}-{}", std::process::id(), self.opened))
        } else {
            (format!("203.0.{}.{}", place / 250, place % 250), format!("{}-{place}", self.kind))
        };
        let domains: &[&str] = if is_replay { &["note"] } else { &[] };
        let mut opening = wire::upgrade_through_proxy("/ws", "synchub.v1.msgpack", &address);
        wire::put(&mut opening, &frames::hello(&self.token, &device, None, domains, None));
        opening
    }

    /// The next frame.
    pub(super) fn frame(&mut self) -> &[u8] {
        self.turn += 1;
        let (number, turn) = (self.turn, self.turn % self.said.len());
        let message = &mut self.said[turn];
        if let Some(at) = message.digits {
            let id = (std::process::id() as usize) << 24 | number & 0xff_ffff;
            message.framed[at..at + 12].copy_from_slice(format!("{id:012x}").as_bytes());
        }
        &message.framed
    }
}

fn said(kind: Kind) -> Vec<Message> {
    let mut chance = Chance::new(u64::from(std::process::id()));
    let payloads = match kind {
        Kind::Connections | Kind::All => Vec::new(),
        Kind::Frames => vec![
            frames::encode(&json!({"type": "ping", "id": 7})),
            frames::encode(&json!({"type": "ack", "cursor": "no cursor at all"})),
            frames::sync(7, BATCH_ID, None, &[]),
        ],
        Kind::Entries => {
            let batch = |_| frames::sync(7, BATCH_ID, None, &entries(&mut chance, BATCH as usize));
            (0..BATCHES).map(batch).collect()
        }
        Kind::Replays => vec![
            frames::encode(&json!({"type": "unsubscribe", "id": 7, "domains": ["note"]})),
            frames::encode(&json!({"type": "subscribe", "id": 7, "subscriptions": [{"domain": "note"}]})),
            frames::encode(&json!({"type": "catch_up", "id": 7})),
        ],
    };
    payloads.iter().map(|payload| message(payload)).collect()
}

fn message(payload: &[u8]) -> Message {
    let mut framed = Vec::new();
    wire::put(&mut framed, payload);
    let id = BATCH_ID.to_string();
    let at = framed.windows(id.len()).position(|part| part == id.as_bytes());
    Message { digits: at.map(|at| at + id.len() - 12), framed }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_batch_has_an_id_of_its_own_and_all_else_has_none() {
        let mut entries = Traffic::of(Kind::Entries).unwrap();
        let id = |traffic: &mut Traffic| {
            let frame = traffic.frame().to_vec();
            let at = frame.windows(24).position(|part| part == &BATCH_ID.to_string().as_bytes()[..24]);
            frame[at.unwrap()..][..36].to_vec()
        };
        let ids: HashSet<_> = (0..100).map(|_| id(&mut entries)).collect();
        assert_eq!(ids.len(), 100);
        assert!(ids.iter().all(|id| Uuid::try_parse_ascii(id).is_ok()));
        let with_ids = |kind| said(kind).iter().filter(|message| message.digits.is_some()).count();
        assert_eq!([Kind::Frames, Kind::Entries, Kind::Replays].map(with_ids), [1, BATCHES, 0]);
    }

    #[test]
    fn only_connections_are_of_hellos_alone_and_come_from_one_address() {
        let of = |kind| Traffic::of(kind).unwrap();
        let address = |opening: &[u8]| {
            let text = String::from_utf8_lossy(opening).into_owned();
            text.lines().find(|line| line.starts_with("x-forwarded-for")).unwrap().to_owned()
        };
        let (mut connections, mut frames) = (of(Kind::Connections), of(Kind::Frames));
        assert!(connections.is_of_hellos() && !frames.is_of_hellos());
        assert_eq!(address(&connections.opening(1)), address(&connections.opening(2)));
        assert_ne!(address(&frames.opening(1)), address(&frames.opening(2)));
    }
}
