//! Whether the bus does what it is asked: told when it begins to fail, each minute while it does, and when it is over.
//!
//! Thousands of sessions and partitions meet the same outage. The metrics count each failure, and debug lines tell it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nexus_core::id::TenantKey;
use nexus_store::bus::BusError;
use tokio::time::Instant;

use crate::chain;

/// While it lasts it is told this often.
const EVERY: Duration = Duration::from_secs(60);

/// It is over once something succeeds after so long without a failure: a tenant alone may be broken.
const QUIET: Duration = Duration::from_secs(10);

/// What is known of the bus. Cheap to clone; all clones know the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outage(Arc<Known>);

#[derive(Debug, Default)]
struct Known {
    /// Whether there is a [`Failing`], for those who succeed, which is nearly always.
    failing: AtomicBool,
    since: Mutex<Option<Failing>>,
}

#[derive(Debug)]
struct Failing {
    last: Instant,
    told: Instant,
    /// Failures that were not told one by one.
    untold: u64,
}

impl Outage {
    /// The bus did not do it; it is tried again.
    pub(crate) fn fails(&self, doing: &'static str, tenant: &TenantKey, error: &BusError) {
        tracing::debug!(%tenant, doing, error = chain(error), "the bus failed");
        if let Some(untold) = self.failed(Instant::now()) {
            tracing::warn!(%tenant, doing, error = chain(error), untold, "the bus fails; trying again");
        }
    }

    /// The bus did something.
    pub(crate) fn succeeds(&self) {
        if self.0.failing.load(Ordering::Relaxed) && self.is_over(Instant::now()) {
            tracing::info!("the bus does what it is asked again");
        }
    }

    /// Gives how many failures were not told, if this one is to be.
    fn failed(&self, now: Instant) -> Option<u64> {
        let mut since = self.since();
        self.0.failing.store(true, Ordering::Relaxed);
        let Some(failing) = since.as_mut() else {
            *since = Some(Failing { last: now, told: now, untold: 0 });
            return Some(0);
        };
        failing.last = now;
        if now.duration_since(failing.told) < EVERY {
            failing.untold += 1;
            return None;
        }
        failing.told = now;
        Some(std::mem::take(&mut failing.untold))
    }

    /// Whether it is over, for the first who asks.
    fn is_over(&self, now: Instant) -> bool {
        let mut since = self.since();
        let over = since.take_if(|failing| now.duration_since(failing.last) >= QUIET).is_some();
        if over {
            self.0.failing.store(false, Ordering::Relaxed);
        }
        over
    }

    fn since(&self) -> MutexGuard<'_, Option<Failing>> {
        self.0.since.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn ten_thousand_who_fail_are_a_line_a_minute_and_one_when_it_is_over() {
        let (outage, start) = (Outage::default(), Instant::now());
        let told = |seconds: u64| {
            let at = start + Duration::from_secs(seconds);
            (0..10_000).filter_map(|_| outage.failed(at)).collect::<Vec<_>>()
        };
        assert_eq!(told(0), [0]);
        assert!(told(5).is_empty());
        // Another tenant succeeds, or the same one between two failures.
        assert!(!outage.is_over(start + Duration::from_secs(6)));
        assert!(told(59).is_empty());
        assert_eq!(told(60), [29_999]);
        let after = start + Duration::from_secs(60) + QUIET;
        let over: Vec<_> = (0..10_000).filter(|_| outage.is_over(after)).collect();
        assert_eq!(over, [0]);
        assert_eq!(told(90), [0]);
    }
}
