//! When a session asks its inboxes although nothing woke it: only when it could not ask before.
//!
//! The bus wakes sessions, sees whether a wake-up was lost, and looks after every inbox in turn, so a session at rest costs
//! nothing. What failed has nobody who wakes it, and is asked again soon.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// What failed is tried again after so long.
const AGAIN: Duration = Duration::from_secs(5);

/// When to ask next, if at all.
#[derive(Debug, Default)]
pub(crate) struct Polls(Option<Instant>);

impl Polls {
    /// Waits until it is time to ask. Nothing is lost when the call is given up.
    pub(crate) async fn due(&mut self) {
        match self.0 {
            Some(at) => sleep_until(at).await,
            None => std::future::pending().await,
        }
        self.0 = None;
    }

    /// An attempt failed, or could not be made.
    pub(crate) fn failed(&mut self, now: Instant) {
        self.0.get_or_insert(now + AGAIN);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_could_ask_waits_to_be_woken() {
        let mut polls = Polls::default();
        tokio::time::timeout(Duration::from_secs(86_400), polls.due()).await.unwrap_err();
    }

    #[tokio::test(start_paused = true)]
    async fn what_failed_is_tried_again_soon_and_no_later_for_failing_more() {
        let (mut polls, began) = (Polls::default(), Instant::now());
        polls.failed(began);
        polls.failed(began + Duration::from_secs(3));
        polls.due().await;
        assert_eq!(began.elapsed(), AGAIN);
        assert!(polls.due().now_or_never().is_none());
    }
}
