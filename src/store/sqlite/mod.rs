//! The store in one SQLite file: one thread writes, a few read-only connections read.
//!
//! Commits and everything else that changes a row run on the writer's thread through rusqlite; reads
//! outside a commit and migrations go through sqlx. A lock file keeps a second hub out of the folder.

mod backup;
mod codec;
mod commit;
mod copies;
mod damage;
mod deliveries;
mod digests;
mod fault;
mod history;
mod inspect;
mod load;
mod origins;
mod purge;
mod pushes;
mod reader;
mod register;
mod rescope;
mod restore;
mod rows;
mod schema;
mod turns;
mod write;
mod writer;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use synchub_rules::push::PushRow;
use synchub_rules::record::{DeviceNo, DomainNo, History, PartyNo, RecordNo, Scope, TenantNo};
use tokio::sync::watch;
use uuid::Uuid;

use self::history::Known;
use self::reader::Reader;
use self::schema::Identity;
use self::writer::{Writer, WriterHandle};
use crate::store::{
    CommitError, Committed, Conflict, ConflictQuery, DeliveryNote, DeliveryQuery, DigestQuery, Digests,
    Group, LogPage, LogPlace, LogQuery, Owed, OwedQuery, PartyKind, PurgeQuery, Purged, Registered,
    Registration, SnapshotPage, SnapshotQuery, Store, StoreError, Visible, Witness,
};

pub use self::backup::{BackupError, backup};
pub use self::copies::Contents;
pub use self::inspect::Inspector;
pub use self::restore::{Replaced, RestoreError, Restored, restore};
pub use self::schema::{OpenError, migrate};

/// What may be chosen about a SQLite store.
#[derive(Debug, Clone)]
pub struct SqliteOptions {
    /// Connections that read, at least 1.
    pub readers: u32,
}

impl Default for SqliteOptions {
    /// Four readers: a read takes well under a millisecond of one core.
    fn default() -> Self {
        Self { readers: 4 }
    }
}

/// A store in a SQLite file.
#[derive(Debug)]
pub struct SqliteStore {
    writer: WriterHandle,
    reader: Reader,
    identity: Identity,
    known: Arc<Known>,
}

impl SqliteStore {
    /// Opens the database file, makes it and its folder where there are none, and brings its tables up to
    /// date. `cursor_key` (random) becomes the store's only if the store is new.
    ///
    /// Fails if another process has the folder, if a newer hub wrote the file, or if the file cannot be
    /// read.
    pub async fn open(path: &Path, options: SqliteOptions, cursor_key: [u8; 32]) -> Result<Self, OpenError> {
        let lock = schema::lock_folder(path)?;
        if let Some(kept_in) = restore::finish(path)? {
            tracing::warn!(kept_in = %kept_in.display(), "finished a restore that was interrupted; the store before is kept");
        }
        schema::run_migrations(path).await?;
        let (mut connection, identity) = schema::open_writer(path, cursor_key)?;
        digests::count_once(&mut connection).map_err(|fault| OpenError::fault(path, fault))?;
        let reader = Reader::new(path, options.readers);
        reader.open_all().await.map_err(|error| OpenError::connecting(path, &error))?;
        let known = Arc::new(Known::new(identity.epoch));
        let writer = Writer::new(connection, Arc::clone(&known), lock);
        let writer = writer.map_err(|error| OpenError::fault(path, error))?;
        let writer = WriterHandle::start(writer).map_err(|error| OpenError::database(path, &error))?;
        Ok(Self { writer, reader, identity, known })
    }

