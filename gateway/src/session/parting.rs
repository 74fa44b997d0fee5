//! Thousands of sessions end at once by a stop. All of them part with their agents first; what they held is returned
//! after that: nobody may take it, and to return it would take the processor from those that have not parted yet.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;

/// The longest that anybody waits for others.
const LONGEST: Duration = Duration::from_millis(500);

/// Sessions that part with their agents now.
#[derive(Debug, Default)]
pub(crate) struct Parting {
    count: AtomicUsize,
    over: Notify,
}

/// One of them. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Farewell<'a>(&'a Parting);

impl Parting {
    /// A session parts from here on.
    pub(crate) fn begin(&self) -> Farewell<'_> {
        self.count.fetch_add(1, Ordering::AcqRel);
        Farewell(self)
    }

    /// Waits until nobody does any more, or for a bounded time.
    pub(crate) async fn over(&self) {
        let all = async {
            loop {
                let mut over = std::pin::pin!(self.over.notified());
                // Before the look, so that nothing slips between.
                over.as_mut().enable();
                if self.count.load(Ordering::Acquire) == 0 {
                    return;
                }
                over.await;
            }
        };
        // Who takes longer than that holds up nobody.
        let _ = timeout(LONGEST, all).await;
    }
}

impl Drop for Farewell<'_> {
    fn drop(&mut self) {
        if self.0.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.over.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn all_part_before_anybody_goes_on_and_one_that_hangs_holds_nobody_up() {
        let parting = Parting::default();
        assert!(parting.over().now_or_never().is_some());
        let (first, second) = (parting.begin(), parting.begin());
        let mut over = std::pin::pin!(parting.over());
        drop(first);
        assert!(over.as_mut().now_or_never().is_none());
        drop(second);
        assert!(over.now_or_never().is_some());
        let (_hangs, began) = (parting.begin(), Instant::now());
        parting.over().await;
        assert_eq!(began.elapsed(), LONGEST);
    }
}
