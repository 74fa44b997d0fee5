//! What is done by the clock: the disk is tried while it takes nothing, figures are shown, and the threads are watched.

use std::fs::{self, File};
use std::io::Write as _;
use std::thread::JoinHandle;
use std::time::Duration;

use metrics::gauge;

use super::{Spool, writer};
use crate::bus::{BusError, cannot};
use crate::lock;

/// How often.
const EVERY: Duration = Duration::from_secs(1);

/// Bytes that are written to find out whether the disk takes any.
const PROBE: usize = 64 << 10;

impl Spool {
    /// Looks after the spool and shows figures as metrics, until the spool is closed.
    ///
    /// # Errors
    /// When one of its threads has died: nothing is taken any more.
    pub async fn care(&self) -> Result<(), BusError> {
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if lock(&self.0.shared.shelf).closed {
                return Ok(());
            }
            if lock(&self.0.threads).iter().any(JoinHandle::is_finished) {
                return Err(cannot("run the spool")("a thread of it has died"));
            }
            self.show();
            self.try_room();
            let spool = self.clone();
            // It ends by panic only, which was logged.
            let _ = tokio::task::spawn_blocking(move || spool.try_disk()).await;
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

    /// While it is full nobody may come to try, either.
    fn try_room(&self) {
        let shared = &self.0.shared;
        let mut shelf = lock(&shared.shelf);
        let newest = shelf.segments.keys().next_back().copied();
        let room = shared.settings.capacity.saturating_sub(shelf.disk_bytes());
        if shelf.full && (room > shared.settings.capacity / 64 || writer::victim(&shelf, newest).is_some()) {
            shelf.full = false;
        }
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
}
