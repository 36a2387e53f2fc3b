//! From a service's request to a submission: what its token allows, and what can be said of its changes and
//! pushes before any record is read.
//!
//! What is wrong with the request or one of its pushes refuses it whole; what is wrong inside one change
//! becomes that change's own result.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;
use sha2::{Digest, Sha256};
use synchub_protocol::client::{Push, PushKind, Target};
use synchub_protocol::entry::{PublishedChange, RawChange};
use synchub_protocol::server::TriggerReason;
use synchub_protocol::{Entry, EntryFault, ErrorCode, FaultKind};
use synchub_rules::domain::Visibility;
use synchub_rules::group::{AS_IT_STANDS, Belonging, Domain, SubmittedEntry};
use synchub_rules::push::{PushBody, SubmittedPush};
use synchub_rules::record::{DeviceNo, PartyNo, Scope};
use uuid::Uuid;

use crate::catalog::Catalog;
use crate::config::{LimitSettings, MAX_TTL_SECS, PushSettings};

/// Why a request was refused whole; nothing of it was done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// There is nothing to do.
    #[error("the request has neither changes nor pushes; send at least one")]
    Empty,
    /// The request is over the limit.
    #[error("{count} changes and pushes are more than the {most} that a request may hold; split it")]
    TooMany {
        /// How many came.
        count: usize,
        /// How many may come.
        most: usize,
    },
    /// The request takes too much memory, or one push is over the limit.
    #[error("{0}")]
    TooLarge(String),
    /// A push is wrong in itself.
    #[error("pushes[{index}].{field}: {message}")]
    BadPush {
        /// Which push, from 0.
        index: usize,
        /// Which field of it.
        field: &'static str,
        /// What would be right.
        message: &'static str,
    },
    /// A push names a domain that does not exist, or that has no feed.
    #[error("pushes[{index}].domains: there is no domain `{name}` to sync")]
    UnknownDomain {
        /// Which push, from 0.
        index: usize,
        /// The domain.
        name: String,
    },
    /// A push is for somebody, or tells of a conflict, that the tenant does not know.
    #[error("{0}; nothing of the request was done")]
    NotFound(String),
    /// The token does not allow it.
    #[error("{0}")]
    Forbidden(&'static str),
    /// The request's id was used with other contents.
    #[error("this request_id came with other contents; take a new one")]
    KeyReused,
    /// The hub cannot do it now.
    #[error("{0}")]
    Unavailable(String),
    /// The store refused it.
    #[error("the request could not be stored; send it again, and tell the operator if that repeats")]
    Internal,
}

impl PublishError {
    /// The code of the answer.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Empty | Self::BadPush { .. } => ErrorCode::BadRequest,
            Self::TooMany { .. } => ErrorCode::TooManyEntries,
            Self::TooLarge(_) => ErrorCode::TooLarge,
            Self::UnknownDomain { .. } => ErrorCode::UnknownDomain,
            Self::NotFound(_) => ErrorCode::NotFound,
            Self::Forbidden(_) => ErrorCode::Forbidden,
            Self::KeyReused => ErrorCode::IdempotencyKeyReused,
            Self::Unavailable(_) => ErrorCode::Unavailable,
            Self::Internal => ErrorCode::Internal,
        }
    }
}

/// What a service's token lets it write.
#[derive(Debug, Clone, Default)]
pub struct WriteRights {
    /// The units; none: all of the tenant.
    pub units: Option<Vec<String>>,
    /// The domains; none: all of the tenant.
    pub domains: Option<Vec<String>>,
    /// Whether a person asks, and not a service.
    pub is_operator: bool,
}

impl WriteRights {
    fn has_domain(&self, name: &str) -> bool {
        self.domains.as_ref().is_none_or(|domains| domains.iter().any(|allowed| allowed == name))
    }

    fn has_unit(&self, name: &str) -> bool {
        self.units.as_ref().is_none_or(|units| units.iter().any(|allowed| allowed == name))
    }
}

