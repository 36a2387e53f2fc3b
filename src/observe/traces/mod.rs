//! Traces of single batches, from socket to commit to the other sockets, for an OTLP collector.
//!
//! Which batches are traced is decided once, when a frame is read. From there on a [`Span`] or its
//! [`SpanPlace`] is handed along with the batch, so that nothing is looked up and nothing is global; without
//! a collector, or for a batch that is not traced, each place on the way is one branch. What is sent holds
//! ids and numbers, never contents.

mod export;
mod trail;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry::trace::{
    Span as _, SpanBuilder, SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags, TraceId,
    TraceState, Tracer as _, TracerProvider as _,
};
use opentelemetry::{Context, Key, KeyValue, Value};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{IdGenerator, Sampler, SdkTracer, SdkTracerProvider, Span as SdkSpan};

use super::metrics::Metrics;
use crate::clock::SharedClock;
use crate::config::TraceSettings;
use crate::entropy::SharedEntropy;

pub use trail::Trail;

/// How long the last spans may take to reach the collector when the node stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(3);

/// Why there are no traces.
#[derive(Debug, thiserror::Error)]
#[error("traces cannot be sent to `trace.endpoint`: {0}")]
pub struct TraceError(String);

/// Makes spans of some batches; off, it makes none. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Traces {
    on: Option<Arc<On>>,
}

#[derive(Debug)]
struct On {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
    one_in: u64,
    clock: SharedClock,
    entropy: SharedEntropy,
    metrics: Metrics,
}

impl Traces {
    /// Begins to send to the configured collector; without one it is off.
    pub fn start(
        settings: &TraceSettings,
        clock: SharedClock,
        entropy: SharedEntropy,
        metrics: Metrics,
    ) -> Result<Self, TraceError> {
        let Some(exporter) = export::exporter(settings, &metrics)? else { return Ok(Self::default()) };
        let instance = entropy.uuid_v4().to_string();
        let resource = Resource::builder()
            .with_service_name(settings.service_name.clone())
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .with_attribute(KeyValue::new("service.instance.id", instance))
            .build();
        let provider = SdkTracerProvider::builder()
            .with_sampler(Sampler::AlwaysOn)
            .with_id_generator(Ids(Arc::clone(&entropy)))
            .with_resource(resource)
            .with_batch_exporter(exporter)
            .build();
        let tracer = provider.tracer("synchub");
        let on = On { provider, tracer, one_in: settings.sample_one_in, clock, entropy, metrics };
        Ok(Self { on: Some(Arc::new(on)) })
    }

    /// The time in microseconds, for who may begin a span; none if it is off.
    pub fn now_us(&self) -> Option<i64> {
        self.on.as_ref().map(|on| on.clock.now_us())
    }

    /// The first span of a batch that began at `began_us`, if the batch is one of those to be traced.
    pub fn sample(&self, name: &'static str, began_us: i64) -> Option<Span> {
        let on = self.on.as_ref()?;
        if on.entropy.below(on.one_in) != 0 {
            return None;
        }
        Some(on.span((name, SpanKind::Server), None, began_us))
    }

    /// A span below one of which only the place came here; none if it is off.
    pub fn below(&self, parent: SpanPlace, name: &'static str, began_us: i64) -> Option<Span> {
        let on = self.on.as_ref()?;
        Some(on.span((name, SpanKind::Internal), Some(parent), began_us))
    }

    /// Sends what is left, for a bounded time. Blocks.
    pub fn stop(&self) {
        let Some(on) = &self.on else { return };
        if let Err(error) = on.provider.shutdown_with_timeout(STOP_TIMEOUT) {
            tracing::warn!(%error, "the last traces were not sent");
        }
    }
}

impl On {
    fn span(
        self: &Arc<Self>,
        (name, kind): (&'static str, SpanKind),
        parent: Option<SpanPlace>,
        began_us: i64,
    ) -> Span {
        self.metrics.trace_spans.inc();
        let context = parent.map_or_else(Context::new, SpanPlace::context);
        let builder = SpanBuilder::from_name(name).with_kind(kind).with_start_time(time(began_us));
        Span { inner: self.tracer.build_with_context(builder, &context), parent, on: Arc::clone(self) }
    }
}

/// A step of a traced batch; it ends when it is dropped.
#[derive(Debug)]
#[must_use = "the step lasts only as long as its span"]
pub struct Span {
    inner: SdkSpan,
    parent: Option<SpanPlace>,
    on: Arc<On>,
}

impl Span {
    /// What another span needs to know of this one.
    pub fn place(&self) -> SpanPlace {
        let context = self.inner.span_context();
        SpanPlace { trace: context.trace_id().to_bytes(), span: context.span_id().to_bytes() }
    }

