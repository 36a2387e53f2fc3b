//! When the hub is killed during a replay, and what was due at that moment.
//!
//! Kills are spread over the replay: one at a random place of each of as many equal stretches. At
//! its place a kill waits a moment for answers to be due, so that most fall in the middle of work.

use std::time::Duration;

use anyhow::Result;
use tokio::time::Instant;

use crate::chance::Chance;
use crate::hub::Hub;
use crate::ledger::Ledger;
use crate::play::Peer;

/// How long a kill waits for answers to be due.
const DUE_LIMIT: Duration = Duration::from_secs(2);
/// Answers that were on their way when the hub died are read within this.
const GRACE: Duration = Duration::from_millis(50);
/// A kill falls at random within this once answers are due.
const JITTER_US: u64 = 5000;

/// What became of the kills.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Kills {
    /// How often the hub was killed.
    pub(crate) count: usize,
    /// How many kills fell while answers were due.
    pub(crate) while_due: usize,
    /// How many answers were due at each.
    pub(crate) due: Vec<u64>,
}

/// After how many answers each kill falls.
pub(crate) fn places(lines: usize, kills: usize, chance: &Chance) -> Vec<u64> {
    let (lines, kills) = (lines as u64, kills as u64);
    (0..kills)
        .map(|kill| {
            let (from, to) = (lines * kill / kills, lines * (kill + 1) / kills);
            // The last answers are left alone: a kill must fall before the end.
            from + chance.below((to - from).max(1)) * 9 / 10
        })
        .collect()
}

/// Kills and restarts the hub at each place.
pub(crate) async fn run<P: Peer>(
    ledger: &Ledger,
    peers: &[P],
    (hub, places): (&mut Hub, Vec<u64>),
    chance: &Chance,
) -> Result<Kills> {
    let mut kills = Kills::default();
    for place in places {
        while ledger.answered() < place {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        wait_for_due(peers).await;
        tokio::time::sleep(Duration::from_micros(chance.below(JITTER_US))).await;
        let before = due(peers);
        hub.kill().await?;
        tokio::time::sleep(GRACE).await;
        let due = still_due(&before, peers);
        kills.count += 1;
        kills.while_due += usize::from(due > 0);
        kills.due.push(due);
        hub.run().await?;
    }
    Ok(kills)
}

/// What each connected device waits for; a device that is not connected waits for no answer.
fn due<P: Peer>(peers: &[P]) -> Vec<u64> {
    peers.iter().map(Peer::due).map(|(due, connected)| if connected { due } else { 0 }).collect()
}

/// How much of what was due before the kill was not answered by it.
fn still_due<P: Peer>(before: &[u64], peers: &[P]) -> u64 {
    before.iter().zip(peers).map(|(before, peer)| peer.due().0.min(*before)).sum()
}

async fn wait_for_due<P: Peer>(peers: &[P]) {
    let deadline = Instant::now() + DUE_LIMIT;
    while due(peers).iter().all(|due| *due == 0) && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use synchub_protocol::server::EntryResult;
    use synchub_protocol::{Data, Entry};
    use uuid::Uuid;

    use super::*;

    #[test]
    fn kills_are_spread_over_the_replay() {
        for seed in 0..50 {
            let places = places(1000, 20, &Chance::new(seed));
            assert_eq!(places.len(), 20);
            for (kill, place) in (0..).zip(places) {
                assert!((kill * 50..kill * 50 + 50).contains(&place), "kill {kill} at {place}");
            }
        }
        assert_ne!(places(1000, 20, &Chance::new(1)), places(1000, 20, &Chance::new(2)));
        assert_eq!(places(1, 3, &Chance::new(1)), [0, 0, 0]);
        assert!(places(10, 0, &Chance::new(1)).is_empty());
    }

    /// A device that waits for some answers, connected or not.
    #[derive(Clone)]
    struct Waiting(u64, bool);

    impl Peer for Waiting {
        fn holds(&self, _: &str, _: Uuid, _: u64) -> bool {
            true
        }

        async fn wait_for(&self, _: &str, _: Uuid, _: u64) {}

        fn held(&self, _: &str, _: Uuid) -> Option<(u64, Arc<Data>)> {
            None
        }

        fn due(&self) -> (u64, bool) {
            (self.0, self.1)
        }

        fn submit(&self, _: Entry) -> impl Future<Output = Option<EntryResult>> + Send + 'static {
            std::future::ready(None)
        }
    }

    #[test]
    fn due_is_what_connected_devices_waited_for_and_were_not_given() {
        let before = due(&[Waiting(5, true), Waiting(3, false), Waiting(0, true), Waiting(2, true)]);
        assert_eq!(before, [5, 0, 0, 2]);
        let after = [Waiting(1, false), Waiting(3, false), Waiting(7, false), Waiting(4, false)];
        assert_eq!(still_due(&before, &after), 1 + 2);
    }
}
