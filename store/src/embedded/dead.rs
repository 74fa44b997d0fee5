//! The inboxes that have dead letters, read past the writer.

use nexus_core::id::{InboxId, TenantKey};

use super::shared::TenantFile;
use super::store::{Space, Store};
use super::{EmbeddedLog, keys};
use crate::bus::{BusError, Seq};

impl EmbeddedLog {
    pub(crate) async fn dead_inboxes(
        &self,
        tenant: &TenantKey,
        after: Option<InboxId>,
        limit: usize,
    ) -> Result<Vec<InboxId>, BusError> {
        self.read_of(tenant, move |store, file| inboxes(store, file, after, limit)).await
    }
}

/// Reads the first letter of each inbox, and none of the others.
fn inboxes(
    store: &Store,
    tenant: &TenantFile,
    after: Option<InboxId>,
    limit: usize,
) -> Result<Vec<InboxId>, BusError> {
    let mut found = Vec::new();
    let mut last = after;
    while found.len() < limit {
        // No event has the last place there can be.
        let start = match last {
            Some(last) => keys::copy(tenant.number, last, Seq::MAX),
            None => keys::copy(tenant.number, InboxId::from_bytes([0; 16]), 0),
        };
        let Some(item) = store.from(Space::Dead, &start, 4).next() else {
            break;
        };
        let (key, _) = item?;
        let Some(inbox) = keys::inbox_of(&key) else {
            break;
        };
        found.push(inbox);
        last = Some(inbox);
    }
    Ok(found)
}
