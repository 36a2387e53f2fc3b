//! Every setting of the hub, with its unit, its default and the reason for the default.
//!
//! A new setting needs a row in the `names` table and one in `docs/configuration.md`; a test holds
//! the three together.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use synchub_protocol::DeviceKind;

use super::admission::AdmissionSettings;
use super::auth::AuthSettings;
use super::push::PushSettings;
use super::rates::RateSettings;
use super::record::RecordSettings;
use super::retention::RetentionSettings;
use super::trace::TraceSettings;

/// All settings. [`Settings::default`] is a hub that works on this machine alone.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Where the hub listens. 127.0.0.1:8480: nothing outside the machine reaches a hub that
    /// nobody has configured.
    #[serde(deserialize_with = "socket_address")]
    pub listen: SocketAddr,
    /// The folder with the database and the development key. `./synchub-data`: visible where the
    /// hub was started, and deleted with it.
    pub data_dir: PathBuf,
    /// A folder with domain definitions that are added to the built-in ones or replace them.
    /// None: the built-in ones alone.
    pub domains_dir: Option<PathBuf>,
    /// How often stored acknowledgements are written, in seconds. 5: one statement for all devices,
    /// and losing that much costs nothing (C10).
    pub ack_flush_secs: u64,
    /// Whether frames may be compressed with gzip, both ways, where the client knows it. True: a phone
    /// pays for what goes over the air.
    pub compression: bool,
    /// Where records are kept.
    pub store: StoreSettings,
    /// How nodes hear of each other's commits.
    pub bus: BusSettings,
    /// Who may connect.
    pub auth: AuthSettings,
    /// What one client may ask for.
    pub limits: LimitSettings,
    /// How much one may ask for, by address, device, user and tenant.
    pub rates: RateSettings,
    /// What the hub does before it gets slow.
    pub admission: AdmissionSettings,
    /// How changes reach the sessions that are live.
    pub feed: FeedSettings,
    /// How pushes that are not changes go out.
    pub push: PushSettings,
    /// How sessions that missed something are served.
    pub catch_up: CatchUpSettings,
    /// How batches are committed together.
    pub commit: CommitSettings,
    /// How long the hub keeps what it needs only for a while.
    pub retention: RetentionSettings,
    /// Whether live traffic is captured as a trace.
    pub record: RecordSettings,
    /// How the hub stops.
    pub drain: DrainSettings,
    /// What the hub says of itself.
    pub log: LogSettings,
    /// Where traces of batches go, and of how many.
    pub trace: TraceSettings,
    /// Which device wins a conflict under `device_priority`.
    pub device_priority: DevicePrioritySettings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8480)),
            data_dir: PathBuf::from("./synchub-data"),
            domains_dir: None,
            ack_flush_secs: 5,
            compression: true,
            store: StoreSettings::default(),
            bus: BusSettings::default(),
            auth: AuthSettings::default(),
            limits: LimitSettings::default(),
            rates: RateSettings::default(),
            admission: AdmissionSettings::default(),
            feed: FeedSettings::default(),
            push: PushSettings::default(),
            catch_up: CatchUpSettings::default(),
            commit: CommitSettings::default(),
            retention: RetentionSettings::default(),
            record: RecordSettings::default(),
            drain: DrainSettings::default(),
            log: LogSettings::default(),
            trace: TraceSettings::default(),
            device_priority: DevicePrioritySettings::default(),
        }
    }
}

impl Settings {
    /// How often stored acknowledgements are written.
    pub fn ack_flush(&self) -> Duration {
        Duration::from_secs(self.ack_flush_secs)
    }
}

fn socket_address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    let help = || format!("`{text}` is no IP address with a port, such as 127.0.0.1:8480 or [::]:8480");
    text.parse().map_err(|_| D::Error::custom(help()))
}

/// Where records are kept.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct StoreSettings {
    /// `sqlite:` and a path. None: `synchub.db` in the data folder, so that one folder is all there
    /// is to back up. See [`Settings::store_path`].
    pub url: Option<String>,
}

