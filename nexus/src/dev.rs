//! `nexus dev`: all roles in one process over a folder.
//!
//! Start-up order matters. The stop latch is read before anything may act; configuration is compiled before a
//! port opens, so that no webhook meets an empty one; the banner comes when everything is ready.

mod admin;
mod banner;
mod control;
mod credentials;
mod data;
mod gauges;
mod reload;
mod replay;
mod roles;
mod story;
mod supervise;
#[cfg(test)]
mod unreadable;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use nexus_runtime::lane::StopLane;
use nexus_runtime::readiness::Readiness;
use nexus_runtime::tasks::Tasks;
use nexus_runtime::telemetry::{self, LogFormat};
use nexus_runtime::trace;
use nexus_runtime::{Drain, clock};
use nexus_store::bus::Bus;

use self::control::Control;
pub use self::control::complaints;
use self::data::DataDir;
use self::roles::{Roles, RolesDeps};

/// What is logged by default: our own steps, and of the storage engine only what is wrong.
const LOG_FILTER: &str = "info,fjall=warn,lsm_tree=warn";

/// How long the last traces may take to be exported.
const LAST_TRACES: Duration = Duration::from_secs(5);

/// Settings of `nexus dev`.
#[derive(Debug, Clone)]
pub struct DevSettings {
    /// Folder of CR and Secret files.
    pub folder: PathBuf,
    /// Where state is kept.
    pub data: PathBuf,
    /// Address for webhooks.
    pub ingest: SocketAddr,
    /// Address for agents.
    pub gateway: SocketAddr,
    /// Address for the admin.
    pub admin: SocketAddr,
    /// Whether log lines are JSON.
    pub log_json: bool,
}

/// Where an agent finds the credentials that were made for it under a data folder.
pub fn credentials_folder(data: &Path, namespace: &str, agent: &str) -> PathBuf {
    credentials::folder(&data.join(data::AGENTS), namespace, agent)
}

/// Runs until Ctrl-C or SIGTERM, then drains.
pub async fn run(settings: DevSettings) -> anyhow::Result<()> {
    let format = if settings.log_json { LogFormat::Json } else { LogFormat::Text };
    let metrics = telemetry::init(format, LOG_FILTER).context("cannot start telemetry")?;
    let exporting = trace::init().context("cannot start to export traces")?;
    let folder = settings.folder.canonicalize().with_context(|| {
        format!("{} is no folder; give one with Tenant and AgentProfile files", settings.folder.display())
    })?;
    let data = DataDir::open(&settings.data)?;
    let clock = clock::system();
    let readiness = Readiness::default();
    let starting = readiness.guard("start-up");
    let lane = Arc::new(StopLane::open(&data.latch())?);
    let bus = Bus::open_embedded(&data.bus(), clock.clone())
        .with_context(|| format!("cannot open the bus in {}", data.bus().display()))?;
    let control = Arc::new(Control::open(&folder, &data, Arc::clone(&lane))?);
    control.reload();

    let drain = Drain::new();
    let mut tasks = Tasks::new("nexus dev", drain.clone());
    let settings = DevSettings { folder, data: data.path().to_owned(), ..settings };
    let deps = RolesDeps {
        settings,
        bus: bus.clone(),
        control,
        lane,
        clock,
        readiness,
        metrics,
        drain: drain.clone(),
    };
    let roles = Arc::new(Roles::new(deps, &data)?);
    roles.start(&mut tasks).await?;
    drop(starting);
    banner::show(&roles, &data)?;

    let signals = drain.clone();
    tasks.start("signals", async move {
        ended_by_signal().await?;
        tracing::info!("draining; once more to end at once");
        signals.cancel();
        anyhow::Ok(())
    });
    let ended = tokio::select! {
        ended = tasks.run(roles::DRAIN) => ended,
        () = second_signal(drain) => Ok(()),
    };
    bus.close().await;
    exporting.finish(LAST_TRACES).await;
    Ok(ended?)
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
async fn second_signal(drain: Drain) {
    drain.cancelled().await;
    if ended_by_signal().await.is_err() {
        std::future::pending::<()>().await;
    }
}
