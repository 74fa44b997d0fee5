//! The care of a bus: handled events that are older than their tenant keeps them are forgotten, and its end is told.

use std::sync::Arc;
use std::time::Duration;

use nexus_core::snapshot::Storage;
use nexus_runtime::Drain;
use nexus_store::bus::{Bus, BusError};

use super::control::Control;

/// How often handled events are forgotten.
const EVERY: Duration = Duration::from_secs(60);

/// Sweeps until drained.
pub async fn sweep(bus: Bus, control: Arc<Control>, drain: Drain) -> anyhow::Result<()> {
    let mut tick = tokio::time::interval(EVERY);
    loop {
        tokio::select! {
            () = drain.cancelled() => return Ok(()),
            _ = tick.tick() => {}
        }
        if let Err(error) = sweep_all(&bus, &control, &drain).await {
            tracing::warn!(
                error = format!("{:#}", anyhow::Error::from(error)),
                "cannot forget handled events"
            );
        }
    }
}

/// A bus that can do no more work ends the process: whoever restarts it opens the bus again.
pub async fn watch(bus: Bus, drain: Drain) -> anyhow::Result<()> {
    tokio::select! {
        () = drain.cancelled() => Ok(()),
        () = bus.ended() => anyhow::bail!("the bus has ended; see the log above"),
    }
}

/// Sweeps every tenant that the bus knows, those without a Tenant object too, until nothing is left.
async fn sweep_all(bus: &Bus, control: &Control, drain: &Drain) -> Result<(), BusError> {
    for tenant in bus.tenants().await? {
        let view = control.view();
        let storage =
            view.tenants.get(&tenant).map_or_else(Storage::default, |compiled| compiled.ingest.storage);
        loop {
            let swept = bus.sweep(&tenant, storage.retention).await?;
            tracing::debug!(%tenant, events = swept.events, keys = swept.keys, "forgotten");
            if !swept.more || drain.is_cancelled() {
                break;
            }
        }
    }
    Ok(())
}
