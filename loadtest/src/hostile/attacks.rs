//! Every way in which a peer can misbehave, with what the hub has to say to it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use synchub_client::{Clock, SystemClock};
use synchub_protocol::Encoding;
use synchub_protocol::Encoding::{Json, MessagePack};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::frames::{self, batches};
use super::wire::{BINARY, FINAL, Heard, Wire, head, message};
use crate::chance::Chance;
use crate::survey::Actor;
use crate::token::Signer;

/// Sockets that each hold most of a message back.
const HOLDERS: usize = 20;
const HELD_BYTES: usize = 1_900_000;
const DAY_US: i64 = 24 * 3600 * 1_000_000;

/// What an attacker has.
#[derive(Debug, Clone)]
pub(super) struct Means {
    pub(super) address: SocketAddr,
    pub(super) signer: Signer,
    pub(super) chance: Arc<Chance>,
    /// Which attacker it is.
    pub(super) number: usize,
}

impl Means {
    fn actor(&self, socket: usize) -> Actor {
        let (tenant, unit) = ("t".to_owned(), Some("shed".to_owned()));
        let user = format!("mallory {}", self.number);
        Actor { tenant, user, device: format!("d{socket}"), unit, lines: 0 }
    }

    /// A hello with a token that was signed so long ago.
    fn hello(&self, signer: &Signer, device: &str, ago_us: i64) -> Result<Value> {
        let token = signer.sign(&self.actor(0), SystemClock.now().0 - ago_us)?;
        Ok(json!({"type": "hello", "id": 1, "token": token, "device": {"id": device, "kind": "phone"}}))
    }

    /// A socket that said hello.
    async fn known(&self, socket: usize) -> Result<Wire> {
        let actor = self.actor(socket);
        let token = self.signer.sign(&actor, SystemClock.now().0)?;
        let device = json!({"id": actor.device, "kind": "phone"});
        let mut wire = Wire::open(self.address, MessagePack).await?;
        wire.say(
            &json!({"type": "hello", "id": 1, "token": token, "device": device, "compression": ["gzip"]}),
        )
        .await;
        match wire.hear().await? {
            Heard::Frame(frame) if frame["type"] == "welcome" => Ok(wire),
            other => bail!("no welcome: {other:?}"),
        }
    }
}

/// One way to misbehave.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attack {
    pub(super) name: &'static str,
    /// A close code, the code of an `error`, or the results of a batch, each once.
    pub(super) expected: &'static str,
    way: Way,
}

#[derive(Debug, Clone, Copy)]
enum Way {
    /// Bytes before a hello.
    Stranger(Encoding, fn(&Means) -> Vec<u8>),
    /// A hello that is no good.
    Hello(fn(&Means) -> Result<Value>),
    /// Bytes after a hello.
    Known(fn(&Means) -> Vec<u8>),
    /// Large messages of which the last bytes never come.
    Holding,
    /// An upgraded connection that says nothing.
    NoHello,
    /// A connection that says nothing at all.
    HalfOpen,
    /// A request that comes byte by byte and does not end.
    SlowHead,
}

const fn stranger(name: &'static str, expected: &'static str, bytes: fn(&Means) -> Vec<u8>) -> Attack {
    Attack { name, expected, way: Way::Stranger(MessagePack, bytes) }
}

const fn known(name: &'static str, expected: &'static str, bytes: fn(&Means) -> Vec<u8>) -> Attack {
    Attack { name, expected, way: Way::Known(bytes) }
}

