//! The label of changes that are held back.

/// Why a change is held back (C9).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HeldBy {
    /// Its priority is below its subscription's.
    Priority,
    /// The device saves battery.
    BatterySaver,
    /// The session was sent too many in a second.
    Limit,
}

pub(super) const HELD_BY: [(HeldBy, &str); 3] =
    [(HeldBy::Priority, "priority"), (HeldBy::BatterySaver, "battery_saver"), (HeldBy::Limit, "limit")];