/// How nodes hear of each other's commits.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct BusSettings {
    /// None: in the process, for a hub of one node.
    pub url: Option<String>,
}

/// What one client may ask for.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitSettings {
    /// The largest frame, in bytes. 1 MiB: a full batch of usual entries fits, and a thousand
    /// sockets that send one at once do not fill a small machine.
    pub max_frame_bytes: usize,
    /// The largest entry, in bytes of its encoded form. 64 KiB: text, not attachments.
    pub max_entry_bytes: usize,
    /// The most entries in a batch. 1000: one batch stays well below a second of commit.
    pub max_batch_entries: usize,
    /// The most `sync` frames of a session that wait for an answer. 4: the socket stays busy over a
    /// slow line, and a session cannot fill the committer.
    pub max_in_flight: usize,
    /// The batch size that `welcome` recommends, in entries. 100: answers come soon enough to show
    /// progress, and the cost of a frame no longer counts.
    pub recommended_batch: usize,
    /// The most sockets at once. 18000: leaves room below the usual 20,000 open files.
    pub max_connections: usize,
    /// How long a socket may be silent before its `hello`, and how long the head of a request or the body of a
    /// push may take, in seconds. 10: a slow phone makes it.
    pub hello_timeout_secs: u64,
    /// How often each side sends something, in seconds, unless the client asks for another value.
    /// 25: below the 30 s after which mobile networks forget a connection.
    pub heartbeat_secs: u64,
    /// The most domains of a session. 64: what a cursor has room for (C1).
    pub max_subscriptions: usize,
}

impl Default for LimitSettings {
    fn default() -> Self {
        Self {
            max_frame_bytes: 1024 * 1024,
            max_entry_bytes: 64 * 1024,
            max_batch_entries: 1000,
            max_in_flight: 4,
            recommended_batch: 100,
            max_connections: 18_000,
            hello_timeout_secs: 10,
            heartbeat_secs: 25,
            max_subscriptions: 64,
        }
    }
}

impl LimitSettings {
    /// How long a socket may be silent before its `hello`.
    pub fn hello_timeout(&self) -> Duration {
        Duration::from_secs(self.hello_timeout_secs)
    }

    /// The limits as `welcome` says them.
    pub fn on_the_wire(&self) -> synchub_protocol::server::Limits {
        synchub_protocol::server::Limits {
            max_frame_bytes: self.max_frame_bytes as u64,
            max_entry_bytes: self.max_entry_bytes as u64,
            max_batch_entries: self.max_batch_entries as u64,
            max_in_flight: self.max_in_flight as u64,
            recommended_batch: self.recommended_batch as u64,
        }
    }
}

/// How changes reach the sessions that are live.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct FeedSettings {
    /// How much of each active tenant's recent log is kept in memory, in bytes. 4 MiB: about the
    /// last ten thousand changes, so that a reconnect storm does not reach the log's table. 0 turns
    /// it off.
    pub tail_bytes: usize,
    /// What a session may have queued before it is forgotten and the session catches up (C8), in
    /// bytes. 256 KiB: a burst fits, and ten thousand stuck sockets do not fill the memory.
    pub lane_bytes: usize,
    /// How soon a `position` follows what was sent, in milliseconds, at most 1000 (C2). 500: half
    /// of what is promised.
    pub position_ms: u64,
    /// How soon a `position` follows when the log moved and nothing was for the device, in seconds,
    /// at most 60 (C2). 60: an idle phone is not woken more often than it must be.
    pub idle_position_secs: u64,
    /// The most live changes that a session is sent in a second; more are held back until the second is
    /// over, and come as a replay then (C9). 5000: far more than anybody looks at, and in a replay each
    /// record comes once a page.
    pub changes_per_sec: usize,
}

impl Default for FeedSettings {
    fn default() -> Self {
        Self {
            tail_bytes: 4 * 1024 * 1024,
            lane_bytes: 256 * 1024,
            position_ms: 500,
            idle_position_secs: 60,
            changes_per_sec: 5000,
        }
    }
}

impl FeedSettings {
    /// How soon a `position` follows what was sent.
    pub fn position_delay(&self) -> Duration {
        Duration::from_millis(self.position_ms)
    }

