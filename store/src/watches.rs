//! Who waits for what, in one process. A watch exists while somebody listens.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nexus_core::id::{InboxId, TenantKey};
use tokio::sync::watch;

use crate::bus::InboxWatch;
use crate::bus::bell::Bell;

/// Below so many watches nobody looks for deserted ones.
const FEW: usize = 64;

/// The watches of one bus.
#[derive(Debug, Default)]
pub(crate) struct Watches(Mutex<Topics>);

#[derive(Debug, Default)]
struct Topics {
    of: HashMap<TenantKey, Tenant>,
    count: usize,
    prune_at: usize,
    /// Nothing will be told any more.
    closed: bool,
}

/// What of a tenant is listened to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Topic {
    /// The unrouted events of a partition.
    Unrouted(u16),
    /// What waits in an inbox.
    Inbox(InboxId),
}

/// The watches of a tenant.
#[derive(Debug, Default)]
struct Tenant {
    unrouted: BTreeMap<u16, watch::Sender<u64>>,
    inboxes: BTreeMap<InboxId, Arc<Bell>>,
}

impl Tenant {
    fn len(&self) -> usize {
        self.unrouted.len() + self.inboxes.len()
    }

    fn is_listened_to(&self) -> bool {
        self.unrouted.values().any(|watch| watch.receiver_count() > 0) || self.inboxes.values().any(is_heard)
    }

    fn tell(&self) {
        self.unrouted.values().for_each(tell);
        self.inboxes.values().for_each(|bell| bell.ring());
    }

    fn prune(&mut self) {
        self.unrouted.retain(|_, watch| watch.receiver_count() > 0);
        self.inboxes.retain(|_, bell| is_heard(bell));
    }
}

/// Whether anybody has it but the list.
fn is_heard(bell: &Arc<Bell>) -> bool {
    Arc::strong_count(bell) > 1
}

fn tell(watch: &watch::Sender<u64>) {
    watch.send_modify(|count| *count = count.wrapping_add(1));
}

impl Watches {
    fn lock(&self) -> MutexGuard<'_, Topics> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Listens to what waits to be routed in a partition.
    pub(crate) fn unrouted(&self, tenant: &TenantKey, partition: u16) -> watch::Receiver<u64> {
        let mut topics = self.lock();
        if topics.closed {
            return watch::Sender::new(0).subscribe();
        }
        topics.tenant(tenant).unrouted.entry(partition).or_insert_with(|| watch::Sender::new(0)).subscribe()
    }

    /// Listens to an inbox.
    pub(crate) fn inbox(&self, tenant: &TenantKey, inbox: InboxId) -> InboxWatch {
        let mut topics = self.lock();
        if topics.closed {
            let bell = Arc::<Bell>::default();
            bell.end();
            return bell.listen();
        }
        topics.tenant(tenant).inboxes.entry(inbox).or_default().listen()
    }

    /// Tells who routes the partition, or one who waits for the inbox, that there may be something.
    pub(crate) fn bump(&self, tenant: &TenantKey, topic: Topic) {
        let topics = self.lock();
        let Some(watches) = topics.of.get(tenant) else {
            return;
        };
        match topic {
            Topic::Unrouted(partition) => watches.unrouted.get(&partition).into_iter().for_each(tell),
            Topic::Inbox(inbox) => watches.inboxes.get(&inbox).into_iter().for_each(|bell| bell.ring()),
        }
    }

    /// Ends all watches, those to come too: waiting for a change is an error then.
    pub(crate) fn close(&self) {
        let mut topics = self.lock();
        topics.closed = true;
        for watches in std::mem::take(&mut topics.of).into_values() {
            watches.inboxes.values().for_each(|bell| bell.end());
        }
    }

    /// Tells of every topic of a tenant what [`Watches::bump`] tells of one.
    pub(crate) fn bump_tenant(&self, tenant: &TenantKey) {
        self.lock().of.get(tenant).into_iter().for_each(Tenant::tell);
    }

    /// The tenants of which somebody listens to something.
    pub(crate) fn tenants(&self) -> Vec<TenantKey> {
        let topics = self.lock();
        let listened = topics.of.iter().filter(|(_, watches)| watches.is_listened_to());
        listened.map(|(key, _)| key.clone()).collect()
    }

    /// Some inboxes of a tenant that are listened to, in order, after one or from the first on.
    pub(crate) fn inboxes(&self, tenant: &TenantKey, after: Option<InboxId>, most: usize) -> Vec<InboxId> {
        let topics = self.lock();
        let Some(watches) = topics.of.get(tenant) else {
            return Vec::new();
        };
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let inboxes = watches.inboxes.range((from, Bound::Unbounded)).filter(|(_, bell)| is_heard(bell));
        inboxes.map(|(inbox, _)| *inbox).take(most).collect()
    }

    /// Tells of every topic what [`Watches::bump`] tells of one.
    pub(crate) fn bump_all(&self) {
        self.lock().of.values().for_each(Tenant::tell);
    }
}

impl Topics {
    /// The watches of a tenant, to which one is added. Deserted ones are dropped when as many were asked for as there
    /// were, so that the cost is spread.
    fn tenant(&mut self, tenant: &TenantKey) -> &mut Tenant {
        if self.count >= self.prune_at.max(FEW) {
            self.of.retain(|_, watches| {
                watches.prune();
                watches.len() > 0
            });
            self.count = self.of.values().map(Tenant::len).sum();
            self.prune_at = self.count * 2;
        }
        self.count += 1;
        self.of.entry(tenant.clone()).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inboxes_are_listed_in_turn() {
        let watches = Watches::default();
        let tenant: TenantKey = "acme/acme".parse().unwrap();
        let inbox = |n: u128| InboxId::from_bytes(n.to_be_bytes());
        let partition = watches.unrouted(&tenant, 3);
        let listening: Vec<_> = (0..5).map(|n| watches.inbox(&tenant, inbox(n))).collect();
        drop(watches.inbox(&tenant, inbox(9)));
        assert_eq!(watches.inboxes(&tenant, None, 3), [0, 1, 2].map(inbox));
        assert_eq!(watches.inboxes(&tenant, Some(inbox(2)), 3), [3, 4].map(inbox));
        assert!(watches.inboxes(&tenant, Some(inbox(4)), 3).is_empty());
        drop((partition, listening));
        assert!(watches.inboxes(&tenant, None, 3).is_empty());
    }

    #[test]
    fn deserted_watches_are_dropped() {
        let watches = Watches::default();
        let tenant: TenantKey = "acme/acme".parse().unwrap();
        let inbox = |n: u128| InboxId::from_bytes(n.to_be_bytes());
        let mut kept = watches.inbox(&tenant, inbox(0));
        for n in 1..100_000 {
            drop(watches.inbox(&tenant, inbox(n)));
        }
        assert!(watches.lock().of[&tenant].len() <= 2 * FEW);
        watches.bump(&tenant, Topic::Inbox(inbox(0)));
        assert!(kept.has_changed().unwrap());
        kept.mark_unchanged();
        watches.bump(&tenant, Topic::Inbox(inbox(1)));
        watches.bump(&tenant, Topic::Unrouted(0));
        assert!(!kept.has_changed().unwrap());
    }
}
