//! The schedule, against a hub that is a few maps in memory.

use std::collections::HashMap;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::*;
use crate::ledger::{Entry as Noted, Tally};
use crate::pace::Speed;
use crate::trace::tests::line;

type Versions = HashMap<Uuid, u64>;

/// Gives each accepted entry the record's next version. Every copy sees it at once, but those that
/// are deaf see nothing.
#[derive(Clone)]
struct Fake {
    versions: watch::Sender<Versions>,
    sent: Arc<Mutex<Vec<(usize, Uuid, u64)>>>,
    device: usize,
    refuses: Option<Uuid>,
    deaf: bool,
}

impl Fake {
    fn all(count: usize) -> Vec<Self> {
        let (versions, sent) = (watch::Sender::new(Versions::new()), Arc::default());
        let fake = Self { versions, sent, device: 0, refuses: None, deaf: false };
        (0..count).map(|device| Self { device, ..fake.clone() }).collect()
    }
}

impl Peer for Fake {
    fn holds(&self, _: &str, id: Uuid, version: u64) -> bool {
        !self.deaf && self.versions.borrow().get(&id).is_some_and(|held| *held >= version)
    }

    async fn wait_for(&self, domain: &str, id: Uuid, version: u64) {
        let mut changes = self.versions.subscribe();
        while !self.holds(domain, id, version) {
            changes.changed().await.unwrap();
        }
    }

    fn held(&self, _: &str, _: Uuid) -> Option<(u64, Arc<Data>)> {
        None
    }

    fn due(&self) -> (u64, bool) {
        (0, true)
    }

    fn submit(&self, entry: Entry) -> impl Future<Output = Option<EntryResult>> + Send + 'static {
        self.sent.lock().push((self.device, entry.mobile_id, entry.version));
        let refused = self.refuses == Some(entry.mobile_id);
        let mut version = 0;
        if !refused {
            self.versions.send_modify(|versions| {
                let held = versions.entry(entry.mobile_id).or_default();
                *held += 1;
                version = *held;
            });
        }
        async move {
            tokio::task::yield_now().await;
            Some(EntryResult {
                mobile_id: Some(entry.mobile_id),
                status: if refused { Status::Error } else { Status::Updated },
                server_version: (!refused).then_some(version),
                server_data: None,
                deleted: None,
                conflict: None,
                error: None,
            })
        }
    }
}

struct Played {
    sent: Vec<(usize, Uuid, u64)>,
    entries: Vec<Noted>,
    tally: Tally,
}

async fn play_all(lines: Vec<Line>, change: impl Fn(&mut Fake)) -> Played {
    let survey = Arc::new(Survey::take(lines.iter().cloned().map(Ok)).unwrap());
    let mut peers = Fake::all(survey.devices.len());
    peers.iter_mut().for_each(change);
    let pace = Pace::start(Speed::Max, Arc::new(|| 0));
    let stage = Arc::new(Stage::new(survey, Arc::default(), pace, Duration::from_millis(50)));
    let done = play(&stage, &peers, lines.into_iter().map(Ok));
    tokio::time::timeout(Duration::from_secs(20), done).await.expect("the replay hangs").unwrap();
    let sent = peers[0].sent.lock().clone();
    let (entries, tally) = stage.ledger.read();
    Played { sent, entries, tally }
}

fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

#[tokio::test]
async fn a_line_waits_for_its_base_line_on_another_device() {
    let lines = vec![line("a", "1", 7, 0), line("b", "2", 7, 1), line("a", "1", 7, 2)];
    let played = play_all(lines, |_| ()).await;
    assert_eq!(played.sent, vec![(0, id(7), 0), (1, id(7), 1), (0, id(7), 2)]);
}

#[tokio::test]
async fn a_line_names_the_version_of_its_base_even_when_its_device_holds_a_newer_one() {
    let lines = vec![line("a", "1", 7, 0), line("a", "1", 7, 1), line("b", "2", 7, 2), line("b", "2", 7, 1)];
    let played = play_all(lines, |_| ()).await;
    assert_eq!(played.entries.iter().map(|entry| entry.named).collect::<Vec<_>>(), vec![0, 1, 2, 1]);
    assert_eq!(played.tally.stale, 1);
}

#[tokio::test]
async fn lines_of_one_device_go_out_in_the_order_of_the_trace() {
    let lines: Vec<Line> = (0..300).map(|record| line("a", "1", record, 0)).collect();
    let played = play_all(lines, |_| ()).await;
    let expected: Vec<_> = (0..300).map(|record| (0, id(record), 0)).collect();
    assert_eq!(played.sent, expected);
}

#[tokio::test]
async fn a_refused_base_is_counted_and_does_not_hold_up_what_rests_on_it() {
    let lines = vec![line("a", "1", 7, 0), line("b", "2", 7, 1), line("a", "1", 8, 0)];
    let played = play_all(lines, |fake| fake.refuses = Some(id(7))).await;
    assert_eq!((played.tally.base_refused, played.entries[1].named), (1, 0));
    assert!(played.entries.iter().all(|entry| entry.answered == 1));
}

#[tokio::test]
async fn a_version_that_never_comes_is_waited_for_only_so_long() {
    let lines = vec![line("a", "1", 7, 0), line("b", "2", 7, 1), line("b", "2", 8, 0)];
    let played = play_all(lines, |fake| fake.deaf = true).await;
    assert_eq!((played.tally.waited, played.tally.gave_up_waiting), (1, 1));
    assert!(played.entries.iter().all(|entry| entry.answered == 1));
}

#[tokio::test]
async fn a_trace_longer_than_the_window_with_crossing_devices_does_not_hang() {
    let mut lines = Vec::new();
    for number in 0..WINDOW as u128 + 5000 {
        let (record, base) = (number % 50, u32::try_from(number / 50).unwrap());
        let device = format!("{}", (number * 7 + number / 50) % 13);
        lines.push(line("u", &device, record, base));
    }
    let count = lines.len();
    let played = play_all(lines, |_| ()).await;
    assert_eq!(played.sent.len(), count);
    assert!(played.entries.iter().all(|entry| (entry.submitted, entry.answered) == (1, 1)));
    assert_eq!(played.tally.stale, 0);
}

#[tokio::test]
async fn a_stopped_replay_ends() {
    let lines = vec![line("a", "1", 7, 0), line("b", "2", 7, 1)];
    let survey = Arc::new(Survey::take(lines.iter().cloned().map(Ok)).unwrap());
    let mut peers = Fake::all(2);
    peers[1].deaf = true;
    let pace = Pace::start(Speed::Max, Arc::new(|| 0));
    let stage = Arc::new(Stage::new(survey, Arc::default(), pace, Duration::from_mins(10)));
    let stop = stage.stop.clone();
    let (played, ()) = tokio::join!(play(&stage, &peers, lines.into_iter().map(Ok)), async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        stop.cancel();
    });
    played.unwrap();
    assert_eq!(stage.ledger.read().0[1].submitted, 0);
}
