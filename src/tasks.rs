//! Every task of the node: none is spawned and forgotten (invariant 12).
//!
//! A vital task that ends before the node stops, by a panic too, ends the node: a hub whose committer is
//! dead must not look alive.

use std::future::Future;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The node's tasks and its two stages of stopping. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    stopping: CancellationToken,
    finishing: CancellationToken,
    failed: CancellationToken,
}

impl Tasks {
    /// Runs a task that the node waits for when it stops.
    pub fn spawn<F: Future<Output = ()> + Send + 'static>(&self, task: F) {
        self.tracker.spawn(task);
    }

    /// Runs a task without which the node must not go on. It may end once the node finishes.
    pub fn spawn_vital<F: Future<Output = ()> + Send + 'static>(&self, task: F) {
        let guard = self.failed.clone().drop_guard();
        let finishing = self.finishing.clone();
        self.tracker.spawn(async move {
            task.await;
            if finishing.is_cancelled() {
                guard.disarm();
            }
        });
    }

    /// Set when nothing new is accepted any more.
    pub fn stopping(&self) -> &CancellationToken {
        &self.stopping
    }

    /// Set when the sessions are gone and the workers may end.
    pub fn finishing(&self) -> &CancellationToken {
        &self.finishing
    }

    /// Set when a vital task died.
    pub fn failed(&self) -> &CancellationToken {
        &self.failed
    }

    /// Waits until every task has ended; none may be spawned afterwards.
    pub async fn join(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn inv12_a_vital_task_that_dies_fails_the_node() {
        let ends: [fn(); 2] = [|| (), || panic!("dies on purpose")];
        for end in ends {
            let tasks = Tasks::default();
            tasks.spawn_vital(async move { end() });
            tasks.join().await;
            assert!(tasks.failed().is_cancelled());
        }

        let tasks = Tasks::default();
        let finishing = tasks.finishing().clone();
        tasks.spawn_vital(async move { finishing.cancelled().await });
        tasks.finishing().cancel();
        tasks.join().await;
        assert!(!tasks.failed().is_cancelled());
    }
}
