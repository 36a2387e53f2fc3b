//! From an upgraded socket to an accepted hello.
//!
//! Nothing is done for a peer before its token was read. What can be mended (a field, a domain's name) is
//! answered and the peer may say hello again; what cannot closes the socket.

use std::sync::Arc;

use synchub_protocol::client::Hello;
use synchub_protocol::codec::decode_client;
use synchub_protocol::server::ErrorFrame;
use synchub_protocol::{ClientFrame, CloseReason, DecodeError, ErrorCode, ServerFrame};
use tokio::time::timeout;

use super::away::Away;
use super::deps::Deps;
use super::event::Event;
use super::socket::Socket;
use super::subscriptions::{Reach, Rights, Subscriptions};
use super::throttle::{admit_address, admit_device, admit_more, allowance, join};
use crate::auth::{Identity, Role};
use crate::limits::{Address, Allowance};
use crate::push::Feed;
use crate::registry::{DeviceKey, Link, Living, Mailbox};
use crate::store::{PartyKind, Registered, RegisteredDevice, Registration, Witness};

/// A hello that was accepted, with everything that hangs on it.
#[derive(Debug)]
pub(super) struct Greeting {
    pub(super) hello: Hello,
    pub(super) identity: Identity,
    pub(super) registered: Registered,
    pub(super) reach: Reach,
    pub(super) subscriptions: Subscriptions,
    pub(super) feed: Arc<Feed>,
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) link: Link,
    /// The session's number on this node.
    pub(super) session: u64,
    /// When the hello came, in microseconds.
    pub(super) received_us: i64,
    pub(super) allowance: Allowance,
}

/// Why a hello was not accepted.
pub(super) enum Refusal {
    /// The socket closes.
    Close(CloseReason),
    /// The peer is told when to come back, and the socket closes.
    Away(Away),
    /// The peer may try again.
    Error(ErrorCode, String),
}

impl From<CloseReason> for Refusal {
    fn from(reason: CloseReason) -> Self {
        Self::Close(reason)
    }
}

/// Waits for a hello that can be accepted.
pub(super) async fn wait(
    deps: &Arc<Deps>,
    socket: &mut Socket,
    (token, address): (Option<String>, Option<Address>),
) -> Result<Box<Greeting>, CloseReason> {
    let limit = deps.settings.limits.hello_timeout();
    let hello = timeout(limit, wait_for_hello(deps, socket, (token, address)));
    tokio::select! {
        biased;
        () = deps.tasks.stopping().cancelled() => Err(CloseReason::GoingAway),
        hello = hello => hello.unwrap_or(Err(CloseReason::HelloTimeout)),
    }
}

async fn wait_for_hello(
    deps: &Arc<Deps>,
    socket: &mut Socket,
    (token, address): (Option<String>, Option<Address>),
) -> Result<Box<Greeting>, CloseReason> {
    loop {
        let frame = match socket.event(false).await {
            Event::Frame(frame) => frame,
            Event::Alive | Event::Answered | Event::Writable | Event::Flushed => continue,
            Event::Oversized(_) => return Err(CloseReason::FrameTooLarge),
            Event::Ended(reason) => return Err(reason),
        };
        deps.metrics.frames_received.inc();
        deps.metrics.received_bytes.inc_by(frame.len() as u64);
        let error = match decode_client(socket.encoding(), &frame) {
            Ok(ClientFrame::Hello(hello)) => {
                let id = hello.id;
                match accept(deps, hello, (token.as_deref(), address)).await {
                    Ok(greeting) => return Ok(Box::new(greeting)),
                    Err(Refusal::Close(reason)) => return Err(reason),
                    Err(Refusal::Away(away)) => return Err(away.say(socket, &deps.metrics).await?),
                    Err(Refusal::Error(code, message)) => ErrorFrame::new(Some(id), code, message),
                }
            }
            Ok(frame) => ErrorFrame::new(frame.id(), ErrorCode::Unauthorized, "say hello first"),
            // What the decoder says of it may quote it.
            Err(DecodeError::Undecodable(_)) => {
                tracing::debug!(bytes = frame.len(), "closing: not a frame");
                return Err(CloseReason::Undecodable);
            }
            Err(DecodeError::BadRequest { kind, id, message }) if kind == "hello" => {
                ErrorFrame::new(id, ErrorCode::BadRequest, message)
            }
            Err(DecodeError::UnknownType { id, .. } | DecodeError::BadRequest { id, .. }) => {
                ErrorFrame::new(id, ErrorCode::Unauthorized, "say hello first")
            }
        };
        socket.writable().await?;
        let frame = socket.encoding().encode(&ServerFrame::Error(error));
        deps.metrics.frames_sent.inc();
        deps.metrics.sent_bytes.inc_by(frame.len() as u64);
        socket.send(frame)?;
    }
}

