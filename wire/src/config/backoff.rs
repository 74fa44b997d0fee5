//! How long a connection waits before it is tried again: full jitter under a bound that doubles.

use std::time::Duration;

/// The first bound, and the last.
const BOUNDS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(15));

/// After so long a connection begins with the first bound again.
pub(super) const PEACE: Duration = Duration::from_secs(30);

/// The waits of one address.
#[derive(Debug)]
pub(super) struct Backoff {
    bound: Duration,
}

impl Backoff {
    /// No failure yet.
    pub(super) const fn new() -> Self {
        Self { bound: BOUNDS.0 }
    }

    /// The next wait, after a connection that lived so long. `share` is random, from 0 to 1.
    pub(super) fn next(&mut self, lived: Duration, share: f64) -> Duration {
        if lived >= PEACE {
            self.bound = BOUNDS.0;
        }
        let wait = self.bound.mul_f64(share.clamp(0.0, 1.0));
        self.bound = (self.bound * 2).min(BOUNDS.1);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_bound_and_begin_again_after_peace() {
        let mut backoff = Backoff::new();
        let mut wait = |lived, share| backoff.next(Duration::from_secs(lived), share).as_millis();
        assert_eq!([wait(0, 1.0), wait(29, 1.0), wait(0, 0.5), wait(0, 0.0)], [50, 100, 100, 0]);
        assert_eq!((0..10).map(|_| wait(0, 1.0)).max(), Some(15_000));
        assert_eq!([wait(30, 1.0), wait(0, 1.0)], [50, 100]);
    }
}
