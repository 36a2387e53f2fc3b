//! What a session may ask for, held against the limits: who is over them is told when to come back, who goes
//! on regardless is closed.

use synchub_protocol::codec::decode_client;
use synchub_protocol::server::ErrorFrame;
use synchub_protocol::{CloseReason, DecodeError, ErrorCode, ServerFrame};
use tokio::time::Instant;

use super::away::Away;
use super::connected::Session;
use super::deps::Deps;
use super::handshake::Refusal;
use crate::auth::{Identity, Role};
use crate::limits::{Address, Allowance, Held, Limited, Party};
use crate::observe::LimitKind;
use crate::registry::DeviceKey;
use crate::store::Registered;

/// Lets nobody more in while the node is busy, before anything is done for it.
pub(super) fn admit_more(deps: &Deps) -> Result<(), Refusal> {
    if deps.engine.load_percent() < deps.settings.admission.full_percent {
        return Ok(());
    }
    deps.metrics.limited.of(LimitKind::Load).inc();
    Err(Refusal::Away(Away::busy(deps)))
}

/// Takes a hello of an address, before its token is looked at.
pub(super) fn admit_address(deps: &Deps, address: Option<Address>) -> Result<(), Refusal> {
    let Some(address) = address else { return Ok(()) };
    let admitted = deps.limits.address_hello(address);
    admitted.map_err(|limited| send_away(deps, LimitKind::AddressHello, limited))
}

/// Takes a hello of a device, before anything is written for it.
pub(super) fn admit_device(deps: &Deps, key: Option<&DeviceKey>) -> Result<(), Refusal> {
    let Some(DeviceKey { tenant, user, device }) = key else { return Ok(()) };
    let admitted = deps.limits.device_hello(tenant, user, device);
    admitted.map_err(|limited| send_away(deps, LimitKind::DeviceHello, limited))
}

fn send_away(deps: &Deps, kind: LimitKind, limited: Limited) -> Refusal {
    deps.metrics.limited.of(kind).inc();
    Refusal::Away(Away::rate_limited(limited, deps))
}

/// Takes a place among the tenant's sessions. A device whose older session is still counted takes that one's.
pub(super) fn join(deps: &Deps, tenant: &str, key: Option<&DeviceKey>) -> Result<Held, Refusal> {
    let returns = key.is_some_and(|key| deps.devices.is_here(key));
    deps.limits.join(tenant, returns).ok_or_else(|| {
        deps.metrics.limited.of(LimitKind::TenantConnection).inc();
        Refusal::Away(Away::too_many(deps))
    })
}

/// What a session that opened may ask for.
pub(super) fn allowance(deps: &Deps, identity: &Identity, registered: &Registered, place: Held) -> Allowance {
    let party = Party {
        role: identity.role,
        tenant: &identity.tenant,
        tenant_no: registered.tenant,
        user: registered.user,
        device: registered.device,
    };
    deps.limits.allowance(party, Some(place))
}

impl Session {
    /// Takes a frame of so many bytes, or none that the session sees: a ping, a pong.
    pub(super) fn takes_frame(&mut self, bytes: usize) -> Result<(), Limited> {
        let parts = self.socket.continuations();
        self.allowance.frames(1 + parts, bytes)
    }

    /// Takes a frame that asks for nothing that could be refused: over the limit it is only counted.
    pub(super) fn on_silent_frame(&mut self, bytes: usize) -> Result<(), CloseReason> {
        match self.takes_frame(bytes) {
            Ok(()) => Ok(()),
            Err(limited) => self.count_refusal(LimitKind::Frame, limited),
        }
    }

    /// Refuses a frame of so many bytes, too large to be read but not to be passed over.
    pub(super) fn on_oversized(&mut self, size: usize) -> Result<(), CloseReason> {
        self.timers.heard(Instant::now());
        self.socket.took_ms();
        self.on_silent_frame(size)?;
        let most = self.deps.settings.limits.max_frame_bytes;
        let message = format!("the frame has {size} bytes, more than {most}; split it");
        self.refuse(None, ErrorCode::TooLarge, message)
    }

    /// Answers a frame that came over the limit; nothing of it is done. What has no answer is dropped.
    pub(super) fn on_limited_frame(&mut self, frame: &[u8], limited: Limited) -> Result<(), CloseReason> {
        self.count_refusal(LimitKind::Frame, limited)?;
        let (id, is_batch) = match decode_client(self.socket.encoding(), frame) {
            Ok(frame) => (frame.id(), matches!(frame, synchub_protocol::ClientFrame::Sync(_))),
            Err(DecodeError::Undecodable(_)) => return Err(CloseReason::Undecodable),
            Err(DecodeError::BadRequest { id, kind, .. }) => (id, kind == "sync"),
            Err(DecodeError::UnknownType { id, .. }) => (id, false),
        };
        let Some(id) = id else { return Ok(()) };
        let error = rate_limited(id, limited);
        if is_batch && self.identity.role == Role::Device {
            return self.refuse_batch_with(error);
        }
        self.say(&ServerFrame::Error(error))
    }

    /// Takes a batch's entries; the answer to give if there is no room.
    pub(super) fn takes_entries(
        &mut self,
        id: u64,
        entries: usize,
    ) -> Result<Option<ErrorFrame>, CloseReason> {
        match self.allowance.entries(entries) {
            Ok(()) => Ok(None),
            Err(limited) => {
                self.count_refusal(LimitKind::Entries, limited)?;
                Ok(Some(rate_limited(id, limited)))
            }
        }
    }

    /// Notes a refusal; the one that is too many closes the socket.
    pub(super) fn count_refusal(&mut self, kind: LimitKind, limited: Limited) -> Result<(), CloseReason> {
        self.deps.metrics.limited.of(kind).inc();
        if self.allowance.may_go_on(limited) { Ok(()) } else { Err(CloseReason::RateLimitIgnored) }
    }
}

fn rate_limited(id: u64, limited: Limited) -> ErrorFrame {
    let retry_after_ms = Some(limited.retry_after_ms());
    ErrorFrame { retry_after_ms, ..ErrorFrame::new(Some(id), ErrorCode::RateLimited, limited.to_string()) }
}
