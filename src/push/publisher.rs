//! What services publish: their changes go through the engine, their pushes into the log beside them, in one
//! transaction. Every way in for services ends here.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use synchub_protocol::Priority;
use synchub_protocol::client::{Publish, Push};
use synchub_protocol::entry::RawChange;
use synchub_protocol::server::{Origin, Published, PushReceipt};
use synchub_rules::group::{Author, BatchAnswer, Decision, Submission};
use synchub_rules::plan::publish_hash;
use synchub_rules::push::{PushBody, SubmittedPush};
use synchub_rules::record::{PartyNo, Scope, Sight, TenantNo, weight};

use super::feed::Feeds;
use super::throttle::Throttle;
use crate::auth::{Identity, Role};
use crate::catalog::Catalog;
use crate::clock::SharedClock;
use crate::config::{LimitSettings, PushSettings};
use crate::devices::Registrar;
use crate::store::{PartyKind, Registration, Store, StoreError};
use crate::sync::publish::{self, Context, Parties, PublishError, WriteRights};
use crate::sync::{Engine, SubmitError, entry_results};

/// Publishes for services.
#[derive(Debug, Clone)]
pub struct Publisher {
    /// Names and numbers.
    pub store: Arc<dyn Store>,
    /// Decides.
    pub engine: Engine,
    /// The domains.
    pub catalog: Catalog,
    /// Who is connected here.
    pub feeds: Feeds,
    /// What users were sent in the last minute.
    pub throttle: Throttle,
    /// The time.
    pub clock: SharedClock,
    /// What a request may take.
    pub limits: LimitSettings,
    /// How pushes go out.
    pub settings: PushSettings,
}

/// The service that asks.
#[derive(Debug, Clone)]
pub struct Service {
    /// The tenant's number.
    pub tenant: TenantNo,
    /// The history in which the numbers were given.
    pub epoch: u64,
    /// Who writes.
    pub author: Author,
    /// Whose token it is.
    pub identity: Identity,
}

impl Publisher {
    /// Opens the way for a service that comes without a socket.
    pub async fn admit(&self, registrar: &Registrar, identity: Identity) -> Result<Service, PublishError> {
        if identity.role == Role::Device {
            return Err(PublishError::Forbidden("only publishers and operators publish"));
        }
        let registration = Registration {
            tenant: identity.tenant.clone(),
            user: identity.user.clone(),
            unit: identity.unit.clone(),
            device: None,
            witness: None,
            at_us: self.clock.now_us(),
        };
        let registered = registrar.register(registration).await.map_err(|error| {
            tracing::error!(%error, "a service could not be let in");
            PublishError::Unavailable("the hub cannot take this now; send it again later".to_owned())
        })?;
        let sight = match rights(&identity).units {
            None => Sight::Everything,
            Some(units) => {
                let mut scopes = vec![Scope::Tenant];
                for unit in &units {
                    scopes.push(Scope::Party(self.party(registered.tenant, PartyKind::Unit, unit).await?));
                }
                Sight::Scopes(scopes)
            }
        };
        let author = Author {
            device: registered.device,
            generation: None,
            install: registered.install,
            user: registered.user,
            unit: registered.unit,
            sight,
            priority: registered.priority,
            clock_offset_us: 0,
            trusted: true,
            origin: Arc::new(Origin { user: identity.user.clone(), device: None }),
        };
        Ok(Service { tenant: registered.tenant, epoch: registered.place.epoch, author, identity })
    }