    /// Takes what was read of a log for true, unless this node knew more of it when the read began: then
    /// history was lost (R1).
    async fn believe(&self, tenant: TenantNo, known: LogPlace, read: LogPlace) -> Result<(), StoreError> {
        if !history::is_behind(known, read) {
            return Ok(());
        }
        self.writer.run(move |writer| history::examine(writer, tenant, None)).await?;
        Err(StoreError::Unavailable("a part of the log was lost while it was read".to_owned()))
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn commit(&self, group: Group) -> Result<Committed, CommitError> {
        Ok(self.writer.run(move |writer| commit::commit(writer, group)).await?)
    }

    async fn rest(&self) -> Result<bool, StoreError> {
        Ok(self.writer.rest().await?)
    }

    async fn register(&self, registrations: Vec<Registration>) -> Result<Vec<Registered>, StoreError> {
        Ok(self.writer.run(move |writer| register::register(writer, &registrations)).await?)
    }

    async fn domains(&self, names: Vec<String>) -> Result<Vec<DomainNo>, StoreError> {
        Ok(self.writer.run(move |writer| register::domains(writer, &names)).await?)
    }

    async fn rescope(&self, domains: Vec<Visible>) -> Result<u64, StoreError> {
        Ok(self.writer.run(move |writer| rescope::rescope(writer, &domains)).await?)
    }

    async fn turns(&self, covers: Vec<(DomainNo, String)>) -> Result<Vec<u64>, StoreError> {
        Ok(self.writer.run(move |writer| turns::turns(writer, &covers)).await?)
    }

    async fn party(&self, tenant: TenantNo, kind: PartyKind, name: String) -> Result<PartyNo, StoreError> {
        let intern = move |writer: &mut Writer| {
            writer.transact(|transaction| register::intern_party(transaction, tenant, kind, &name))
        };
        Ok(self.writer.run(intern).await?)
    }

    async fn save_acks(&self, acks: Vec<(DeviceNo, u64)>) -> Result<(), StoreError> {
        Ok(self.writer.run(move |writer| register::save_acks(writer, &acks)).await?)
    }

    async fn note_deliveries(&self, notes: Vec<DeliveryNote>) -> Result<(), StoreError> {
        Ok(self.writer.run(move |writer| deliveries::note(writer, &notes)).await?)
    }

    async fn owed(&self, query: OwedQuery) -> Result<Owed, StoreError> {
        let known = self.known.of(query.tenant);
        let owed = self.reader.owed(query).await?;
        self.believe(query.tenant, known, owed.place).await?;
        Ok(owed)
    }

    async fn pushes(
        &self,
        tenant: TenantNo,
        seqs: Vec<u64>,
        bytes: usize,
    ) -> Result<(Vec<PushRow>, usize), StoreError> {
        self.reader.pushes(tenant, &seqs, bytes).await
    }

    async fn conflicts(&self, tenant: TenantNo, query: ConflictQuery) -> Result<Vec<Conflict>, StoreError> {
        self.reader.conflicts(tenant, query).await
    }

    async fn recipients(
        &self,
        tenant: TenantNo,
        names: Vec<(String, Option<String>)>,
    ) -> Result<Vec<Option<Scope>>, StoreError> {
        self.reader.recipients(tenant, &names).await
    }

    async fn count_devices(&self, tenant: TenantNo, scopes: Vec<Scope>) -> Result<Vec<u64>, StoreError> {
        self.reader.count_devices(tenant, &scopes).await
    }

    async fn find_deliveries(&self, query: DeliveryQuery) -> Result<Vec<serde_json::Value>, StoreError> {
        self.reader.find_deliveries(query).await
    }

    async fn tenants_to_purge(
        &self,
        after: TenantNo,
        before_us: i64,
        limit: u32,
    ) -> Result<Vec<TenantNo>, StoreError> {
        self.reader.tenants_to_purge(after, before_us, limit).await
    }

    async fn purge(&self, query: PurgeQuery) -> Result<Purged, StoreError> {
        Ok(self.writer.run(move |writer| purge::purge(writer, &query)).await?)
    }

    async fn place(&self, tenant: TenantNo) -> Result<LogPlace, StoreError> {
        let known = self.known.of(tenant);
        let place = self.reader.place(tenant).await?;
        self.believe(tenant, known, place).await?;
        Ok(place)
    }

    async fn log_page(&self, query: LogQuery) -> Result<LogPage, StoreError> {
        let (tenant, known) = (query.tenant, self.known.of(query.tenant));
        let page = self.reader.log_page(query).await?;
        self.believe(tenant, known, page.place).await?;
        Ok(page)
    }

    async fn snapshot_page(&self, query: SnapshotQuery) -> Result<SnapshotPage, StoreError> {
        let (tenant, known) = (query.tenant, self.known.of(query.tenant));
        let page = self.reader.snapshot_page(query).await?;
        self.believe(tenant, known, page.place).await?;
        Ok(page)
    }

    async fn digest(&self, query: DigestQuery) -> Result<Digests, StoreError> {
        let (tenant, known) = (query.tenant, self.known.of(query.tenant));
        let digests = self.reader.digest(query).await?;
        self.believe(tenant, known, digests.place).await?;
        Ok(digests)
    }

    async fn histories(
        &self,
        tenant: TenantNo,
        wanted: Vec<(RecordNo, u64)>,
    ) -> Result<HashMap<RecordNo, History>, StoreError> {
        self.reader.histories(tenant, wanted).await
    }

    async fn find_record(
        &self,
        tenant: &str,
        domain: &str,
        key: Uuid,
    ) -> Result<Option<serde_json::Value>, StoreError> {
        self.reader.find_record(tenant, domain, key).await
    }

    async fn find_devices(
        &self,
        tenant: &str,
        user: Option<&str>,
        device: Option<&str>,
    ) -> Result<Vec<serde_json::Value>, StoreError> {
        self.reader.find_devices(tenant, user, device).await
    }

    async fn find_log(
        &self,
        tenant: &str,
        after: u64,
        limit: u32,
    ) -> Result<Vec<serde_json::Value>, StoreError> {
        self.reader.find_log(tenant, after, limit).await
    }

    async fn find_digests(
        &self,
        tenant: &str,
        domain: Option<&str>,
    ) -> Result<Vec<serde_json::Value>, StoreError> {
        self.reader.find_digests(tenant, domain).await
    }

    fn cursor_key(&self) -> [u8; 32] {
        self.identity.cursor_key
    }

    fn epoch(&self) -> u64 {
        self.known.epoch()
    }

    fn epochs(&self) -> watch::Receiver<u64> {
        self.known.epochs()
    }

    async fn examine(&self, witness: Witness) -> Result<u64, StoreError> {
        let examine = move |writer: &mut Writer| history::examine(writer, witness.tenant, Some(witness));
        Ok(self.writer.run(examine).await?)
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.writer.run(register::check).await?;
        self.reader.check().await
    }

    async fn close(&self) {
        // The readers go first: the last connection that closes empties the WAL, and only the writer can.
        self.reader.pool.close().await;
        self.writer.close().await;
    }
}
