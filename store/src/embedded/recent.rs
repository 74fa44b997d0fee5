//! What was appended a moment ago, in memory, so that whoever routes or hands it out need not read it back. Bounded
//! by bytes, the oldest goes first; whatever is not here is in the engine.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::keys::TenantNo;
use super::records::Head;
use crate::bus::Seq;

/// The most bytes of events that are kept.
const MOST: usize = 16 << 20;

/// What is counted for an event beside its JSON: its head, and its place in the maps.
const BESIDE: usize = 512;

/// An event as it was appended.
#[derive(Debug, Clone)]
pub(super) struct Appended {
    pub(super) head: Arc<Head>,
    /// The StandardEvent as JSON.
    pub(super) json: Bytes,
}

impl Appended {
    fn bytes(&self) -> usize {
        self.json.len() + BESIDE
    }
}

/// The latest events of all tenants.
#[derive(Debug, Default)]
pub(super) struct Recent(Mutex<Events>);

#[derive(Debug, Default)]
struct Events {
    by_place: HashMap<(TenantNo, Seq), Appended>,
    /// The oldest first.
    order: VecDeque<(TenantNo, Seq)>,
    bytes: usize,
}

impl Recent {
    fn lock(&self) -> MutexGuard<'_, Events> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps an event that is committed.
    pub(super) fn keep(&self, tenant: TenantNo, seq: Seq, event: Appended) {
        let mut events = self.lock();
        events.bytes += event.bytes();
        if let Some(before) = events.by_place.insert((tenant, seq), event) {
            events.bytes -= before.bytes();
        } else {
            events.order.push_back((tenant, seq));
        }
        while events.bytes > MOST
            && let Some(oldest) = events.order.pop_front()
        {
            if let Some(event) = events.by_place.remove(&oldest) {
                events.bytes -= event.bytes();
            }
        }
    }

    pub(super) fn get(&self, tenant: TenantNo, seq: Seq) -> Option<Appended> {
        self.lock().by_place.get(&(tenant, seq)).cloned()
    }

    /// The log was opened anew: places that were never committed may be given once more.
    pub(super) fn clear(&self) {
        *self.lock() = Events::default();
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use nexus_core::change::ChangeKey;
    use nexus_core::id::EventId;
    use nexus_core::kind::{Kind, Rank};

    use super::*;
    use crate::bus::Thread;

    impl Recent {
        fn figures(&self) -> (usize, usize) {
            let events = self.lock();
            (events.bytes, events.order.len())
        }
    }

    fn event(bytes: usize) -> Appended {
        let head = Head {
            id: EventId::from_bytes([1; 16]),
            thread: Thread(0),
            kind: Kind::NewWorkItem,
            source: "github".into(),
            title: None,
            received: Timestamp::UNIX_EPOCH,
            change: ChangeKey { keys: Vec::new(), covers: Vec::new(), rank: Rank::Birth },
            len: 0,
            bytes: 0,
        };
        Appended { head: Arc::new(head), json: vec![7; bytes].into() }
    }

    #[test]
    fn the_oldest_make_room() {
        let recent = Recent::default();
        for seq in 0..20 {
            recent.keep(1, seq, event(1 << 20));
        }
        assert!(recent.get(1, 0).is_none() && recent.get(1, 4).is_none());
        assert_eq!(recent.get(1, 19).unwrap().json.len(), 1 << 20);
        assert!(recent.figures().0 <= MOST);
        // One that is larger than all room is not kept.
        recent.keep(1, 20, event(MOST));
        assert_eq!(recent.figures(), (0, 0));
    }

    #[test]
    fn tenants_are_apart_and_a_place_counts_once() {
        let recent = Recent::default();
        recent.keep(1, 5, event(10));
        recent.keep(1, 5, event(20));
        assert!(recent.get(2, 5).is_none());
        assert_eq!(recent.get(1, 5).unwrap().json.len(), 20);
        assert_eq!(recent.figures(), (20 + BESIDE, 1));
        recent.clear();
        assert!(recent.get(1, 5).is_none());
    }
}
