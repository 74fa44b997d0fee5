//! Logs and metrics of a process.

use std::convert::Infallible;
use std::io::IsTerminal as _;
use std::time::Duration;

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use metrics_process::Collector;
use tokio_util::sync::CancellationToken;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The environment variable that chooses what is logged, in the syntax of `tracing_subscriber::EnvFilter`.
/// It cannot show more of other libraries than [`OTHERS`].
pub const LOG_ENV: &str = "NEXUS_LOG";

/// The most that is shown of libraries that are not ours: below it some of them print whole messages, and a
/// message may hold a token.
pub const OTHERS: LevelFilter = LevelFilter::INFO;

/// Bounds of the histogram buckets of durations, in seconds.
const SECONDS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Bounds of the buckets of durations that depend on agents, in seconds: their work may take minutes.
const AGENT_SECONDS: [f64; 14] =
    [0.001, 0.0025, 0.01, 0.025, 0.1, 0.25, 1.0, 2.5, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0];

/// Bounds of the buckets of group sizes.
const SIZES: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];

/// How often samples of histograms are folded together: until then each is kept.
const UPKEEP: Duration = Duration::from_secs(5);

/// Keeps the memory of metrics bounded, whether or not anybody reads them, and refreshes those of the process.
/// Own it as a task.
///
/// # Errors
/// Never.
pub async fn upkeep(metrics: PrometheusHandle, drain: CancellationToken) -> Result<(), Infallible> {
    let process = Collector::default();
    let mut tick = tokio::time::interval(UPKEEP);
    loop {
        tokio::select! {
            () = drain.cancelled() => return Ok(()),
            _ = tick.tick() => {
                metrics.run_upkeep();
                crate::metrics::of_process(&process);
            }
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
    let capped = filter_fn(|metadata| metadata.level() <= &OTHERS || is_ours(metadata.target()));
    let registry = tracing_subscriber::registry().with(filter).with(capped);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    // A second subscriber in one process is refused; the first stays, which is what an embedder wants.
    let _ = match format {
        LogFormat::Text => {
            let lines = lines.with_target(false).with_ansi(std::io::stderr().is_terminal());
            registry.with(lines).try_init()
        }
        LogFormat::Json => registry.with(lines.json().flatten_event(true)).try_init(),
    };
    let handle = recorder()?.install_recorder()?;
    crate::metrics::describe();
    Ok(handle)
}

/// Whether a line is of our own crates.
fn is_ours(target: &str) -> bool {
    let of = target.split("::").next().unwrap_or_default();
    of == "nexus" || of.starts_with("nexus_")
}

fn recorder() -> Result<PrometheusBuilder, BuildError> {
    let agents = Matcher::Full("nexus_send_to_ack_seconds".to_owned());
    let waiting = Matcher::Full("nexus_receipt_to_send_seconds".to_owned());
    let sizes = Matcher::Full(crate::metrics::GROUP_SIZE.to_owned());
    PrometheusBuilder::new()
        .set_buckets(&SECONDS)?
        .set_buckets_for_metric(agents, &AGENT_SECONDS)?
        .set_buckets_for_metric(waiting, &AGENT_SECONDS)?
        .set_buckets_for_metric(sizes, &SIZES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_crates_may_be_told_in_full() {
        assert!(is_ours("nexus") && is_ours("nexus::dev") && is_ours("nexus_gateway::session"));
        assert!(!is_ours("tungstenite::protocol") && !is_ours("nexusother") && !is_ours("log"));
    }
}
