//! The store is lost and put back: by `restore`, or by hand without a word, so that the first device that
//! knows more is the witness (R1); what the hub forgot comes again (R2).

use std::path::PathBuf;

use serde_json::{Value, json};
use synchub::store::sqlite;
use tempfile::TempDir;

use crate::device::{Disk, Place};
use crate::model::Model;
use crate::numbers::Saved;
use crate::support::Peer;
use crate::world::World;

/// Of so many histories one has a store that is put back.
const ONE_OF: u64 = 4;
/// What the clock goes on when the store is put back: more than it is ever set back, since rows of two
/// histories with the same place and time could be told apart by nothing.
const PAUSE_US: i64 = 600_000_000;

/// The backups of a history whose store is put back.
#[derive(Debug)]
pub(crate) struct Ruin {
    shelf: TempDir,
    /// Each of the life before the next.
    backups: Vec<Backup>,
    count: u64,
    /// The highest epoch of a store that `restore` has replaced.
    replaced: u64,
    /// Whether the store was ever put back without a word.
    by_hand: bool,
}

#[derive(Debug, Clone)]
struct Backup {
    file: PathBuf,
    epoch: u64,
    ledgers: Vec<Saved>,
}

impl Ruin {
    /// What a history has to be put back with, if it is.
    pub(crate) fn of(seed: u64) -> Option<Self> {
        let ruin = || Self {
            shelf: TempDir::new().unwrap(),
            backups: Vec::new(),
            count: 0,
            replaced: 0,
            by_hand: false,
        };
        (seed % ONE_OF == ONE_OF - 1).then(ruin)
    }
}

impl World {
    /// Makes a backup: while the hub runs, or of the files of one that has crashed.
    pub(crate) async fn save(&mut self) {
        for tenant in 0..self.ledgers.len() {
            let at = self.devices.iter().position(|device| device.tenant == tenant).unwrap();
            if !self.host.has(&self.ledgers[tenant].tenant) {
                self.connect(at).await;
            }
        }
        self.judge().await;
        let ruin = self.ruin.as_mut().unwrap();
        ruin.count += 1;
        let file = ruin.shelf.path().join(ruin.count.to_string());
        if self.chance.percent(75) {
            let (database, target) = (self.host.hub().database(), file.clone());
            tokio::task::spawn_blocking(move || sqlite::backup(&database, &target)).await.unwrap().unwrap();
        } else {
            self.crash_with(Some(file.clone())).await;
        }
        let ledgers = self.ledgers.iter().map(crate::ledger::Ledger::save).collect();
        let backup = Backup { file, epoch: self.host.epoch(), ledgers };
        self.note(format!("backup {} in epoch {}", backup.file.display(), backup.epoch));
        self.ruin.as_mut().unwrap().backups.push(backup);
    }

    /// Puts the store back to a backup; what came after it is lost.
    pub(crate) async fn put_back(&mut self) {
        let Some(ruin) = &self.ruin else { return };
        if ruin.backups.is_empty() {
            return self.save().await;
        }
        self.judge().await;
        // What is on the way when it happens.
        for at in 0..self.devices.len() {
            if self.is_online(at) && self.chance.percent(40) {
                self.edit(at);
                self.send(at).await;
            }
        }
        let lost_epoch = self.host.epoch();
        for ledger in &mut self.ledgers {
            let log = self.host.log(&ledger.tenant, ledger.model.head());
            ledger.numbers.give(&log);
        }
        let by_hand = self.chance.percent(60);
        let ruin = self.ruin.as_mut().unwrap();
        // Mostly the newest one.
        let at = if self.chance.percent(70) {
            ruin.backups.len() - 1
        } else {
            self.chance.below(ruin.backups.len())
        };
        ruin.backups.truncate(at + 1);
        let backup = ruin.backups[at].clone();
        let epoch = if by_hand {
            ruin.by_hand = true;
            backup.epoch
        } else {
            let named = lost_epoch.max(ruin.replaced).max(backup.epoch);
            ruin.replaced = lost_epoch.max(ruin.replaced);
            named + 1
        };
        self.note(format!(
            "put back to {}, by hand: {by_hand}, from epoch {lost_epoch} to {epoch}",
            backup.file.display()
        ));
        let (crashes, seed) = (self.chance.percent(50), self.chance.word());
        self.host.now_us += PAUSE_US;
        self.host.times.push(self.host.now_us);
        self.host.replace(crashes, seed, &backup.file, by_hand).await;
        self.forget();
        assert_eq!(self.host.epoch(), epoch, "R1: the epoch after the store was put back by hand: {by_hand}");
        for (ledger, saved) in self.ledgers.iter_mut().zip(backup.ledgers) {
            ledger.count(if by_hand { "store put back by hand" } else { "store restored" });
            if by_hand {
                ledger.numbers.doubt(lost_epoch);
            }
            ledger.put_back(saved, epoch);
        }
        self.doubt_copies(by_hand, epoch);
        // The log goes on, perhaps past the old place, before anybody comes who knows more.
        for _ in 0..self.chance.below(6) {
            let tenant = self.chance.below(self.ledgers.len());
            self.publish(tenant).await;
        }
    }

