//! What a batch did, for the metrics and the log; told when it is written, so that nothing counts that a failed write
//! undid.

use metrics::counter;
use nexus_core::id::{EventId, InboxId};

/// How many parked copies of a batch are named in the log.
const PARKED_NAMED: usize = 16;

/// Counts of one batch.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) stored: u64,
    pub(super) duplicates: u64,
    pub(super) routed: u64,
    pub(super) coalesced: u64,
    pub(super) handed: u64,
    pub(super) acked: u64,
    pub(super) nacked: u64,
    parked: u64,
    /// The first of them, each with its attempts.
    parked_first: Vec<(EventId, InboxId, u32)>,
    pub(super) dropped: u64,
    pub(super) swept: u64,
}

impl Tally {
    /// A copy was parked. Why is the agent's own text, which is for the list of dead letters and no log.
    pub(super) fn park(&mut self, event: EventId, inbox: InboxId, attempts: u32) {
        self.parked += 1;
        if self.parked_first.len() < PARKED_NAMED {
            self.parked_first.push((event, inbox, attempts));
        }
    }

    pub(super) fn tell(&self) {
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
