//! What the hub tells devices so that they ask for as much as line and hub can bear: how large batches should be, by
//! what a session measures of its line, and how long to wait while the hub is busy.

use synchub_protocol::CloseReason;
use synchub_protocol::server::SyncResult;

use super::connected::Session;
use super::deps::Deps;

/// How long a device is asked to wait at a load of 100 percent, in milliseconds, before chance is added.
const LONGEST_MS: u64 = 2000;
/// The least that is worth asking for.
const SHORTEST_MS: u64 = 100;

/// A round trip is asked for with the answer to every so many batches, the first among them.
const BATCHES_A_PING: u8 = 64;

/// The ping that measures a session's round trip. Eight bytes: every session has one.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Probe {
    /// When it was sent, as [`ReadPool::moment`](super::ReadPool) counts.
    sent: u32,
    /// Whether its answer is to come.
    waits: bool,
    /// Whether one is to go out with what is sent next.
    wanted: bool,
    /// Batches that were answered, less those that a ping went with.
    batches: u8,
}

impl Probe {
    /// A ping goes out now. While the answer to an older one is to come, that one is measured.
    pub(super) fn sent(&mut self, now: u32) {
        if !self.waits {
            (self.sent, self.waits) = (now, true);
        }
        self.wanted = false;
    }

    /// How long the answer that came now took, in milliseconds; none for one that nobody asked for.
    fn answered(&mut self, now: u32) -> Option<u64> {
        std::mem::take(&mut self.waits).then(|| now.wrapping_sub(self.sent).into())
    }

    /// A batch is answered now.
    fn batch(&mut self) {
        self.wanted |= self.batches == 0 && !self.waits;
        self.batches = (self.batches + 1) % BATCHES_A_PING;
    }
}

impl Session {
    /// Says in the answer to a batch what is to be said of the next ones.
    pub(super) fn give_hints(&mut self, result: &mut SyncResult) {
        result.backoff_ms = backoff_ms(&self.deps);
        result.recommended_batch = self.batch_size.news(self.deps.settings.limits.recommended_batch);
        self.probe.batch();
    }

    /// Sends a ping behind what was just sent, if one is wanted: it costs no write of its own.
    pub(super) fn send_probe(&mut self) -> Result<(), CloseReason> {
        if !self.probe.wanted || !self.socket.has_room() {
            return Ok(());
        }
        self.probe.sent(self.deps.reading.moment());
        self.socket.ping()
    }

    /// The peer's library answered a ping.
    pub(super) fn on_answered(&mut self) -> Result<(), CloseReason> {
        if let Some(took_ms) = self.probe.answered(self.deps.reading.moment()) {
            self.batch_size.answered(took_ms);
        }
        self.on_silent_frame(0)
    }
}

/// How long the sender of a batch is to wait before the next one, in milliseconds; none while the hub is not
/// busy.
fn backoff_ms(deps: &Deps) -> Option<u64> {
    let busy = deps.settings.admission.busy_percent;
    let least = backoff_at(deps.engine.load_percent(), busy)?;
    deps.metrics.backoffs.inc();
    Some(least + deps.entropy.below(least))
}

/// The least wait at a load, rising evenly from where the hub is busy.
fn backoff_at(percent: u64, busy: u64) -> Option<u64> {
    let above = percent.checked_sub(busy)?;
    let share = above.min(100) * 100 / (100_u64.saturating_sub(busy)).max(1);
    Some((LONGEST_MS * share.min(100) / 100).max(SHORTEST_MS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bw3_a_round_trip_is_asked_for_now_and_then_and_one_answer_counts_once() {
        let mut probe = Probe::default();
        assert_eq!(probe.answered(5), None, "an answer that nobody asked for");
        let mut asked = Vec::new();
        for batch in 0..130 {
            probe.batch();
            if probe.wanted {
                asked.push(batch);
                probe.sent(u32::MAX - 10);
                probe.sent(7);
                assert_eq!(
                    (probe.answered(29), probe.answered(40)),
                    (Some(40), None),
                    "the moments begin anew"
                );
            }
        }
        assert_eq!(asked, [0, 64, 128]);
        probe.sent(1);
        (0..200).for_each(|_| probe.batch());
        assert!(!probe.wanted, "one is under way");
    }

    #[test]
    fn the_wait_rises_with_the_load() {
        let waits = [0, 49, 50, 75, 100, 900].map(|percent| backoff_at(percent, 50));
        assert_eq!(waits, [None, None, Some(100), Some(1000), Some(2000), Some(2000)]);
        assert_eq!(backoff_at(100, 100), Some(100));
    }
}
