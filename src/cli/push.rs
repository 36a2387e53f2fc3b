//! `synchub push`: asks a running hub to push something, over HTTP; prints a receipt a line.

use anyhow::Context;
use serde_json::{Map, Value, json};

use super::args::{Addressee, PushArgs, PushWhat};
use super::outcome::Failure;
use super::{Surroundings, calls, settings_with_warnings, token};
use crate::auth::{Grant, Role};

/// How long a token that the command signs for itself is good, in seconds.
const TOKEN_SECS: u64 = 60;
/// As whom it asks.
const USER: &str = "synchub-push";

pub(super) fn run(args: PushArgs, surroundings: &mut Surroundings<'_>) -> Result<(), Failure> {
    let (to, mut push) = match args.what {
        PushWhat::Message { to, topic, data } => {
            let data: Map<String, Value> = serde_json::from_str(&data)
                .map_err(|error| Failure::Usage(format!("--data is no JSON object: {error}")))?;
            (to, json!({"kind": "message", "topic": topic, "data": data}))
        }
        PushWhat::Trigger { to, domains } => {
            (to, json!({"kind": "sync_trigger", "domains": domains.unwrap_or_default()}))
        }
        PushWhat::Alert { to, conflict } => (to, json!({"kind": "conflict_alert", "conflict_id": conflict})),
    };
    let settings = settings_with_warnings(&to.config, surroundings)?;
    push["to"] = match (&to.user, &to.device) {
        (Some(user), Some(device)) => json!({"user": user, "device": device}),
        (Some(user), None) => json!({"user": user}),
        (None, _) => json!({"tenant": true}),
    };
    push["priority"] = json!(to.priority);
    push["ttl_secs"] = json!(to.ttl.map(|ttl| ttl.as_secs()));
    let url =
        to.url.clone().unwrap_or_else(|| format!("http://{}", super::serve::reachable(settings.listen)));
    let token = bearer(&to, settings, surroundings)?;
    let request_id = surroundings.entropy.uuid_v7(surroundings.clock.now_us());
    let body = json!({"request_id": request_id, "pushes": [push]});
    let answer = calls::post(&format!("{}/api/v2/push", url.trim_end_matches('/')), &token, &body)?;
    for receipt in answer["pushes"].as_array().into_iter().flatten() {
        writeln!(surroundings.out, "{receipt}")?;
    }
    Ok(())
}

/// The token that was given, else one that the hub's own key signs.
fn bearer(
    to: &Addressee,
    settings: crate::config::Settings,
    surroundings: &Surroundings<'_>,
) -> Result<String, Failure> {
    if let Some(path) = &to.token_file {
        let text = std::fs::read_to_string(path);
        let text = text.with_context(|| format!("cannot read {}", path.display()))?;
        return Ok(text.trim().to_owned());
    }
    let mut grant = Grant::new(&to.tenant, USER, Role::Operator);
    grant.ttl_secs = TOKEN_SECS;
    let signer = token::signer(settings)?;
    signer.sign(&grant, surroundings.clock.now_us()).map_err(|error| Failure::usage(&error))
}
