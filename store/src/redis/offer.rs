//! Offers of sessions, which routes of this process take along: a pull that waits in memory until something comes.

use std::collections::HashSet;
use std::sync::Arc;

use nexus_core::id::{InboxId, SessionId, TenantKey};

use super::core::Core;
use super::steps::{Handed, Offered};
use crate::bus::Route;
use crate::bus::offers::{Most, Offerer};

/// Offers that one script hands out to at most: Redis does nothing else meanwhile.
pub(super) const MOST_TAKEN: usize = 64;

/// The offer of a session.
#[derive(Debug)]
pub(crate) struct RedisOffer {
    core: Arc<Core>,
    offerer: Offerer<Handed>,
}

impl RedisOffer {
    pub(super) fn new(core: &Arc<Core>, tenant: &TenantKey, session: SessionId) -> Self {
        Self { core: Arc::clone(core), offerer: Offerer::new(&core.offers, tenant, session) }
    }

    pub(crate) fn make(&mut self, inboxes: impl IntoIterator<Item = InboxId>, max: usize, max_bytes: usize) {
        self.offerer.offer(inboxes, Most { events: max, bytes: max_bytes });
    }

    pub(crate) fn withdraw(&mut self) -> bool {
        self.offerer.withdraw()
    }

    pub(crate) async fn taken(&mut self) -> Option<(InboxId, Handed)> {
        self.offerer.answered().await
    }

    pub(crate) fn give_up(&mut self) {
        if let Some(number) = self.offerer.give_up() {
            self.core.unclaimed(self.offerer.tenant(), self.offerer.session(), number);
        }
    }
}

/// Also of one that was taken the number is revoked, before the session can be ended.
impl Drop for RedisOffer {
    fn drop(&mut self) {
        self.give_up();
    }
}

/// Takes the first offer of each inbox that something is put into. A session of which something is still to go back keeps
/// its offer: that comes first.
pub(super) fn claim(core: &Core, tenant: &TenantKey, routes: &[Route]) -> Vec<Offered> {
    let mut seen = HashSet::new();
    let inboxes = routes.iter().flat_map(|route| route.inboxes.iter().copied());
    let number = |session| core.unclaimed_of(tenant, session).is_empty().then(|| core.next_pull());
    core.offers.claim(tenant, inboxes.filter(|inbox| seen.insert(*inbox)), MOST_TAKEN, number)
}
