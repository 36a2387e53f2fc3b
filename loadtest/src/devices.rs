//! The clients of all devices: started together, watched, and read at the end.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use futures::stream::{self, StreamExt, TryStreamExt};
use synchub_client::{Client, Event, Flow, Stats, Stopped};
use synchub_protocol::server::EntryResult;
use synchub_protocol::{Data, Entry};
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;
use uuid::Uuid;

use crate::chance::Chance;
use crate::fingerprint::Fingerprint;
use crate::judge::View;
use crate::play::{Peer, Stage};
use crate::report::Sockets;
use crate::survey::{Actor, DeviceIndex, Survey};
use crate::target::Target;
use crate::verdict::StoredRecord;
use crate::verdict::copies::Held;

/// How many devices connect at once at the start.
const CONNECTING: usize = 64;
/// How long a device may take until it is live for the first time.
const LIVE_LIMIT: Duration = Duration::from_mins(2);
/// How long the devices may take after the last answer until they have everything.
const SETTLE_LIMIT: Duration = Duration::from_mins(2);
/// How long a device waits for its place before it asks.
const ASK_AFTER: Duration = Duration::from_secs(2);

/// The clients of a survey's devices, in its order.
pub(crate) struct Devices {
    all: Vec<Device>,
    installs: Vec<Uuid>,
    live: Arc<AtomicUsize>,
    open_at_once: Arc<AtomicUsize>,
}

/// The client of one device.
#[derive(Clone)]
pub(crate) struct Device(Client);

impl Peer for Device {
    fn holds(&self, domain: &str, id: Uuid, version: u64) -> bool {
        self.0.record(domain, id).is_some_and(|record| record.version >= version)
    }

    async fn wait_for(&self, domain: &str, id: Uuid, version: u64) {
        // A client that has stopped never holds it; the patience of the one who waits runs out.
        if self.0.wait_for_version(domain, id, version).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    fn due(&self) -> (u64, bool) {
        (self.0.outbox_len() as u64, self.0.is_live())
    }

    fn held(&self, domain: &str, id: Uuid) -> Option<(u64, Arc<Data>)> {
        self.0.record(domain, id).map(|record| (record.version, record.data))
    }

    fn submit(&self, entry: Entry) -> impl Future<Output = Option<EntryResult>> + Send + 'static {
        let ticket = self.0.submit(entry);
        async move { ticket.await.ok() }
    }
}

impl Device {
    /// The version of a record in the copy; 0: it holds none.
    pub(crate) fn version(&self, domain: &str, id: Uuid) -> u64 {
        self.0.record(domain, id).map_or(0, |record| record.version)
    }

    /// Waits until everything is answered and the copy is at this place. A hub is slow to name a place to a
    /// device that it has nothing to send to, so one that waits long asks for it.
    async fn settle(&self, head: Option<u64>) -> Result<(), Stopped> {
        if let Ok(settled) = tokio::time::timeout(ASK_AFTER, self.0.wait_until_settled(head)).await {
            return settled;
        }
        self.0.catch_up().await?;
        self.0.wait_until_settled(head).await
    }

    /// Says goodbye; what is submitted from now on waits.
    pub(crate) async fn leave(&self) {
        self.0.disconnect().await;
    }

    /// Comes back, and waits until everything is sent and received; false when it never will be.
    pub(crate) async fn come_back(&self) -> bool {
        self.0.reconnect();
        self.0.wait_until_settled(None).await.is_ok()
    }
}

impl Devices {
    /// Connects all devices and waits until each is live.
    pub(crate) async fn start(survey: &Survey, target: &Target, chance: &Arc<Chance>) -> Result<Self> {
        let installs: Vec<Uuid> = survey.devices.iter().map(|_| chance.uuid()).collect();
        let starting = survey.devices.iter().enumerate().map(|(index, actor)| {
            let install = installs[index];
            connect(survey, target, Arc::clone(chance), (index, actor, install))
        });
        let all = stream::iter(starting).buffered(CONNECTING).try_collect().await?;
        Ok(Self { all, installs, live: Arc::default(), open_at_once: Arc::default() })
    }

    /// The clients.
    pub(crate) fn peers(&self) -> &[Device] {
        &self.all
    }

    /// The install under which each device numbers its entries.
    pub(crate) fn installs(&self) -> &[Uuid] {
        &self.installs
    }

