//! What a dead gateway leaves: its sessions are ended, so that what they held returns.

use futures_util::StreamExt as _;
use nexus_core::id::GatewayId;
use nexus_store::bus::{Bus, BusError};

use super::{Fleet, FleetError};
use crate::backoff::Backoff;
use crate::chain;

/// Sessions that are read in one step.
const BATCH: usize = 256;

/// Sessions that are ended at the same time.
const AT_ONCE: usize = 32;

/// Ends the sessions of whoever is buried. Several gateways may do it at once.
pub(super) async fn run(fleet: Fleet, bus: Bus) -> Result<(), FleetError> {
    let mut view = fleet.watch();
    let mut backoff = Backoff::new();
    loop {
        let buried = view.borrow_and_update().buried.clone();
        match settle(&bus, &buried).await {
            Ok(()) => {
                backoff.reset();
                // The sender is in `fleet`, so this waits.
                let _ = view.changed().await;
            }
            Err(BusError::Closed) => return Err(FleetError::BusClosed),
            Err(error) => {
                metrics::counter!("nexus_return_errors_total", "error" => error.label()).increment(1);
                tracing::warn!(error = chain(&error), "cannot return what a dead gateway held; trying again");
                backoff.wait().await;
            }
        }
    }
}

async fn settle(bus: &Bus, buried: &[GatewayId]) -> Result<(), BusError> {
    for &gateway in buried {
        let (mut sessions, mut copies) = (0, 0);
        loop {
            let found = bus.sessions_of(gateway, BATCH).await?;
            if found.is_empty() && bus.forget_gateway(gateway).await? {
                break;
            }
            sessions += found.len();
            let ends = futures_util::stream::iter(found).map(async |(session, tenant)| {
                let returned = bus.bury_session(&tenant, session).await?;
                // Not before: who is interrupted in between leaves it to the next.
                bus.drop_session(gateway, session).await?;
                Ok::<_, BusError>(returned)
            });
            let mut ends = ends.buffer_unordered(AT_ONCE);
            while let Some(returned) = ends.next().await {
                copies += returned?;
            }
        }
        if sessions > 0 {
            tracing::warn!(%gateway, sessions, copies, "returned what a dead gateway held");
        }
    }
    Ok(())
}