    /// A step within this one, from now on.
    pub fn child(&self, name: &'static str) -> Self {
        let now_us = self.on.clock.now_us();
        self.on.span((name, SpanKind::Internal), Some(self.place()), now_us)
    }

    /// Ends the step and begins the one that follows it.
    pub fn then(self, name: &'static str) -> Self {
        let now_us = self.on.clock.now_us();
        self.on.span((name, SpanKind::Internal), self.parent, now_us)
    }

    /// Says something of the step: an id, a number or one of a few words, never contents.
    pub fn set(&mut self, key: &'static str, value: impl Into<Value>) {
        self.inner.set_attribute(KeyValue::new(Key::from_static_str(key), value));
    }

    /// Says that the step was done together with one of another trace.
    pub fn link(&mut self, other: SpanPlace) {
        self.inner.add_link(other.span_context(), Vec::new());
    }

    /// Says that the step failed.
    pub fn fail(&mut self, why: &'static str) {
        self.inner.set_status(Status::error(why));
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        self.inner.end_with_timestamp(time(self.on.clock.now_us()));
    }
}

/// Names a span; plain data that goes wherever a batch's rows go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpanPlace {
    /// The trace's id.
    pub trace: [u8; 16],
    /// The span's own.
    pub span: [u8; 8],
}

impl SpanPlace {
    fn span_context(self) -> SpanContext {
        let (trace, span) = (TraceId::from_bytes(self.trace), SpanId::from_bytes(self.span));
        SpanContext::new(trace, span, TraceFlags::SAMPLED, false, TraceState::NONE)
    }

    fn context(self) -> Context {
        Context::new().with_remote_span_context(self.span_context())
    }
}

/// Makes the ids from the node's own randomness.
#[derive(Debug)]
struct Ids(SharedEntropy);

impl IdGenerator for Ids {
    fn new_trace_id(&self) -> TraceId {
        TraceId::from_bytes(self.0.uuid_v4().into_bytes())
    }

    fn new_span_id(&self) -> SpanId {
        // Zero means that there is no span.
        SpanId::from_bytes(self.0.next_u64().max(1).to_be_bytes())
    }
}

fn time(us: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_micros(u64::try_from(us).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;
    use crate::config::Secret;
    use crate::entropy::SeededEntropy;

    fn traces(one_in: u64) -> (Traces, Metrics) {
        // Nothing listens there: what is made is lost, and nobody is kept waiting for it.
        let settings = TraceSettings {
            endpoint: Some("http://127.0.0.1:9".to_owned()),
            sample_one_in: one_in,
            headers: [("x-key".to_owned(), Secret::new("k"))].into(),
            ..TraceSettings::default()
        };
        let metrics = Metrics::new();
        let (clock, entropy) = (ManualClock::at(1_000_000), SeededEntropy::new(7));
        (Traces::start(&settings, clock, entropy, metrics.clone()).unwrap(), metrics)
    }

    #[test]
    fn without_a_collector_nothing_is_made() {
        let metrics = Metrics::new();
        let (clock, entropy) = (ManualClock::at(0), SeededEntropy::new(7));
        let off = Traces::start(&TraceSettings::default(), clock, entropy, metrics.clone()).unwrap();
        assert!(off.now_us().is_none() && off.sample("sync", 0).is_none());
        let place = SpanPlace { trace: [1; 16], span: [1; 8] };
        assert!(off.below(place, "feed", 0).is_none() && Trail::new(&off, place, 0).is_none());
        off.stop();
        assert_eq!(metrics.trace_spans.get(), 0);
    }

    #[test]
    fn one_in_so_many_batches_is_traced() {
        let (traces, metrics) = traces(10);
        let made = (0..1000).filter(|_| traces.sample("sync", 0).is_some()).count();
        assert!((60..140).contains(&made), "{made}");
        assert_eq!(metrics.trace_spans.get(), made as u64);
    }

    #[test]
    fn steps_are_of_the_trace_of_their_batch() {
        let (traces, _) = traces(1);
        let root = traces.sample("sync", 0).unwrap();
        let child = root.child("queue");
        let below = traces.below(child.place(), "feed", 0).unwrap();
        let places = [&root, &child, &below].map(Span::place);
        assert!(places.iter().all(|place| place.trace == places[0].trace));
        assert!(places[0].span != places[1].span && places[1].span != places[2].span);
        assert_ne!(traces.sample("sync", 0).unwrap().place().trace, places[0].trace);
    }

    #[test]
    fn an_address_that_is_none_is_refused() {
        let settings =
            TraceSettings { endpoint: Some("not an address".to_owned()), ..TraceSettings::default() };
        let (clock, entropy) = (ManualClock::at(0), SeededEntropy::new(7));
        let error = Traces::start(&settings, clock, entropy, Metrics::new()).unwrap_err();
        assert!(error.to_string().contains("`trace.endpoint`"), "{error}");
    }
}