    /// Does what a service asks for; returns once it is durable. The same request again is answered again, not
    /// done again.
    pub async fn publish(&self, service: Service, request: Publish) -> Result<Published, PublishError> {
        let Publish { id, request_id, changes, pushes } = request;
        if service.identity.role == Role::Device {
            return Err(PublishError::Forbidden("only publishers and operators publish"));
        }
        publish::check_size(&changes, &pushes, self.limits.max_batch_entries)?;
        let rights = rights(&service.identity);
        let context = Context {
            tenant: &service.identity.tenant,
            catalog: &self.catalog,
            limits: &self.limits,
            push: &self.settings,
            rights: &rights,
        };
        let hash = publish_hash(&changes, &pushes);
        let bodies = pushes.iter().enumerate().map(|(index, push)| publish::push_body(push, index, context));
        let bodies = bodies.collect::<Result<Vec<_>, _>>()?;
        let scopes = self.scopes(service.tenant, &pushes).await?;
        let parties = self.parties(service.tenant, &changes, &rights).await?;
        let named = pushes.iter().zip(bodies).zip(&scopes).enumerate();
        let submitted: Vec<_> = named
            .map(|(index, ((push, body), scope))| {
                let from = (service.author.device, request_id, index);
                publish::submitted_push(push, body, *scope, from, &self.settings)
            })
            .collect();
        let heap =
            changes.iter().map(|raw| raw.size).sum::<usize>() + pushes.iter().map(heap_of).sum::<usize>();
        let unit = self.unit(&service, &rights).await?;
        let submission = Submission {
            author: Author { unit, ..service.author },
            batch_id: request_id,
            hash,
            first_number: None,
            atomic: false,
            entries: changes.into_iter().map(|raw| publish::change(raw, &parties, context)).collect(),
            pushes: submitted.clone(),
            heap,
            received_us: self.clock.now_us(),
        };
        // Numbers of another history mean somebody else (R1).
        if self.store.epoch() != service.epoch {
            return Err(PublishError::Unavailable("the hub began a new epoch; connect again".to_owned()));
        }
        fail::fail_point!("publish::received");
        let answer = self.decide(service.tenant, submission).await?;
        fail::fail_point!("publish::decided");
        let receipts = self.receipts(service.tenant, &submitted, &answer).await?;
        Ok(Published { id, results: entry_results(answer), pushes: receipts })
    }

    async fn decide(&self, tenant: TenantNo, submission: Submission) -> Result<BatchAnswer, PublishError> {
        let decision = self.engine.submit(tenant, submission).await;
        match decision.unwrap_or(Err(SubmitError::Unavailable)) {
            Ok(Decision::Answered(answer)) => Ok(answer),
            Ok(Decision::KeyReused) => Err(PublishError::KeyReused),
            Ok(Decision::UnknownConflict(id)) => {
                Err(PublishError::NotFound(format!("the tenant has no conflict {id}")))
            }
            Err(error @ SubmitError::Unavailable) => Err(PublishError::Unavailable(error.to_string())),
            // Services have neither numbers nor generations.
            Err(SubmitError::Internal) | Ok(Decision::OutOfOrder | Decision::Replaced) => {
                Err(PublishError::Internal)
            }
        }
    }

    /// The scopes of the pushes; who is not known refuses them all.
    async fn scopes(&self, tenant: TenantNo, pushes: &[Push]) -> Result<Vec<Scope>, PublishError> {
        let named: BTreeSet<_> = pushes.iter().filter_map(publish::recipient).collect();
        let named: Vec<_> = named.into_iter().collect();
        if named.is_empty() {
            return Ok(vec![Scope::Tenant; pushes.len()]);
        }
        let found = self.store.recipients(tenant, named.clone()).await.map_err(unavailable)?;
        let known: HashMap<_, _> = named.into_iter().zip(found).collect();
        let scope = |push: &Push| match publish::recipient(push) {
            None => Ok(Scope::Tenant),
            Some(name) => known.get(&name).copied().flatten().ok_or_else(|| {
                let (user, device) = name;
                let of = device.map_or(String::new(), |device| format!(" with a device `{device}`"));
                PublishError::NotFound(format!("the tenant has no user `{user}`{of}"))
            }),
        };
        pushes.iter().map(scope).collect()
    }