    /// Times the changes that arrive at the stage's observers, and counts the sockets that are live.
    pub(crate) fn observe(&self, stage: &Arc<Stage>) {
        let (live, most) = (Arc::clone(&self.live), Arc::clone(&self.open_at_once));
        let (all, stop) = (self.all.clone(), stage.done.clone());
        stage.watchers.spawn(async move { stop.run_until_cancelled(count_live(&all, &live, &most)).await });
        for &index in &stage.observers {
            let mut events = self.all[index].0.events();
            let tenant = stage.survey.devices[index].tenant.clone();
            let (stop, stage_of_events) = (stage.done.clone(), Arc::clone(stage));
            let reading = async move {
                loop {
                    match events.recv().await {
                        Ok(Event::Changed { mobile_id, version, .. }) => {
                            stage_of_events.spread.seen((tenant.clone(), mobile_id, version), Instant::now());
                        }
                        Ok(_) | Err(RecvError::Lagged(_)) => {}
                        Err(RecvError::Closed) => return,
                    }
                }
            };
            stage.watchers.spawn(async move { stop.run_until_cancelled(reading).await });
        }
    }

    /// Waits until every device has what its tenant's log holds; says of how many this cannot be said, and what
    /// a new device of each tenant was sent.
    pub(crate) async fn settle(
        &self,
        survey: &Survey,
        target: &Target,
        chance: &Arc<Chance>,
    ) -> Result<(Option<String>, Flow)> {
        let (heads, new_devices) = heads(survey, target, chance).await?;
        let settling = self.all.iter().zip(&survey.devices).map(|(device, actor)| async {
            let head = heads.get(actor.tenant.as_str()).copied();
            !matches!(tokio::time::timeout(SETTLE_LIMIT, device.settle(head)).await, Ok(Ok(())))
        });
        let late: Vec<bool> = futures::future::join_all(settling).await;
        let late = late.into_iter().filter(|late| *late).count();
        let limit = SETTLE_LIMIT.as_secs();
        let note =
            (late > 0).then(|| format!("{late} devices had not caught up {limit} s after the last answer"));
        Ok((note, new_devices))
    }

    /// What a device's copy holds of a domain.
    pub(crate) fn held(&self, index: DeviceIndex, domain: &str) -> Vec<Held> {
        let records = self.all[index].0.records(domain).into_iter();
        records
            .map(|(id, record)| Held {
                id,
                version: record.version,
                fingerprint: Fingerprint::of(&record.data),
            })
            .collect()
    }

    /// Asks the hub for the digest of each device's view, and says where it is not the copy's (EN13).
    pub(crate) async fn differences(&self, survey: &Survey) -> Vec<String> {
        let comparing = self.all.iter().zip(&survey.devices).map(|(device, actor)| async move {
            match tokio::time::timeout(SETTLE_LIMIT, device.0.compare()).await {
                Ok(Ok(compared)) if compared.is_equal() => None,
                Ok(Ok(compared)) => Some(format!("{actor}: {:?}", compared.domains)),
                Ok(Err(error)) => Some(format!("{actor}: {error}")),
                Err(_) => Some(format!("{actor}: no digest within {} s", SETTLE_LIMIT.as_secs())),
            }
        });
        let differences = stream::iter(comparing).buffer_unordered(CONNECTING);
        differences.filter_map(std::future::ready).collect().await
    }

    /// How often a version went down in each device's copy. No hub of a replay is restored, so a
    /// snapshot must not bring an older version either.
    pub(crate) fn regressions(&self) -> Vec<u64> {
        self.stats().map(|stats| stats.version_regressions + stats.snapshot_regressions).collect()
    }

    /// How many requests the hub has refused for the sake of a rate.
    pub(crate) fn rate_limited(&self) -> u64 {
        self.stats().map(|stats| stats.rate_limited).sum()
    }

    /// Counts the devices that are live, now and then. Never ends.
    pub(crate) async fn count_live(&self) {
        count_live(&self.all, &self.live, &self.open_at_once).await;
    }

    /// How many devices were live when they were counted last.
    pub(crate) fn live(&self) -> usize {
        self.live.load(Ordering::Relaxed)
    }

    /// How many changes have arrived.
    pub(crate) fn changes(&self) -> u64 {
        self.stats().map(|stats| stats.data_updates - stats.skipped_repeats).sum()
    }

