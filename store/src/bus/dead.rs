//! Where events are parked.

use nexus_core::id::{InboxId, TenantKey};

use super::{Bus, BusError};

impl Bus {
    /// The inboxes behind `after`, in the order of their ids, in which an event is parked; at most `limit`. Whose
    /// they are, or were, the bus does not know.
    ///
    /// # Errors
    /// [`BusError::Storage`] when they cannot be read.
    pub async fn dead_inboxes(
        &self,
        tenant: &TenantKey,
        after: Option<InboxId>,
        limit: usize,
    ) -> Result<Vec<InboxId>, BusError> {
        match self {
            Self::Embedded(log) => log.dead_inboxes(tenant, after, limit).await,
            Self::Redis(bus) => bus.dead_inboxes(tenant, after, limit).await,
        }
    }
}
