//! Leases: which sessions may hold events of the bus, so that whatever ends a session returns them.
//! The bus knows them too, under their gateway, for those who find that one dead: see [`crate::fleet`].
//!
//! A session has a [`Lease`] and gives it back when it ends as planned. One that is cut off only drops it, which
//! leaves its id here, for whoever is left to return it: the owner of sessions after a panic, the role when a task
//! of it failed, the role's successor when the role itself was aborted.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nexus_core::id::{EventId, GatewayId, SessionId, TenantKey};
use nexus_store::bus::{Bus, BusError};
use tokio::sync::{Notify, Semaphore, SemaphorePermit};

use crate::backoff::Backoff;
use crate::chain;
use crate::outage::Outage;

/// Sessions whose events are returned at the same time: a stop ends thousands at once.
const AT_ONCE: usize = 64;

/// The sessions that may hold events. Cheap to clone. A gateway that takes the place of an aborted one on the same
/// bus is handed the leases of the old one, and returns what that held.
#[derive(Debug, Clone, Default)]
pub struct Leases(Arc<Table>);

#[derive(Debug)]
struct Table {
    /// Bounded by the number of sessions.
    held: Mutex<HashMap<SessionId, Holder>>,
    /// A session was cut off.
    dropped: Notify,
    permits: Semaphore,
    /// Here, so that it outlives a gateway that begins again.
    outage: Outage,
}

#[derive(Debug)]
struct Holder {
    tenant: TenantKey,
    /// The gateway under which the bus knows it.
    gateway: Option<GatewayId>,
    /// Whether its session is gone.
    dropped: bool,
}

/// What one session may hold.
#[derive(Debug)]
pub(crate) struct Lease {
    leases: Leases,
    session: SessionId,
}

impl Default for Table {
    fn default() -> Self {
        Self {
            held: Mutex::default(),
            dropped: Notify::new(),
            permits: Semaphore::new(AT_ONCE),
            outage: Outage::default(),
        }
    }
}

impl Leases {
    /// Notes a session, before it pulls for the first time.
    pub(crate) fn hold(&self, tenant: &TenantKey, session: SessionId) -> Lease {
        self.held().insert(session, Holder { tenant: tenant.clone(), gateway: None, dropped: false });
        Lease { leases: self.clone(), session }
    }

    /// Returns what sessions leave that are cut off, as they are. For one caller at a time; nothing is lost when
    /// the call is given up.
    pub(crate) async fn return_dropped(&self, bus: &Bus) {
        loop {
            // Before the look, so that nothing slips between.
            let dropped = self.0.dropped.notified();
            self.return_found(bus).await;
            dropped.await;
        }
    }

    /// Returns everything, once no gateway runs. Sessions that were aborted may not have ended yet: it waits until they have, since one
    /// that still runs could pull after its events were returned.
    pub(crate) async fn return_all(&self, bus: &Bus) {
        loop {
            let dropped = self.0.dropped.notified();
            self.return_found(bus).await;
            if self.held().is_empty() {
                return;
            }
            dropped.await;
        }
    }

    async fn return_found(&self, bus: &Bus) {
        let found: Vec<_> = self
            .held()
            .iter()
            .filter(|(_, holder)| holder.dropped)
            .map(|(session, holder)| (*session, holder.tenant.clone()))
            .collect();
        // All of them, for each waits for its turn: those that fail must not keep others from theirs.
        let returns = found.into_iter();
        let returns = returns.map(|(session, tenant)| self.give_back(bus, tenant, session, Vec::new()));
        futures_util::future::join_all(returns).await;
    }

    /// Returns what a session holds; tries until the bus has done it or is closed. Of `unsent` it is known that nobody
    /// was sent it.
    async fn give_back(&self, bus: &Bus, tenant: TenantKey, session: SessionId, unsent: Vec<EventId>) {
        let mut backoff = Backoff::new();
        loop {
            let Some(turn) = self.turn().await else { return };
            match bus.end_session(&tenant, session, unsent.clone()).await {
                Ok(_) => {
                    self.outage().succeeds();
                    return self.forget(bus, session).await;
                }
                // A bus that is closed holds nothing for anybody: opening it returns all.
                Err(BusError::Closed) => return self.forget(bus, session).await,
                Err(error) => {
                    metrics::counter!("nexus_return_errors_total", "error" => error.label()).increment(1);
                    self.outage().fails("return what a session held", &tenant, &error);
                }
            }
            // The pause is another's turn.
            drop(turn);
            backoff.wait().await;
        }
    }

    /// Not before what it held is returned: whoever is cut off in between leaves it to the next.
    async fn forget(&self, bus: &Bus, session: SessionId) {
        let holder = self.held().remove(&session);
        if let Some(gateway) = holder.and_then(|holder| holder.gateway)
            && let Err(error) = bus.drop_session(gateway, session).await
        {
            // It stays known until its gateway ends, which is when somebody ends it once more.
            tracing::debug!(%session, error = chain(&error), "cannot forget a session");
        }
    }

    /// Tells the bus whose a session is. False if the gateway does not live any more.
    pub(crate) async fn enter(
        &self,
        bus: &Bus,
        gateway: GatewayId,
        session: SessionId,
    ) -> Result<bool, BusError> {
        let tenant = {
            let mut held = self.held();
            let Some(holder) = held.get_mut(&session) else { return Ok(false) };
            // Before it is: what may have been written is taken back.
            holder.gateway = Some(gateway);
            holder.tenant.clone()
        };
        bus.hold_session(gateway, &tenant, session).await
    }

