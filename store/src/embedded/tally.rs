//! What a batch did, for the metrics; told when it is written, so that nothing counts that a failed write undid.

use metrics::counter;

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
    pub(crate) dropped: u64,
    pub(crate) swept: u64,
}

impl Tally {
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
    }
}
