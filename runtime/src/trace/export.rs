//! The one task that exports spans.
//!
//! The SDK's own batch processors are not used: one owns a thread, the other detaches a task, and both give ids
//! of their own to spans. Of the SDK there are its span, its resource and the OTLP encoder.

use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry_otlp::{RetryPolicy, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::{EnvResourceDetector, TelemetryResourceDetector};
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::client::{Client, Failure};
use super::settings::{Export, Settings, TraceError};
use super::{TRACES, Traces};

/// Pauses before a batch is tried again; after the last it is dropped.
const PAUSES: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4)];

/// Failures are logged this often at most.
const LOG_EVERY: Duration = Duration::from_secs(60);

/// Why spans were dropped.
#[derive(Debug, Clone, Copy)]
pub(super) enum Dropped {
    /// They came faster than the collector takes them.
    QueueFull,
    /// The collector did not take them.
    Failed,
    /// The process ended before they were sent.
    Shutdown,
}

impl Dropped {
    const fn label(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::Failed => "failed",
            Self::Shutdown => "shutdown",
        }
    }
}

pub(super) fn dropped(why: Dropped, count: usize) {
    metrics::counter!("nexus_otlp_spans_dropped_total", "reason" => why.label()).increment(count as u64);
}

/// The task that exports. Dropping it ends it at once.
#[derive(Debug, Default)]
pub struct Exporting {
    task: JoinSet<()>,
    stop: CancellationToken,
}

impl Exporting {
    /// Sends what waits, for no longer than this, and ends. Call it when nothing records any more.
    pub async fn finish(mut self, deadline: Duration) {
        self.stop.cancel();
        let ended = async { while self.task.join_next().await.is_some() {} };
        if timeout(deadline, ended).await.is_err() {
            tracing::warn!("not all traces were exported in time");
        }
        self.task.shutdown().await;
    }
}

/// Reads the environment and starts to export if it says so. Call once, in a Tokio runtime.
///
/// # Errors
/// When the environment is wrong; the error names the variable and shows no value.
pub fn init() -> Result<Exporting, TraceError> {
    let Settings { sampler, export } = Settings::read(|name| std::env::var(name).ok())?;
    let mut exporting = Exporting::default();
    let queue = match export {
        None => None,
        Some(export) => {
            let (sender, receiver) = mpsc::channel(export.queue);
            let exporter = Exporter::new(&export, receiver)?;
            exporting.task.spawn(exporter.run(exporting.stop.clone()));
            Some(sender)
        }
    };
    if TRACES.set(Traces { sampler, queue }).is_err() {
        return Err(TraceError::Twice);
    }
    Ok(exporting)
}

struct Exporter {
    otlp: SpanExporter,
    client: Client,
    spans: mpsc::Receiver<SpanData>,
    delay: Duration,
    batch: usize,
    logged: Option<Instant>,
}

impl Exporter {
    fn new(export: &Export, spans: mpsc::Receiver<SpanData>) -> Result<Self, TraceError> {
        let client = Client::new(&export.endpoint, export.timeout)?;
        let mut otlp = SpanExporter::builder()
            .with_http()
            .with_http_client(client.clone())
            .with_endpoint(export.endpoint.to_string())
            .with_timeout(export.timeout)
            // It would wait on a thread; this task waits itself.
            .with_retry_policy(RetryPolicy::disabled())
            .build()
            .map_err(|_| TraceError::Exporter)?;
        otlp.set_resource(&resource(export.service.as_deref()));
        Ok(Self { otlp, client, spans, delay: export.delay, batch: export.batch, logged: None })
    }

    async fn run(mut self, stop: CancellationToken) {
        let mut batch = Vec::new();
        while !stop.is_cancelled() {
            let filled = async {
                // A batch waits for more from its first span on, and no longer than the delay.
                if self.spans.recv_many(&mut batch, self.batch).await > 0 {
                    let until = Instant::now() + self.delay;
                    while batch.len() < self.batch {
                        let room = self.batch - batch.len();
                        let more = self.spans.recv_many(&mut batch, room);
                        if !matches!(tokio::time::timeout_at(until, more).await, Ok(1..)) {
                            break;
                        }
                    }
                }
            };
            tokio::select! {
                () = filled => {}
                () = stop.cancelled() => {}
            }
            let spans = std::mem::take(&mut batch);
            self.send(spans, &stop).await;
        }
        self.spans.close();
        loop {
            let mut rest = Vec::new();
            while rest.len() < self.batch
                && let Ok(span) = self.spans.try_recv()
            {
                rest.push(span);
            }
            if rest.is_empty() {
                return;
            }
            self.send(rest, &stop).await;
        }
    }

    /// Sends a batch, again if that may help and the process goes on.
    async fn send(&mut self, spans: Vec<SpanData>, stop: &CancellationToken) {
        let count = spans.len();
        if count == 0 {
            return;
        }
        let mut pauses = PAUSES.iter();
        loop {
            let Err(failure) = self.try_send(spans.clone()).await else {
                metrics::counter!("nexus_otlp_spans_exported_total").increment(count as u64);
                return;
            };
            self.log(failure);
            let pause = pauses.next().filter(|_| failure.may_pass());
            let Some(pause) = pause.filter(|_| !stop.is_cancelled()) else {
                let why = if stop.is_cancelled() { Dropped::Shutdown } else { Dropped::Failed };
                return dropped(why, count);
            };
            tokio::select! {
                () = sleep(*pause) => {}
                () = stop.cancelled() => {}
            }
        }
    }

    async fn try_send(&self, spans: Vec<SpanData>) -> Result<(), Failure> {
        match self.otlp.export(spans).await {
            Ok(()) => Ok(()),
            // Its message is not shown: the client knows the class of what failed, and that is enough.
            Err(_) => Err(self.client.failure().unwrap_or(Failure::Answer)),
        }
    }

    fn log(&mut self, failure: Failure) {
        if self.logged.is_none_or(|at| at.elapsed() >= LOG_EVERY) {
            self.logged = Some(Instant::now());
            tracing::warn!(%failure, "cannot export traces; nexus_otlp_spans_dropped_total counts what is lost");
        }
    }
}

/// Who the process is, for the collector. The environment goes before what we say of ourselves.
fn resource(service: Option<&str>) -> Resource {
    let ours =
        [KeyValue::new("service.name", "nexus"), KeyValue::new("service.version", env!("CARGO_PKG_VERSION"))];
    let builder = Resource::builder_empty()
        .with_attributes(ours)
        .with_detectors(&[Box::new(TelemetryResourceDetector), Box::new(EnvResourceDetector::new())]);
    match service {
        Some(name) => builder.with_service_name(name.to_owned()).build(),
        None => builder.build(),
    }
}
