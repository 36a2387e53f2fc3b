//! What the numbers of pushes are told apart by.

/// What a push is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PushKind {
    /// A service's own.
    Message,
    /// Asks the app to sync.
    SyncTrigger,
    /// Tells of a conflict.
    ConflictAlert,
    /// How a refused entry ended.
    EntrySettled,
}

/// What happens to a push on its way to a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PushFate {
    /// It was handed to the socket.
    Delivered,
    /// It waits for the user's next minute (P3).
    Held,
    /// A later trigger says what it said.
    Merged,
    /// There were too many.
    Dropped,
    /// Its time was over.
    Expired,
}

pub(super) const PUSH_KINDS: [(PushKind, &str); 4] = [
    (PushKind::Message, "message"),
    (PushKind::SyncTrigger, "sync_trigger"),
    (PushKind::ConflictAlert, "conflict_alert"),
    (PushKind::EntrySettled, "entry_settled"),
];

pub(super) const PUSH_FATES: [(PushFate, &str); 5] = [
    (PushFate::Delivered, "delivered"),
    (PushFate::Held, "held"),
    (PushFate::Merged, "merged"),
    (PushFate::Dropped, "dropped"),
    (PushFate::Expired, "expired"),
];
