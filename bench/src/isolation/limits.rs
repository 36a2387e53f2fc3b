//! The limits that the flood is ten times of, as the hub is told them and as the flooder knows them.

use crate::hub::Setting;

/// How many times its limits a flooding tenant asks for.
pub(super) const TIMES: u32 = 10;
/// Sessions of the flooding tenant at once.
pub(super) const CONNECTIONS: u32 = 100;
/// Frames of it a second.
pub(super) const FRAMES: u32 = 1000;
/// Entries of it a second.
pub(super) const ENTRIES: u32 = 1000;
/// Records of snapshots and changes of replays that it is sent a second.
pub(super) const REPLAYED: u32 = 10_000;
/// Hellos of a device a second: the default.
pub(super) const DEVICE_HELLOS: u32 = 2;
/// Hellos of an address a second.
pub(super) const HELLOS: u32 = 50;
/// Sockets of an address at once.
pub(super) const SOCKETS: u32 = 200;

/// What the hub is told. All other limits are the defaults; a burst of one second lets a flood of seconds reach
/// its limits at once.
pub(super) const LIMITS: [Setting; 4] = [
    ("SYNCHUB_RATES_BURST_SECS", "1"),
    ("SYNCHUB_RATES_ADDRESS_HELLOS", "50"),
    ("SYNCHUB_RATES_ADDRESS_CONNECTIONS", "200"),
    (
        "SYNCHUB_RATES_TENANTS",
        r#"{"flooder": {"tenant_connections": 100, "tenant_frames": 1000, "tenant_entries": 1000, "tenant_replayed": 10000}}"#,
    ),
];

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::flood::FLOODER;
    use super::*;

    #[test]
    fn the_hub_and_the_flooder_know_the_same_limits() {
        let told = |name: &str| LIMITS.iter().find(|(of, _)| of.ends_with(name)).map(|(_, value)| *value);
        assert_eq!(told("ADDRESS_HELLOS"), Some(HELLOS.to_string().as_str()));
        assert_eq!(told("ADDRESS_CONNECTIONS"), Some(SOCKETS.to_string().as_str()));
        let of_tenant: Value = serde_json::from_str(told("TENANTS").unwrap()).unwrap();
        let known = json!({
            "tenant_connections": CONNECTIONS, "tenant_frames": FRAMES, "tenant_entries": ENTRIES, "tenant_replayed": REPLAYED,
        });
        assert_eq!(of_tenant[FLOODER], known);
    }
}
