//! A store with a tenant, a unit, a user and a device in it, and the smallest planner that can fill a log.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::json;
use synchub::store::{CommitError, Committed, Group, Registered, RegisteredDevice, Registration, Store};
use synchub_protocol::digest::part;
use synchub_protocol::server::Origin;
use synchub_protocol::{Data, DeviceKind, Priority};
use synchub_rules::group::{DigestChange, Loaded, Plan, Reads, RecordWrite, Writes};
use synchub_rules::record::{
    DomainNo, Head, LogRow, Record, RecordNo, RowKind, Scope, Stamp, SyncStatus, Write,
};
use uuid::Uuid;

/// Something that a store can be opened on, again and again.
#[async_trait]
pub(crate) trait Backend: Send + Sync {
    /// Opens the store; the one before must have been closed.
    async fn open(&self) -> Arc<dyn Store>;
}

pub(crate) const NOON: i64 = 1_767_225_600_000_000;

pub(crate) struct World {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) me: Registered,
    pub(crate) domain: DomainNo,
}

pub(crate) fn registration(tenant: &str, user: &str, device: &str, install: u128) -> Registration {
    Registration {
        tenant: tenant.to_owned(),
        user: user.to_owned(),
        unit: Some("north".to_owned()),
        device: Some(RegisteredDevice {
            id: device.to_owned(),
            kind: DeviceKind::Phone,
            priority: 40,
            install_id: (install != 0).then(|| Uuid::from_u128(install)),
            profile: rmp_serde::to_vec(&json!({"name": device})).unwrap(),
        }),
        witness: None,
        at_us: NOON,
    }
}

pub(crate) fn key(number: u128) -> Uuid {
    Uuid::from_u128(0xabc << 64 | number)
}

pub(crate) fn data(value: serde_json::Value) -> Data {
    match value {
        serde_json::Value::Object(map) => map,
        other => panic!("{other} is no map"),
    }
}

/// A change that a test makes: what the record is to be, and what the log says of it.
#[derive(Clone)]
pub(crate) struct Edit {
    pub(crate) key: Uuid,
    pub(crate) kind: RowKind,
    pub(crate) scope: Scope,
    pub(crate) data: Data,
}

impl Edit {
    pub(crate) fn create(number: u128, scope: Scope) -> Self {
        let data = data(json!({"n": 1}));
        Self { key: key(number), kind: RowKind::Create, scope, data }
    }

    pub(crate) fn update(number: u128, scope: Scope, value: u64) -> Self {
        Self { kind: RowKind::Update, data: data(json!({"n": value})), ..Self::create(number, scope) }
    }

    pub(crate) fn delete(number: u128, scope: Scope) -> Self {
        Self { kind: RowKind::Delete, ..Self::create(number, scope) }
    }
}

impl World {
    pub(crate) async fn new(backend: &dyn Backend) -> Self {
        Self::on(backend.open().await).await
    }

    pub(crate) async fn on(store: Arc<dyn Store>) -> Self {
        let me = store.register(vec![registration("acme", "ann", "phone", 7)]).await.unwrap().remove(0);
        let domain = store.domains(vec!["tickets".to_owned()]).await.unwrap()[0];
        Self { store, me, domain }
    }

    pub(crate) fn user(&self) -> Scope {
        Scope::Party(self.me.user)
    }

    pub(crate) fn unit(&self) -> Scope {
        Scope::Party(self.me.unit.unwrap())
    }

    pub(crate) async fn commit(
        &self,
        reads: Reads,
        plan: impl FnOnce(Loaded) -> Writes + Send + 'static,
    ) -> Result<Committed, CommitError> {
        let plan = Box::new(|loaded| Plan { decisions: Vec::new(), writes: plan(loaded) });
        self.store.commit(Group { tenant: self.me.tenant, reads, plan }).await
    }

    /// What a group with these reads is given.
    pub(crate) async fn load(&self, reads: Reads) -> Loaded {
        let (sender, receiver) = std::sync::mpsc::channel();
        let plan = move |loaded: Loaded| {
            let writes = Writes { head: loaded.head, ..Writes::default() };
            sender.send(loaded).unwrap();
            writes
        };
        self.commit(reads, plan).await.unwrap();
        receiver.recv().unwrap()
    }

