//! How much one may ask for: sockets at once, hellos, frames, entries and bytes a second; by address,
//! device, user and tenant; and how much a tenant is sent again.
//!
//! [`Limits`] has the counts of a node, an [`Allowance`] is a session's part in them. It knows neither sockets
//! nor frames, only who asks for how much; the caller refuses. What is not used for a while is forgotten.

mod address;
mod allowance;
mod bucket;
mod meter;
mod places;
mod replays;
#[cfg(test)]
mod tests;

use std::hash::{BuildHasher, RandomState};
use std::net::{AddrParseError, IpAddr};
use std::sync::Arc;
use std::time::Duration;

use dashmap::DashMap;
use tokio_util::sync::CancellationToken;

use crate::auth::Role;
use crate::clock::SharedClock;
use crate::config::{RateName, RateSettings};
use crate::observe::Metrics;

pub use address::Address;
pub use allowance::Allowance;
use bucket::{Bucket, Rate};
use meter::Meter;
pub use places::Held;
use places::{Holder, Places};
pub use replays::{Replays, Turn};

/// How often what is not used any more is forgotten.
const FORGET_EVERY: Duration = Duration::from_secs(30);

/// Too much was asked for: not again before this has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("more than the limit allows; try again in {} ms", self.retry_after_ms())]
pub struct Limited(Duration);

/// The shortest wait that is worth a message: who comes sooner finds room for little.
const SHORTEST_WAIT: Duration = Duration::from_millis(100);

impl Limited {
    fn after(wait: Duration) -> Self {
        Self(wait.max(SHORTEST_WAIT))
    }

    /// When to try again, in milliseconds, at least 100.
    pub fn retry_after_ms(&self) -> u64 {
        u64::try_from(self.0.as_micros().div_ceil(1000)).unwrap_or(u64::MAX)
    }
}

/// Whose limits hold for a session.
#[derive(Debug, Clone, Copy)]
pub struct Party<'a> {
    /// The role of its token.
    pub role: Role,
    /// The tenant's name.
    pub tenant: &'a str,
    /// The tenant's number.
    pub tenant_no: i64,
    /// The user's number.
    pub user: i64,
    /// The device's number; unused but for role `device`.
    pub device: i64,
}

/// Who is metered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Metered {
    Device(i64),
    /// Of a tenant, in a role: publishers and operators have rates of their own.
    User(i64, i64, Role),
    Tenant(i64),
}

/// Who says hello.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Greeter {
    Address(Address),
    /// The hash of tenant, user and device id: they have no numbers before their first hello.
    Device(u64),
}

/// The counts of a node.
#[derive(Debug)]
pub struct Limits {
    settings: RateSettings,
    proxies: Vec<IpAddr>,
    clock: SharedClock,
    places: Places,
    meters: DashMap<Metered, Arc<Meter>>,
    hellos: DashMap<Greeter, Bucket>,
    replays: DashMap<i64, Arc<Replays>>,
    hasher: RandomState,
}

impl Limits {
    /// Nothing was asked for yet. An error if a proxy's address is none.
    pub fn new(settings: RateSettings, clock: SharedClock) -> Result<Arc<Self>, AddrParseError> {
        Ok(Arc::new(Self {
            proxies: settings.proxies()?,
            settings,
            clock,
            places: Places::default(),
            meters: DashMap::new(),
            hellos: DashMap::new(),
            replays: DashMap::new(),
            hasher: RandomState::new(),
        }))
    }

    /// The address that counts for a peer, given its `X-Forwarded-For`; none: it is held to no limit of
    /// addresses.
    pub fn address(&self, peer: IpAddr, forwarded: Option<&str>) -> Option<Address> {
        address::counted(peer, &self.proxies, forwarded)
    }

    /// Takes one of the address's sockets; none when it has its most.
    pub fn connect(&self, address: Address) -> Option<Held> {
        self.places.take(Holder::Address(address), self.settings.address_connections)
    }

    /// Takes one of the tenant's sessions; none when it has its most. `returns`: the session takes the place of
    /// one that is still counted, and is let in.
    pub fn join(&self, tenant: &str, returns: bool) -> Option<Held> {
        let most = self.settings.of(tenant, RateName::TenantConnections);
        self.places.take(Holder::Tenant(tenant.into()), if returns { 0 } else { most })
    }

    /// Takes a hello of an address.
    pub fn address_hello(&self, address: Address) -> Result<(), Limited> {
        self.hello(Greeter::Address(address), self.settings.address_hellos)
    }

