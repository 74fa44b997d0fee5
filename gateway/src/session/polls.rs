//! When a session asks its inboxes although nothing woke it.
//!
//! The bus wakes sessions and looks once a second whether a wake-up was lost, so asking is a last resort: each session asks
//! seldom, or thousands at rest would keep the bus busy with nothing. What failed has nobody who wakes it, and is asked
//! again soon.

use std::time::Duration;

use tokio::time::Instant;

/// At rest a session asks after so long at most, and after half of it at least: those that came together part.
const SELDOM: Duration = Duration::from_secs(60);

/// What failed is tried again after so long.
const AGAIN: Duration = Duration::from_secs(5);

/// When to ask next.
#[derive(Debug)]
pub(crate) struct Polls {
    at: Instant,
}

impl Polls {
    /// Nothing failed yet.
    pub(crate) fn new(now: Instant) -> Self {
        Self { at: now + SELDOM.mul_f64(rand::random_range(0.5..=1.0)) }
    }

    /// When to ask.
    pub(crate) const fn at(&self) -> Instant {
        self.at
    }

    /// An attempt failed, or could not be made.
    pub(crate) fn failed(&mut self, now: Instant) {
        self.at = self.at.min(now + AGAIN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_at_rest_ask_seldom_and_not_together() {
        let now = Instant::now();
        let polls: Vec<_> = (0..1000).map(|_| Polls::new(now).at() - now).collect();
        assert!(polls.iter().all(|after| (SELDOM / 2..=SELDOM).contains(after)));
        let early = polls.iter().filter(|after| **after < SELDOM.mul_f64(0.75)).count();
        assert!((300..700).contains(&early), "{early} of 1000 in the first half");
    }

    #[test]
    fn what_failed_is_tried_again_soon_and_no_later_for_failing_more() {
        let now = Instant::now();
        let mut polls = Polls::new(now);
        polls.failed(now);
        assert_eq!(polls.at(), now + AGAIN);
        polls.failed(now + Duration::from_secs(3));
        assert_eq!(polls.at(), now + AGAIN);
    }
}
