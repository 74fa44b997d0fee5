//! Where accepted events go: straight into the bus, or into the spool before it.

use nexus_core::id::TenantKey;
use nexus_store::bus::{Append, Bus, BusError};
use nexus_store::spool::{Spool, Taken};

/// Where accepted events go. Cheap to clone.
#[derive(Debug, Clone)]
pub enum Intake {
    /// The bus is in this process: it is its own spool.
    Bus(Bus),
    /// The bus is another machine, which may be away.
    Spool(Spool),
}

impl Intake {
    /// Keeps an event. Once it answers the event is durable.
    pub(crate) async fn take(&self, tenant: &TenantKey, append: Append) -> Result<Taken, BusError> {
        match self {
            Self::Bus(bus) => bus.append(tenant, append).await.map(Taken::from),
            Self::Spool(spool) => spool.append(tenant, append).await,
        }
    }
}
