//! What every process of ours has around its roles: telemetry, readiness, signals and an end in good order.

use std::time::Duration;

use anyhow::Context as _;
use metrics_exporter_prometheus::PrometheusHandle;
use nexus_core::clock::Clock;
use nexus_runtime::readiness::Readiness;
use nexus_runtime::tasks::Tasks;
use nexus_runtime::telemetry::{self, LogFormat};
use nexus_runtime::trace::{self, Exporting};
use nexus_runtime::{Drain, clock};
use rustix::process::{Resource, getrlimit, setrlimit};

/// What is logged by default: our own steps, and of the storage engine only what is wrong. What the client of an API server
/// says of each failed request is told by who asked, once.
const LOG_FILTER: &str = "info,fjall=warn,lsm_tree=warn,kube_client=off,kube_runtime=off";

/// How long a drain may take before what is left is aborted: longer than any role takes by itself.
pub const DRAIN: Duration = Duration::from_secs(15);

/// How long the last traces may take to be exported.
const LAST_TRACES: Duration = Duration::from_secs(5);

/// A process that has begun.
pub struct Process {
    /// The time.
    pub clock: Clock,
    /// What start-up waits for.
    pub readiness: Readiness,
    /// The metrics.
    pub metrics: PrometheusHandle,
    /// Asks everything to end.
    pub drain: Drain,
    exporting: Exporting,
}

impl Process {
    /// Starts telemetry, and lets the process have as many files as it may.
    pub fn begin(log_json: bool) -> anyhow::Result<Self> {
        let format = if log_json { LogFormat::Json } else { LogFormat::Text };
        let metrics = telemetry::init(format, LOG_FILTER).context("cannot start telemetry")?;
        let exporting = trace::init().context("cannot start to export traces")?;
        raise_file_limit();
        let (clock, readiness, drain) = (clock::system(), Readiness::default(), Drain::new());
        Ok(Self { clock, readiness, metrics, drain, exporting })
    }

    /// Runs tasks until one of them ends, or until Ctrl-C or SIGTERM, which drain; `close` is what comes last.
    pub async fn run(self, mut tasks: Tasks, close: impl Future<Output = ()>) -> anyhow::Result<()> {
        let Self { readiness, metrics, drain, exporting, .. } = self;
        tasks.start("metrics", telemetry::upkeep(metrics, drain.clone()));
        let signals = drain.clone();
        tasks.start("signals", async move {
            ended_by_signal().await?;
            tracing::info!("draining; once more to end at once");
            signals.cancel();
            anyhow::Ok(())
        });
        let ended = tokio::select! {
            ended = tasks.run(DRAIN) => ended,
            () = second_signal(drain, readiness) => Ok(()),
        };
        close.await;
        exporting.finish(LAST_TRACES).await;
        Ok(ended?)
    }
}

/// Raises the limit of open files as far as it goes without a right. What a process is given is often 1,024, and a gateway would be
/// full at a thousand agents; the number of sessions has a bound of its own.
fn raise_file_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "cannot raise the limit of open files; more connections than it allows for wait");
    }
}

/// Waits for Ctrl-C or SIGTERM.
async fn ended_by_signal() -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted.context("cannot listen for Ctrl-C"),
        _ = terminate.recv() => Ok(()),
    }
}

/// Waits for a signal that comes while draining.
async fn second_signal(drain: Drain, readiness: Readiness) {
    drain.cancelled().await;
    let _ending = readiness.guard("the process to end");
    if ended_by_signal().await.is_err() {
        std::future::pending::<()>().await;
    }
}
