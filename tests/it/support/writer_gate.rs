//! Holds the store's one writer, so that a test decides what gathers behind it.

use std::sync::mpsc;

use synchub::store::{CommitError, Committed, Group};
use synchub_rules::group::{Plan, Reads, Writes};
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

use super::hub::Hub;
use super::publisher::Publisher;

/// A transaction that writes nothing and does not end until the gate opens.
pub(crate) struct Gate {
    open: mpsc::Sender<()>,
    held: JoinHandle<Result<Committed, CommitError>>,
}

impl Gate {
    /// Waits until the writer is held. Whatever is written afterwards waits.
    pub(crate) async fn close(hub: &Hub, publisher: &Publisher) -> Self {
        let (open, opened) = mpsc::channel();
        let (entered, inside) = tokio::sync::oneshot::channel();
        let plan = Box::new(move |loaded: synchub_rules::group::Loaded| {
            entered.send(()).unwrap();
            // A test that fails drops the gate: that opens it too.
            let _ = opened.recv();
            Plan { writes: Writes { head: loaded.head, ..Writes::default() }, ..Plan::default() }
        });
        let group = Group { tenant: publisher.tenant(), reads: Reads::default(), plan };
        let store = std::sync::Arc::clone(hub.store());
        let held = TaskTracker::new().spawn(async move { store.commit(group).await });
        inside.await.unwrap();
        Self { open, held }
    }

    /// Lets the writer go on.
    pub(crate) async fn open(self) {
        self.open.send(()).unwrap();
        self.held.await.unwrap().unwrap();
    }
}
