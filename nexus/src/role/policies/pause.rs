//! Pauses before something is tried again.

use std::time::Duration;

/// The bound of the first pause, and that of the longest: an API server that is back is asked within moments.
const BOUNDS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// Pauses with full jitter: each is anything from nothing to a bound that doubles. Pods that lose an API server in the same
/// moment do not come back in the same moment.
#[derive(Debug, Default)]
pub struct Pause(u32);

impl Pause {
    /// The next one.
    pub fn next(&mut self) -> Duration {
        let bound = BOUNDS.0.saturating_mul(1 << self.0.min(10)).min(BOUNDS.1);
        self.0 = self.0.saturating_add(1);
        bound.mul_f64(rand::random())
    }

    /// Begins again with the shortest. Says whether there was any.
    pub fn reset(&mut self) -> bool {
        std::mem::take(&mut self.0) > 0
    }

    /// Whether there was none since it began.
    pub fn is_first(&self) -> bool {
        self.0 == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_below_a_bound_that_doubles_and_ends() {
        let mut pause = Pause::default();
        for bound in [50, 100, 200, 400, 800, 1600, 2000, 2000] {
            assert!(pause.next() <= Duration::from_millis(bound));
        }
        (0..100).for_each(|_| assert!(pause.next() <= BOUNDS.1));
        assert!(pause.reset() && !pause.reset() && pause.is_first());
        assert!(pause.next() <= BOUNDS.0);
    }
}
