//! `GET /ws`: from an HTTP request to a session (RFC 6455, section 4.2).
//!
//! Only what makes the request itself wrong is an HTTP error: what is wrong with its token is a close
//! code, which browsers can read.

use std::sync::Arc;

use axum::extract::{Request, State as Shared};
use axum::http::header::{
    AUTHORIZATION, CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use hyper::upgrade::{OnUpgrade, Parts};
use hyper_util::rt::TokioIo;
use synchub_protocol::Encoding;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::State;
use super::accept::Place;
use crate::limits::{Address, Held};
use crate::observe::LimitKind;
use crate::session::{self, Upgraded};

/// Where a proxy says who its peer is.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// Why an upgrade was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum UpgradeError {
    #[error("this is a WebSocket endpoint: send Connection: Upgrade and Upgrade: websocket\n")]
    NoUpgrade,
    #[error("open a WebSocket here with GET\n")]
    Method,
    #[error("send Sec-WebSocket-Version: 13\n")]
    Version,
    #[error("send a Sec-WebSocket-Key\n")]
    Key,
    #[error("offer the subprotocol synchub.v1.msgpack or synchub.v1.json\n")]
    Subprotocol,
    #[error("the hub is stopping; try another node or come back later\n")]
    Stopping,
}

impl IntoResponse for UpgradeError {
    fn into_response(self) -> Response {
        let status = match self {
            Self::NoUpgrade | Self::Version => StatusCode::UPGRADE_REQUIRED,
            Self::Method | Self::Key | Self::Subprotocol => StatusCode::BAD_REQUEST,
            Self::Stopping => StatusCode::SERVICE_UNAVAILABLE,
        };
        let headers = [(UPGRADE, "websocket"), (SEC_WEBSOCKET_VERSION, "13")];
        (status, headers, self.to_string()).into_response()
    }
}

/// Answers 101 and starts the session.
pub(super) async fn handler(Shared(state): Shared<State>, mut request: Request) -> Response {
    let (accept, encoding, chosen) = match check(&state, &request) {
        Ok(accepted) => accepted,
        Err(error) => return error.into_response(),
    };
    let token = bearer(request.headers());
    let place = request.extensions().get::<Arc<Place>>().cloned();
    let origin = origin(&state, place.as_deref(), request.headers());
    let upgrade = hyper::upgrade::on(&mut request);
    let tasks = state.tasks.clone();
    tasks.spawn(async move {
        start(state, upgrade, (encoding, token), &origin).await;
        drop((place, origin));
    });
    let mut response = StatusCode::SWITCHING_PROTOCOLS.into_response();
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    if chosen {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(encoding.subprotocol()));
    }
    response
}

/// Where a connection comes from, and what follows from it.
#[derive(Debug)]
struct Origin {
    /// The address that counts; none: it is held to no limit of addresses.
    address: Option<Address>,
    /// Whether there is no room, on the node or for this address.
    full: bool,
    /// The place among those of the address that a proxy named.
    _held: Option<Held>,
}

/// Takes a place for who stands behind a proxy; any other peer has one since it was accepted.
fn origin(state: &State, place: Option<&Place>, headers: &HeaderMap) -> Origin {
    let Some(place) = place else { return Origin { address: None, full: false, _held: None } };
    let limits = &state.deps.limits;
    let forwarded = headers.get_all(FORWARDED_FOR).iter().next_back().and_then(|value| value.to_str().ok());
    let address = limits.address(place.peer, forwarded);
    let behind = address.filter(|_| limits.address(place.peer, None).is_none());
    let held = behind.and_then(|address| limits.connect(address));
    let too_many = behind.is_some() && held.is_none();
    if too_many {
        state.deps.metrics.limited.of(LimitKind::AddressConnection).inc();
    }
    Origin { address, full: place.spare || too_many, _held: held }
}

async fn start(
    state: State,
    upgrade: OnUpgrade,
    (encoding, token): (Encoding, Option<String>),
    origin: &Origin,
) {
    let Ok(upgraded) = upgrade.await else { return };
    let Ok(parts) = upgraded.downcast::<TokioIo<TcpStream>>() else {
        tracing::error!("an upgraded connection is not a TCP stream");
        return;
    };
    let upgraded = taken_over(parts, (encoding, token), origin);
    let _counted = state.deps.metrics.socket();
    if origin.full {
        session::turn_away(&state.deps, upgraded).await;
    } else {
        session::serve(state.deps, upgraded).await;
    }
}

/// The connection without the buffers of HTTP, which are not to last as long as the session.
fn taken_over(
    parts: Parts<TokioIo<TcpStream>>,
    (encoding, token): (Encoding, Option<String>),
    origin: &Origin,
) -> Upgraded {
    let (io, read_ahead) = (parts.io.into_inner(), parts.read_buf.to_vec());
    Upgraded { io, read_ahead, encoding, token, address: origin.address }
}

/// The key to answer with, the encoding, and whether a subprotocol named it.
fn check(state: &State, request: &Request) -> Result<(HeaderValue, Encoding, bool), UpgradeError> {
    let headers = request.headers();
    if request.method() != Method::GET {
        return Err(UpgradeError::Method);
    }
    let upgrades = has_word(headers, CONNECTION, "upgrade") && has_word(headers, UPGRADE, "websocket");
    if !upgrades {
        return Err(UpgradeError::NoUpgrade);
    }
    if headers.get(SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return Err(UpgradeError::Version);
    }
    let key = headers.get(SEC_WEBSOCKET_KEY).ok_or(UpgradeError::Key)?;
    let accept = HeaderValue::from_str(&derive_accept_key(key.as_bytes())).map_err(|_| UpgradeError::Key)?;
    let offered: Vec<_> = words(headers, SEC_WEBSOCKET_PROTOCOL).collect();
    let known = offered.iter().find_map(|name| Encoding::from_subprotocol(name));
    if known.is_none() && !offered.is_empty() {
        return Err(UpgradeError::Subprotocol);
    }
    if state.tasks.stopping().is_cancelled() {
        return Err(UpgradeError::Stopping);
    }
    Ok((accept, known.unwrap_or(Encoding::Json), known.is_some()))
}

fn has_word(headers: &HeaderMap, name: HeaderName, word: &str) -> bool {
    words(headers, name).any(|found| found.eq_ignore_ascii_case(word))
}

fn words(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',').map(str::trim))
}

/// The token of the `Authorization` header (RFC 6750, section 2.1).
pub(super) fn bearer(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
}
