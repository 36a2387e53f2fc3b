//! The bounded queue between the feed and one session.
//!
//! The feed offers and never waits. When the queue is full it is forgotten and the session catches up
//! from its place (C8): nothing is lost, since the log has it.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use futures::task::AtomicWaker;
use parking_lot::Mutex;
use synchub_protocol::CloseReason;
use synchub_rules::record::Head;
use synchub_rules::route::Delivery;

use super::outgoing::Outgoing;
use super::outgoing_push::OutgoingPush;

/// A row for a session.
#[derive(Debug, Clone)]
pub enum Post {
    /// A change, and how it is to be brought.
    Change(Arc<Outgoing>, Delivery),
    /// A push.
    Push(Arc<OutgoingPush>),
}

impl Post {
    fn weight(&self) -> usize {
        match self {
            Self::Change(outgoing, _) => outgoing.weight,
            Self::Push(outgoing) => outgoing.weight,
        }
    }

    /// Its place and time.
    pub fn place(&self) -> Head {
        match self {
            Self::Change(outgoing, _) => Head { seq: outgoing.row.seq, time_us: outgoing.row.time_us },
            Self::Push(outgoing) => Head { seq: outgoing.row.seq, time_us: outgoing.row.time_us },
        }
    }
}

/// What the node tells a session to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Say goaway, finish what is being answered, close.
    GoAway {
        /// Why.
        cause: GoAwayCause,
        /// When the device may come back, in milliseconds.
        reconnect_after_ms: u64,
    },
    /// Close at once.
    Close(CloseReason),
}

/// Why a session is told to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GoAwayCause {
    /// The node stops.
    ShuttingDown,
    /// The store's epoch rose: everything known before is void (R1).
    EpochChanged,
}

/// A session's queue.
#[derive(Debug)]
pub struct Mailbox {
    state: Mutex<State>,
    bell: Bell,
    limit: usize,
}

/// Wakes the one session that waits; cheaper for each row than a list of waiters.
#[derive(Debug, Default)]
struct Bell {
    rang: AtomicBool,
    waker: AtomicWaker,
}

impl Bell {
    fn ring(&self) {
        if !self.rang.swap(true, Ordering::AcqRel) {
            self.waker.wake();
        }
    }

