//! What is done by the clock: segments that are done with are removed, and figures are shown.

use std::fs::{self, File};
use std::io::Write as _;
use std::time::{Duration, Instant};

use metrics::gauge;

use super::{Spool, cannot, lock, writer};

/// How often.
const EVERY: Duration = Duration::from_secs(1);

/// Bytes that are written to find out whether the disk takes any.
const PROBE: usize = 64 << 10;

impl Spool {
    /// Removes what has been in the bus for long enough, and shows figures as metrics. Runs until it is dropped.
    pub async fn care(&self) {
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.show();
            let spool = self.clone();
            let blocking = tokio::task::spawn_blocking(move || {
                spool.remove_old();
                spool.try_disk();
            });
            // It ends by panic only, which was logged.
            let _ = blocking.await;
        }
    }

    fn show(&self) {
        let figures = self.figures();
        gauge!("nexus_spool_waiting_events").set(figures.waiting as f64);
        gauge!("nexus_spool_waiting_bytes").set(figures.waiting_bytes as f64);
        gauge!("nexus_spool_oldest_age_seconds").set(figures.oldest.as_secs_f64());
        gauge!("nexus_spool_disk_bytes").set(figures.disk_bytes as f64);
        gauge!("nexus_spool_capacity_bytes").set(self.0.shared.settings.capacity as f64);
        gauge!("nexus_spool_unwritable").set(f64::from(u8::from(figures.unwritable)));
    }

    /// While nothing can be written nobody may come to try: whether it can again is found out here.
    fn try_disk(&self) {
        let shared = &self.0.shared;
        if !self.figures().unwritable {
            return;
        }
        let path = shared.settings.folder.join("probe");
        let written = File::create(&path).and_then(|mut file| {
            file.write_all(&[0; PROBE])?;
            file.sync_all()
        });
        // What is left of it is written over the next time.
        let _ = fs::remove_file(&path);
        if written.is_ok() {
            let mut shelf = lock(&shared.shelf);
            (shelf.unwritable, shelf.unsynced) = (false, false);
            tracing::info!("the spool can be written again");
        }
    }

    /// The newest segment stays: it is written.
    fn remove_old(&self) {
        let shared = &self.0.shared;
        let old: Vec<_> = {
            let (shelf, now) = (lock(&shared.shelf), Instant::now());
            let newest = shelf.segments.keys().next_back().copied();
            let segments = shelf.segments.iter().filter(|(number, _)| Some(**number) != newest);
            let done = segments.filter(|(_, segment)| {
                segment.waiting == 0 && now.duration_since(segment.touched) >= shared.settings.keep
            });
            done.map(|(number, _)| *number).collect()
        };
        for number in old {
            if let Err(error) =
                writer::remove(shared, number).map_err(cannot("remove a segment of the spool"))
            {
                tracing::warn!(error = &error as &dyn std::error::Error, "a segment of the spool stays");
            }
        }
    }
}
