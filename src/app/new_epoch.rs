//! What a node does when the store's epoch rises: it closes every session that began in an older one (R1).
//!
//! Sessions that open meanwhile look at the epoch themselves, after they have joined the registry.

use std::sync::Arc;

use crate::registry::{Command, GoAwayCause};
use crate::session::Deps;

/// Watches the epoch until the node finishes.
pub(super) async fn close_sessions(deps: Arc<Deps>) {
    let mut epochs = deps.store.epochs();
    let finishing = deps.tasks.finishing().clone();
    loop {
        tokio::select! {
            biased;
            () = finishing.cancelled() => return,
            // The store lives as long as the node: it does not let go of the epoch before.
            changed = epochs.changed() => if changed.is_err() { return },
        }
        let epoch = *epochs.borrow_and_update();
        let older = deps.devices.mailboxes_before(epoch);
        tracing::warn!(epoch, sessions = older.len(), "telling devices of older epochs to begin anew");
        for mailbox in older {
            let reconnect_after_ms = deps.reconnect_after_ms();
            mailbox.command(Command::GoAway { cause: GoAwayCause::EpochChanged, reconnect_after_ms });
        }
    }
}
