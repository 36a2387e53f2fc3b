//! `POST /api/v2/push` and `GET /api/v2/push/deliveries`: for services and operators without a socket.
//!
//! The first takes what `publish` takes on a socket and answers what `published` says; both ask for a token.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{FromRequest, Request, State as Shared};
use axum::http::header::{CONNECTION, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use synchub_protocol::codec::decode_client;
use synchub_protocol::{ClientFrame, DecodeError, Encoding, ErrorCode};
use uuid::Uuid;

use super::State;
use super::upgrade::bearer;
use crate::auth::{Identity, Role};
use crate::limits::{Limited, Party};
use crate::observe::LimitKind;
use crate::push::Service;
use crate::session::Deps;
use crate::store::DeliveryQuery;
use crate::sync::publish::PublishError;

/// The most lines of the delivery log in an answer.
const LINES: u32 = 1000;
/// The header that may name a request instead of its `request_id`.
const IDEMPOTENCY_KEY: &str = "Idempotency-Key";

/// Why a request was refused, as `error` says it on a socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    code: ErrorCode,
    message: String,
    retry_after_ms: Option<u64>,
}

impl Refusal {
    fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), retry_after_ms: None }
    }

    fn body(&self) -> Json<Value> {
        let mut error =
            json!({"code": self.code, "message": self.message, "temporary": self.code.is_temporary()});
        if let Some(wait_ms) = self.retry_after_ms {
            error["retry_after_ms"] = json!(wait_ms);
        }
        Json(json!({ "error": error }))
    }

    fn status(&self) -> StatusCode {
        match self.code {
            ErrorCode::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            ErrorCode::Unauthorized => StatusCode::UNAUTHORIZED,
            ErrorCode::Forbidden => StatusCode::FORBIDDEN,
            ErrorCode::NotFound => StatusCode::NOT_FOUND,
            ErrorCode::IdempotencyKeyReused => StatusCode::CONFLICT,
            ErrorCode::TooLarge | ErrorCode::TooManyEntries => StatusCode::PAYLOAD_TOO_LARGE,
            ErrorCode::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            ErrorCode::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::BAD_REQUEST,
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut headers = HeaderMap::new();
        if let Some(wait_ms) = self.retry_after_ms {
            headers.insert(RETRY_AFTER, HeaderValue::from(wait_ms.div_ceil(1000)));
        }
        (self.status(), headers, self.body()).into_response()
    }
}

impl From<Limited> for Refusal {
    fn from(limited: Limited) -> Self {
        let retry_after_ms = Some(limited.retry_after_ms());
        Self { retry_after_ms, ..Self::new(ErrorCode::RateLimited, limited.to_string()) }
    }
}

impl From<PublishError> for Refusal {
    fn from(error: PublishError) -> Self {
        Self::new(error.code(), error.to_string())
    }
}

/// Reads what a service asks for, which may take as long as a hello, and does it.
pub(super) async fn handler(Shared(state): Shared<State>, request: Request) -> Response {
    let headers = request.headers().clone();
    let limit = state.deps.settings.limits.hello_timeout();
    match tokio::time::timeout(limit, Bytes::from_request(request, &state)).await {
        Ok(Ok(body)) => publish(&state, &headers, &body).await.into_response(),
        Ok(Err(rejection)) => rejection.into_response(),
        Err(_) => {
            let text = format!("the body did not come within {} s; send it again", limit.as_secs());
            let refusal = Refusal::new(ErrorCode::BadRequest, text);
            (StatusCode::REQUEST_TIMEOUT, [(CONNECTION, "close")], refusal.body()).into_response()
        }
    }
}

async fn publish(state: &State, headers: &HeaderMap, body: &Bytes) -> Result<Json<Value>, Refusal> {
    let deps = &state.deps;
    let identity = identify(state, headers).await?;
    let (request_id, frame) = request(headers, body, || deps.entropy.uuid_v7(deps.clock.now_us()))?;
    let frame = match decode_client(Encoding::Json, frame.to_string().as_bytes()) {
        Ok(ClientFrame::Publish(frame)) => frame,
        Ok(_) => return Err(Refusal::new(ErrorCode::BadRequest, "this is no request to publish")),
        Err(DecodeError::BadRequest { message, .. } | DecodeError::Undecodable(message)) => {
            return Err(Refusal::new(ErrorCode::BadRequest, message));
        }
        Err(DecodeError::UnknownType { .. }) => {
            return Err(Refusal::new(ErrorCode::BadRequest, "this is no request to publish"));
        }
    };
    let service = deps.publisher.admit(&deps.registrar, identity).await?;
    let entries = frame.changes.len() + frame.pushes.len();
    limit(deps, &service, body.len(), entries)?;
    let published = deps.publisher.publish(service, frame).await?;
    Ok(Json(json!({"request_id": request_id, "results": published.results, "pushes": published.pushes})))
}

