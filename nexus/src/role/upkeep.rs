//! The care of a bus: handled events that are older than their tenant keeps them are forgotten, and its end is told.

use std::sync::Arc;
use std::time::Duration;

use nexus_core::id::TenantKey;
use nexus_core::snapshot::Storage;
use nexus_ingest::IngestConfig;
use nexus_runtime::Drain;
use nexus_store::bus::{Bus, BusError};
use tokio::sync::watch;

/// How often handled events are forgotten.
const EVERY: Duration = Duration::from_secs(60);

/// Sweeps until drained, what each tenant keeps by the configuration of ingest.
pub async fn sweep(bus: Bus, config: watch::Receiver<Arc<IngestConfig>>, drain: Drain) -> anyhow::Result<()> {
    let mut tick = tokio::time::interval(EVERY);
    loop {
        tokio::select! {
            () = drain.cancelled() => return Ok(()),
            _ = tick.tick() => {}
        }
        let now = Arc::clone(&config.borrow());
        let retention = |tenant: &TenantKey| {
            let sources = now.tenants.get(tenant);
            sources.map_or_else(Storage::default, |sources| sources.snapshot.storage).retention
        };
        if let Err(error) = sweep_all(&bus, retention, &drain).await {
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

/// Sweeps every tenant that the bus knows, those without a Tenant object too, until nothing is left. One that cannot be
/// swept holds up no other; gives the first error at the end.
async fn sweep_all(
    bus: &Bus,
    retention: impl Fn(&TenantKey) -> Duration,
    drain: &Drain,
) -> Result<(), BusError> {
    let mut all = Ok(());
    for tenant in bus.tenants().await? {
        let swept = tokio::select! {
            () = drain.cancelled() => break,
            swept = sweep_tenant(bus, &tenant, retention(&tenant)) => swept,
        };
        all = all.and(swept);
    }
    all
}

async fn sweep_tenant(bus: &Bus, tenant: &TenantKey, retention: Duration) -> Result<(), BusError> {
    loop {
        let swept = bus.sweep(tenant, retention).await?;
        tracing::debug!(%tenant, events = swept.events, keys = swept.keys, "forgotten");
        if !swept.more {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::role::broken::{Broken, SOUND};

    #[tokio::test]
    async fn a_tenant_that_is_broken_keeps_no_other_from_being_swept() {
        let broken = Broken::start().await;
        let event = broken.handled().await;
        let swept = sweep_all(&broken.bus, |_| Duration::ZERO, &Drain::new()).await;
        assert_eq!(swept.unwrap_err().label(), "storage");
        assert!(broken.bus.event(&SOUND.parse().unwrap(), event).await.unwrap().is_none());
    }
}