/// What is over at once.
pub(super) const QUICK: &[Attack] = &[
    stranger("garbage before hello", "4503", |means| frames::garbage(&means.chance)),
    stranger("lists in lists", "4503", |_| frames::nested()),
    stranger("a list of four billion, announced", "4503", |_| frames::announced()),
    stranger("a message of 2^62 bytes, announced", "4505", |_| frames::announced_message()),
    stranger("a large hello", "4505", |_| frames::padded(100_000)),
    stranger("parts without end before hello", "4505", |_| frames::parts_without_end()),
    stranger("reserved bits", "4503", |_| frames::broken_frames()[0].clone()),
    stranger("a reserved opcode", "4503", |_| frames::broken_frames()[1].clone()),
    stranger("a ping in parts", "4503", |_| frames::broken_frames()[2].clone()),
    stranger("a long ping", "4503", |_| frames::broken_frames()[3].clone()),
    stranger("a frame without a mask", "4503", |_| frames::broken_frames()[4].clone()),
    stranger("a request before hello", "unauthorized", |_| frames::packed(&json!({"type": "ping", "id": 1}))),
    Attack { name: "broken text", expected: "4503", way: Way::Stranger(Json, |_| frames::broken_text()) },
    Attack {
        name: "MessagePack as JSON",
        expected: "4503",
        way: Way::Stranger(Json, |_| frames::packed(&json!({"type": "ping", "id": 1}))),
    },
    Attack {
        name: "an expired token",
        expected: "4500",
        way: Way::Hello(|means| means.hello(&means.signer, "d0", 2 * DAY_US)),
    },
    Attack {
        name: "a foreign token",
        expected: "4500",
        way: Way::Hello(|means| means.hello(&Signer::new("the secret of another hub, long enough"), "d0", 0)),
    },
    Attack {
        name: "a token of another device",
        expected: "4500",
        way: Way::Hello(|means| means.hello(&means.signer, "d1", 0)),
    },
    Attack {
        name: "an unknown domain in hello",
        expected: "unknown_domain",
        way: Way::Hello(|means| {
            let mut hello = means.hello(&means.signer, "d0", 0)?;
            hello["subscriptions"] = json!([{"domain": "nothing"}]);
            Ok(hello)
        }),
    },
    known("garbage", "4503", |means| frames::garbage(&means.chance)),
    known("a frame over the limit", "too_large", |_| frames::padded(1_500_000)),
    known("a frame over twice the limit", "4505", |_| frames::padded(2_200_000)),
    known("a gzip bomb", "4505", |_| frames::gzip_bomb()),
    known("broken gzip", "4503", |_| frames::broken_gzip()),
    known("parts without end", "4505", |_| frames::parts_without_end()),
    known("empty parts", "4507", |_| frames::empty_parts()),
    known("pings by the thousand", "pong", |_| frames::pings()),
    known("a second hello", "4506", |_| {
        frames::packed(&json!({"type": "hello", "id": 1, "device": {"id": "d0", "kind": "phone"}}))
    }),
    known("an unknown type", "unknown_type", |_| frames::packed(&json!({"type": "teleport", "id": 5}))),
    known("wrong types", "bad_request", |_| {
        frames::packed(&json!({"type": "sync", "id": 5, "batch_id": 7, "entries": "all"}))
    }),
    known("an unknown domain", "unknown_domain", |_| {
        frames::packed(&json!({"type": "subscribe", "id": 5, "subscriptions": [{"domain": "nothing"}]}))
    }),
    known("1001 entries", "too_many_entries", |means| {
        batches::of(&means.chance, &batches::tickets(&means.chance, 1001))
    }),
    known("one entry among a thousand that breaks every check", "created+validation_failed", |means| {
        batches::one_broken(&means.chance)
    }),
    known("a thousand broken entries", "validation_failed", |means| batches::all_broken(&means.chance)),
    known("a thousand entries that are none", "validation_failed", |means| batches::nulls(&means.chance)),
    known("a large entry", "too_large", |means| batches::large(&means.chance)),
    known("an entry of small maps", "too_large", |means| batches::small_maps(&means.chance)),
    known("a batch of small maps", "too_large", |means| batches::many_small_maps(&means.chance)),
    known("a filter of small maps", "bad_request", |_| frames::filter()),
    known("a type that is a list", "4503", |_| {
        message(MessagePack, &[&b"\x81\xa4type\xdd\x00\x0f\x00\x00"[..], &vec![0xc0; 0xf_0000]].concat())
    }),
    Attack { name: "messages that never end", expected: "4004", way: Way::Holding },
];

