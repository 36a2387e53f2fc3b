//! One open connection: hello, then the loop that moves frames until it ends.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use synchub_protocol::client::Ping;
use synchub_protocol::codec::decode_server;
use synchub_protocol::{ClientFrame, DecodeError, gzip};
use tokio::time::Instant;

use crate::connection::socket::{Received, Socket};
use crate::connection::{Connection, Legacy};
use crate::event::Event;
use crate::retry::End;
use crate::session::Outcome;

/// How many messages are applied before they are stored as one transaction.
const GROUP: usize = 256;

/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// One open connection.
pub(crate) struct Live<'c> {
    connection: &'c mut Connection,
    socket: Option<Socket>,
    last_in: Instant,
    last_out: Instant,
}

impl<'c> Live<'c> {
    pub(crate) fn new(connection: &'c mut Connection, socket: Socket) -> Self {
        let now = Instant::now();
        Self { connection, socket: Some(socket), last_in: now, last_out: now }
    }

    /// Says hello and moves frames until the connection ends.
    pub(crate) async fn run(
        &mut self,
        token: Option<String>,
        legacy: &mut Legacy,
    ) -> Result<Infallible, End> {
        let hello = self.connection.shared.lock().state.hello(token, self.connection.moment());
        self.feed(hello, false).await?;
        loop {
            self.connection.check_wanted()?;
            self.connection.store().await?;
            self.send_ready(legacy).await?;
            let due = self.due();
            let socket = self.socket.as_mut().ok_or(End::Asked)?;
            let received = tokio::select! {
                biased;
                received = socket.next() => Some(received),
                () = self.connection.shared.woken.notified() => None,
                () = tokio::time::sleep_until(due) => None,
            };
            match received {
                Some(received) => self.receive(received, legacy).await?,
                None => self.check_silence()?,
            }
        }
    }

    /// Says goodbye, or answers the hub's.
    pub(crate) async fn close(&mut self, end: &End) {
        if let Some(socket) = self.socket.take()
            && !matches!(end, End::Lost(_))
        {
            socket.close(GOODBYE).await;
        }
    }

    /// Applies what is here, stores it in one transaction, then tells of it.
    async fn receive(&mut self, first: Result<Received, End>, legacy: &mut Legacy) -> Result<(), End> {
        let mut outcomes = Vec::new();
        let mut end = None;
        let mut next = Some(first);
        for left in (0..GROUP).rev() {
            let Some(received) = next.take() else { break };
            self.last_in = Instant::now();
            match received {
                Ok(Received::Frame(bytes)) => end = self.apply(&bytes, &mut outcomes),
                Ok(Received::Nothing) => {}
                Err(closed) => end = Some(closed),
            }
            if end.is_some() || left == 0 {
                break;
            }
            next = self.socket.as_mut().and_then(Socket::next_at_hand);
        }
        let stored = self.connection.store().await;
        self.tell(outcomes, legacy);
        stored?;
        end.map_or(Ok(()), Err)
    }

    fn apply(&mut self, bytes: &Bytes, outcomes: &mut Vec<Outcome>) -> Option<End> {
        let mut inner = self.connection.shared.lock();
        inner.state.stats_mut().frames_in += 1;
        inner.state.stats_mut().bytes_in += bytes.len() as u64;
        let inflated = gzip::is_gzip(bytes).then(|| gzip::inflate(bytes, self.connection.max_message_bytes));
        let inflated = match inflated.transpose() {
            Ok(inflated) => inflated,
            Err(error) => return Some(End::Unreadable(error.to_string())),
        };
        let plain = inflated.as_ref().unwrap_or(bytes);
        inner.state.stats_mut().incoming.count(bytes.len(), plain.len());
        let frame = match decode_server(self.connection.encoding, plain) {
            Ok(frame) => frame,
            Err(DecodeError::UnknownType { kind, .. }) => {
                tracing::debug!(kind, "ignored a frame of an unknown type");
                return None;
            }
            Err(error) => return Some(End::Unreadable(error.to_string())),
        };
        inner.state.stats_mut().incoming.received(&frame, bytes.len(), plain.len());
        let led_to = inner.state.on_frame(frame, self.connection.moment());
        let end = end_in(&led_to);
        outcomes.extend(led_to);
        end
    }

