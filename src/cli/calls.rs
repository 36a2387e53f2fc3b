//! The calls into the application, one function each; nothing else in the command line runs the hub.

use anyhow::bail;
use serde_json::Value;
use uuid::Uuid;

use crate::clock::SharedClock;
use crate::config::Settings;
use crate::entropy::SharedEntropy;

/// Runs the hub until a signal stops it.
pub(super) fn serve(_settings: Settings, _clock: SharedClock, _entropy: SharedEntropy) -> anyhow::Result<()> {
    bail!("this build cannot serve")
}

/// Brings the store's tables up to this version.
pub(super) fn migrate(_settings: Settings) -> anyhow::Result<()> {
    bail!("this build cannot migrate")
}

/// The record, None if there is none.
pub(super) fn show_record(
    _settings: Settings,
    _tenant: &str,
    _domain: &str,
    _id: Uuid,
) -> anyhow::Result<Option<Value>> {
    bail!("this build cannot look into a store")
}

/// The devices of the tenant; `user` and `device` narrow them down.
pub(super) fn show_devices(
    _settings: Settings,
    _tenant: &str,
    _user: Option<&str>,
    _device: Option<&str>,
) -> anyhow::Result<Vec<Value>> {
    bail!("this build cannot look into a store")
}

/// At most `limit` rows of the tenant's log after the number `after`.
pub(super) fn show_log(
    _settings: Settings,
    _tenant: &str,
    _after: u64,
    _limit: u32,
) -> anyhow::Result<Vec<Value>> {
    bail!("this build cannot look into a store")
}