    /// The numbers of the units and owners that changes name, given out where they are new.
    async fn parties(
        &self,
        tenant: TenantNo,
        changes: &[RawChange],
        rights: &WriteRights,
    ) -> Result<Parties, PublishError> {
        let changes = changes.iter().filter_map(|raw| raw.change.as_ref().ok());
        let (mut units, mut users) = (BTreeSet::new(), BTreeSet::new());
        for change in changes {
            let allowed = |unit: &&String| rights.units.as_ref().is_none_or(|units| units.contains(unit));
            units.extend(change.unit.as_ref().filter(allowed));
            users.extend(change.owner.as_ref());
        }
        let mut parties = Parties::default();
        for name in units {
            parties.units.insert(name.clone(), self.party(tenant, PartyKind::Unit, name).await?);
        }
        for name in users {
            parties.users.insert(name.clone(), self.party(tenant, PartyKind::User, name).await?);
        }
        Ok(parties)
    }

    /// The unit of what a service creates without naming one: its own; with a token for units one of these.
    async fn unit(&self, service: &Service, rights: &WriteRights) -> Result<Option<PartyNo>, PublishError> {
        let Some(units) = &rights.units else { return Ok(service.author.unit) };
        let own = service.identity.unit.as_ref().filter(|own| units.contains(own));
        let only = units.first().filter(|_| units.len() == 1);
        match own.or(only) {
            Some(name) => Ok(Some(self.party(service.tenant, PartyKind::Unit, name).await?)),
            None => Ok(None),
        }
    }

    async fn party(&self, tenant: TenantNo, kind: PartyKind, name: &str) -> Result<PartyNo, PublishError> {
        self.store.party(tenant, kind, name.to_owned()).await.map_err(unavailable)
    }

    /// How many devices each push reaches now. What a user's limit holds back is found in the order of the
    /// log, as the sessions do.
    async fn receipts(
        &self,
        tenant: TenantNo,
        pushes: &[SubmittedPush],
        answer: &BatchAnswer,
    ) -> Result<Vec<PushReceipt>, PublishError> {
        let scopes: Vec<_> = pushes.iter().map(|push| push.scope).collect();
        let counts = if scopes.is_empty() {
            Vec::new()
        } else {
            self.store.count_devices(tenant, scopes).await.map_err(unavailable)?
        };
        let now_us = self.clock.now_us();
        let first = (answer.seq + 1).saturating_sub(pushes.len() as u64);
        let receipts = pushes.iter().zip(counts).zip(first..).map(|((push, count), seq)| {
            let present = self.feeds.present(tenant, push.scope);
            let waits = |user: PartyNo| {
                !answer.repeated && is_limited(push) && !self.throttle.admits((tenant, user), seq, now_us)
            };
            let held = present.iter().filter(|(user, _)| waits(*user)).count() as u64;
            let present = present.len() as u64;
            PushReceipt {
                push_id: push.id.to_string(),
                delivered: present - held,
                queued: count.saturating_sub(present),
                held,
            }
        });
        Ok(receipts.collect())
    }
}

/// About how many bytes a push takes in memory.
fn heap_of(push: &Push) -> usize {
    512 + push.data.as_ref().map_or(0, weight)
}

fn is_limited(push: &SubmittedPush) -> bool {
    let is_alert = matches!(push.body, PushBody::ConflictAlert { .. });
    push.body.is_limited() && (is_alert || push.priority != Some(Priority::Critical))
}

fn rights(identity: &Identity) -> WriteRights {
    let is_operator = identity.role == Role::Operator;
    WriteRights {
        units: identity.units.clone().filter(|_| !is_operator),
        domains: identity.domains.clone().filter(|_| !is_operator),
        is_operator,
    }
}

#[expect(clippy::needless_pass_by_value, reason = "map_err gives it away")]
fn unavailable(error: StoreError) -> PublishError {
    tracing::error!(%error, "a request of a service could not be done");
    PublishError::Unavailable("the hub cannot do this now; send it again later".to_owned())
}
