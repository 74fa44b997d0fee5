//! Traces of events, exported by OTLP.
//!
//! One trace an event, from the webhook to the agent's answer; [`nexus_core::trace`] knows all of its ids, so a
//! step is recorded once it is over, wherever that is, and nothing is carried from step to step.
//!
//! While nothing is exported [`record`] looks at one cell and returns. Else the span goes into a bounded queue,
//! from which one owned task sends batches; a span that finds no room is dropped and counted. So a collector that
//! is slow, wrong or gone holds up nothing.

mod client;
mod export;
mod settings;

use std::borrow::Cow;
use std::sync::OnceLock;
use std::time::SystemTime;

use jiff::Timestamp;
use nexus_core::id::EventId;
use nexus_core::trace::{self as ids, Delivery, Remote, Sampler, Step};
use opentelemetry::trace::{Link, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue, Value};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use tokio::sync::mpsc;

pub use self::export::{Exporting, init};
pub use self::settings::TraceError;

/// What this process does with spans. Set once, at start-up.
static TRACES: OnceLock<Traces> = OnceLock::new();

struct Traces {
    sampler: Sampler,
    /// None while nothing is exported.
    queue: Option<mpsc::Sender<SpanData>>,
}

/// Which side of a call a span tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Somebody's request is answered.
    Server,
    /// Something is handed to whoever reads it later.
    Producer,
    /// Something that was handed over is worked on.
    Consumer,
    /// An answer to what was handed over.
    Settlement,
}

/// A step of an event that is over. It must hold no text of an event and no secret.
#[derive(Debug)]
pub struct Span {
    name: Cow<'static, str>,
    kind: Kind,
    start: Timestamp,
    end: Timestamp,
    attributes: Vec<KeyValue>,
    error: Option<Cow<'static, str>>,
    link: Option<Remote>,
}

impl Span {
    /// A step that took this long. The name must be one of few.
    pub fn new(name: impl Into<Cow<'static, str>>, kind: Kind, start: Timestamp, end: Timestamp) -> Self {
        let attributes = Vec::with_capacity(12);
        Self { name: name.into(), kind, start, end, attributes, error: None, link: None }
    }

    /// Adds an attribute.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl Into<Value>) -> Self {
        self.attributes.push(KeyValue::new(key, value));
        self
    }

    /// The step failed.
    #[must_use]
    pub fn failed(mut self, why: impl Into<Cow<'static, str>>) -> Self {
        self.error = Some(why.into());
        self
    }

    /// It has to do with a span of somebody else.
    #[must_use]
    pub fn linked(mut self, to: Option<Remote>) -> Self {
        self.link = to;
        self
    }

    fn into_data(self, event: EventId, step: Step) -> SpanData {
        let trace = TraceId::from_bytes(ids::TraceId::of(event).bytes());
        let id = |step| SpanId::from_bytes(ids::SpanId::of(event, step).bytes());
        let status = match self.error {
            Some(why) => Status::error(why),
            None => Status::Unset,
        };
        SpanData {
            span_context: context(trace, id(step), true, false),
            parent_span_id: step.parent().map_or(SpanId::INVALID, id),
            parent_span_is_remote: false,
            span_kind: match self.kind {
                Kind::Server => SpanKind::Server,
                Kind::Producer => SpanKind::Producer,
                Kind::Consumer => SpanKind::Consumer,
                Kind::Settlement => SpanKind::Client,
            },
            name: self.name,
            start_time: SystemTime::from(self.start),
            end_time: SystemTime::from(self.end.max(self.start)),
            attributes: self.attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: links(self.link),
            status,
            instrumentation_scope: scope(),
        }
    }
}

fn scope() -> InstrumentationScope {
    InstrumentationScope::builder("nexus").with_version(env!("CARGO_PKG_VERSION")).build()
}

fn links(remote: Option<Remote>) -> SpanLinks {
    let mut links = SpanLinks::default();
    links.links.extend(remote.map(|remote| {
        let (trace, span) =
            (TraceId::from_bytes(remote.trace.bytes()), SpanId::from_bytes(remote.span.bytes()));
        Link::with_context(context(trace, span, remote.sampled, true))
    }));
    links
}

fn context(trace: TraceId, span: SpanId, sampled: bool, remote: bool) -> SpanContext {
    let flags = if sampled { TraceFlags::SAMPLED } else { TraceFlags::default() };
    SpanContext::new(trace, span, flags, remote, TraceState::default())
}

/// Whether anything is exported. What only a span needs, such as its start, can be left undone otherwise.
#[must_use]
pub fn on() -> bool {
    TRACES.get().is_some_and(|traces| traces.queue.is_some())
}

/// Records a step of an event, if its trace is exported. `span` is called only then.
pub fn record(event: EventId, step: Step, span: impl FnOnce() -> Span) {
    let Some(Traces { sampler, queue: Some(queue) }) = TRACES.get() else {
        return;
    };
    if !sampler.samples(ids::TraceId::of(event)) {
        return;
    }
    let Ok(place) = queue.try_reserve() else {
        export::dropped(export::Dropped::QueueFull, 1);
        return;
    };
    place.send(span().into_data(event, step));
}

/// The W3C trace context that an agent gets with a delivery. Its flag is what the sampler says also while nothing
/// is exported: most SDKs of agents would else record nothing of their own.
#[must_use]
pub fn traceparent(event: EventId, delivery: Delivery) -> String {
    let sampler = TRACES.get().map_or(Sampler::ALWAYS, |traces| traces.sampler);
    ids::traceparent(event, delivery, sampler)
}