    /// Takes a hello of a device.
    pub fn device_hello(&self, tenant: &str, user: &str, device: &str) -> Result<(), Limited> {
        let greeter = Greeter::Device(self.hasher.hash_one((tenant, user, device)));
        self.hello(greeter, self.settings.of(tenant, RateName::DeviceHellos))
    }

    /// A session's part in the limits; `place` is what [`Limits::join`] gave.
    pub fn allowance(self: &Arc<Self>, party: Party<'_>, place: Option<Held>) -> Allowance {
        let (tenant, user) = (party.tenant_no, party.user);
        let device = (party.role == Role::Device).then(|| {
            let names = [RateName::DeviceFrames, RateName::DeviceEntries, RateName::DeviceBytes];
            (Metered::Device(party.device), names)
        });
        let user = (Metered::User(tenant, user, party.role), user_rates(party.role));
        let names = [RateName::TenantFrames, RateName::TenantEntries, RateName::TenantBytes];
        let levels = device.into_iter().chain([user, (Metered::Tenant(tenant), names)]);
        let meters = levels.filter_map(|(who, names)| {
            let rates = names.map(|name| self.settings.of(party.tenant, name));
            rates.iter().any(|rate| *rate > 0).then(|| self.meter(who, rates))
        });
        Allowance::new(Arc::clone(self), meters.collect(), (self.replays(party), place))
    }

    /// Forgets what nobody uses and nothing was taken from lately; returns how many keys are left.
    pub fn forget_idle(&self) -> usize {
        let now = self.now();
        self.hellos.retain(|_, bucket| !bucket.is_full(now));
        self.meters.retain(|_, meter| Arc::strong_count(meter) > 1 || !meter.is_full(now));
        self.replays.retain(|_, replays| Arc::strong_count(replays) > 1 || !replays.is_full(now));
        self.hellos.shrink_to_fit();
        self.meters.shrink_to_fit();
        self.replays.shrink_to_fit();
        self.places.shrink();
        self.keys()
    }

    /// How many keys are kept.
    pub fn keys(&self) -> usize {
        self.hellos.len() + self.meters.len() + self.replays.len() + self.places.holders()
    }

    /// Forgets what is idle now and then, until the node ends.
    pub async fn run(self: Arc<Self>, metrics: Metrics, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(FORGET_EVERY) => {}
            }
            let limits = Arc::clone(&self);
            // A million keys take a tenth of a second, which is too long between two frames.
            if let Ok(keys) = tokio::task::spawn_blocking(move || limits.forget_idle()).await {
                metrics.limit_keys.set(i64::try_from(keys).unwrap_or(i64::MAX));
            }
        }
    }

    fn hello(&self, greeter: Greeter, per_second: u64) -> Result<(), Limited> {
        if per_second == 0 {
            return Ok(());
        }
        let (now, rate) = (self.now(), Rate { per_second, burst_secs: self.settings.burst_secs });
        let mut bucket = self.hellos.entry(greeter).or_default();
        if let Some(wait) = bucket.wait(rate, 1, now) {
            return Err(Limited::after(wait));
        }
        bucket.take(rate, 1, now);
        Ok(())
    }

    fn meter(&self, who: Metered, rates: [u64; 3]) -> Arc<Meter> {
        let made = || Arc::new(Meter::new(rates, self.settings.burst_secs));
        Arc::clone(&self.meters.entry(who).or_insert_with(made))
    }

    fn replays(&self, party: Party<'_>) -> Arc<Replays> {
        let per_second = self.settings.of(party.tenant, RateName::TenantReplayed);
        let rate = Rate { per_second, burst_secs: self.settings.burst_secs };
        let made = || Arc::new(Replays::new(rate, Arc::clone(&self.clock)));
        Arc::clone(&self.replays.entry(party.tenant_no).or_insert_with(made))
    }

    /// Nanoseconds of a clock that nobody sets: one that is set back by hours would refuse for hours.
    fn now(&self) -> i64 {
        self.clock.ticks_us().saturating_mul(1000)
    }
}

fn user_rates(role: Role) -> [RateName; 3] {
    match role {
        Role::Device => [RateName::UserFrames, RateName::UserEntries, RateName::UserBytes],
        Role::Publisher => [RateName::PublisherFrames, RateName::PublisherEntries, RateName::PublisherBytes],
        Role::Operator => [RateName::OperatorFrames, RateName::OperatorEntries, RateName::OperatorBytes],
    }
}
