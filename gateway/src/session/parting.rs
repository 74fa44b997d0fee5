//! Thousands of sessions end at once by a stop, and what each does takes the processor from the others. So all of them say
//! goodbye first, then take in that their agents close, and then return what they held, which nobody may take anyway.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};

/// The longest that anybody waits for others to part.
const LONGEST: Duration = Duration::from_millis(500);

/// When nobody has said goodbye for so long, all have: those who have not are woken already, and wait for the processor alone.
/// To take a pause for the end costs speed and nothing else.
const QUIET: Duration = Duration::from_millis(5);

/// The longest that anybody waits for others to say goodbye: what the kernel still holds of a session, its agent may yet read.
const LONGEST_SAYING: Duration = Duration::from_millis(100);

/// Sessions that part with their agents now.
#[derive(Debug, Default)]
pub(crate) struct Parting {
    count: AtomicUsize,
    over: Notify,
    saying: Mutex<Saying>,
    all_said: Notify,
}

/// Who says goodbye.
#[derive(Debug, Default)]
struct Saying {
    /// When one did last.
    last: Option<Instant>,
    /// Whether one of those who have waits for the others, and will tell the rest: a timer for each would be set anew by all.
    watched: bool,
}

/// The wait of that one. Dropping it ends that of all.
#[derive(Debug)]
pub(super) struct Watch<'a>(&'a Parting);

/// One of them. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Farewell<'a>(&'a Parting);

impl Parting {
    /// A session parts from here on.
    pub(crate) fn begin(&self) -> Farewell<'_> {
        self.count.fetch_add(1, Ordering::AcqRel);
        Farewell(self)
    }

    /// One has said goodbye. Waits until the others have, as far as can be seen, and for a bounded time.
    pub(crate) async fn said(&self) {
        let mut all_said = std::pin::pin!(self.all_said.notified());
        // Before the look, so that nothing slips between.
        all_said.as_mut().enable();
        self.note();
        match self.watch() {
            Some(_watch) => self.quiet().await,
            // Who watches waits for a bounded time, and tells however that ends.
            None => all_said.await,
        }
    }

    /// One says goodbye.
    fn note(&self) {
        self.saying().last = Some(Instant::now());
    }

    /// Waits for the others, for all who have said goodbye, unless another does.
    pub(super) fn watch(&self) -> Option<Watch<'_>> {
        let watched = std::mem::replace(&mut self.saying().watched, true);
        (!watched).then(|| Watch(self))
    }

    async fn quiet(&self) {
        let began = Instant::now();
        loop {
            let last = self.saying().last.unwrap_or(began);
            let until = (last + QUIET).min(began + LONGEST_SAYING);
            if Instant::now() >= until {
                return;
            }
            sleep_until(until).await;
        }
    }

    fn saying(&self) -> MutexGuard<'_, Saying> {
        self.saying.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until nobody parts any more, or for a bounded time.
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

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        self.0.saying().watched = false;
        self.0.all_said.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use tokio::time::Instant;

    use super::*;

    /// Nothing that a test waits for takes this long.
    const PATIENCE: Duration = Duration::from_secs(20);

    #[tokio::test(start_paused = true)]
    async fn who_has_said_goodbye_waits_until_nobody_says_it_any_more() {
        let (parting, began) = (Parting::default(), Instant::now());
        let one = async |after: u32| {
            tokio::time::sleep(QUIET * after / 5).await;
            parting.said().await;
            began.elapsed()
        };
        let ended = tokio::join!(one(0), one(3), one(6), one(9));
        let all = QUIET * 9 / 5 + QUIET;
        assert_eq!(ended, (all, all, all, all));
        parting.said().await;
        assert_eq!(began.elapsed(), all + QUIET);
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_said_goodbye_waits_for_nobody_too_long() {
        let (parting, began) = (Parting::default(), Instant::now());
        let endless = async {
            loop {
                tokio::time::sleep(QUIET / 5).await;
                parting.note();
            }
        };
        let one = async |after: Duration| {
            tokio::time::sleep(after).await;
            parting.said().await;
            began.elapsed()
        };
        let both = timeout(PATIENCE, async { tokio::join!(one(Duration::ZERO), one(LONGEST_SAYING / 2)) });
        tokio::select! {
            ended = both => assert_eq!(ended.unwrap(), (LONGEST_SAYING, LONGEST_SAYING)),
            () = endless => {}
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_goes_away_while_others_wait_for_it_leaves_them_to_themselves() {
        let parting = Parting::default();
        let mut watches = Box::pin(parting.said());
        assert!(watches.as_mut().now_or_never().is_none());
        let mut waits = std::pin::pin!(parting.said());
        assert!(waits.as_mut().now_or_never().is_none());
        drop(watches);
        assert!(waits.now_or_never().is_some());
    }

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
