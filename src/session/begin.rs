//! From an accepted hello to a session: who speaks, from which place it goes on, and the `welcome`.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use synchub_protocol::client::Hello;
use synchub_protocol::server::{Fresh, FreshReason, Limits, Origin, Welcome};
use synchub_protocol::{DELTA, ServerFrame, Timestamp, gzip};
use synchub_rules::group::Author;
use synchub_rules::push::Address;
use synchub_rules::record::Sight;
use tokio::time::Instant;

use super::batch_size::BatchSize;
use super::catch_up::{CatchUp, FRAME_BYTES};
use super::connected::{Mode, Session};
use super::deps::Deps;
use super::digests::DigestReads;
use super::handshake::Greeting;
use super::hints::Probe;
use super::holding::Holding;
use super::in_flight::InFlights;
use super::observed::Delivering;
use super::outbox::Outbox;
use super::own_state::{OwnState, Renewal};
use super::progress::{Known, Progress};
use super::publications::Publications;
use super::pushes::PushLane;
use super::socket::Socket;
use super::timers::Timers;
use crate::auth::{Identity, Role};
use crate::observe::CatchUpCause;
use crate::registry::Subscriber;
use crate::store::Registered;

/// The optional parts of the protocol that this hub knows.
const FEATURES: [&str; 1] = [DELTA];

impl Session {
    /// Takes the device's place and queues `welcome`.
    pub(super) fn new(deps: Arc<Deps>, mut socket: Socket, greeting: Box<Greeting>) -> Self {
        let Greeting {
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
        } = *greeting;
        socket.admit();
        let audience = subscriptions.audience(&reach.sight());
        let unit = registered.unit.zip(identity.unit.as_deref());
        deps.recorded_names.tell((registered.tenant, &identity.tenant), unit);
        let author = author(&identity, &registered, &hello, reach.sight());
        let known = known(&deps, &identity.tenant, hello.cursor.as_deref(), &registered);
        let address = Address {
            user: registered.user,
            device: (identity.role == Role::Device).then_some(registered.device),
        };
        let acknowledged = acknowledged(&deps, &identity, &registered, &known);
        let place = (registered.tenant, registered.place.epoch, registered.place.head);
        let pushes = owed(&deps, &registered, acknowledged);
        let (progress, fresh) = Progress::begin(place, known, &subscriptions);
        let heartbeat = heartbeat(&deps, &hello);
        let token_left = Duration::from_micros(u64::try_from(identity.expires_us - received_us).unwrap_or(0));
        let idle = deps.settings.feed.idle_position_delay();
        let offers = deps.settings.compression && hello.compression.iter().any(|name| name == gzip::NAME);
        if offers {
            socket.inflated_bytes = Some(gzip::INFLATED_FRAMES * deps.settings.limits.max_frame_bytes);
        }
        let id = deps.entropy.uuid_v7(deps.clock.now_us());
        let welcome = Welcome {
            session_id: id.to_string(),
            compression: offers.then(|| vec![gzip::NAME.to_owned()]),
            ..welcome(&deps, &hello, &registered, fresh, heartbeat)
        };
        let asked = hello.max_frame_bytes.and_then(|bytes| usize::try_from(bytes).ok());
        let subscriber =
            Subscriber { session, audience: Arc::clone(&audience), address, mailbox: Arc::clone(&mailbox) };
        let mut this = Self {
            socket,
            author,
            tenant: registered.tenant,
            takes_deltas: welcome.features.iter().any(|name| name == DELTA),
            has_install: hello.device.as_ref().is_some_and(|device| device.install_id.is_some()),
            audience,
            reach,
            subscriptions,
            progress,
            address,
            pushes,
            holding: Holding::default(),
            mode: Mode::CatchUp(CatchUp::default()),
            _membership: feed.join(Arc::new(subscriber)),
            feed,
            mailbox,
            outbox: Outbox::default(),
            answers: InFlights::default(),
            digests: DigestReads::default(),
            publications: Publications::default(),
            timers: Timers::new(Instant::now(), heartbeat, idle, token_left),
            renewal: Renewal::default(),
            own_state: OwnState {
                network_quality: hello.network_quality.clone().unwrap_or_default(),
                ..OwnState::default()
            },
            batch_size: BatchSize::declared(hello.network_quality.as_ref()),
            probe: Probe::default(),
            clock_samples: VecDeque::new(),
            forbidden: VecDeque::new(),
            frame_bytes: asked.map_or(FRAME_BYTES, |asked| asked.min(FRAME_BYTES)),
            named: None,
            sent: acknowledged,
            owed: 0,
            leaving: false,
            delivering: Delivering::default(),
            id,
            number: session,
            epoch: registered.place.epoch,
            allowance,
            _link: link,
            identity,
            deps,
        };
        this.sample_clock(hello.client_time, received_us);
        let frame = this.encode(&ServerFrame::Welcome(welcome));
        // The lane is empty: the welcome fits.
        let _ = this.outbox.push_control(frame);
        this.deps.metrics.catch_ups.of(CatchUpCause::Hello).inc();
        this
    }
}