/// Holds a request to the same rates as frames of the service's sockets.
fn limit(deps: &Deps, service: &Service, bytes: usize, entries: usize) -> Result<(), Limited> {
    let party = Party {
        role: service.identity.role,
        tenant: &service.identity.tenant,
        tenant_no: service.tenant,
        user: service.author.user,
        device: service.author.device,
    };
    let allowance = deps.limits.allowance(party, None);
    let counted = |kind| {
        move |limited| {
            deps.metrics.limited.of(kind).inc();
            limited
        }
    };
    allowance.frames(1, bytes).map_err(counted(LimitKind::Frame))?;
    allowance.entries(entries).map_err(counted(LimitKind::Entries))
}

/// The frame that the body stands for. Who names the request nowhere cannot repeat it.
fn request(
    headers: &HeaderMap,
    body: &[u8],
    new_id: impl FnOnce() -> Uuid,
) -> Result<(Value, Value), Refusal> {
    let bad = |message: String| Refusal::new(ErrorCode::BadRequest, message);
    let body: Value =
        serde_json::from_slice(body).map_err(|error| bad(format!("the body is no JSON: {error}")))?;
    let Value::Object(mut frame) = body else { return Err(bad("the body is no JSON object".to_owned())) };
    let header = headers.get(IDEMPOTENCY_KEY).map(|value| value.to_str().unwrap_or_default());
    let id = match (header, frame.get("request_id")) {
        (Some(key), None) => json!(key),
        (Some(_), Some(_)) => return Err(bad(format!("give {IDEMPOTENCY_KEY} or request_id, not both"))),
        (None, Some(id)) => id.clone(),
        (None, None) => json!(new_id()),
    };
    frame.insert("request_id".to_owned(), id.clone());
    frame.insert("type".to_owned(), json!("publish"));
    frame.insert("id".to_owned(), json!(0));
    Ok((id, Value::Object(frame)))
}

/// What became of the tenant's pushes, for operators.
pub(super) async fn deliveries(
    Shared(state): Shared<State>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Json<Value>, Refusal> {
    let identity = identify(&state, &headers).await?;
    if identity.role != Role::Operator {
        return Err(Refusal::new(ErrorCode::Forbidden, "only operators read the delivery log"));
    }
    let now_us = state.deps.clock.now_us();
    let query = delivery_query(uri.query().unwrap_or(""), identity.tenant, now_us)?;
    let found = state.deps.store.find_deliveries(query).await.map_err(|error| {
        tracing::error!(%error, "the delivery log could not be read");
        Refusal::new(ErrorCode::Unavailable, "the delivery log cannot be read now; ask again later")
    })?;
    Ok(Json(json!({ "deliveries": found })))
}

fn delivery_query(text: &str, tenant: String, now_us: i64) -> Result<DeliveryQuery, Refusal> {
    let mut query = DeliveryQuery { tenant, limit: 100, now_us, ..DeliveryQuery::default() };
    let bad = |name: &str, what: &str| Refusal::new(ErrorCode::BadRequest, format!("{name}: {what}"));
    let url = reqwest::Url::parse(&format!("http://hub/?{text}"));
    let url = url.map_err(|_| bad("the query", "it cannot be read"))?;
    for (name, value) in url.query_pairs() {
        match &*name {
            "user" => query.user = Some(value.into_owned()),
            "device" => query.device = Some(value.into_owned()),
            "push_id" => {
                query.push_id = Some(value.parse().map_err(|_| bad("push_id", "a push_id is a UUID"))?);
            }
            "after" => query.after = value.parse().map_err(|_| bad("after", "a place is a number"))?,
            "limit" => {
                let limit = value.parse().ok().filter(|limit| (1..=LINES).contains(limit));
                query.limit = limit.ok_or_else(|| bad("limit", "a number from 1 to 1000"))?;
            }
            _ => return Err(bad(&name, "there is user, device, push_id, after and limit")),
        }
    }
    Ok(query)
}

/// Who asks, by the token of the `Authorization` header.
async fn identify(state: &State, headers: &HeaderMap) -> Result<Identity, Refusal> {
    let missing = || Refusal::new(ErrorCode::Unauthorized, "send a token: Authorization: Bearer …");
    let token = bearer(headers).ok_or_else(missing)?;
    let verified = state.deps.verifier.verify(&token, state.deps.clock.now_us()).await;
    verified.map_err(|error| {
        let code = if error.is_temporary() { ErrorCode::Unavailable } else { ErrorCode::Unauthorized };
        Refusal::new(code, format!("the token was refused: {error}"))
    })
}
