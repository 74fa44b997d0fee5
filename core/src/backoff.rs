//! Pauses between attempts: a random share of a bound that doubles, so that those who failed together do not return together.

use std::time::Duration;

/// The pauses of one thing that is attempted again and again.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    failures: u32,
}

impl Backoff {
    /// No failure yet. The first pause is bounded by `first`, each further one by twice as much, and none by more than `longest`.
    #[must_use]
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, failures: 0 }
    }

    /// How long to pause after another failure: this share of the bound, from 0 to 1. With a random one from 0 on the jitter
    /// is full.
    pub fn next(&mut self, share: f64) -> Duration {
        let bound = self.first.saturating_mul(1 << self.failures.min(20)).min(self.longest);
        self.failures = self.failures.saturating_add(1);
        bound.mul_f64(share.clamp(0.0, 1.0))
    }

    /// An attempt succeeded: the next failure is the first again. Says whether there was any.
    pub fn reset(&mut self) -> bool {
        std::mem::take(&mut self.failures) > 0
    }

    /// Whether nothing has failed since it began.
    #[must_use]
    pub const fn is_first(&self) -> bool {
        self.failures == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_double_up_to_the_longest_and_begin_again() {
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(2));
        let next = |backoff: &mut Backoff, share| backoff.next(share).as_millis();
        assert!(backoff.is_first());
        let pauses = [1.0, 1.0, 0.5, 0.0, 1.0, 1.0, 1.0, 7.0].map(|share| next(&mut backoff, share));
        assert_eq!(pauses, [50, 100, 100, 0, 800, 1600, 2000, 2000]);
        (0..100).for_each(|_| assert_eq!(next(&mut backoff, 1.0), 2000));
        assert!(backoff.reset() && !backoff.reset() && backoff.is_first());
        assert_eq!(next(&mut backoff, 1.0), 50);
    }
}