async fn accept(
    deps: &Arc<Deps>,
    hello: Hello,
    (token, address): (Option<&str>, Option<Address>),
) -> Result<Greeting, Refusal> {
    let received_us = deps.clock.now_us();
    admit_more(deps)?;
    admit_address(deps, address)?;
    let token = hello.token.as_deref().or(token).ok_or(CloseReason::InvalidToken)?;
    let identity = deps.verifier.verify(token, received_us).await.map_err(|error| {
        tracing::info!(%error, "closing: the token was refused");
        if error.is_temporary() { CloseReason::Overloaded } else { CloseReason::InvalidToken }
    })?;
    let device = device(deps, &identity, &hello)?;
    let key = device.as_ref().map(|device| DeviceKey {
        tenant: identity.tenant.clone(),
        user: identity.user.clone(),
        device: device.id.clone(),
    });
    admit_device(deps, key.as_ref())?;
    let install = hello.device.as_ref().and_then(|device| device.install_id);
    let _turn = match &key {
        Some(key) => Some(deps.devices.turn(key).await),
        None => None,
    };
    if key.as_ref().is_some_and(|key| deps.devices.is_late(key, install, hello.attempt)) {
        return Err(CloseReason::Replaced.into());
    }
    // Checked before anything is written, and compiled again when the parties' numbers are known.
    let rights = rights(deps, &identity);
    let compile = |reach: &Reach| {
        let compiled = Subscriptions::default().with(hello.subscriptions.clone(), reach, &rights);
        compiled.map_err(|error| Refusal::Error(error.code(), error.to_string()))
    };
    compile(&Reach::Tenant)?;
    let place = join(deps, &identity.tenant, key.as_ref())?;
    let witness = witness(deps, &identity.tenant, hello.cursor.as_deref());
    let registered = register(deps, &identity, device, witness, received_us).await?;
    if registered.lost {
        return Err(Refusal::Away(Away::new_epoch(deps)));
    }
    if registered.deactivated {
        return Err(CloseReason::DeviceDeactivated.into());
    }
    let feed = deps.feeds.open(registered.tenant, registered.place.epoch).await.map_err(unavailable)?;
    let reach = reach(deps, &identity, &registered).await?;
    let subscriptions = compile(&reach)?;
    let session = deps.next_session();
    let mailbox = Arc::new(Mailbox::new(deps.settings.feed.lane_bytes));
    let living = Living {
        session,
        generation: registered.generation,
        epoch: registered.place.epoch,
        install,
        attempt: hello.attempt,
        mailbox: Arc::clone(&mailbox),
    };
    let link = deps.devices.join(key, living);
    // A rise since the registration has not seen this session among those to be closed.
    if deps.store.epoch() != registered.place.epoch || feed.epoch() != registered.place.epoch {
        return Err(Refusal::Away(Away::new_epoch(deps)));
    }
    let allowance = allowance(deps, &identity, &registered, place);
    Ok(Greeting {
        hello,
        identity,
        registered,
        reach,
        subscriptions,
        feed,
        mailbox,
        link,
        session,
        received_us,
        allowance,
    })
}

/// The device of a hello; none for publishers and operators.
fn device(deps: &Deps, identity: &Identity, hello: &Hello) -> Result<Option<RegisteredDevice>, Refusal> {
    if identity.role != Role::Device {
        return Ok(None);
    }
    let device = hello.device.as_ref().ok_or_else(|| {
        Refusal::Error(ErrorCode::BadRequest, "device: a token of role device needs one".to_owned())
    })?;
    if identity.device.as_ref().is_some_and(|bound| *bound != device.id) {
        return Err(CloseReason::InvalidToken.into());
    }
    if !(1..=128).contains(&device.id.len()) || device.id.chars().any(char::is_control) {
        let message = "device.id: 1 to 128 bytes without control characters".to_owned();
        return Err(Refusal::Error(ErrorCode::BadRequest, message));
    }
    let profile = (&device.name, &device.os, &device.app_version);
    Ok(Some(RegisteredDevice {
        id: device.id.clone(),
        kind: device.kind,
        priority: deps.settings.device_priority.of(device.kind),
        install_id: device.install_id,
        profile: rmp_serde::to_vec(&profile).unwrap_or_default(),
    }))
}

async fn register(
    deps: &Deps,
    identity: &Identity,
    device: Option<RegisteredDevice>,
    witness: Option<Witness>,
    at_us: i64,
) -> Result<Registered, Refusal> {
    let registration = Registration {
        tenant: identity.tenant.clone(),
        user: identity.user.clone(),
        unit: identity.unit.clone(),
        device,
        witness,
        at_us,
    };
    deps.registrar.register(registration).await.map_err(unavailable)
}

/// What the hello's cursor says of the log, if the hub made it for this tenant (R1).
fn witness(deps: &Deps, tenant: &str, cursor: Option<&str>) -> Option<Witness> {
    deps.cursors.open(tenant, cursor?).map(|cursor| cursor.witness())
}

/// What an identity may subscribe to.
pub(super) fn rights<'a>(deps: &'a Deps, identity: &'a Identity) -> Rights<'a> {
    Rights {
        tenant: &identity.tenant,
        catalog: &deps.catalog,
        domains: identity.domains.as_deref().filter(|_| identity.role == Role::Publisher),
        most: deps.settings.limits.max_subscriptions,
    }
}

/// What the session may see (V2).
async fn reach(deps: &Deps, identity: &Identity, registered: &Registered) -> Result<Reach, Refusal> {
    match (identity.role, &identity.units) {
        (Role::Device, _) => Ok(Reach::Device { user: registered.user, unit: registered.unit }),
        (Role::Publisher, Some(names)) => {
            let mut units = Vec::with_capacity(names.len());
            for name in names {
                let unit = deps.store.party(registered.tenant, PartyKind::Unit, name.clone()).await;
                units.push(unit.map_err(unavailable)?);
            }
            Ok(Reach::Units(units))
        }
        (Role::Publisher | Role::Operator, _) => Ok(Reach::Tenant),
    }
}

fn unavailable(error: impl std::fmt::Display) -> Refusal {
    tracing::error!(%error, "a hello could not be accepted");
    Refusal::Error(ErrorCode::Unavailable, "the hub cannot open a session now; try again".to_owned())
}