    async fn send_ready(&mut self, legacy: &mut Legacy) -> Result<(), End> {
        let mut outcomes = Vec::new();
        let mut fed = false;
        loop {
            let moment = self.connection.moment();
            let (frame, is_batch) = {
                let mut inner = self.connection.shared.lock();
                let before = inner.state.stats_mut().batches_sent;
                let frame = inner.state.next_frame(moment, &mut outcomes);
                (frame, inner.state.stats_mut().batches_sent > before)
            };
            let Some(frame) = frame else { break };
            self.feed(frame, is_batch).await?;
            fed = true;
        }
        if !fed && Instant::now() >= self.last_out + self.heartbeat() * 3 / 4 {
            let ping = ClientFrame::Ping(Ping { id: 0, client_time: Some(self.connection.clock.now()) });
            self.feed(self.connection.encoding.encode(&ping), false).await?;
        }
        let limit = self.silence();
        if let Some(socket) = &mut self.socket {
            socket.flush(limit).await?;
        }
        let end = end_in(&outcomes);
        self.tell(outcomes, legacy);
        end.map_or(Ok(()), Err)
    }

    async fn feed(&mut self, plain: Bytes, is_batch: bool) -> Result<(), End> {
        let (compresses, plain_bytes) = (self.connection.shared.lock().state.compresses(), plain.len());
        let frame = compresses.then(|| gzip::deflate(&plain)).flatten().unwrap_or(plain);
        {
            let mut inner = self.connection.shared.lock();
            let stats = inner.state.stats_mut();
            stats.frames_out += 1;
            stats.bytes_out += frame.len() as u64;
            stats.outgoing.count(frame.len(), plain_bytes);
            if is_batch {
                stats.outgoing.sent_batch(frame.len(), plain_bytes);
            }
        }
        self.last_out = Instant::now();
        let limit = self.silence();
        match &mut self.socket {
            Some(socket) => socket.feed(frame, limit).await,
            None => Err(End::Asked),
        }
    }

    fn tell(&self, outcomes: Vec<Outcome>, legacy: &mut Legacy) {
        let mut inner = self.connection.shared.lock();
        for outcome in outcomes {
            match outcome {
                Outcome::Event(event) => inner.emit(event),
                Outcome::Touched(touched) => inner.emit(Event::Changed {
                    domain: touched.domain,
                    mobile_id: touched.mobile_id,
                    version: touched.version,
                    operation: touched.operation,
                }),
                Outcome::Answered(local_id, result) => {
                    if let Some(ticket) = inner.tickets.remove(&local_id) {
                        // Whoever dropped the ticket does not want to know.
                        let _ = ticket.send(result);
                    }
                }
                Outcome::Compared(number, verdict) => {
                    if let Some(waiting) = inner.comparing.remove(&number) {
                        // Whoever stopped waiting does not want to know.
                        let _ = waiting.send(verdict);
                    }
                }
                Outcome::Published(number, verdict) => {
                    if let Some(waiting) = inner.publishing.remove(&number) {
                        // Whoever stopped waiting does not want to know.
                        let _ = waiting.send(verdict);
                    }
                }
                Outcome::CaughtUp => legacy.succeeded = true,
                Outcome::NotWithin(delay) => legacy.not_within = legacy.not_within.max(delay),
                Outcome::End(_) => {}
            }
        }
        drop(inner);
        self.connection.shared.moved.notify_waiters();
    }

    fn check_silence(&self) -> Result<(), End> {
        if Instant::now() < self.last_in + self.silence() { Ok(()) } else { Err(End::Silent) }
    }

    /// When to look up without being woken.
    fn due(&self) -> Instant {
        let frame = self.connection.shared.lock().state.next_due();
        let ping = self.last_out + self.heartbeat() * 3 / 4;
        let silent = self.last_in + self.silence();
        frame.into_iter().fold(ping.min(silent), Instant::min)
    }

    /// How often something has to go out. Before the welcome nothing but hello does.
    fn heartbeat(&self) -> Duration {
        let heartbeat = self.connection.shared.lock().state.heartbeat();
        heartbeat.unwrap_or(self.connection.connect_timeout * 2)
    }

    /// How long the hub may be silent: two heartbeats; for the welcome, as long as for the dial.
    fn silence(&self) -> Duration {
        let heartbeat = self.connection.shared.lock().state.heartbeat();
        heartbeat.map_or(self.connection.connect_timeout, |heartbeat| heartbeat * 2)
    }
}

fn end_in(outcomes: &[Outcome]) -> Option<End> {
    outcomes.iter().find_map(|outcome| match outcome {
        Outcome::End(end) => Some(end.clone()),
        _ => None,
    })
}