    /// How many sessions may hold events.
    pub(crate) fn count(&self) -> usize {
        self.held().len()
    }

    /// Of these sessions those that may hold nothing, since they have ended.
    pub(crate) fn ended(&self, sessions: Vec<(SessionId, TenantKey)>) -> Vec<(SessionId, TenantKey)> {
        let held = self.held();
        sessions.into_iter().filter(|(session, _)| !held.contains_key(session)).collect()
    }

    /// Whether the bus does what it is asked.
    pub(crate) fn outage(&self) -> &Outage {
        &self.0.outage
    }

    /// A turn of its own among the many that call the bus at once. None once nobody may any more.
    pub(crate) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        self.0.permits.acquire().await.ok()
    }

    fn held(&self) -> MutexGuard<'_, HashMap<SessionId, Holder>> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lease {
    /// Returns what the session holds, as it ends: what it sent, which counts as tried, and what it did not.
    pub(crate) async fn give_back(self, bus: &Bus, unsent: Vec<EventId>) {
        let tenant = self.leases.held().get(&self.session).map(|holder| holder.tenant.clone());
        if let Some(tenant) = tenant {
            self.leases.give_back(bus, tenant, self.session, unsent).await;
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(holder) = self.leases.held().get_mut(&self.session) {
            holder.dropped = true;
            self.leases.0.dropped.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use nexus_store::bus::InboxDepth;

    use super::*;
    use crate::world::World;

    async fn depth(world: &World) -> InboxDepth {
        world.shared.bus.inbox_depth(&world.tenant, world.agent().inbox()).await.unwrap()
    }

    /// A session that has pulled one event, and the event.
    async fn pulled(world: &World) -> (Lease, EventId) {
        let session = SessionId::from(uuid::Uuid::new_v4());
        let lease = world.shared.leases.hold(&world.tenant, session);
        world.post(10).await;
        let inbox = world.agent().inbox();
        let pulled = world.shared.bus.pull(&world.tenant, inbox, session, 1, 1000).await.unwrap();
        assert_eq!(pulled.len(), 1);
        (lease, pulled[0].id)
    }

    async fn holding(world: &World) -> Lease {
        pulled(world).await.0
    }

    #[tokio::test]
    async fn what_is_given_back_is_not_left() {
        let world = World::new();
        let lease = holding(&world).await;
        lease.give_back(&world.shared.bus, Vec::new()).await;
        assert_eq!(depth(&world).await.held, 0);
        assert!(world.shared.leases.held().is_empty());
    }

    #[tokio::test]
    async fn only_what_was_sent_uses_up_an_attempt() {
        let world = World::new();
        let (bus, inbox) = (&world.shared.bus, world.agent().inbox());
        for (sent, attempt) in [(false, 1), (true, 2)] {
            let (lease, event) = pulled(&world).await;
            let next = SessionId::from(uuid::Uuid::new_v4());
            lease.give_back(bus, if sent { Vec::new() } else { vec![event] }).await;
            let held = bus.pull(&world.tenant, inbox, next, 1, 1000).await.unwrap();
            assert_eq!(held[0].attempt, attempt);
            bus.ack(&world.tenant, next, vec![held[0].id]).await.unwrap();
        }
    }

    #[tokio::test]
    async fn what_a_cut_off_session_leaves_is_returned_by_the_next_that_looks() {
        let world = World::new();
        drop(holding(&world).await);
        assert_eq!(depth(&world).await.held, 1);
        let (leases, bus) = (&world.shared.leases, &world.shared.bus);
        // A call that is given up loses nothing.
        let mut given_up = Box::pin(leases.return_dropped(bus));
        assert!(futures_util::poll!(&mut given_up).is_pending());
        drop(given_up);
        leases.return_all(bus).await;
        assert_eq!((depth(&world).await.held, depth(&world).await.waiting), (0, 1));
    }

    #[tokio::test]
    async fn nothing_is_returned_while_its_session_may_still_pull() {
        let world = World::new();
        let lease = holding(&world).await;
        let (leases, bus) = (&world.shared.leases, &world.shared.bus);
        let mut all = std::pin::pin!(leases.return_all(bus));
        assert!(futures_util::poll!(&mut all).is_pending());
        assert_eq!(depth(&world).await.held, 1);
        drop(lease);
        all.await;
        assert_eq!(depth(&world).await.held, 0);
    }

    #[tokio::test]
    async fn who_cannot_be_given_back_keeps_nobody_from_a_turn() {
        let (world, server) = World::redis().await;
        let leases = &world.shared.leases;
        let sessions = (0..AT_ONCE).map(|_| SessionId::from(uuid::Uuid::new_v4()));
        let held: Vec<_> = sessions.map(|session| leases.hold(&world.tenant, session)).collect();
        world.lose(server).await;
        let returns = held.into_iter().map(|lease| lease.give_back(&world.shared.bus, Vec::new()));
        let mut returns = std::pin::pin!(futures_util::future::join_all(returns));
        // All of them try at once.
        assert!(futures_util::poll!(&mut returns).is_pending());
        tokio::select! {
            _ = returns => panic!("there is no bus"),
            turn = leases.turn() => assert!(turn.is_some()),
            () = tokio::time::sleep(std::time::Duration::from_secs(20)) => panic!("they keep their turns"),
        }
    }
}
