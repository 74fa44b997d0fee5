//! The thread that syncs: what has waited for an answer for long enough is made durable here, all of it at once.

use std::time::Instant;

use metrics::{counter, histogram};

use super::Shared;
use crate::bus::{BusError, cannot};
use crate::lock;

/// Syncs until the writer has ended, and then once more.
pub(super) fn sync(shared: &Shared) {
    loop {
        let ending = wait(shared);
        sync_now(shared);
        if ending {
            return;
        }
    }
}

/// Waits until somebody has waited for long enough; true if nothing is written any more.
fn wait(shared: &Shared) -> bool {
    let mut shelf = lock(&shared.shelf);
    loop {
        if shelf.ending {
            return true;
        }
        let oldest = shelf.unanswered.first_key_value().map(|(_, waiter)| waiter.since);
        shelf = match oldest {
            None => shared.written.wait(shelf).unwrap_or_else(std::sync::PoisonError::into_inner),
            Some(since) => {
                let left = shared.settings.patience.saturating_sub(since.elapsed());
                if left.is_zero() {
                    return false;
                }
                let woken = shared.written.wait_timeout(shelf, left);
                woken.unwrap_or_else(std::sync::PoisonError::into_inner).0
            }
        };
    }
}

/// Syncs what was written since the first who waits for an answer, and answers everybody whose event is among it.
fn sync_now(shared: &Shared) {
    let (upto, files) = {
        let shelf = lock(&shared.shelf);
        let files = shelf.first_unanswered().into_iter().flat_map(|first| shelf.segments.range(first..));
        let files = files
            .filter(|(number, segment)| segment.synced < segment.bytes && !shelf.unsyncable.contains(number));
        let files: Vec<_> =
            files.map(|(number, segment)| (*number, segment.file.clone(), segment.bytes)).collect();
        (shelf.place, files)
    };
    let began = Instant::now();
    let mut outcome: Result<(), BusError> = Ok(());
    for (number, file, bytes) in files {
        let synced = file.sync_data();
        let mut shelf = lock(&shared.shelf);
        match synced {
            Ok(()) => {
                if let Some(segment) = shelf.segments.get_mut(&number) {
                    segment.synced = segment.synced.max(bytes);
                }
            }
            Err(error) => {
                // The kernel may have let go of what it could not write, and would say next time that all is well: the
                // segment is not written, nor believed, any more.
                shelf.unsyncable.insert(number);
                outcome = Err(cannot("sync the spool")(error));
            }
        }
    }
    histogram!("nexus_spool_sync_seconds").record(began.elapsed().as_secs_f64());
    if let Err(error) = &outcome {
        tracing::error!(error = error as &dyn std::error::Error, "the spool cannot be synced");
        counter!("nexus_spool_sync_failures_total").increment(1);
    }
    let answered = {
        let mut shelf = lock(&shared.shelf);
        shelf.unsynced = outcome.is_err();
        shelf.synced(upto, &outcome)
    };
    counter!("nexus_spool_answers_total", "by" => "spool").increment(answered as u64);
}
