//! After the bus lost writes, a session tells it whose it is and what it has. Before that is done it pulls nothing; it
//! hears its agent and answers all the while.

use std::pin::Pin;

use nexus_core::id::{EventId, SessionId, TenantKey};
use nexus_store::bus::BusError;

use super::end::End;
use crate::backoff::Backoff;
use crate::shared::Shared;

/// What tells the bus, until it is told.
pub(super) type Settling<'a> = Pin<Box<dyn Future<Output = Result<(), End>> + Send + 'a>>;

/// Tells the bus until it is told. `has` may have become less meanwhile, and no more.
pub(super) async fn settle(
    shared: &Shared,
    tenant: &TenantKey,
    session: SessionId,
    has: Vec<EventId>,
) -> Result<(), End> {
    let mut backoff = Backoff::new();
    loop {
        match tell(shared, tenant, session, has.clone()).await {
            Ok(Some(returned)) => {
                tracing::debug!(%tenant, %session, returned, "settled after a loss of the bus");
                shared.outage.succeeds();
                return Ok(());
            }
            // The gateway does not live any more, which its next beat tells; then all its sessions end in good order.
            Ok(None) => {}
            Err(BusError::Closed) => return Err(End::Internal),
            Err(error) => {
                metrics::counter!("nexus_settle_errors_total", "error" => error.label()).increment(1);
                shared.outage.fails("settle a session", tenant, &error);
            }
        }
        backoff.wait().await;
    }
}

/// Tells the bus once; none if the gateway does not live any more.
async fn tell(
    shared: &Shared,
    tenant: &TenantKey,
    session: SessionId,
    has: Vec<EventId>,
) -> Result<Option<usize>, BusError> {
    let Shared { fleet, bus, leases, .. } = shared;
    // Thousands have to do it at once.
    let _turn = leases.turn().await;
    if !leases.enter(bus, fleet.view().me, session).await? {
        return Ok(None);
    }
    bus.retain_session(tenant, session, has).await.map(Some)
}

/// Waits until the bus is told, and for ever where there is nothing to tell.
pub(super) async fn settled(settling: &mut Option<Settling<'_>>) -> Result<(), End> {
    match settling {
        Some(telling) => telling.await,
        None => std::future::pending().await,
    }
}