/// The numbers of units and users that changes name.
#[derive(Debug, Clone, Default)]
pub struct Parties {
    /// Units by name.
    pub units: HashMap<String, PartyNo>,
    /// Users by name.
    pub users: HashMap<String, PartyNo>,
}

/// What requests are held against.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The tenant's name.
    pub tenant: &'a str,
    /// The domains.
    pub catalog: &'a Catalog,
    /// What a request may take.
    pub limits: &'a LimitSettings,
    /// How pushes go out.
    pub push: &'a PushSettings,
    /// What the token allows.
    pub rights: &'a WriteRights,
}

/// Whether a request of so many changes and pushes may be looked at.
pub fn check_size(changes: &[RawChange], pushes: &[Push], most: usize) -> Result<(), PublishError> {
    let count = changes.len() + pushes.len();
    if count == 0 {
        return Err(PublishError::Empty);
    }
    if count > most {
        return Err(PublishError::TooMany { count, most });
    }
    let last = changes.last().and_then(|raw| raw.change.as_ref().err());
    if last.is_some_and(|fault| fault.kind == FaultKind::BatchTooLarge) {
        return Err(PublishError::TooLarge("the request holds too many small values; split it".to_owned()));
    }
    Ok(())
}

/// What a push says, its scope apart; `index` is its place in the request.
pub fn push_body(push: &Push, index: usize, context: Context<'_>) -> Result<PushBody, PublishError> {
    if let Some(ttl) = push.ttl_secs.filter(|ttl| !(1..=MAX_TTL_SECS).contains(ttl)) {
        let message =
            if ttl == 0 { "a push is kept for a second at least" } else { "a hundred years at most" };
        return Err(PublishError::BadPush { index, field: "ttl_secs", message });
    }
    let size = serde_json::to_vec(push).map_or(usize::MAX, |text| text.len());
    if size > context.limits.max_entry_bytes {
        let most = context.limits.max_entry_bytes;
        return Err(PublishError::TooLarge(format!("pushes[{index}] takes {size} bytes, more than {most}")));
    }
    match push.kind {
        PushKind::Message => Ok(PushBody::Message {
            topic: push.topic.clone(),
            data: Arc::new(push.data.clone().unwrap_or_default()),
        }),
        PushKind::SyncTrigger => trigger(push, index, context),
        PushKind::ConflictAlert => {
            let (field, message) = ("conflict_id", "an alert is about a conflict");
            let missing = PublishError::BadPush { index, field, message };
            Ok(PushBody::ConflictAlert { conflict_id: push.conflict_id.ok_or(missing)? })
        }
    }
}

fn trigger(push: &Push, index: usize, context: Context<'_>) -> Result<PushBody, PublishError> {
    let domains = push.domains.clone().unwrap_or_default();
    for name in &domains {
        let domain = context.catalog.lookup(context.tenant, name);
        if !domain.is_some_and(|domain| domain.definition.feed()) {
            return Err(PublishError::UnknownDomain { index, name: name.clone() });
        }
        if !context.rights.has_domain(name) {
            return Err(PublishError::Forbidden("the token does not allow a domain that a trigger names"));
        }
    }
    let reason =
        if context.rights.is_operator { TriggerReason::Operator } else { TriggerReason::ServerUpdate };
    Ok(PushBody::SyncTrigger { domains, reason })
}

/// A push on its way to the log. Its id follows from the request, so that the same request has the same one.
pub fn submitted_push(
    push: &Push,
    body: PushBody,
    scope: Scope,
    (author, request_id, index): (DeviceNo, Uuid, usize),
    settings: &PushSettings,
) -> SubmittedPush {
    let ttl_us = i64::try_from(push.ttl_secs.unwrap_or(settings.ttl_secs)).unwrap_or(i64::MAX);
    SubmittedPush {
        id: push_id(author, request_id, index),
        scope,
        priority: push.priority,
        ttl_us: ttl_us.saturating_mul(1_000_000),
        body,
    }
}