    /// Every socket is gone, and what devices hold may be lost to the store.
    fn doubt_copies(&mut self, by_hand: bool, epoch: u64) {
        for at in 0..self.devices.len() {
            self.cut(at);
            let device = &mut self.devices[at];
            let model = &self.ledgers[device.tenant].model;
            for disk in std::iter::once(&mut device.disk).chain(&mut device.backup) {
                disk.doubts |= !by_hand || disk.may_know_more(model, epoch);
            }
        }
    }

    /// Whether a hello of a device must raise the epoch, or must not; none where nobody can say.
    pub(crate) fn foresee(&self, at: usize) -> Option<bool> {
        let device = &self.devices[at];
        let (disk, tenant, epoch) = (&device.disk, &self.ledgers[device.tenant].tenant, self.host.epoch());
        if self.ruin.as_ref().is_none_or(|ruin| !ruin.by_hand) || disk.cursor.is_none() || disk.epoch < epoch
        {
            return Some(false);
        }
        if disk.epoch > epoch {
            return Some(true);
        }
        let Place { seq, time_us } = disk.place?;
        if seq > self.host.head(tenant) {
            return Some(true);
        }
        self.host.row_time(tenant, seq).map(|stands| stands != time_us)
    }

    /// A hello was answered that the epoch has risen: everybody has to come anew.
    pub(crate) async fn rise(&mut self, at: usize, foreseen: Option<bool>, goaway: &Value, mut peer: Peer) {
        let (tenant, name) = (self.devices[at].tenant, self.devices[at].name());
        self.note(format!("{tenant} {name} is the witness of a lost history"));
        assert_eq!(goaway["reason"], "epoch_changed", "{goaway}");
        assert_ne!(foreseen, Some(false), "R1: the epoch rose though {name} knew nothing more");
        assert_eq!(peer.close_code().await, 4001, "R1: the witness is closed too");
        let epoch = self.ledgers[tenant].numbers.epoch.max(self.devices[at].disk.epoch) + 1;
        assert_eq!(self.host.epoch(), epoch, "R1: the new epoch is one above all that were named");
        self.ledgers[tenant].count("epoch risen by a witness");
        for ledger in &mut self.ledgers {
            ledger.numbers.epoch = epoch;
            ledger.may_fail();
        }
        for at in 0..self.devices.len() {
            if self.is_online(at) {
                self.end_of_epoch(at).await;
            }
        }
    }

    /// A session of the epoch before is told and closed; it decides nothing any more.
    async fn end_of_epoch(&mut self, at: usize) {
        let event = self.ledgers[self.devices[at].tenant].sent();
        if self.chance.percent(70) && self.send(at).await {
            self.ledgers[self.devices[at].tenant].events[event].may_fail = true;
        }
        let sent = self.ledgers[self.devices[at].tenant].sent() > event;
        let mut told = false;
        while let Some(link) = &mut self.devices[at].link {
            match link.peer.next_or_close().await {
                Ok(frame) if frame["type"] == "goaway" => {
                    assert_eq!(frame["reason"], "epoch_changed", "{frame}");
                    told = true;
                }
                Ok(frame) => {
                    let late = sent && link.flights.back().is_some_and(|flight| frame["id"] == flight.id);
                    let late = late && frame["type"] == "sync_result";
                    assert!(!late, "R1: a session of the epoch before goes on: {frame}");
                    self.take(at, &frame);
                }
                Err(code) => {
                    assert!(told && code == 4001, "R1: {} closed with {code}", self.devices[at].name());
                    self.ledgers[self.devices[at].tenant].count("session closed by a new epoch");
                    self.cut(at);
                }
            }
        }
    }

