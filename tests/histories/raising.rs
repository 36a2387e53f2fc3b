//! What the hub pushes by itself: alerts of conflicts, and how refused entries ended; written by the function
//! that decisions about them call, once more where nobody heard that it was done (O1, P1).

use serde_json::{Value, json};
use synchub_protocol::server::Outcome;
use synchub_rules::group::Decision;
use synchub_rules::push::{PushBody, SubmittedPush};
use synchub_rules::record::Scope as Address;
use uuid::Uuid;

use crate::conflicts::Conflict;
use crate::ledger::Fate;
use crate::model::{Batch, Push, Scope};
use crate::post::{CRITICAL, HIGH, NORMAL, PRIORITIES, Who};
use crate::support::Publisher;
use crate::world::World;

const SECOND_US: i64 = 1_000_000;

/// A push as it is asked for, and what its frame will say.
type Raised = (Push, PushBody, Value);

impl World {
    /// The hub raises some pushes.
    pub(crate) async fn raise(&mut self, tenant: usize) {
        let known: Vec<Who> = self.ledgers[tenant].post.registered.keys().cloned().collect();
        if known.is_empty() {
            return;
        }
        let conflicts = self.host.conflicts(&self.ledgers[tenant].tenant);
        let many = if self.chance.percent(20) { 8 } else { 3 };
        let raised: Vec<Raised> = (0..=self.chance.below(many))
            .map(|_| {
                if conflicts.is_empty() || self.chance.percent(45) {
                    self.settled(&known)
                } else {
                    self.alert(tenant, &conflicts, &known)
                }
            })
            .collect();
        let submitted = self.submitted(tenant, &raised).await;
        if self.chance.percent(5) {
            return self.raise_nothing(tenant, submitted).await;
        }
        let name = self.ledgers[tenant].tenant.clone();
        let before = self.host.head(&name);
        let (at_us, received_us) = (self.host.latest_us(), self.host.now_us);
        let id = self.chance.uuid();
        self.note(format!(
            "{tenant} the hub raises {:?}",
            raised.iter().map(|one| &one.2).collect::<Vec<_>>()
        ));
        let (due, said): (Vec<Push>, Vec<Value>) =
            raised.into_iter().map(|(push, _, said)| (push, said)).unzip();
        self.raise_somehow(tenant, id, submitted).await;
        let seq = self.book(tenant, (before, at_us), due.iter().cloned().zip(said));
        let batch = Batch {
            device: "hub".to_owned(),
            user: "hub".to_owned(),
            pushes: due,
            ..Batch::of_service(0, received_us, id.to_string())
        };
        let fate = Fate::Answered(json!({"results": [], "seq": seq, "repeated": false}));
        let epoch = self.host.epoch();
        self.ledgers[tenant].note_service(batch, fate, epoch);
    }

    /// Has pushes logged; perhaps nobody waits for the answer, or the hub crashes before it: then once more.
    async fn raise_somehow(&mut self, tenant: usize, id: Uuid, pushes: Vec<SubmittedPush>) {
        if self.chance.percent(25) {
            drop(self.engine_push(tenant, id, pushes.clone()).await);
            if self.chance.percent(20) {
                self.crash().await;
            }
            self.ledgers[tenant].count("raised push whose answer was lost");
        }
        let times = if self.chance.percent(15) { 2 } else { 1 };
        for _ in 0..times {
            let answer = self.engine_push(tenant, id, pushes.clone()).await;
            let decision = answer.await.unwrap().unwrap();
            assert!(matches!(decision, Decision::Answered(_)), "P1: {decision:?}");
        }
    }

    /// An alert of a conflict that the tenant does not have refuses all.
    async fn raise_nothing(&mut self, tenant: usize, mut pushes: Vec<SubmittedPush>) {
        let unknown = self.chance.uuid();
        pushes[0].body = PushBody::ConflictAlert { conflict_id: unknown };
        let before = self.host.head(&self.ledgers[tenant].tenant);
        let id = self.chance.uuid();
        let decision = self.engine_push(tenant, id, pushes).await.await.unwrap().unwrap();
        assert_eq!(decision, Decision::UnknownConflict(unknown), "P1");
        let log = self.host.log(&self.ledgers[tenant].tenant, before);
        assert!(log.iter().all(|row| row.kind != "push"), "P1: pushed all the same: {log:?}");
        self.ledgers[tenant].count("alert of no conflict");
    }

