//! Somebody trusted who writes through the engine itself: the way of publishers, without a socket.

use serde_json::Value;
use synchub::store::{PartyKind, Registration};
use synchub_protocol::RawEntry;
use synchub_rules::group::{Author, BatchAnswer, Belonging, Decision, Submission, SubmittedEntry};
use synchub_rules::plan::request_hash;
use synchub_rules::record::{PartyNo, Sight};
use uuid::Uuid;

use super::hub::{Hub, NOW_US};

/// A publisher of one tenant.
pub(crate) struct Publisher {
    tenant_name: String,
    tenant: i64,
    author: Author,
}

impl Publisher {
    /// A publisher who may write everything of a tenant.
    pub(crate) async fn of(hub: &Hub, tenant: &str) -> Self {
        let registration = Registration {
            tenant: tenant.to_owned(),
            user: "service".to_owned(),
            unit: None,
            device: None,
            witness: None,
            at_us: NOW_US,
        };
        let registered = hub.store().register(vec![registration]).await.unwrap().remove(0);
        let author = Author {
            device: registered.device,
            generation: None,
            install: registered.install,
            user: registered.user,
            unit: None,
            sight: Sight::Everything,
            priority: registered.priority,
            clock_offset_us: 0,
            trusted: true,
            origin: std::sync::Arc::new(synchub_protocol::server::Origin {
                user: "service".to_owned(),
                device: None,
            }),
        };
        Self { tenant_name: tenant.to_owned(), tenant: registered.tenant, author }
    }

    /// The tenant's number.
    pub(crate) fn tenant(&self) -> i64 {
        self.tenant
    }

    /// The number of a unit.
    pub(crate) async fn unit(&self, hub: &Hub, name: &str) -> PartyNo {
        hub.store().party(self.tenant, PartyKind::Unit, name.to_owned()).await.unwrap()
    }

    /// The number of a user.
    pub(crate) async fn user(&self, hub: &Hub, name: &str) -> PartyNo {
        hub.store().party(self.tenant, PartyKind::User, name.to_owned()).await.unwrap()
    }

    /// Publishes one entry as a batch of its own.
    pub(crate) async fn publish(&self, hub: &Hub, entry: Value, belonging: Option<Belonging>) -> BatchAnswer {
        let raw: RawEntry = serde_json::from_str(&entry.to_string()).unwrap();
        let entries = [raw];
        let hash = request_hash(&entries, false, false);
        let [RawEntry { entry, .. }] = entries;
        let entry = entry.unwrap();
        let deps = hub.node.deps();
        let domain = deps.catalog.lookup(&self.tenant_name, &entry.domain).unwrap();
        let submission = Submission {
            author: self.author.clone(),
            batch_id: Uuid::now_v7(),
            hash,
            first_number: None,
            atomic: false,
            entries: vec![SubmittedEntry::Entry { entry, domain, belonging }],
            pushes: Vec::new(),
            heap: 0,
            received_us: deps.clock.now_us(),
        };
        match deps.engine.submit(self.tenant, submission).await.unwrap() {
            Ok(Decision::Answered(answer)) => answer,
            other => panic!("not answered: {other:?}"),
        }
    }
}
