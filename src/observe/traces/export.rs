//! Sends spans to the collector from a thread of their own, and counts what becomes of them.
//!
//! The queue before it is bounded and never waited for: a collector that is slow or gone costs spans, not
//! time.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry_otlp::{SpanExporter as OtlpExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};

use super::TraceError;
use crate::config::TraceSettings;
use crate::observe::labels::ExportResult;
use crate::observe::metrics::Metrics;

/// Where a collector takes traces, below its address.
const PATH: &str = "v1/traces";
/// How long the collector may take for one request, retries too.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The exporter that the settings ask for; none without an endpoint.
pub(super) fn exporter(settings: &TraceSettings, metrics: &Metrics) -> Result<Option<Counting>, TraceError> {
    let Some(endpoint) = &settings.endpoint else { return Ok(None) };
    let headers = settings.headers.iter().map(|(name, value)| (name.clone(), value.expose().to_owned()));
    let inner = OtlpExporter::builder()
        .with_http()
        .with_endpoint(url(endpoint))
        .with_timeout(TIMEOUT)
        .with_headers(headers.collect::<HashMap<_, _>>())
        .build()
        .map_err(|error| TraceError(error.to_string()))?;
    Ok(Some(Counting { inner, metrics: metrics.clone(), failing: AtomicBool::new(false) }))
}

/// An address names the collector or, with the usual path, the place itself.
fn url(endpoint: &str) -> String {
    let endpoint = endpoint.trim_end_matches('/');
    if endpoint.ends_with(PATH) { endpoint.to_owned() } else { format!("{endpoint}/{PATH}") }
}

/// The exporter, with a count of what it did.
#[derive(Debug)]
pub(super) struct Counting {
    inner: OtlpExporter,
    metrics: Metrics,
    /// Whether the last request failed: said once, not each time.
    failing: AtomicBool,
}

impl SpanExporter for Counting {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let count = batch.len() as u64;
        let sent = self.inner.export(batch).await;
        let result = if sent.is_ok() { ExportResult::Sent } else { ExportResult::Failed };
        self.metrics.trace_exports.of(result).inc_by(count);
        let failed_before = self.failing.swap(sent.is_err(), Ordering::Relaxed);
        match &sent {
            Err(error) if !failed_before => {
                tracing::warn!(%error, "traces cannot be sent; those of meanwhile are lost");
            }
            Ok(()) if failed_before => tracing::info!("traces are sent again"),
            _ => {}
        }
        sent
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn shutdown(&self) -> OTelSdkResult {
        self.inner.shutdown()
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_path_is_added_where_it_is_missing() {
        for endpoint in
            ["http://c:4318", "http://c:4318/", "http://c:4318/v1/traces", "http://c:4318/v1/traces/"]
        {
            assert_eq!(url(endpoint), "http://c:4318/v1/traces");
        }
        assert_eq!(url("https://c/otlp"), "https://c/otlp/v1/traces");
    }
}