    /// Holds a welcome against what the device knew; returns its epoch.
    pub(crate) fn check_welcome(&mut self, at: usize, foreseen: Option<bool>, welcome: &Value) -> u64 {
        let device = &self.devices[at];
        let (name, disk) = (device.name(), &device.disk);
        assert_eq!(welcome["type"], "welcome", "{welcome}");
        assert_ne!(foreseen, Some(true), "R1: {name} knows more, and nobody noticed: {:?}", disk.place);
        let epoch = welcome["epoch"].as_u64().unwrap();
        assert_eq!(epoch, self.ledgers[device.tenant].numbers.epoch, "R1: the epoch that {name} is told");
        let fresh = welcome["fresh"].as_array().unwrap();
        let changed = fresh.iter().filter(|fresh| fresh["reason"] == "epoch_changed").count();
        let due = if disk.cursor.is_some() && disk.epoch < epoch { disk.wish.len() } else { 0 };
        assert_eq!(changed, due, "R1: {name} is told {welcome}");
        assert!(due == 0 || fresh.len() == due, "R1: {name} is told {welcome}");
        epoch
    }

    /// Notes where the cursor of a frame stands.
    pub(crate) fn note_place(&mut self, at: usize, frame: &Value) {
        // A push that waits holds the cursor before it, and what came after it is not covered (R1).
        let is_owed = self.is_owed(at, frame["seq"].as_u64().unwrap_or(0));
        let device = &mut self.devices[at];
        let (Some(link), disk) = (&device.link, &mut device.disk) else { return };
        if ["snapshot", "data_update"].iter().any(|kind| frame["type"] == *kind) {
            disk.is_ahead = true;
        }
        if frame["type"] == "caught_up" && link.renews {
            disk.doubts = false;
        }
        if self.ruin.is_none() || frame["cursor"].is_null() {
            return;
        }
        disk.epoch = link.epoch;
        disk.is_ahead &= !link.caught_up || link.held || is_owed;
        let tenant = &self.ledgers[device.tenant].tenant;
        disk.place = frame["seq"]
            .as_u64()
            .filter(|seq| *seq > 0)
            .and_then(|seq| Some(Place { seq, time_us: self.host.row_time(tenant, seq)? }));
    }

    /// At the end nothing that was accepted and is still kept is missing (R2). A phone and a hub that were
    /// both put back are not covered.
    pub(crate) fn check_forgotten(&mut self) {
        for device in self.devices.iter().filter(|device| !device.was_restored) {
            let known = self.ledgers[device.tenant].numbers.known();
            for uid in device.promised.keys() {
                assert!(known.contains(uid), "R2: {} lost its edit {uid}", device.name());
            }
        }
        let doubting = self.devices.iter().filter(|device| device.disk.doubts).count();
        self.ledgers[0].count_all("device that nobody can tell of its loss", doubting);
        if self.ruin.is_some() {
            self.note(json!({"doubting": doubting}).to_string());
        }
    }
}

impl Disk {
    /// Whether the copy may hold what a store that was put back to this state does not know, without its
    /// cursor saying so: a cursor covers all but the last second (R1).
    fn may_know_more(&self, model: &Model, epoch: u64) -> bool {
        let Some(Place { seq, time_us }) = self.place.filter(|_| !self.is_ahead && self.epoch <= epoch)
        else {
            return true;
        };
        let behind = |version: &u64, key: &crate::model::Key| model.images(key).contains_key(version);
        let unknown = self.copy.iter().any(|(key, (version, _))| !behind(version, key));
        let removed = self.removed.iter().any(|(key, version)| !behind(version, key));
        let ahead =
            seq > model.head() || model.rows.iter().any(|row| row.seq == seq && row.time_us != time_us);
        ahead || unknown || removed
    }
}