    async fn engine_push(
        &self,
        tenant: usize,
        id: Uuid,
        pushes: Vec<SubmittedPush>,
    ) -> synchub::sync::Answer {
        let hub = self.host.hub();
        let number = Publisher::of(hub, &self.ledgers[tenant].tenant).await.tenant();
        hub.node.deps().engine.push(number, id, pushes, self.host.now_us)
    }

    async fn submitted(&self, tenant: usize, raised: &[Raised]) -> Vec<SubmittedPush> {
        let hub = self.host.hub();
        let number = Publisher::of(hub, &self.ledgers[tenant].tenant).await.tenant();
        let mut submitted = Vec::new();
        for (push, body, _) in raised {
            let name = match &push.scope {
                Scope::User(user) => Some((user.clone(), None)),
                Scope::Device(user, device) => Some((user.clone(), Some(device.clone()))),
                _ => None,
            };
            let scope = match name {
                Some(name) => hub.store().recipients(number, vec![name]).await.unwrap()[0].unwrap(),
                None => Address::Tenant,
            };
            let priority = serde_json::from_value(json!(PRIORITIES[push.priority])).unwrap();
            let id = push.id.parse().unwrap();
            let (ttl_us, body) = (push.ttl_us, body.clone());
            submitted.push(SubmittedPush { id, scope, priority: Some(priority), ttl_us, body });
        }
        submitted
    }

    /// An alert, mostly for whose conflict it is; how urgent it is follows from the conflict.
    fn alert(&mut self, tenant: usize, conflicts: &[Conflict], known: &[Who]) -> Raised {
        let conflict = self.chance.pick(conflicts).clone();
        let own = known.iter().filter(|(user, _)| Some(user) == conflict.user.as_ref()).cloned();
        let own: Vec<Who> = own.collect();
        let known = if own.is_empty() || self.chance.percent(25) { known } else { &own };
        let mut push = self.raised_push(known);
        push.priority = conflict.level();
        let conflict_id = conflict.id.parse().unwrap();
        let said = json!({"type": "conflict_alert", "conflict_id": conflict.id});
        self.ledgers[tenant].post.conflicts.insert(conflict.id.clone(), conflict);
        (push, PushBody::ConflictAlert { conflict_id }, said)
    }

    /// How an entry ended.
    fn settled(&mut self, known: &[Who]) -> Raised {
        let (push, mobile_id) = (self.raised_push(known), self.chance.uuid());
        let applied = self.chance.percent(50);
        let client_seq = self.chance.percent(70).then(|| 1 + self.chance.below(9) as u64);
        let server_version = applied.then(|| 1 + self.chance.below(9) as u64);
        let outcome = if applied { Outcome::Applied } else { Outcome::Discarded };
        let mut said = json!({"type": "entry_settled", "mobile_id": mobile_id, "outcome": outcome});
        for (name, number) in [("client_seq", client_seq), ("server_version", server_version)] {
            if let Some(number) = number {
                said[name] = json!(number);
            }
        }
        (push, PushBody::EntrySettled { client_seq, mobile_id, outcome, server_version }, said)
    }

    fn raised_push(&mut self, known: &[Who]) -> Push {
        let (user, device) = self.chance.pick(known).clone();
        let scope = match self.chance.below(6) {
            0 => Scope::Tenant,
            1 | 2 => Scope::Device(user, device),
            _ => Scope::User(user),
        };
        let priority = self.chance.below(CRITICAL + 1);
        let secs = if self.chance.percent(70) { 3600 } else { *self.chance.pick(&[1, 3, 60, 7 * 86_400]) };
        Push { id: self.chance.uuid().to_string(), scope, priority, ttl_us: secs * SECOND_US }
    }
}

impl Conflict {
    /// How urgent an alert of it is (P3).
    pub(crate) fn level(&self) -> usize {
        if self.awaits { HIGH } else { NORMAL }
    }
}
