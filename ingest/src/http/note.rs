//! What is told of a delivery besides its answer: durations, the trace of its event, a line for debugging.

use std::time::Instant;

use ::http::HeaderMap;
use jiff::Timestamp;
use nexus_core::clock::Clock;
use nexus_core::id::{EventId, TenantKey};
use nexus_core::kind::Kind;
use nexus_core::trace::{Remote, Step, TraceId};
use nexus_runtime::trace::{self, Kind as Side, Span};
use nexus_store::bus::BusError;
use nexus_store::spool::Taken;

use super::Source;
use super::answer::{Answer, Refusal};

/// The route, as conventions want it in traces: with placeholders, so that it is one of few.
const ROUTE: &str = "/hooks/{namespace}/{tenant}/{source}";

/// What is noted of one delivery.
pub(super) struct Note {
    pub(super) tenant: TenantKey,
    pub(super) source: String,
    /// Length of the body.
    pub(super) bytes: usize,
    provider: &'static str,
    kind: Option<Kind>,
    began: Instant,
    appending: Option<(Instant, Timestamp)>,
    /// When it began by the clock, and the trace of whoever sent it. None unless traces are exported.
    traced: Option<(Timestamp, Option<Remote>)>,
    /// The id that was made for it.
    id: Option<EventId>,
}

impl Note {
    pub(super) fn begin(clock: &Clock, source: &Source, headers: &HeaderMap) -> Self {
        let remote = || Remote::parse(headers.get("traceparent")?.to_str().ok()?);
        Self {
            tenant: source.tenant.clone(),
            source: source.name.clone(),
            bytes: 0,
            provider: source.provider.name(),
            kind: None,
            began: Instant::now(),
            appending: None,
            traced: trace::on().then(|| (clock.now(), remote())),
            id: None,
        }
    }

    /// The event is about to be appended.
    pub(super) fn append(&mut self, clock: &Clock, kind: Kind) {
        self.kind = Some(kind);
        self.appending = Some((Instant::now(), clock.now()));
    }

    /// The event is durable, or could not be kept.
    pub(super) fn taken(&mut self, clock: &Clock, id: EventId, result: &Result<Taken, BusError>) {
        self.id = Some(id);
        let Some((began, start)) = self.appending else { return };
        metrics::histogram!("nexus_ingest_append_seconds").record(began.elapsed().as_secs_f64());
        if let Ok(Taken::New) = result {
            trace::record(id, Step::Append, || {
                let tenant = self.tenant.to_string();
                Span::new(format!("append {tenant}"), Side::Producer, start, clock.now())
                    .with("messaging.system", "nexus")
                    .with("messaging.operation.name", "append")
                    .with("messaging.operation.type", "send")
                    .with("messaging.destination.name", tenant.clone())
                    .with("messaging.message.id", id.to_string())
                    .with("nexus.tenant", tenant)
            });
        }
    }

    /// The answer is known. What was refused has no event and so no trace.
    pub(super) fn end(self, clock: &Clock, result: &Result<Answer, Refusal>) {
        metrics::histogram!(
            "nexus_ingest_request_seconds", "provider" => self.provider, "result" => class(result)
        )
        .record(self.began.elapsed().as_secs_f64());
        let (event, step, outcome) = match result {
            Ok(Answer::Stored(event)) => (*event, Step::Receive, "stored"),
            Ok(Answer::Duplicate(first)) => {
                // In the trace of the first, under an id of its own: this delivery's.
                (*first, Step::ReceiveAgain(self.id.unwrap_or(*first)), "duplicate")
            }
            Ok(Answer::Challenge(_)) => return,
            Err(refusal) => {
                let (tenant, source, outcome) = (&self.tenant, &self.source, refusal.label());
                return tracing::debug!(%tenant, source, outcome, "refused");
            }
        };
        let (tenant, source, trace_id) = (&self.tenant, &self.source, TraceId::of(event));
        tracing::debug!(%tenant, %event, %trace_id, source, outcome, "received");
        if let Some((start, remote)) = self.traced {
            trace::record(event, step, || self.span(event, outcome, start, clock.now()).linked(remote));
        }
    }

    fn span(&self, event: EventId, outcome: &'static str, start: Timestamp, end: Timestamp) -> Span {
        let span = Span::new(format!("POST {ROUTE}"), Side::Server, start, end)
            .with("http.request.method", "POST")
            .with("http.route", ROUTE)
            .with("http.response.status_code", 200_i64)
            .with("http.request.body.size", i64::try_from(self.bytes).unwrap_or(i64::MAX))
            .with("url.scheme", "http")
            .with("url.path", format!("/hooks/{}/{}", self.tenant, self.source))
            .with("messaging.operation.name", "receive")
            .with("messaging.message.id", event.to_string())
            .with("nexus.tenant", self.tenant.to_string())
            .with("nexus.source", self.source.clone())
            .with("nexus.provider", self.provider)
            .with("nexus.outcome", outcome);
        match self.kind {
            Some(kind) => span.with("nexus.kind", kind.name()),
            None => span,
        }
    }
}

/// How a delivery ended, in few words: the counter of deliveries has the many.
const fn class(result: &Result<Answer, Refusal>) -> &'static str {
    match result {
        Ok(_) => "accepted",
        Err(
            Refusal::NoSecret
            | Refusal::Budget(_)
            | Refusal::Quota
            | Refusal::Full(_)
            | Refusal::Storage(_)
            | Refusal::Stopped,
        ) => "unavailable",
        Err(_) => "refused",
    }
}
