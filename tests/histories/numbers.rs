//! Numbers over a whole history, in which the store may be put back: no place and no version is given twice
//! (R1), and a number of an install means one edit (O2).

use std::collections::{BTreeMap, BTreeSet};

use crate::host::LogRow;
use crate::ledger::{Event, Ledger};
use crate::model::{Key, Model, Verdict};
use crate::post::Post;

/// The edits by install and number, as the store has decided them.
type Decided = BTreeMap<(i64, u64), u64>;

/// What was given to a tenant in all lives of its store.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    places: BTreeMap<u64, i64>,
    versions: BTreeMap<(Key, u64), u64>,
    /// The highest epoch that was lost by hand: up to it nobody can know what was given. None: nothing was.
    doubtful: Option<u64>,
    /// The epoch that the store is in.
    pub(crate) epoch: u64,
    decided: Decided,
}

/// A tenant as a backup has it.
#[derive(Debug, Clone)]
pub(crate) struct Saved {
    pub(crate) model: Model,
    decided: Decided,
    post: Post,
}

/// The epoch of a place.
pub(crate) fn epoch_of(seq: u64) -> u64 {
    seq >> 40
}

impl Numbers {
    /// Takes new rows of the log.
    pub(crate) fn give(&mut self, log: &[LogRow]) {
        for row in log {
            let sure = self.doubtful.is_none_or(|epoch| epoch_of(row.seq) > epoch);
            let again = self.places.insert(row.seq, row.time_us).is_some();
            assert!(!sure || !again, "R1: a place is given twice: {row:?}");
            if row.kind == "push" {
                continue;
            }
            assert!(row.version >> 32 <= epoch_of(row.seq), "R1: a version ahead of its epoch: {row:?}");
            let name = (row.key.clone(), row.version);
            let again = row.kind != "leave" && self.versions.insert(name, row.seq).is_some();
            assert!(!sure || !again, "R1: a version is given twice: {row:?}");
        }
    }

    /// The store was put back by hand from this epoch.
    pub(crate) fn doubt(&mut self, epoch: u64) {
        self.doubtful = self.doubtful.max(Some(epoch));
    }

    /// Takes what became of a batch's numbers.
    pub(crate) fn settle(&mut self, event: &Event, verdict: &Verdict) {
        let Verdict::Answered { results, repeated: false, .. } = verdict else { return };
        let Some(first) = event.batch.first else { return };
        for ((result, uid), number) in results.iter().zip(&event.uids).zip(first..) {
            let name = (event.batch.install, number);
            if result["status"] == "duplicate" && self.decided.contains_key(&name) {
                assert_eq!(self.decided[&name], *uid, "O2: number {number} is another edit's: {event:?}");
            }
            self.decided.entry(name).or_insert(*uid);
        }
    }

    /// The edits that the store has decided in this life.
    pub(crate) fn known(&self) -> BTreeSet<u64> {
        self.decided.values().copied().collect()
    }
}

impl Ledger {
    /// A batch wrote in this epoch.
    pub(crate) fn enter(&mut self, epoch: u64, event: &Event) {
        let may_be = event.epoch..=self.numbers.epoch;
        assert!(may_be.contains(&epoch), "R1: written in epoch {epoch} of {may_be:?}: {event:?}");
        self.model.epoch = epoch;
    }

    /// What a backup has. Everything was judged.
    pub(crate) fn save(&self) -> Saved {
        let (decided, post) = (self.numbers.decided.clone(), self.post.clone());
        Saved { model: self.model.clone(), decided, post }
    }

    /// The store is what a backup has, in this epoch; what was on the way is lost.
    pub(crate) fn put_back(&mut self, saved: Saved, epoch: u64) {
        self.model = saved.model;
        self.numbers.decided = saved.decided;
        self.post = saved.post;
        self.numbers.epoch = epoch;
        self.events.clear();
        self.judged = 0;
        self.sightings.clear();
        self.shown.clear();
    }

    /// Counts something that happened several times.
    pub(crate) fn count_all(&mut self, what: &str, times: usize) {
        if times > 0 {
            *self.tally.entry(what.to_owned()).or_default() += times as u64;
        }
    }
}
