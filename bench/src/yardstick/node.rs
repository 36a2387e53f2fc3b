//! The parts of a hub that lie between a frame and its commit, taken alone: to measure what each of them costs.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use synchub::catalog::Catalog;
use synchub::clock::SystemClock;
use synchub::config::{LimitSettings, Settings};
use synchub::store::sqlite::{SqliteOptions, SqliteStore};
use synchub::store::{RegisteredDevice, Registration, Store};
use synchub::sync::validate;
use synchub_protocol::client::Sync;
use synchub_protocol::codec::decode_client;
use synchub_protocol::server::Origin;
use synchub_protocol::{ClientFrame, DeviceKind, Encoding};
use synchub_rules::domain;
use synchub_rules::group::{Author, Submission};
use synchub_rules::record::{Scope, Sight, TenantNo};
use uuid::Uuid;

use crate::token;

/// What phones have in `device_priority`.
const PRIORITY: i64 = 40;

/// A store with the domains, and the limits of a hub.
pub(crate) struct Node {
    /// The store.
    pub(crate) store: Arc<SqliteStore>,
    catalog: Catalog,
    limits: LimitSettings,
}

impl Node {
    /// Opens or makes a store with the built-in domains.
    pub(crate) async fn open(database: &Path) -> Result<Self> {
        let store = SqliteStore::open(database, SqliteOptions::default(), [7; 32]).await?;
        let catalog = Catalog::open(&domain::Catalog::builtin(), &store).await?;
        Ok(Self { store: Arc::new(store), catalog, limits: Settings::default().limits })
    }

    /// Opens a session of a user's phone.
    pub(crate) async fn register(&self, user: &str, install: Uuid) -> Result<(TenantNo, Author)> {
        let device = format!("{user}-phone");
        let registration = Registration {
            tenant: token::TENANT.to_owned(),
            user: user.to_owned(),
            unit: Some(token::UNIT.to_owned()),
            device: Some(RegisteredDevice {
                id: device.clone(),
                kind: DeviceKind::Phone,
                priority: PRIORITY,
                install_id: Some(install),
                profile: Vec::new(),
            }),
            witness: None,
            at_us: now_us(),
        };
        let registered = self.store.register(vec![registration]).await?;
        let registered = registered.into_iter().next().context("nothing was registered")?;
        let scopes = [Some(registered.user), registered.unit].into_iter().flatten().map(Scope::Party);
        let mut scopes: Vec<_> = scopes.chain([Scope::Tenant]).collect();
        scopes.sort_unstable();
        let author = Author {
            device: registered.device,
            generation: Some(registered.generation),
            install: registered.install,
            user: registered.user,
            unit: registered.unit,
            sight: Sight::Scopes(scopes),
            priority: registered.priority,
            clock_offset_us: 0,
            trusted: false,
            origin: Arc::new(Origin { user: user.to_owned(), device: Some(device) }),
        };
        Ok((registered.tenant, author))
    }

    /// From a decoded batch to what the engine takes: its checks and its hash.
    pub(crate) fn submission(&self, sync: Sync, author: Author) -> Result<Submission> {
        let context = (token::TENANT, &self.catalog, &self.limits);
        Ok(validate::batch(sync, author, true, context, now_us())?)
    }
}

/// A batch of a MessagePack frame.
pub(crate) fn decode(frame: &[u8]) -> Result<Sync> {
    match decode_client(Encoding::MessagePack, frame)? {
        ClientFrame::Sync(sync) => Ok(sync),
        _ => bail!("the frame is no batch"),
    }
}

/// The time for what is written.
pub(crate) fn now_us() -> i64 {
    SystemClock::shared().now_us()
}
