//! How a device's client is set up: whom it is, what it speaks, and that a witness sees what it is sent.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use synchub_client::{Backoff, Clock, Config, Entropy, Install, SystemClock, TokenError, TokenSource};
use synchub_protocol::client::{Device, Subscription};
use synchub_protocol::{DeviceKind, Encoding};
use uuid::Uuid;

use crate::args::{Offers, Tongue};
use crate::chance::Chance;
use crate::pace::WallClock;
use crate::scenario::arrivals::Arrivals;
use crate::sightings::Sightings;
use crate::survey::{Actor, DeviceIndex, Survey};
use crate::token::Signer;
use crate::witness::Witness;

/// Reconnects are quick: the replay waits for the devices of a hub that was killed.
const BACKOFF: Backoff = Backoff { first: Duration::from_millis(100), most: Duration::from_secs(2) };
/// Only observers listen; what they miss is not timed.
const EVENTS: usize = 4096;

/// The operating system's clock.
pub(crate) fn wall_clock() -> WallClock {
    Arc::new(|| SystemClock.now().0)
}

/// Where devices connect, and how.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) url: String,
    pub(crate) signer: Signer,
    pub(crate) tongue: Tongue,
    pub(crate) offers: Offers,
    /// What the devices see on the way.
    pub(crate) sightings: Arc<Sightings>,
    /// Times what arrives at the devices, where that is wanted.
    pub(crate) arrivals: Option<Arc<Arrivals>>,
    /// The addresses of devices that do not go to `url` straight.
    pub(crate) detours: HashMap<DeviceIndex, String>,
}

impl Target {
    /// Devices that speak MessagePack and go straight to `url`.
    pub(crate) fn new(url: String, signer: Signer) -> Self {
        let (tongue, sightings) = (Tongue::Msgpack, Arc::default());
        let offers = Offers::Both;
        Self { url, signer, tongue, offers, sightings, arrivals: None, detours: HashMap::new() }
    }

    /// The same without detours, for devices that only look: nothing is timed at them.
    pub(crate) fn straight(&self) -> Self {
        Self { arrivals: None, detours: HashMap::new(), ..self.clone() }
    }

    /// The configuration of a device's client; it subscribes to every domain of the trace.
    pub(crate) fn config(
        &self,
        survey: &Survey,
        chance: &Arc<Chance>,
        (index, actor, install): (DeviceIndex, &Actor, Uuid),
    ) -> Config {
        let subscription =
            |domain: &String| Subscription { domain: domain.clone(), filter: None, priority: None };
        let hello = Device {
            id: actor.device.clone(),
            kind: kind(index),
            install_id: None,
            name: None,
            os: None,
            app_version: None,
        };
        let arrival = self.arrivals.as_ref().map(|arrivals| arrivals.at(index));
        let witness = Witness::new(index, &actor.tenant, Arc::clone(&self.sightings), arrival);
        let url = self.detours.get(&index).unwrap_or(&self.url).clone();
        let token = Arc::new(Token { signer: self.signer.clone(), actor: actor.clone() });
        Config {
            encoding: encoding(self.tongue, index),
            subscriptions: survey.domains.iter().map(subscription).collect(),
            storage: Box::new(witness),
            install: Install::KeptApart(install),
            backoff: BACKOFF,
            // A hub that forgets what it has answered is to be found out, not helped.
            keep_accepted: Duration::ZERO,
            compression: matches!(self.offers, Offers::Compression | Offers::Both),
            delta: matches!(self.offers, Offers::Deltas | Offers::Both),
            event_capacity: EVENTS,
            entropy: Arc::clone(chance) as Arc<dyn Entropy>,
            ..Config::new(url, token, hello)
        }
    }
}

fn kind(index: DeviceIndex) -> DeviceKind {
    [DeviceKind::Desktop, DeviceKind::Laptop, DeviceKind::Tablet, DeviceKind::Phone][index % 4]
}

fn encoding(tongue: Tongue, index: DeviceIndex) -> Encoding {
    match tongue {
        Tongue::Json => Encoding::Json,
        Tongue::Mixed if !index.is_multiple_of(2) => Encoding::Json,
        Tongue::Msgpack | Tongue::Mixed => Encoding::MessagePack,
    }
}

/// Signs a new token for each connection.
struct Token {
    signer: Signer,
    actor: Actor,
}

impl TokenSource for Token {
    fn token(&self) -> BoxFuture<'_, Result<String, TokenError>> {
        let signed = self.signer.sign(&self.actor, SystemClock.now().0);
        Box::pin(std::future::ready(signed.map_err(|error| TokenError(format!("{error:#}")))))
    }
}

impl Entropy for Chance {
    fn fill(&self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(8) {
            chunk.copy_from_slice(&self.next().to_le_bytes()[..chunk.len()]);
        }
    }
}
