//! How much one may ask for: of all, by role, and by tenant. 0 is no limit.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{AddrParseError, IpAddr};

use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// The limits that one tenant has for itself.
pub type OwnRates = BTreeMap<RateName, u64>;

/// How much one may ask for. Rates are by the second; 0 is no limit.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RateSettings {
    /// How many seconds' worth of a rate may come at once. 10: a device that was offline sends what it
    /// gathered, and still cannot go on like that.
    pub burst_secs: u64,
    /// How many requests within `refusal_secs` that come before the time that a refusal named close the socket
    /// (4507). 50: far more than a client has in flight that waits as long as it is told.
    pub refusals: u64,
    /// The window of `refusals`, in seconds. 10: a flood ends soon.
    pub refusal_secs: u64,
    /// Addresses of proxies, with commas between them: what the last entry of their `X-Forwarded-For` says is
    /// the peer's address. Without that header such a peer is held to no limit of addresses. This machine: a
    /// proxy beside the hub works as it is.
    pub proxies: String,
    /// The most sockets of an address. 1000: many phones share one behind a carrier's translation.
    pub address_connections: u64,
    /// Hellos of an address. 200: as many come back after an outage.
    pub address_hellos: u64,
    /// Hellos of a device. 2: a good client waits between two.
    pub device_hellos: u64,
    /// Frames of a device, of every kind. 500: a hundred times what a busy app sends.
    pub device_frames: u64,
    /// Entries of a device. 2000: ten thousand from offline pass at once.
    pub device_entries: u64,
    /// Bytes of frames of a device. 4 MiB: the same, with 4 KiB each.
    pub device_bytes: u64,
    /// Frames of a user's devices together. 2000: four of them.
    pub user_frames: u64,
    /// Entries of a user's devices together. 5000.
    pub user_entries: u64,
    /// Bytes of frames of a user's devices together. 16 MiB.
    pub user_bytes: u64,
    /// Frames of a publisher, over all its sockets. 2000: it writes for many.
    pub publisher_frames: u64,
    /// Entries of a publisher. 10000.
    pub publisher_entries: u64,
    /// Bytes of frames of a publisher. 32 MiB.
    pub publisher_bytes: u64,
    /// Frames of an operator. 200: a person, or a person's tool.
    pub operator_frames: u64,
    /// Entries of an operator. 2000.
    pub operator_entries: u64,
    /// Bytes of frames of an operator. 4 MiB.
    pub operator_bytes: u64,
    /// The most sockets of a tenant. 0: a node of one tenant is the usual one, and
    /// `limits.max_connections` holds for all together.
    pub tenant_connections: u64,
    /// Frames of a tenant. 50000: about what a node can read.
    pub tenant_frames: u64,
    /// Entries of a tenant. 20000: about what a node can write on a fast disk.
    pub tenant_entries: u64,
    /// Bytes of frames of a tenant. 64 MiB.
    pub tenant_bytes: u64,
    /// Records of snapshots and changes of replays that the sessions of a tenant are sent. 100000: about what
    /// a node can read. What is more waits; nothing is refused.
    pub tenant_replayed: u64,
    /// What single tenants have instead, by name. In the environment as JSON.
    #[serde(deserialize_with = "tenants")]
    pub tenants: BTreeMap<String, OwnRates>,
}

const MIB: u64 = 1024 * 1024;

impl Default for RateSettings {
    fn default() -> Self {
        Self {
            burst_secs: 10,
            refusals: 50,
            refusal_secs: 10,
            proxies: "127.0.0.1, ::1".to_owned(),
            address_connections: 1000,
            address_hellos: 200,
            device_hellos: 2,
            device_frames: 500,
            device_entries: 2000,
            device_bytes: 4 * MIB,
            user_frames: 2000,
            user_entries: 5000,
            user_bytes: 16 * MIB,
            publisher_frames: 2000,
            publisher_entries: 10_000,
            publisher_bytes: 32 * MIB,
            operator_frames: 200,
            operator_entries: 2000,
            operator_bytes: 4 * MIB,
            tenant_connections: 0,
            tenant_frames: 50_000,
            tenant_entries: 20_000,
            tenant_bytes: 64 * MIB,
            tenant_replayed: 100_000,
            tenants: BTreeMap::new(),
        }
    }
}