    /// What the devices were sent, and what they sent.
    pub(crate) fn flows(&self) -> (Flow, Flow) {
        let (mut incoming, mut outgoing) = (Flow::default(), Flow::default());
        for stats in self.stats() {
            incoming += stats.incoming;
            outgoing += stats.outgoing;
        }
        (incoming, outgoing)
    }

    /// The devices' connections.
    pub(crate) fn sockets(&self, survey: &Survey) -> Sockets {
        Sockets {
            devices: self.all.len(),
            silent: survey.devices.iter().filter(|device| device.lines == 0).count(),
            open_at_once: self.open_at_once.load(Ordering::Relaxed),
            reconnects: self.stats().map(|stats| stats.connects.saturating_sub(1)).sum(),
            repeats: self.stats().map(|stats| stats.skipped_repeats).sum(),
        }
    }

    /// Ends all clients; their copies can still be read.
    pub(crate) async fn stop(&self) {
        stream::iter(&self.all).for_each_concurrent(CONNECTING, |device| device.0.stop()).await;
    }

    fn stats(&self) -> impl Iterator<Item = Stats> {
        self.all.iter().map(|device| device.0.stats())
    }
}

/// Counts the devices that are live, and keeps the highest number. Never ends.
async fn count_live(all: &[Device], live: &AtomicUsize, most: &AtomicUsize) {
    loop {
        let count = all.iter().filter(|device| device.0.is_live()).count();
        live.store(count, Ordering::Relaxed);
        most.fetch_max(count, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

async fn connect(
    survey: &Survey,
    target: &Target,
    chance: Arc<Chance>,
    (index, actor, install): (DeviceIndex, &Actor, Uuid),
) -> Result<Device> {
    let config = target.config(survey, &chance, (index, actor, install));
    let client = Client::start(config).await.with_context(|| format!("{actor} cannot start"))?;
    let live = tokio::time::timeout(LIVE_LIMIT, client.wait_until_settled(None)).await;
    live.with_context(|| format!("{actor} is not live after {} s", LIVE_LIMIT.as_secs()))?
        .with_context(|| format!("{actor} cannot connect"))?;
    Ok(Device(client))
}

/// The head of each tenant's log: the place at which a new device has caught up; and what those were sent.
async fn heads<'s>(
    survey: &'s Survey,
    target: &Target,
    chance: &Arc<Chance>,
) -> Result<(HashMap<&'s str, u64>, Flow)> {
    let (target, mut heads, mut sent) = (target.straight(), HashMap::new(), Flow::default());
    for actor in &survey.devices {
        if !heads.contains_key(actor.tenant.as_str()) {
            let probe = Actor { device: "probe".to_owned(), lines: 0, ..actor.clone() };
            let device = connect(survey, &target, Arc::clone(chance), (0, &probe, chance.uuid())).await?;
            heads.insert(actor.tenant.as_str(), device.0.position().unwrap_or(0));
            sent += device.0.stats().incoming;
            device.0.stop().await;
        }
    }
    Ok((heads, sent))
}

/// What each account sees through a new device.
pub(crate) async fn views(
    survey: &Survey,
    target: &Target,
    chance: &Arc<Chance>,
) -> Result<HashMap<(String, String), View>> {
    let accounts: HashMap<(String, String), Actor> = survey
        .devices
        .iter()
        .map(|actor| {
            let fresh = Actor { device: "verify".to_owned(), lines: 0, ..actor.clone() };
            ((actor.tenant.clone(), actor.user.clone()), fresh)
        })
        .collect();
    let target = &target.straight();
    let viewing = accounts.iter().enumerate().map(|(index, (account, actor))| async move {
        let install = chance.uuid();
        let device = connect(survey, target, Arc::clone(chance), (index, actor, install)).await?;
        let view = survey.domains.iter().map(|domain| (domain.clone(), records(&device, domain))).collect();
        device.0.stop().await;
        anyhow::Ok((account.clone(), view))
    });
    stream::iter(viewing).buffer_unordered(CONNECTING).try_collect().await
}

fn records(device: &Device, domain: &str) -> HashMap<Uuid, StoredRecord> {
    let records = device.0.records(domain).into_iter();
    records
        .map(|(id, record)| {
            let fingerprint = Fingerprint::of(&record.data);
            (id, StoredRecord { version: record.version, deleted: false, scope: 0, fingerprint })
        })
        .collect()
}