/// What is over when the hub has waited long enough.
pub(super) const SLOW: &[Attack] = &[
    Attack { name: "no hello", expected: "4005", way: Way::NoHello },
    Attack { name: "half open", expected: "cut", way: Way::HalfOpen },
    Attack { name: "a slow request", expected: "cut", way: Way::SlowHead },
];

impl Attack {
    /// Attacks once; what the hub said.
    pub(super) async fn run(&self, means: &Means) -> Result<String> {
        let said = match self.way {
            Way::Stranger(encoding, bytes) => {
                let mut wire = Wire::open(means.address, encoding).await?;
                wire.send(&bytes(means)).await;
                verdict(&mut wire).await
            }
            Way::Hello(hello) => {
                let mut wire = Wire::open(means.address, Json).await?;
                wire.say(&hello(means)?).await;
                verdict(&mut wire).await
            }
            Way::Known(bytes) => attack_known(means, &bytes(means)).await,
            Way::Holding => hold(means).await,
            Way::NoHello => verdict(&mut Wire::open(means.address, Json).await?).await,
            Way::HalfOpen => wait_for_cut(means, false).await,
            Way::SlowHead => wait_for_cut(means, true).await,
        };
        said.with_context(|| format!("`{}`", self.name))
    }
}

/// A socket that was not closed must go on.
async fn attack_known(means: &Means, bytes: &[u8]) -> Result<String> {
    let mut wire = means.known(0).await?;
    wire.send(bytes).await;
    let said = verdict(&mut wire).await?;
    if said.parse::<u16>().is_err() {
        wire.say(&json!({"type": "ping", "id": 6})).await;
        let then = verdict(&mut wire).await?;
        if then != "pong" {
            bail!("after `{said}` the socket does not go on: {then}");
        }
    }
    Ok(said)
}

/// Holds more than the node has room for; what the first is told.
async fn hold(means: &Means) -> Result<String> {
    let mut wires = Vec::new();
    let mut bytes = head(FINAL | BINARY, 2_000_000);
    bytes.resize(HELD_BYTES, 0);
    for socket in 1..=HOLDERS {
        let mut wire = means.known(socket).await?;
        wire.send(&bytes).await;
        wires.push(wire);
    }
    let first = wires.first_mut().context("there is one")?;
    verdict(first).await
}

async fn wait_for_cut(means: &Means, talks: bool) -> Result<String> {
    let mut stream = TcpStream::connect(means.address).await?;
    let wait = async {
        let mut answer = [0; 64];
        loop {
            let pause = Duration::from_millis(if talks { 100 } else { 60_000 });
            match timeout(pause, stream.read(&mut answer)).await {
                Ok(Ok(1..)) => {}
                Ok(_) => return,
                Err(_) => drop(stream.write_all(b"G").await),
            }
        }
    };
    timeout(Duration::from_mins(1), wait).await.context("it is not cut")?;
    Ok("cut".to_owned())
}

/// What the hub says of what was sent.
async fn verdict(wire: &mut Wire) -> Result<String> {
    loop {
        let frame = match wire.hear().await? {
            Heard::Closed(code) => return Ok(code.to_string()),
            Heard::Frame(frame) => frame,
        };
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        match frame["type"].as_str() {
            Some("error") => return Ok(word(&frame["code"])),
            Some(kind @ ("pong" | "welcome")) => return Ok(kind.to_owned()),
            Some("sync_result") => {
                let results = frame["results"].as_array().map(Vec::as_slice).unwrap_or_default();
                let code = |result: &Value| word(result["error"].get("code").unwrap_or(&result["status"]));
                let mut codes: Vec<_> = results.iter().map(code).collect();
                codes.sort();
                codes.dedup();
                return Ok(codes.join("+"));
            }
            _ => {}
        }
    }
}

/// Good work in large batches, so that what a busy hub keeps is there before anything is measured.
pub(super) async fn work(means: &Means, count: usize) -> Result<()> {
    let mut wire = means.known(0).await?;
    for _ in 0..count {
        wire.send(&batches::of(&means.chance, &batches::tickets(&means.chance, 1000))).await;
        let said = verdict(&mut wire).await?;
        if said != "created" {
            bail!("a good batch was answered {said}");
        }
    }
    Ok(())
}
