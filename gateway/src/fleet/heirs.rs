//! What a dead gateway leaves: its sessions are ended, so that what they held returns.

use futures_util::StreamExt as _;
use nexus_core::id::{GatewayId, SessionId, TenantKey};
use nexus_store::bus::{Bus, BusError};

use super::{Fleet, FleetError};
use crate::backoff::Backoff;
use crate::chain;

/// Sessions that are read in one step.
pub(super) const BATCH: usize = 256;

/// Sessions that are ended at the same time.
const AT_ONCE: usize = 32;

/// What came of the ends of sessions.
#[derive(Debug, Default)]
pub(super) struct Ends {
    pub(super) sessions: usize,
    pub(super) copies: usize,
    /// The first error.
    failed: Option<BusError>,
}

impl Ends {
    /// Takes more of them in. Fails if none of those ended: the same would be found for ever.
    pub(super) fn add(&mut self, more: Self) -> Result<(), BusError> {
        self.sessions += more.sessions;
        self.copies += more.copies;
        match more.failed {
            Some(error) if more.sessions == 0 => Err(error),
            _ => Ok(()),
        }
    }
}

/// Ends the sessions of whoever is buried. Several gateways may do it at once.
pub(super) async fn run(fleet: &Fleet, bus: &Bus) -> Result<(), FleetError> {
    let mut view = fleet.watch();
    let mut backoff = Backoff::new();
    loop {
        let buried = view.borrow_and_update().buried.clone();
        match settle_all(bus, &buried).await {
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

/// Goes on with the next where one cannot be settled, and gives the first error at the end.
async fn settle_all(bus: &Bus, buried: &[GatewayId]) -> Result<(), BusError> {
    let mut all = Ok(());
    for &gateway in buried {
        let settled = settle(bus, gateway).await;
        all = all.and(settled);
    }
    all
}

async fn settle(bus: &Bus, gateway: GatewayId) -> Result<(), BusError> {
    let mut ends = Ends::default();
    let settled = loop {
        let found = bus.sessions_of(gateway, BATCH).await?;
        if found.is_empty() && bus.forget_gateway(gateway).await? {
            break Ok(());
        }
        if let Err(error) = ends.add(end(bus, gateway, found).await) {
            break Err(error);
        }
    };
    if ends.sessions > 0 {
        let Ends { sessions, copies, .. } = ends;
        tracing::warn!(%gateway, sessions, copies, "returned what a dead gateway held");
    }
    settled
}

/// Ends sessions that stand under a gateway. One whose tenant is broken holds up no other.
pub(super) async fn end(bus: &Bus, gateway: GatewayId, sessions: Vec<(SessionId, TenantKey)>) -> Ends {
    let ended = futures_util::stream::iter(sessions).map(async |(session, tenant)| {
        let returned = bus.bury_session(&tenant, session).await?;
        // Not before: who is interrupted in between leaves it to the next.
        bus.drop_session(gateway, session).await?;
        Ok::<_, BusError>(returned)
    });
    let mut ended = ended.buffer_unordered(AT_ONCE);
    let mut ends = Ends::default();
    while let Some(returned) = ended.next().await {
        match returned {
            Ok(copies) => (ends.sessions, ends.copies) = (ends.sessions + 1, ends.copies + copies),
            Err(error) => {
                ends.failed.get_or_insert(error);
            }
        }
    }
    ends
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::world::World;

    #[tokio::test]
    async fn a_tenant_that_is_broken_holds_up_no_other() {
        let (world, server) = World::redis().await;
        let (bus, inbox) = (&world.shared.bus, world.agent().inbox());
        let dead = [1, 2].map(|n| GatewayId::from_bytes([n; 16]));
        let session = || SessionId::from(Uuid::new_v4());
        let broken: TenantKey = "broken/broken".parse().unwrap();
        let mut sound = Vec::new();
        for gateway in dead {
            bus.enter(gateway).await.unwrap();
            for _ in 0..3 {
                bus.hold_session(gateway, &broken, session()).await.unwrap();
                world.post(10).await;
                sound.push(session());
                bus.hold_session(gateway, &world.tenant, sound[sound.len() - 1]).await.unwrap();
            }
            bus.leave(gateway).await.unwrap();
        }
        // One thread, so one session at a time has any of it.
        assert_eq!(bus.pull(&world.tenant, inbox, sound[4], 9, 1000).await.unwrap().len(), 6);
        for gateway in dead {
            for (session, _) in bus.sessions_of(gateway, 9).await.unwrap() {
                let key = format!("nexus:{{broken/broken}}:r:{}", session.uuid().simple());
                server.place().say(&[&format!("RPUSH {key} x")]).await.unwrap();
            }
        }
        assert_eq!(settle_all(bus, &dead).await.unwrap_err().label(), "storage");
        let depth = bus.inbox_depth(&world.tenant, inbox).await.unwrap();
        assert_eq!((depth.held, depth.waiting), (0, 6));
        for gateway in dead {
            let left = bus.sessions_of(gateway, 9).await.unwrap();
            assert_eq!(left.len(), 3);
            assert!(left.iter().all(|(_, tenant)| *tenant == broken));
        }
    }
}