fn push_id(author: DeviceNo, request_id: Uuid, index: usize) -> Uuid {
    let hash = Sha256::new_with_prefix(b"push")
        .chain_update(author.to_be_bytes())
        .chain_update(request_id.as_bytes())
        .chain_update((index as u64).to_be_bytes())
        .finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

/// To whom a push goes, by name: a user and perhaps one of its devices; none: the tenant.
pub fn recipient(push: &Push) -> Option<(String, Option<String>)> {
    match &push.to {
        Target::Tenant => None,
        Target::User { user, device } => Some((user.clone(), device.clone())),
    }
}

/// A change on its way to the engine.
pub fn change(raw: RawChange, parties: &Parties, context: Context<'_>) -> SubmittedEntry {
    let RawChange { change, size } = raw;
    let change = match change {
        Ok(change) => change,
        Err(fault) => {
            let domain =
                fault.domain.as_deref().and_then(|name| context.catalog.lookup(context.tenant, name));
            let is_large = fault.kind != FaultKind::Invalid;
            let code = if is_large { ErrorCode::TooLarge } else { ErrorCode::ValidationFailed };
            return SubmittedEntry::Fault { fault, code, domain };
        }
    };
    let Some(domain) = context.catalog.lookup(context.tenant, &change.domain) else {
        let message = format!("there is no domain `{}`", change.domain);
        return refused(&change, ErrorCode::UnknownDomain, "domain", message);
    };
    if let Err((field, message)) = may_write(&change, &domain, context.rights) {
        return refused(&change, ErrorCode::Forbidden, field, message.to_owned());
    }
    if size > context.limits.max_entry_bytes {
        let most = context.limits.max_entry_bytes;
        let message = format!("the change takes {size} bytes, more than {most}; send less");
        return refused(&change, ErrorCode::TooLarge, "data", message);
    }
    entry(change, domain, parties)
}

/// Whether the token allows a change, as far as that hangs on the change alone; of the record it is held
/// against what the token sees (V3).
fn may_write(
    change: &PublishedChange,
    domain: &Domain,
    rights: &WriteRights,
) -> Result<(), (&'static str, &'static str)> {
    if !rights.has_domain(&change.domain) {
        return Err(("domain", "the token does not allow this domain"));
    }
    if change.unit.as_ref().is_some_and(|unit| !rights.has_unit(unit)) {
        return Err(("unit", "the token does not allow this unit"));
    }
    if rights.units.is_some() && domain.definition.visibility() == Visibility::Owner {
        return Err(("domain", "only its owner sees such a record, and the token is for units"));
    }
    Ok(())
}

fn entry(change: PublishedChange, domain: Arc<Domain>, parties: &Parties) -> SubmittedEntry {
    let belonging = Belonging {
        unit: change.unit.as_ref().map(|unit| parties.units.get(unit).copied()),
        owner: change.owner.as_ref().map(|owner| parties.users.get(owner).copied()),
    };
    let entry = Entry {
        domain: change.domain,
        mobile_id: change.mobile_id,
        version: change.version.unwrap_or(AS_IT_STANDS),
        operation: change.operation,
        data: change.data,
        delta: change.delta,
        client_timestamp: change.client_timestamp,
        priority: change.priority,
        corrects: change.corrects,
    };
    SubmittedEntry::Entry { entry, domain, belonging: Some(belonging) }
}

/// A change that is refused as it stands; nothing of its contents is kept.
fn refused(change: &PublishedChange, code: ErrorCode, field: &str, message: String) -> SubmittedEntry {
    let fault = EntryFault {
        kind: FaultKind::Invalid,
        message,
        field: Some(field.to_owned()),
        mobile_id: Some(change.mobile_id),
        partial: Value::Null,
        domain: Some(change.domain.clone()),
    };
    SubmittedEntry::Fault { fault, code, domain: None }
}
