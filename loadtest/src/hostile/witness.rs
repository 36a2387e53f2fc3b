//! A device that behaves, while others do not: it sends one entry after the other and keeps a copy.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use synchub_client::{Clock, SystemClock};
use synchub_protocol::Encoding;
use tokio::time::{Instant, timeout};

use super::frames;
use super::wire::{Heard, Wire};
use crate::chance::Chance;
use crate::survey::Actor;
use crate::timing::Durations;
use crate::token::Signer;

/// How long its own changes may take to come back to it.
const PATIENCE: Duration = Duration::from_mins(1);

/// The device, and what it has seen.
pub(super) struct Witness {
    wire: Wire,
    chance: Arc<Chance>,
    sent: BTreeSet<String>,
    copy: BTreeSet<String>,
}

impl Witness {
    /// Says hello, subscribed to all that it may see.
    pub(super) async fn connect(address: SocketAddr, signer: &Signer, chance: Arc<Chance>) -> Result<Self> {
        let [tenant, user, device] = ["t", "wendy", "w"].map(str::to_owned);
        let actor = Actor { tenant, user, device, unit: Some("desk".to_owned()), lines: 0 };
        let token = signer.sign(&actor, SystemClock.now().0)?;
        let mut wire = Wire::open(address, Encoding::MessagePack).await?;
        wire.say(&json!({
            "type": "hello", "id": 1, "token": token, "device": {"id": "w", "kind": "phone"},
            "subscriptions": [{"domain": "ticket"}],
        }))
        .await;
        let mut witness = Self { wire, chance, sent: BTreeSet::new(), copy: BTreeSet::new() };
        while witness.frame().await?["type"] != "caught_up" {}
        Ok(witness)
    }

    /// Sends entries while it is to go on, each when the one before was answered; at least one.
    pub(super) async fn work(&mut self, go_on: impl Fn() -> bool, durations: &Durations) -> Result<()> {
        loop {
            let entry = frames::ticket(&self.chance);
            let id = entry["mobile_id"].as_str().context("a ticket has an id")?.to_owned();
            let bytes = frames::sync(&self.chance, &[entry]);
            let started = Instant::now();
            self.wire.send(&bytes).await;
            self.sent.insert(id);
            let answer = loop {
                let frame = self.frame().await?;
                if frame["id"] == 5 {
                    break frame;
                }
            };
            durations.add(started.elapsed());
            if answer["results"][0]["status"] != "created" {
                bail!("the witness was answered {answer}");
            }
            if !go_on() {
                return Ok(());
            }
        }
    }

    /// Waits until its copy holds what it sent, and nothing else.
    pub(super) async fn settle(&mut self) -> Result<()> {
        let settle = async {
            while self.copy.len() < self.sent.len() {
                self.frame().await?;
            }
            anyhow::Ok(())
        };
        timeout(PATIENCE, settle).await.context("the witness's copy is not complete")??;
        if self.copy != self.sent {
            bail!("the witness's copy holds other records than it sent");
        }
        Ok(())
    }

    async fn frame(&mut self) -> Result<Value> {
        match self.wire.hear().await.context("the witness")? {
            Heard::Frame(frame) => {
                if frame["type"] == "data_update" {
                    self.copy.extend(frame["mobile_id"].as_str().map(str::to_owned));
                }
                Ok(frame)
            }
            Heard::Closed(code) => bail!("the hub closed the witness's socket with {code}"),
        }
    }
}
