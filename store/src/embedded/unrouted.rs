//! Which events of a partition wait to be routed, in memory as far as they came since the log was opened and there
//! is room to note them. What came before is found by reading.

use std::collections::BTreeMap;

use nexus_core::id::EventId;

use crate::bus::Seq;

/// The most events of a partition that are noted. A router that is further behind reads.
const MOST: usize = 4096;

/// The unrouted events of a partition: all of those from a place on.
#[derive(Debug, Default)]
pub(super) struct UnroutedNotes {
    /// Every event from here on that waits is noted.
    from: Seq,
    events: BTreeMap<Seq, EventId>,
}

impl UnroutedNotes {
    /// The log was opened: events up to here are not noted.
    pub(super) fn begin(&mut self, last: Seq) {
        self.from = last.saturating_add(1);
        self.events.clear();
    }

    /// An event came, behind all others.
    pub(super) fn came(&mut self, seq: Seq, id: EventId) {
        if self.events.len() < MOST {
            self.events.insert(seq, id);
        } else {
            self.begin(seq);
        }
    }

    /// An event was routed.
    pub(super) fn routed(&mut self, seq: Seq) {
        self.events.remove(&seq);
    }

    /// Whether an event is known to wait.
    pub(super) fn waits(&self, seq: Seq) -> bool {
        self.events.contains_key(&seq)
    }

    /// The events from a place on, in order; nothing if they are not all noted.
    pub(super) fn list(&self, from: Seq, limit: usize) -> Option<Vec<(Seq, EventId)>> {
        let known = from >= self.from;
        known.then(|| self.events.range(from..).take(limit).map(|(seq, id)| (*seq, *id)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(seq: Seq) -> EventId {
        EventId::from_bytes(u128::from(seq).to_be_bytes())
    }

    #[test]
    fn what_was_there_before_is_to_be_read() {
        let mut notes = UnroutedNotes::default();
        notes.begin(10);
        notes.came(12, id(12));
        notes.came(15, id(15));
        assert_eq!(notes.list(10, 9), None);
        assert_eq!(notes.list(11, 9), Some(vec![(12, id(12)), (15, id(15))]));
        assert_eq!(notes.list(11, 1), Some(vec![(12, id(12))]));
        notes.routed(12);
        assert!(!notes.waits(12) && notes.waits(15));
        assert_eq!(notes.list(16, 9), Some(Vec::new()));
    }

    #[test]
    fn a_router_that_is_far_behind_reads() {
        let mut notes = UnroutedNotes::default();
        for seq in 1..=MOST as Seq + 1 {
            notes.came(seq, id(seq));
        }
        assert_eq!(notes.list(1, 1), None);
        // The last one found no room, so it has to be read as well.
        assert_eq!(notes.list(MOST as Seq + 1, 1), None);
        notes.came(MOST as Seq + 2, id(1));
        assert_eq!(notes.list(MOST as Seq + 2, 9), Some(vec![(MOST as Seq + 2, id(1))]));
    }
}
