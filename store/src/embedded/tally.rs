//! What a batch did, for the metrics and the log; told when it is written, so that nothing counts that a failed write
//! undid.

use metrics::counter;
use nexus_core::id::{EventId, InboxId};

/// How many parked copies of a batch are named in the log.
const PARKED_NAMED: usize = 16;

/// Counts of one batch.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) stored: u64,
    pub(crate) duplicates: u64,
    pub(crate) routed: u64,
    pub(crate) coalesced: u64,
    pub(crate) handed: u64,
    pub(crate) acked: u64,
    pub(crate) nacked: u64,
    pub(crate) parked: u64,
    /// The first of them, each with its attempts.
    pub(crate) parked_first: Vec<(EventId, InboxId, u32)>,
    pub(crate) dropped: u64,
    pub(crate) swept: u64,
}

impl Tally {
    /// A copy was parked. Why is the agent's own text, which is for the list of dead letters and no log.
    pub(crate) fn park(&mut self, event: EventId, inbox: InboxId, attempts: u32) {
        self.parked += 1;
        if self.parked_first.len() < PARKED_NAMED {
            self.parked_first.push((event, inbox, attempts));
        }
    }

    pub(crate) fn tell(&self) {
        if self.stored > 0 {
            counter!("nexus_bus_appended_total", "outcome" => "stored").increment(self.stored);
        }
        if self.duplicates > 0 {
            counter!("nexus_bus_appended_total", "outcome" => "duplicate").increment(self.duplicates);
        }
        let counts = [
            ("nexus_bus_routed_total", self.routed),
            ("nexus_bus_coalesced_total", self.coalesced),
            ("nexus_bus_handed_total", self.handed),
            ("nexus_bus_acked_total", self.acked),
            ("nexus_bus_nacked_total", self.nacked),
            ("nexus_bus_dead_total", self.parked),
            ("nexus_bus_dropped_total", self.dropped),
            ("nexus_bus_swept_total", self.swept),
        ];
        for (name, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
            counter!(name).increment(count);
        }
        self.tell_parked();
    }

    fn tell_parked(&self) {
        for (event, inbox, attempts) in &self.parked_first {
            tracing::warn!(%event, %inbox, attempts, "an event was parked as a dead letter");
        }
        let others = self.parked - self.parked_first.len() as u64;
        if others > 0 {
            tracing::warn!(others, "more events were parked as dead letters; `nexus dlq ls` lists them");
        }
    }
}
