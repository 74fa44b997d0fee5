//! Who waits for what, in one process. A watch exists while somebody listens.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use nexus_core::id::{InboxId, TenantKey};
use tokio::sync::watch;

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
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Topic {
    /// The unrouted events of a partition.
    Unrouted(u16),
    /// What waits in an inbox.
    Inbox(InboxId),
}

type Tenant = BTreeMap<Topic, watch::Sender<u64>>;

impl Watches {
    fn lock(&self) -> MutexGuard<'_, Topics> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Listens to a topic.
    pub(crate) fn subscribe(&self, tenant: &TenantKey, topic: Topic) -> watch::Receiver<u64> {
        let mut topics = self.lock();
        if topics.closed {
            return watch::Sender::new(0).subscribe();
        }
        if topics.count >= topics.prune_at.max(FEW) {
            topics.prune();
        }
        let topics = &mut *topics;
        let watches = topics.of.entry(tenant.clone()).or_default();
        watches
            .entry(topic)
            .or_insert_with(|| {
                topics.count += 1;
                watch::Sender::new(0)
            })
            .subscribe()
    }

    /// Tells those who listen that there may be something.
    pub(crate) fn bump(&self, tenant: &TenantKey, topic: Topic) {
        let topics = self.lock();
        if let Some(watch) = topics.of.get(tenant).and_then(|watches| watches.get(&topic)) {
            watch.send_modify(|count| *count = count.wrapping_add(1));
        }
    }

    /// Ends all watches, those to come too: waiting for a change is an error then.
    pub(crate) fn close(&self) {
        let mut topics = self.lock();
        topics.closed = true;
        topics.of.clear();
    }

    /// Tells all who listen to something of a tenant.
    pub(crate) fn bump_tenant(&self, tenant: &TenantKey) {
        for watch in self.lock().of.get(tenant).into_iter().flat_map(BTreeMap::values) {
            watch.send_modify(|count| *count = count.wrapping_add(1));
        }
    }

    /// The tenants of which somebody listens to something.
    pub(crate) fn tenants(&self) -> Vec<TenantKey> {
        let listened = |watches: &Tenant| watches.values().any(|watch| watch.receiver_count() > 0);
        let topics = self.lock();
        topics.of.iter().filter(|(_, watches)| listened(watches)).map(|(key, _)| key.clone()).collect()
    }

    /// Some inboxes of a tenant that are listened to, in order, after one or from the first on.
    pub(crate) fn inboxes(&self, tenant: &TenantKey, after: Option<InboxId>, most: usize) -> Vec<InboxId> {
        let topics = self.lock();
        let Some(watches) = topics.of.get(tenant) else {
            return Vec::new();
        };
        let from = after.map_or(Bound::Unbounded, |after| Bound::Excluded(Topic::Inbox(after)));
        let inboxes = watches.range((from, Bound::Unbounded)).filter_map(|(topic, watch)| match topic {
            Topic::Inbox(inbox) if watch.receiver_count() > 0 => Some(*inbox),
            _ => None,
        });
        inboxes.take(most).collect()
    }

    /// Tells all who listen.
    pub(crate) fn bump_all(&self) {
        for watch in self.lock().of.values().flat_map(BTreeMap::values) {
            watch.send_modify(|count| *count = count.wrapping_add(1));
        }
    }
}

impl Topics {
    /// Drops deserted watches. Called when their number has doubled, so that its cost is spread.
    fn prune(&mut self) {
        self.of.retain(|_, watches| {
            watches.retain(|_, watch| watch.receiver_count() > 0);
            !watches.is_empty()
        });
        self.count = self.of.values().map(BTreeMap::len).sum();
        self.prune_at = self.count * 2;
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
        let partition = watches.subscribe(&tenant, Topic::Unrouted(3));
        let listening: Vec<_> = (0..5).map(|n| watches.subscribe(&tenant, Topic::Inbox(inbox(n)))).collect();
        drop(watches.subscribe(&tenant, Topic::Inbox(inbox(9))));
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
        let mut kept = watches.subscribe(&tenant, Topic::Inbox(inbox(0)));
        for n in 1..100_000 {
            drop(watches.subscribe(&tenant, Topic::Inbox(inbox(n))));
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
