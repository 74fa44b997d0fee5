//! Pauses between attempts: growing, and jittered in full so that those who failed together do not return
//! together.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(5);

/// The pauses of one thing that is attempted again and again.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
}

impl Backoff {
    pub(crate) fn new() -> Self {
        Self { next: FIRST }
    }

    /// The attempt succeeded: the next failure starts from the beginning.
    pub(crate) fn reset(&mut self) {
        self.next = FIRST;
    }

    /// Pauses before the next attempt, for a tenth of the present bound at least.
    pub(crate) async fn wait(&mut self) {
        let pause = self.next.mul_f64(rand::random_range(0.1..=1.0));
        self.next = (self.next * 2).min(LONGEST);
        tokio::time::sleep(pause).await;
    }
}