    /// How soon a `position` follows when nothing was for the device.
    pub fn idle_position_delay(&self) -> Duration {
        Duration::from_secs(self.idle_position_secs)
    }
}

/// How sessions that missed something are served.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct CatchUpSettings {
    /// The most rows of the log, or records of a snapshot, in a page. 500: one page takes
    /// milliseconds to read, so that permits go round.
    pub page_rows: usize,
    /// The most bytes of records in a page; a single larger record goes alone. 256 KiB: as much as
    /// a session may have queued.
    pub page_bytes: usize,
    /// The most pages that the node reads at once. 16: more readers only wait for each other.
    pub permits: usize,
}

impl Default for CatchUpSettings {
    fn default() -> Self {
        Self { page_rows: 500, page_bytes: 256 * 1024, permits: 16 }
    }
}

/// How batches are committed together.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct CommitSettings {
    /// The most batches in one transaction. 64: by then the cost of the flush is shared.
    pub group_batches: usize,
    /// The most entries in one transaction; a batch of more than 128 goes alone. 2000: about 20 ms of work,
    /// so that no tenant waits long for its turn.
    pub group_entries: usize,
}

impl Default for CommitSettings {
    fn default() -> Self {
        Self { group_batches: 64, group_entries: 2000 }
    }
}

/// How the hub stops at the first signal; a second one ends it at once.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct DrainSettings {
    /// Over how many seconds the sessions are told to go, evenly. 10: other nodes take a tenth of
    /// them each second instead of all at once.
    pub secs: u64,
    /// Up to how many milliseconds a device is told to wait before it comes back; each is given a
    /// random time below it. 5000: a restart of a single node is over by then.
    pub reconnect_ms: u64,
    /// How many seconds running commits and their answers have after that. 10: the whole stays
    /// below the 30 s that process managers give by default.
    pub finish_secs: u64,
}

impl Default for DrainSettings {
    fn default() -> Self {
        Self { secs: 10, reconnect_ms: 5000, finish_secs: 10 }
    }
}

impl DrainSettings {
    /// Over how long the sessions are told to go.
    pub fn pace(&self) -> Duration {
        Duration::from_secs(self.secs)
    }

    /// How long running commits and their answers have after that.
    pub fn finish(&self) -> Duration {
        Duration::from_secs(self.finish_secs)
    }
}

/// What the hub says of itself, on standard error.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogSettings {
    /// `text` for people, `json` for collectors. `text`: people start hubs first.
    pub format: LogFormat,
    /// The lowest level, or a filter such as `info,synchub::session=debug`. `info`: a line for what
    /// an operator may have to know, none for a frame.
    pub level: String,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { format: LogFormat::Text, level: "info".to_owned() }
    }
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase", try_from = "String")]
pub enum LogFormat {
    /// One line for people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl TryFrom<String> for LogFormat {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(format!("`{text}` is no format of log lines: write `text` or `json`")),
        }
    }
}

/// Which device wins a conflict under `device_priority`: the higher number does.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct DevicePrioritySettings {
    /// Of desktops. 100: what is typed at a desk is the most considered.
    pub desktop: i64,
    /// Of laptops. 80.
    pub laptop: i64,
    /// Of tablets. 60.
    pub tablet: i64,
    /// Of phones. 40: typed in passing.
    pub phone: i64,
}

impl Default for DevicePrioritySettings {
    fn default() -> Self {
        Self {
            desktop: DeviceKind::Desktop.default_priority(),
            laptop: DeviceKind::Laptop.default_priority(),
            tablet: DeviceKind::Tablet.default_priority(),
            phone: DeviceKind::Phone.default_priority(),
        }
    }
}

impl DevicePrioritySettings {
    /// The priority of a device of this kind.
    pub fn of(&self, kind: DeviceKind) -> i64 {
        match kind {
            DeviceKind::Desktop => self.desktop,
            DeviceKind::Laptop => self.laptop,
            DeviceKind::Tablet => self.tablet,
            DeviceKind::Phone => self.phone,
        }
    }
}
