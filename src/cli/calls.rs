//! The calls into the application, one function each; nothing else in the command line runs the hub.

use std::future::Future;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use serde_json::Value;
use tokio::runtime::Builder;
use uuid::Uuid;

use crate::app::{self, Contents, Restored};
use crate::auth::{FetchError, Verifier};
use crate::clock::SharedClock;
use crate::config::Settings;
use crate::entropy::SharedEntropy;
use crate::store::DeliveryQuery;

/// How long a hub may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Runs the hub until a signal stops it.
pub(super) fn serve(settings: Settings, clock: SharedClock, entropy: SharedEntropy) -> anyhow::Result<()> {
    Builder::new_multi_thread().enable_all().build()?.block_on(app::serve(settings, clock, entropy))
}

/// Brings the store's tables up to this version.
pub(super) fn migrate(settings: &Settings) -> anyhow::Result<()> {
    run(app::migrate(settings))
}

/// Copies the store into a file.
pub(super) fn backup(settings: &Settings, file: &Path) -> anyhow::Result<Contents> {
    app::backup(settings, file)
}

/// Puts a backup in the store's place.
pub(super) fn restore(settings: &Settings, file: &Path) -> anyhow::Result<Restored> {
    run(app::restore(settings, file))
}

/// The record, None if there is none.
pub(super) fn show_record(
    settings: &Settings,
    tenant: &str,
    domain: &str,
    id: Uuid,
) -> anyhow::Result<Option<Value>> {
    run(async { Ok(app::inspector(settings)?.record(tenant, domain, id).await?) })
}

/// The devices of the tenant; `user` and `device` narrow them down.
pub(super) fn show_devices(
    settings: &Settings,
    tenant: &str,
    user: Option<&str>,
    device: Option<&str>,
) -> anyhow::Result<Vec<Value>> {
    run(async { Ok(app::inspector(settings)?.devices(tenant, user, device).await?) })
}

/// At most `limit` rows of the tenant's log after the number `after`.
pub(super) fn show_log(
    settings: &Settings,
    tenant: &str,
    after: u64,
    limit: u32,
) -> anyhow::Result<Vec<Value>> {
    run(async { Ok(app::inspector(settings)?.log(tenant, after, limit).await?) })
}

/// What became of pushes.
pub(super) fn show_deliveries(settings: &Settings, query: DeliveryQuery) -> anyhow::Result<Vec<Value>> {
    run(async { Ok(app::inspector(settings)?.deliveries(query).await?) })
}

/// Asks a running hub for something; an answer other than a success is an error with what the hub says.
pub(super) fn post(url: &str, token: &str, body: &Value) -> anyhow::Result<Value> {
    let client = reqwest::Client::builder().no_proxy().timeout(ANSWER_TIMEOUT).build()?;
    let request = client.post(url).bearer_auth(token).header("content-type", "application/json");
    let request = request.body(body.to_string());
    run(async {
        let response = request.send().await.with_context(|| format!("no hub answers at {url}"))?;
        let status = response.status();
        let text = response.text().await?;
        let answer: Value = serde_json::from_str(&text).unwrap_or_default();
        if !status.is_success() {
            let said = answer["error"]["message"].as_str().unwrap_or(text.trim());
            anyhow::bail!("the hub refused it ({}): {said}", status.as_u16());
        }
        Ok(answer)
    })
}

/// Asks for the set of keys for tokens, if one is configured.
pub(super) fn fetch_keys(verifier: &Verifier, now_us: i64) -> anyhow::Result<Result<(), FetchError>> {
    run(async { Ok(verifier.fetch_keys(now_us).await) })
}

/// The digests of the tenant's domains; of one domain, each scope's too.
pub(super) fn show_digests(
    settings: &Settings,
    tenant: &str,
    domain: Option<&str>,
) -> anyhow::Result<Vec<Value>> {
    run(async { Ok(app::inspector(settings)?.digests(tenant, domain).await?) })
}

fn run<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    Builder::new_current_thread().enable_all().build()?.block_on(work)
}
