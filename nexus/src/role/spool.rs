//! The spool of a process: opened before anything is served, moved into the bus once that is there, told of in readiness.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::ValueEnum;
use nexus_runtime::Drain;
use nexus_runtime::readiness::Readiness;
use nexus_store::redis::RedisBus;
use nexus_store::spool::{Spool, SpoolSettings};
use serde_json::json;

/// How long what waits may take to go into the bus when the process ends; what is left goes when it starts again.
const LAST_EVENTS: Duration = Duration::from_secs(8);

/// How often readiness is looked at.
const EVERY: Duration = Duration::from_secs(1);

/// What an event that was answered from the spool survives, as whoever mounts the folder knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SpoolClass {
    /// The folder lives as long as the pod: an emptyDir. The process may be killed, the pod not deleted.
    Pod,
    /// The folder is a volume that outlives the pod.
    Volume,
}

impl SpoolClass {
    /// The word for logs and metrics.
    const fn name(self) -> &'static str {
        match self {
            Self::Pod => "pod",
            Self::Volume => "volume",
        }
    }
}

/// Opens the spool.
pub async fn open(folder: PathBuf, capacity: u64, class: SpoolClass) -> anyhow::Result<Spool> {
    let settings = SpoolSettings { capacity, ..SpoolSettings::at(folder.clone()) };
    let spool = tokio::task::spawn_blocking(|| Spool::open(settings))
        .await
        .context("the spool's opening broke off")?;
    let spool = spool
        .with_context(|| format!("cannot use the spool {} (--data names its folder)", folder.display()))?;
    metrics::gauge!("nexus_spool_info", "class" => class.name()).set(1.0);
    tracing::info!(
        class = class.name(),
        capacity,
        waiting = spool.figures().waiting,
        "events are taken into the spool"
    );
    Ok(spool)
}

/// Moves what waits into the bus until `served` is cancelled, and then what is left, for as long as there is time.
pub async fn drain(spool: &Spool, bus: Arc<RedisBus>, served: Drain) {
    let late = async {
        served.cancelled().await;
        tokio::time::sleep(LAST_EVENTS).await;
    };
    tokio::select! {
        () = spool.drain(bus, served.cancelled()) => {}
        () = late => {}
    }
    let left = spool.figures().waiting;
    if left > 0 {
        tracing::warn!(left, "events stay in the spool; they go into the bus when this process starts again");
    }
}

/// Looks after the spool, and holds readiness back while it can take nothing, until `served` is cancelled.
pub async fn care(spool: &Spool, readiness: Readiness, served: Drain) -> anyhow::Result<()> {
    let ready = async {
        let mut ticks = tokio::time::interval(EVERY);
        let mut held = None;
        loop {
            ticks.tick().await;
            let figures = spool.figures();
            readiness.show_backlog(
                "spool",
                json!({
                    "events": figures.waiting,
                    "bytes": figures.waiting_bytes,
                    "diskBytes": figures.disk_bytes,
                    "oldestSeconds": figures.oldest.as_secs_f64(),
                }),
            );
            let awaited = match (figures.unwritable, figures.full) {
                (true, _) => Some("the spool to be writable"),
                (_, true) => Some("the spool to have room"),
                _ => None,
            };
            // The old guard goes last: readiness does not flicker.
            let next = awaited.map(|awaited| readiness.guard(awaited));
            drop(std::mem::replace(&mut held, next));
        }
    };
    tokio::select! {
        () = served.cancelled() => Ok(()),
        cared = spool.care() => Ok(cared?),
        never = ready => never,
    }
}
