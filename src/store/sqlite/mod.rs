//! The store in one SQLite file: one thread writes, a few read-only connections read.
//!
//! Commits and everything else that changes a row run on the writer's thread through rusqlite; reads
//! outside a commit and migrations go through sqlx. A lock file keeps a second hub out of the folder.

mod codec;
mod commit;
mod fault;
mod inspect;
mod load;
mod origins;
mod purge;
mod reader;
mod register;
mod rescope;
mod rows;
mod schema;
mod write;
mod writer;

use std::collections::HashMap;
use std::path::Path;

use async_trait::async_trait;
use synchub_rules::record::{DeviceNo, DomainNo, History, PartyNo, RecordNo, TenantNo};
use uuid::Uuid;

use self::reader::Reader;
use self::schema::Identity;
use self::writer::{Writer, WriterHandle};
use crate::store::{
    CommitError, Committed, Group, LogPage, LogPlace, LogQuery, PartyKind, PurgeQuery, Purged, Registered,
    Registration, SnapshotPage, SnapshotQuery, Store, StoreError, Visible,
};

pub use self::inspect::Inspector;
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
}

impl SqliteStore {
    /// Opens the database file, makes it and its folder where there are none, and brings its tables up to
    /// date. `cursor_key` (random) becomes the store's only if the store is new.
    ///
    /// Fails if another process has the folder, if a newer hub wrote the file, or if the file cannot be
    /// read.
    pub async fn open(path: &Path, options: SqliteOptions, cursor_key: [u8; 32]) -> Result<Self, OpenError> {
        let lock = schema::lock_folder(path)?;
        schema::run_migrations(path).await?;
        let (connection, identity) = schema::open_writer(path, cursor_key)?;
        let writer = Writer::new(connection, identity, lock);
        let writer = writer.map_err(|error| OpenError::database(path, &error))?;
        let writer = WriterHandle::start(writer).map_err(|error| OpenError::database(path, &error))?;
        Ok(Self { writer, reader: Reader::new(path, options.readers, identity.epoch), identity })
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn commit(&self, group: Group) -> Result<Committed, CommitError> {
        Ok(self.writer.run(move |writer| commit::commit(writer, group)).await?)
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

    async fn party(&self, tenant: TenantNo, kind: PartyKind, name: String) -> Result<PartyNo, StoreError> {
        let intern = move |writer: &mut Writer| {
            writer.transact(|transaction, _| register::intern_party(transaction, tenant, kind, &name))
        };
        Ok(self.writer.run(intern).await?)
    }

    async fn save_acks(&self, acks: Vec<(DeviceNo, u64)>) -> Result<(), StoreError> {
        Ok(self.writer.run(move |writer| register::save_acks(writer, &acks)).await?)
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
        self.reader.place(tenant).await
    }

    async fn log_page(&self, query: LogQuery) -> Result<LogPage, StoreError> {
        self.reader.log_page(query).await
    }

    async fn snapshot_page(&self, query: SnapshotQuery) -> Result<SnapshotPage, StoreError> {
        self.reader.snapshot_page(query).await
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

    fn cursor_key(&self) -> [u8; 32] {
        self.identity.cursor_key
    }

    fn epoch(&self) -> u64 {
        self.identity.epoch
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
