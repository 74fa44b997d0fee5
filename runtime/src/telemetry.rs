//! Logs and metrics of a process.

use std::convert::Infallible;
use std::io::IsTerminal as _;
use std::time::Duration;

use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The environment variable that chooses what is logged, in the syntax of `tracing_subscriber::EnvFilter`.
pub const LOG_ENV: &str = "NEXUS_LOG";

/// Bounds of the histogram buckets of durations, in seconds.
const SECONDS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// How often samples of histograms are folded together: until then each is kept.
const UPKEEP: Duration = Duration::from_secs(5);

/// Keeps the memory of metrics bounded, whether or not anybody reads them. Own it as a task.
///
/// # Errors
/// Never.
pub async fn upkeep(metrics: PrometheusHandle, drain: CancellationToken) -> Result<(), Infallible> {
    let mut tick = tokio::time::interval(UPKEEP);
    loop {
        tokio::select! {
            () = drain.cancelled() => return Ok(()),
            _ = tick.tick() => metrics.run_upkeep(),
        }
    }
}

/// Why telemetry cannot start.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter is not one.
    #[error("{LOG_ENV} holds no log filter; an example is `info,nexus_gateway=debug`")]
    Filter(#[source] tracing_subscriber::filter::FromEnvError),
    /// Metrics are collected already.
    #[error("cannot collect metrics")]
    Metrics(#[from] BuildError),
}

/// Starts logging to standard error and collecting metrics. Call once, in `main`.
///
/// # Errors
/// When the environment holds a filter that is none, or metrics are collected already.
pub fn init(format: LogFormat, default_filter: &str) -> Result<PrometheusHandle, TelemetryError> {
    let filter = match std::env::var_os(LOG_ENV) {
        Some(_) => EnvFilter::try_from_env(LOG_ENV).map_err(TelemetryError::Filter)?,
        None => EnvFilter::new(default_filter),
    };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second subscriber in one process is refused; the first stays, which is what an embedder wants.
    let _ = match format {
        LogFormat::Text => builder.with_target(false).with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    Ok(PrometheusBuilder::new().set_buckets(&SECONDS)?.install_recorder()?)
}
