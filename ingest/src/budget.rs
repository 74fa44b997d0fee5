//! The budget for bodies in flight: bytes are counted as they arrive, so that a sender who only announces
//! much takes nothing away, and given back when the delivery was answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The budget is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("all memory for bodies in flight is in use")]
pub struct Exhausted;

/// A bound on the bytes of all bodies in flight. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Budget {
    limit: usize,
    used: Arc<AtomicUsize>,
}

impl Budget {
    /// A budget of so many bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { limit, used: Arc::new(AtomicUsize::new(0)) }
    }

    /// Bytes that are in use.
    #[must_use]
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// A share that holds nothing yet.
    #[must_use]
    pub fn share(&self) -> Share {
        Share { budget: self.clone(), held: 0 }
    }
}

/// What one delivery holds of the budget; given back when it is dropped.
#[derive(Debug)]
pub struct Share {
    budget: Budget,
    held: usize,
}

impl Share {
    /// Takes so many bytes more.
    ///
    /// # Errors
    /// When the budget has not that many left; the share keeps what it held.
    pub fn grow(&mut self, bytes: usize) -> Result<(), Exhausted> {
        let limit = self.budget.limit;
        let fits = |used: usize| used.checked_add(bytes).filter(|sum| *sum <= limit);
        self.budget.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).map_err(|_| Exhausted)?;
        self.held += bytes;
        in_flight().increment(bytes as f64);
        Ok(())
    }
}

fn in_flight() -> metrics::Gauge {
    metrics::gauge!("nexus_ingest_bodies_in_flight_bytes")
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.held, Ordering::Relaxed);
        in_flight().decrement(self.held as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_given_back() {
        let budget = Budget::new(10);
        let mut one = budget.share();
        let mut two = budget.share();
        assert_eq!(one.grow(6), Ok(()));
        assert_eq!(two.grow(5), Err(Exhausted));
        assert_eq!(two.grow(4), Ok(()));
        assert_eq!(budget.used(), 10);
        drop(one);
        assert_eq!(two.grow(usize::MAX), Err(Exhausted));
        assert_eq!(two.grow(6), Ok(()));
        drop(two);
        assert_eq!(budget.used(), 0);
    }
}
