//! The gateways that share a bus: who lives, who routes which partition, and whose sessions are whose.
//!
//! The bus keeps counters and names, and no time: whoever looks measures silence with a clock of its own.

use nexus_core::id::{GatewayId, SessionId, TenantKey};

use super::{Bus, BusError, Epoch};

/// The gateways as one of them finds them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fleet {
    /// Those that live, by id, each with the number of its beats.
    pub living: Vec<(GatewayId, u64)>,
    /// Those that live no more and may have left sessions, by id.
    pub buried: Vec<GatewayId>,
}

/// Whose a partition is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// The gateway's that asked, under this epoch.
    Ours(Epoch),
    /// Another's, which lives.
    Theirs(GatewayId),
}

impl Bus {
    /// Enters a gateway among the living, which it has to be before it does anything below. False if it is buried: it
    /// does not live again under that id.
    ///
    /// # Errors
    /// [`BusError::Storage`] when it cannot be written.
    pub async fn enter(&self, gateway: GatewayId) -> Result<bool, BusError> {
        match self {
            Self::Embedded(log) => Ok(log.fleet()?.enter(gateway)),
            Self::Redis(bus) => bus.enter(gateway).await,
        }
    }

    /// Counts a gateway's beat and tells who is there, with their beats; none if it does not live any more. `heard` is its own
    /// number of beats in the last answer, 0 before the first. With another one nothing is counted, for it has not heard
    /// all answers: so one that the bus hears and that does not hear the bus falls silent.
    ///
    /// # Errors
    /// [`BusError::Storage`] when it cannot be written.
    pub async fn beat(&self, gateway: GatewayId, heard: u64) -> Result<Option<Fleet>, BusError> {
        match self {
            Self::Embedded(log) => Ok(log.fleet()?.beat(gateway, heard)),
            Self::Redis(bus) => bus.beat(gateway, heard).await,
        }
    }

    /// Takes a gateway out of the living, if it has this number of beats still. Says whether it did.
    ///
    /// # Errors
    /// [`BusError::Storage`] when it cannot be written.
    pub async fn bury(&self, gateway: GatewayId, beats: u64) -> Result<bool, BusError> {
        match self {
            Self::Embedded(log) => Ok(log.fleet()?.bury(gateway, Some(beats))),
            Self::Redis(bus) => bus.bury(gateway, beats).await,
        }
    }

    /// Takes a gateway out of the living that ends in good order.
    ///
    /// # Errors
    /// [`BusError::Storage`] when it cannot be written.
    pub async fn leave(&self, gateway: GatewayId) -> Result<(), BusError> {
        match self {
            Self::Embedded(log) => {
                log.fleet()?.bury(gateway, None);
                Ok(())
            }
            Self::Redis(bus) => bus.leave(gateway).await,
        }
    }

    /// Notes that a session is a gateway's, before it pulls. False if the gateway does not live any more.
    ///
    /// # Errors
    /// [`BusError::Storage`] when it cannot be written.
    pub async fn hold_session(
        &self,
        gateway: GatewayId,
        tenant: &TenantKey,
        session: SessionId,
    ) -> Result<bool, BusError> {
        match self {
            Self::Embedded(log) => Ok(log.fleet()?.hold_session(gateway, tenant, session)),
            Self::Redis(bus) => bus.hold_session(gateway, tenant, session).await,
        }
    }

    /// Forgets a session, once all that it held was returned.
    ///
    /// # Errors
    /// [`BusError::Storage`] when it cannot be written.
    pub async fn drop_session(&self, gateway: GatewayId, session: SessionId) -> Result<(), BusError> {
        match self {
            Self::Embedded(log) => {
                log.fleet()?.drop_session(gateway, session);
                Ok(())
            }
            Self::Redis(bus) => bus.drop_session(gateway, session).await,
        }
    }

    /// Sessions of a gateway; about `limit` of them at most.
    ///
    /// # Errors
    /// [`BusError::Storage`] when they cannot be read.
    pub async fn sessions_of(
        &self,
        gateway: GatewayId,
        limit: usize,
    ) -> Result<Vec<(SessionId, TenantKey)>, BusError> {
        match self {
            Self::Embedded(log) => Ok(log.fleet()?.sessions_of(gateway, limit)),
            Self::Redis(bus) => bus.sessions_of(gateway, limit).await,
        }
    }

    /// Ends a session of a buried gateway: what it holds returns, and what it should still pull takes nothing. Says how many
    /// copies returned.
    ///
    /// # Errors
    /// [`BusError::Storage`] when it cannot be written.
    pub async fn bury_session(&self, tenant: &TenantKey, session: SessionId) -> Result<usize, BusError> {
        match self {
            // All gateways are of this process, where one ends before its sessions are taken from it.
            Self::Embedded(log) => log.end_session(tenant, session, Vec::new()).await,
            Self::Redis(bus) => bus.bury_session(tenant, session).await,
        }
    }

    /// Forgets a buried gateway that has no session any more. Says whether it had none.
    ///
    /// # Errors
    /// [`BusError::Storage`] when it cannot be written.
    pub async fn forget_gateway(&self, gateway: GatewayId) -> Result<bool, BusError> {
        match self {
            Self::Embedded(log) => Ok(log.fleet()?.forget(gateway)),
            Self::Redis(bus) => bus.forget_gateway(gateway).await,
        }
    }

    /// Takes a partition if it is nobody's, or of a gateway that is not among these: whoever routed it before is fenced then.
    /// Whoever has it already keeps its epoch.
    ///
    /// # Errors
    /// [`BusError::Storage`] when the epoch cannot be written.
    pub async fn claim(
        &self,
        tenant: &TenantKey,
        partition: u16,
        gateway: GatewayId,
        living: &[GatewayId],
    ) -> Result<Claim, BusError> {
        match self {
            Self::Embedded(log) => log.claim(tenant, partition, gateway, living).await,
            Self::Redis(bus) => bus.claim(tenant, partition, gateway, living).await,
        }
    }

    /// Gives a partition up, if it is the gateway's: it is nobody's then.
    ///
    /// # Errors
    /// [`BusError::Storage`] when it cannot be written.
    pub async fn yield_partition(
        &self,
        tenant: &TenantKey,
        partition: u16,
        gateway: GatewayId,
    ) -> Result<(), BusError> {
        match self {
            Self::Embedded(log) => log.yield_partition(tenant, partition, gateway).await,
            Self::Redis(bus) => bus.yield_partition(tenant, partition, gateway).await,
        }
    }
}