    /// Commits edits of distinct records as one group.
    pub(crate) async fn edit(&self, edits: Vec<Edit>) -> Committed {
        self.try_edit(edits).await.unwrap()
    }

    pub(crate) async fn try_edit(&self, edits: Vec<Edit>) -> Result<Committed, CommitError> {
        let (domain, author) = (self.domain, self.me.clone());
        let records = edits.iter().map(|edit| (domain, edit.key, u64::MAX >> 1)).collect();
        let reads = Reads { records, ..Reads::default() };
        self.commit(reads, move |loaded| writes(&loaded, domain, &author, edits)).await
    }
}

/// The writes of a few edits of distinct records: one row a record, one microsecond a row.
pub(crate) fn writes(loaded: &Loaded, domain: DomainNo, author: &Registered, edits: Vec<Edit>) -> Writes {
    let mut writes = Writes { head: loaded.head, ..Writes::default() };
    let mut free = loaded.free_numbers.iter().copied();
    for edit in edits {
        let before = loaded.records.get(&(domain, edit.key)).map(|history| history.record.clone());
        let no = before.as_ref().map_or_else(|| free.next().unwrap(), |record| record.no);
        let head = Head { seq: writes.head.seq + 1, time_us: writes.head.time_us.max(NOON) + 1 };
        let record = record_after(&edit, before.as_ref(), (no, domain), (head, author));
        writes.rows.push(row(&record, before.as_ref(), edit.kind, author));
        count(&mut writes.digests, before.as_ref(), -1);
        count(&mut writes.digests, Some(&record), 1);
        writes.records.push(RecordWrite { is_new: before.is_none(), record });
        writes.head = head;
    }
    writes
}

/// Takes a record into the digests, or out of them.
fn count(digests: &mut Vec<DigestChange>, record: Option<&Record>, count: i64) {
    let Some(record) = record.filter(|record| !record.deleted) else { return };
    let part = part(record.key, record.version);
    let sum = if count < 0 { part.wrapping_neg() } else { part };
    add_digest(digests, DigestChange { domain: record.domain, scope: record.scope, count, sum });
}

/// Adds a change of a digest to others, each domain and scope once.
pub(crate) fn add_digest(digests: &mut Vec<DigestChange>, change: DigestChange) {
    let same = |known: &&mut DigestChange| (known.domain, known.scope) == (change.domain, change.scope);
    match digests.iter_mut().find(same) {
        Some(known) => {
            (known.count, known.sum) = (known.count + change.count, known.sum.wrapping_add(change.sum));
        }
        None => digests.push(change),
    }
}

fn record_after(
    edit: &Edit,
    before: Option<&Record>,
    (no, domain): (RecordNo, DomainNo),
    (head, author): (Head, &Registered),
) -> Record {
    let version = before.map_or(1, |record| record.version + 1);
    let stamp = Stamp { time_us: head.time_us - 1, priority: 40, install: author.install, number: head.seq };
    Record {
        no,
        domain,
        key: edit.key,
        unit: author.unit,
        owner: Some(author.user),
        scope: edit.scope,
        version,
        seq: head.seq,
        time_us: head.time_us,
        priority: Priority::High,
        sync_status: SyncStatus::Conflict,
        deleted: edit.kind == RowKind::Delete,
        writes: vec![Write { version, stamp, fields: vec!["n".to_owned()] }],
        data: Arc::new(edit.data.clone()),
    }
}

fn row(record: &Record, before: Option<&Record>, kind: RowKind, author: &Registered) -> LogRow {
    LogRow {
        seq: record.seq,
        scope: record.scope,
        kind,
        domain: record.domain,
        domain_name: Arc::from("tickets"),
        record: record.no,
        key: record.key,
        version: record.version,
        base: before.map_or(0, |before| before.version),
        prev: before.map_or(0, |before| before.seq),
        time_us: record.time_us,
        install: author.install,
        origin: Arc::new(Origin { user: "ann".to_owned(), device: Some("phone".to_owned()) }),
        priority: record.priority,
        old: before.map_or_else(|| Arc::new(data(json!({"n": null}))), |before| Arc::clone(&before.data)),
        data: Arc::clone(&record.data),
        before: before.filter(|record| !record.deleted).map(|record| record.scope),
        after: (!record.deleted).then_some(record.scope),
    }
}
