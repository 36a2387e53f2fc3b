//! The one thread that writes: it owns the one writing connection and runs one transaction after another.
//!
//! Callers hand it closures and await their answers; a caller that goes away does not undo its
//! transaction. Nothing that a transaction does, a panic included, ends the thread before its queue is
//! closed.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use super::fault::Fault;
use super::history::Known;

/// How many transactions may wait; above, callers wait to queue.
const QUEUE: usize = 256;

type Job = Box<dyn FnOnce(&mut Writer) + Send>;

/// What the writer's thread owns.
pub(super) struct Writer {
    connection: Connection,
    pub(super) known: Arc<Known>,
    /// The next record's number; moves only after a commit.
    pub(super) next_record: i64,
    /// Dropped after the connection: the folder is free only when the database is closed.
    _lock: File,
}

impl Writer {
    pub(super) fn new(
        connection: Connection,
        known: Arc<Known>,
        lock: File,
    ) -> Result<Self, rusqlite::Error> {
        let last = "SELECT ifnull(max(rid), 0) FROM record";
        let next_record = connection.query_row(last, [], |row| row.get::<_, i64>(0))? + 1;
        Ok(Self { connection, known, next_record, _lock: lock })
    }

    /// A transaction that holds the write lock from its first moment; dropped without commit, it is undone.
    pub(super) fn begin(&mut self) -> Result<Transaction<'_>, Fault> {
        if !self.connection.is_autocommit() {
            self.connection.execute_batch("ROLLBACK")?;
        }
        Ok(self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?)
    }

    /// Runs a transaction whose answer goes out only after its commit.
    pub(super) fn transact<T>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let transaction = self.begin()?;
        let answer = work(&transaction)?;
        transaction.commit()?;
        Ok(answer)
    }
}

/// The way to the writer's thread.
#[derive(Debug)]
pub(super) struct WriterHandle {
    queue: Mutex<Option<mpsc::Sender<Job>>>,
    /// Whether something ran since [`WriterHandle::rest`] was asked last.
    is_busy: AtomicBool,
    /// Whether something ran since memory was given back.
    has_cache: AtomicBool,
    ended: Mutex<Option<oneshot::Receiver<()>>>,
}

impl WriterHandle {
    pub(super) fn start(writer: Writer) -> std::io::Result<Self> {
        let (queue, jobs) = mpsc::channel(QUEUE);
        let (ending, ended) = oneshot::channel();
        let run = move || {
            run(writer, jobs);
            // Nobody may be waiting for the end.
            let _ = ending.send(());
        };
        std::thread::Builder::new().name("store-writer".to_owned()).spawn(run)?;
        let queue = Mutex::new(Some(queue));
        let (is_busy, has_cache) = (AtomicBool::new(true), AtomicBool::new(true));
        Ok(Self { queue, is_busy, has_cache, ended: Mutex::new(Some(ended)) })
    }

    /// Gives back what SQLite keeps of pages, if nothing has run since this was asked last; says whether it did.
    pub(super) async fn rest(&self) -> Result<bool, Fault> {
        if self.is_busy.swap(false, Ordering::Relaxed) || !self.has_cache.swap(false, Ordering::Relaxed) {
            return Ok(false);
        }
        self.send(|writer| Ok(writer.connection.execute_batch("PRAGMA shrink_memory")?)).await?;
        Ok(true)
    }

    /// Runs work on the writer's thread and waits for its answer.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Writer) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        self.is_busy.store(true, Ordering::Relaxed);
        self.has_cache.store(true, Ordering::Relaxed);
        self.send(work).await
    }

    async fn send<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Writer) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        let queue = self.queue.lock().clone().ok_or(Fault::Stopped("the store is closed"))?;
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |writer| {
            let done = catch_unwind(AssertUnwindSafe(|| work(writer)));
            let done = done.unwrap_or_else(|panic| Err(Fault::panicked("the transaction", &*panic)));
            // The caller may have gone; the transaction stands all the same.
            let _ = answer.send(done);
        });
        queue.send(job).await.map_err(|_| Fault::Stopped("the store is closed"))?;
        drop(queue);
        answered.await.map_err(|_| Fault::Stopped("the store is closed"))?
    }

    /// Lets the writer finish what it was given, then waits until the database is closed.
    pub(super) async fn close(&self) {
        drop(self.queue.lock().take());
        let ended = self.ended.lock().take();
        if let Some(ended) = ended {
            // An error says that the thread is gone, which is what is waited for.
            let _ = ended.await;
        }
    }
}

fn run(mut writer: Writer, mut jobs: mpsc::Receiver<Job>) {
    while let Some(job) = jobs.blocking_recv() {
        job(&mut writer);
    }
}