/// A limit that a tenant may have for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "snake_case", try_from = "String")]
#[expect(missing_docs, reason = "each is the field of this name in `RateSettings`")]
pub enum RateName {
    DeviceHellos,
    DeviceFrames,
    DeviceEntries,
    DeviceBytes,
    UserFrames,
    UserEntries,
    UserBytes,
    PublisherFrames,
    PublisherEntries,
    PublisherBytes,
    OperatorFrames,
    OperatorEntries,
    OperatorBytes,
    TenantConnections,
    TenantFrames,
    TenantEntries,
    TenantBytes,
    TenantReplayed,
}

const NAMES: [RateName; 18] = [
    RateName::DeviceHellos,
    RateName::DeviceFrames,
    RateName::DeviceEntries,
    RateName::DeviceBytes,
    RateName::UserFrames,
    RateName::UserEntries,
    RateName::UserBytes,
    RateName::PublisherFrames,
    RateName::PublisherEntries,
    RateName::PublisherBytes,
    RateName::OperatorFrames,
    RateName::OperatorEntries,
    RateName::OperatorBytes,
    RateName::TenantConnections,
    RateName::TenantFrames,
    RateName::TenantEntries,
    RateName::TenantBytes,
    RateName::TenantReplayed,
];

impl TryFrom<String> for RateName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let is_it = |name: &RateName| serde_json::to_value(name).is_ok_and(|name| name == text.as_str());
        NAMES
            .into_iter()
            .find(is_it)
            .ok_or_else(|| format!("`{text}` is no limit that a tenant may have for itself"))
    }
}

impl RateSettings {
    /// No limit at all.
    pub fn unlimited() -> Self {
        Self {
            address_connections: 0,
            address_hellos: 0,
            device_hellos: 0,
            device_frames: 0,
            device_entries: 0,
            device_bytes: 0,
            user_frames: 0,
            user_entries: 0,
            user_bytes: 0,
            publisher_frames: 0,
            publisher_entries: 0,
            publisher_bytes: 0,
            operator_frames: 0,
            operator_entries: 0,
            operator_bytes: 0,
            tenant_connections: 0,
            tenant_frames: 0,
            tenant_entries: 0,
            tenant_bytes: 0,
            tenant_replayed: 0,
            ..Self::default()
        }
    }

    /// What holds for a tenant.
    pub fn of(&self, tenant: &str, name: RateName) -> u64 {
        let own = self.tenants.get(tenant).and_then(|own| own.get(&name));
        own.copied().unwrap_or_else(|| self.common(name))
    }

    /// The addresses whose word on where a peer comes from is taken.
    pub fn proxies(&self) -> Result<Vec<IpAddr>, AddrParseError> {
        let parts = self.proxies.split(',').map(str::trim).filter(|part| !part.is_empty());
        parts.map(str::parse).collect()
    }

    fn common(&self, name: RateName) -> u64 {
        match name {
            RateName::DeviceHellos => self.device_hellos,
            RateName::DeviceFrames => self.device_frames,
            RateName::DeviceEntries => self.device_entries,
            RateName::DeviceBytes => self.device_bytes,
            RateName::UserFrames => self.user_frames,
            RateName::UserEntries => self.user_entries,
            RateName::UserBytes => self.user_bytes,
            RateName::PublisherFrames => self.publisher_frames,
            RateName::PublisherEntries => self.publisher_entries,
            RateName::PublisherBytes => self.publisher_bytes,
            RateName::OperatorFrames => self.operator_frames,
            RateName::OperatorEntries => self.operator_entries,
            RateName::OperatorBytes => self.operator_bytes,
            RateName::TenantConnections => self.tenant_connections,
            RateName::TenantFrames => self.tenant_frames,
            RateName::TenantEntries => self.tenant_entries,
            RateName::TenantBytes => self.tenant_bytes,
            RateName::TenantReplayed => self.tenant_replayed,
        }
    }
}

fn tenants<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, OwnRates>, D::Error> {
    deserializer.deserialize_any(TenantsVisitor)
}

/// Takes tables by tenant, and the text that a variable has for them.
struct TenantsVisitor;

impl<'de> Visitor<'de> for TenantsVisitor {
    type Value = BTreeMap<String, OwnRates>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table for each tenant, such as `[rates.tenants.acme]` with `device_frames = 50`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut tenants = BTreeMap::new();
        while let Some((name, own)) = map.next_entry()? {
            tenants.insert(name, own);
        }
        Ok(tenants)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        serde_json::from_str(text).map_err(|error| E::custom(format!("not JSON of rates by tenant: {error}")))
    }
}