    async fn wait(&self) {
        poll_fn(|context| {
            self.waker.register(context.waker());
            if self.rang.swap(false, Ordering::AcqRel) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

#[derive(Debug, Default)]
struct State {
    posts: VecDeque<Post>,
    bytes: usize,
    lost: Option<Lost>,
    command: Option<Command>,
}

impl Mailbox {
    /// An empty queue of at most `limit` bytes. Until [`Mailbox::open`] it takes nothing.
    pub fn new(limit: usize) -> Self {
        let state = State { lost: Some(Lost::Gap), ..State::default() };
        Self { state: Mutex::new(state), bell: Bell::default(), limit }
    }

    /// Queues changes, or forgets everything when one does not fit.
    pub fn offer(&self, changes: impl Iterator<Item = (Arc<Outgoing>, Delivery)>) {
        self.put(changes.map(|(outgoing, delivery)| Post::Change(outgoing, delivery)));
    }

    /// Queues a push in the same way.
    pub fn offer_push(&self, outgoing: &Arc<OutgoingPush>) {
        self.put(std::iter::once(Post::Push(Arc::clone(outgoing))));
    }

    fn put(&self, mut posts: impl Iterator<Item = Post>) {
        let mut state = self.state.lock();
        if state.lost.is_some() {
            return;
        }
        let Some(first) = posts.next() else { return };
        for post in std::iter::once(first).chain(posts) {
            if state.bytes + post.weight() > self.limit && !state.posts.is_empty() {
                state.forget(Lost::Full);
                break;
            }
            state.bytes += post.weight();
            state.posts.push_back(post);
        }
        drop(state);
        self.bell.ring();
    }

    /// Forgets what is queued and makes the session catch up.
    pub fn lose(&self) {
        let mut state = self.state.lock();
        if state.lost.is_none() {
            state.forget(Lost::Gap);
            drop(state);
            self.bell.ring();
        }
    }

    /// Empties the queue and takes rows from now on.
    pub fn open(&self) {
        let mut state = self.state.lock();
        state.forget(Lost::Gap);
        state.lost = None;
    }

    /// Takes the next rows, at most so many; an error means that rows were forgotten.
    pub fn take(&self, most: usize) -> Result<VecDeque<Post>, Lost> {
        let mut state = self.state.lock();
        if let Some(lost) = state.lost {
            return Err(lost);
        }
        if state.posts.len() <= most {
            state.bytes = 0;
            return Ok(std::mem::take(&mut state.posts));
        }
        let taken: VecDeque<_> = state.posts.drain(..most).collect();
        state.bytes -= taken.iter().map(Post::weight).sum::<usize>();
        Ok(taken)
    }

    /// About how many bytes wait, and the time of the oldest row that does, in microseconds.
    pub fn level(&self) -> (usize, Option<i64>) {
        let state = self.state.lock();
        (state.bytes, state.posts.front().map(|post| post.place().time_us))
    }

    /// Whether nothing was forgotten since it was opened.
    pub fn is_open(&self) -> bool {
        self.state.lock().lost.is_none()
    }

    /// Whether nothing is queued and nothing was forgotten.
    pub fn is_drained(&self) -> bool {
        let state = self.state.lock();
        state.lost.is_none() && state.posts.is_empty()
    }

    /// Tells the session to do something; the first command counts, a close beats a goaway.
    pub fn command(&self, command: Command) {
        let mut state = self.state.lock();
        if matches!((state.command, command), (None, _) | (Some(Command::GoAway { .. }), Command::Close(_))) {
            state.command = Some(command);
            drop(state);
            self.bell.ring();
        }
    }

    /// The command that was given, once.
    pub fn take_command(&self) -> Option<Command> {
        self.state.lock().command.take()
    }

    /// Waits until something was queued, forgotten or commanded since the last wait. Safe to cancel.
    pub async fn woken(&self) {
        self.bell.wait().await;
    }
}

impl State {
    fn forget(&mut self, why: Lost) {
        self.posts = VecDeque::new();
        self.bytes = 0;
        self.lost = Some(why);
    }
}

/// Rows were forgotten: the session has to catch up from its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// The session did not take them in time.
    #[error("the queue was full")]
    Full,
    /// The feed itself missed some.
    #[error("the feed has a gap")]
    Gap,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(mailbox: &Mailbox, seq: u64, weight: usize) {
        mailbox.offer(std::iter::once((Outgoing::sample(seq, weight), Delivery::Upsert)));
    }

    fn seqs(mailbox: &Mailbox) -> Vec<u64> {
        mailbox.take(1000).unwrap().iter().map(|post| post.place().seq).collect()
    }

    #[test]
    fn c8_what_does_not_fit_makes_the_queue_forget_everything_until_it_is_opened() {
        let mailbox = Mailbox::new(1000);
        offer(&mailbox, 1, 1);
        assert!(mailbox.take(1).is_err() && !mailbox.is_drained(), "closed at first");
        mailbox.open();
        for seq in 2..=11 {
            offer(&mailbox, seq, 100);
        }
        assert!(mailbox.is_open() && !mailbox.is_drained());
        offer(&mailbox, 12, 1);
        assert!(mailbox.take(1).is_err() && !mailbox.is_open());
        offer(&mailbox, 13, 1);
        let state = mailbox.state.lock();
        assert_eq!((state.posts.capacity(), state.bytes), (0, 0), "nothing is kept");
        drop(state);
        mailbox.open();
        assert!(mailbox.is_drained());
        offer(&mailbox, 14, 5000);
        assert_eq!(mailbox.level(), (5000, Some(1)));
        assert_eq!(seqs(&mailbox), [14], "a single large row passes");
        assert_eq!(mailbox.level(), (0, None));
        for seq in 15..=24 {
            offer(&mailbox, seq, 100);
        }
        assert_eq!(mailbox.take(4).unwrap().len(), 4);
        for seq in 25..=28 {
            offer(&mailbox, seq, 100);
        }
        assert_eq!(seqs(&mailbox), (19..=28).collect::<Vec<_>>(), "what was taken makes room");
        assert_eq!(mailbox.state.lock().posts.capacity(), 0, "an idle session keeps no buffer");
    }

    #[test]
    fn c11_a_close_beats_a_goaway_and_nothing_else_does() {
        let go_away = Command::GoAway { cause: GoAwayCause::ShuttingDown, reconnect_after_ms: 5 };
        let close = Command::Close(CloseReason::Replaced);
        let mailbox = Mailbox::new(1000);
        mailbox.command(go_away);
        mailbox.command(Command::GoAway { cause: GoAwayCause::ShuttingDown, reconnect_after_ms: 7 });
        assert_eq!(mailbox.take_command(), Some(go_away));
        assert_eq!(mailbox.take_command(), None);
        mailbox.command(go_away);
        mailbox.command(close);
        mailbox.command(Command::Close(CloseReason::Overloaded));
        mailbox.command(go_away);
        assert_eq!(mailbox.take_command(), Some(close));
    }

    #[tokio::test]
    async fn what_happens_before_the_wait_wakes_it() {
        let mailbox = Mailbox::new(1000);
        mailbox.open();
        offer(&mailbox, 1, 1);
        mailbox.woken().await;
        mailbox.lose();
        mailbox.woken().await;
        mailbox.command(Command::Close(CloseReason::Replaced));
        mailbox.woken().await;
    }
}
