//! Sessions that ended and came back: a bus that lost their end, as in a failover, notes them and what they held still.
//!
//! Nobody else ends them, since their gateway lives; and what they hold, and every later event of its thread, would wait
//! for as long. What survives of a bus is a state that it had, so they all stand under their gateway.

use nexus_core::id::GatewayId;
use nexus_store::bus::{Bus, BusError};

use super::FleetError;
use super::heirs::{BATCH, Ends, end};
use crate::backoff::Backoff;
use crate::chain;
use crate::leases::Leases;
use crate::session::sever::changed;

/// Ends what this gateway ended before, whenever the bus may have forgotten it.
pub(super) async fn run(me: GatewayId, leases: &Leases, bus: &Bus) -> Result<(), FleetError> {
    let mut identity = bus.identity();
    let mut backoff = Backoff::new();
    loop {
        // Before the look, so that nothing slips between. The first is for what came back before a restart of the role.
        identity.mark_unchanged();
        match look(me, leases, bus).await {
            Ok(Ends { sessions, copies, .. }) => {
                backoff.reset();
                if sessions > 0 {
                    tracing::warn!(
                        sessions,
                        copies,
                        "ended sessions once more that the bus forgot were ended"
                    );
                }
                changed(&mut identity).await;
            }
            Err(BusError::Closed) => return Err(FleetError::BusClosed),
            Err(error) => {
                metrics::counter!("nexus_return_errors_total", "error" => error.label()).increment(1);
                tracing::warn!(error = chain(&error), "cannot end what may have come back; trying again");
                backoff.wait().await;
            }
        }
    }
}

/// Ends the sessions of this gateway that are none of those that may hold events here.
async fn look(me: GatewayId, leases: &Leases, bus: &Bus) -> Result<Ends, BusError> {
    let mut ends = Ends::default();
    loop {
        // More than there are: however they are chosen, one of them has ended if any has.
        let asked = leases.count() + BATCH;
        let found = bus.sessions_of(me, asked).await?;
        let all = found.len() < asked;
        // After they were read: a session is noted here before it is in the bus.
        let ended = leases.ended(found);
        if ended.is_empty() && all {
            return Ok(ends);
        }
        ends.add(end(bus, me, ended).await)?;
    }
}

#[cfg(test)]
mod tests {
    use nexus_core::id::SessionId;
    use nexus_store::bus::InboxDepth;
    use uuid::Uuid;

    use super::*;
    use crate::world::World;

    async fn depth(world: &World) -> InboxDepth {
        world.shared.bus.inbox_depth(&world.tenant, world.agent().inbox()).await.unwrap()
    }

    #[tokio::test]
    async fn what_came_back_is_ended_and_what_is_open_is_not() {
        let world = World::new();
        let (bus, leases, me) = (&world.shared.bus, &world.shared.leases, world.shared.fleet.view().me);
        bus.enter(me).await.unwrap();
        // As a bus has them that lost their ends: more than are read at a time, one of which holds an event.
        let session = || SessionId::from(Uuid::new_v4());
        let ended: Vec<_> = std::iter::repeat_with(session).take(BATCH * 2).collect();
        for &session in &ended {
            bus.hold_session(me, &world.tenant, session).await.unwrap();
        }
        let open = session();
        let _lease = leases.hold(&world.tenant, open);
        leases.enter(bus, me, open).await.unwrap();
        world.post(10).await;
        let inbox = world.agent().inbox();
        assert_eq!(bus.pull(&world.tenant, inbox, ended[7], 1, 1000).await.unwrap().len(), 1);
        let ends = look(me, leases, bus).await.unwrap();
        assert_eq!((ends.sessions, ends.copies), (ended.len(), 1));
        assert_eq!(bus.sessions_of(me, 9).await.unwrap(), [(open, world.tenant.clone())]);
        // What is open keeps what it has.
        assert_eq!(bus.pull(&world.tenant, inbox, open, 1, 1000).await.unwrap().len(), 1);
        assert_eq!(look(me, leases, bus).await.unwrap().sessions, 0);
        assert_eq!(depth(&world).await.held, 1);
    }
}