/// The place that the device has stored everything up to: a cursor that comes back was stored.
fn acknowledged(deps: &Deps, identity: &Identity, registered: &Registered, known: &Known) -> u64 {
    let acknowledged = if let Known::Cursor(cursor) = known { cursor.seq } else { 0 };
    if acknowledged > 0 && identity.role == Role::Device {
        deps.acks.note(registered.device, acknowledged);
    }
    acknowledged
}

/// The pushes that the device may not have been sent (P2).
fn owed(deps: &Deps, registered: &Registered, acknowledged: u64) -> PushLane {
    if !registered.owes {
        return PushLane::default();
    }
    let acked = registered.acked.max(deps.acks.noted(registered.device));
    PushLane::owing(acked.max(acknowledged), registered.place.head.seq)
}

/// The sender of the session's batches.
fn author(identity: &Identity, registered: &Registered, hello: &Hello, sight: Sight) -> Author {
    let device = hello.device.as_ref().map(|device| device.id.clone());
    Author {
        device: registered.device,
        generation: (identity.role == Role::Device).then_some(registered.generation),
        install: registered.install,
        user: registered.user,
        unit: registered.unit,
        sight,
        priority: registered.priority,
        clock_offset_us: 0,
        trusted: identity.role != Role::Device,
        origin: Arc::new(Origin { user: identity.user.clone(), device }),
    }
}

/// The heartbeat that counts: the one asked for, within bounds.
fn heartbeat(deps: &Deps, hello: &Hello) -> Duration {
    let asked = hello.heartbeat_secs.map(|asked| asked.clamp(10, 300));
    Duration::from_secs(asked.unwrap_or(deps.settings.limits.heartbeat_secs))
}

/// What the hello's cursor is good for (C3).
fn known(deps: &Deps, tenant: &str, cursor: Option<&str>, registered: &Registered) -> Known {
    let Some(text) = cursor else { return Known::Nothing(FreshReason::New) };
    let place = &registered.place;
    match deps.cursors.open(tenant, text) {
        Some(cursor) if cursor.epoch < place.epoch => Known::Nothing(FreshReason::EpochChanged),
        Some(cursor) if cursor.tenant != registered.tenant => Known::Nothing(FreshReason::CursorInvalid),
        Some(cursor) if cursor.epoch > place.epoch || cursor.seq > place.head.seq => {
            Known::Nothing(FreshReason::CursorInvalid)
        }
        Some(cursor) if cursor.seq < place.horizon => Known::Nothing(FreshReason::CursorExpired),
        Some(cursor) => Known::Cursor(cursor),
        None => Known::Nothing(FreshReason::CursorInvalid),
    }
}

fn welcome(
    deps: &Deps,
    hello: &Hello,
    registered: &Registered,
    fresh: Vec<Fresh>,
    heartbeat: Duration,
) -> Welcome {
    let now_us = deps.clock.now_us();
    Welcome {
        id: hello.id,
        session_id: String::new(),
        server_time: Timestamp(now_us),
        epoch: registered.place.epoch,
        last_client_seq: registered.mark,
        fresh,
        compression: None,
        features: hello.features.iter().filter(|name| FEATURES.contains(&name.as_str())).cloned().collect(),
        heartbeat_secs: heartbeat.as_secs(),
        limits: Limits {
            recommended_batch: BatchSize::declared(hello.network_quality.as_ref())
                .entries(deps.settings.limits.recommended_batch),
            ..deps.settings.limits.on_the_wire()
        },
    }
}
