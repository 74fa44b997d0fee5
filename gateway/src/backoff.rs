//! Pauses between attempts.

use std::time::Duration;

use nexus_core::backoff::Backoff as Bounds;

const FIRST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(5);

/// The pauses of one thing that is attempted again and again.
#[derive(Debug)]
pub(crate) struct Backoff(Bounds);

impl Backoff {
    pub(crate) fn new() -> Self {
        Self(Bounds::new(FIRST, LONGEST))
    }

    /// The attempt succeeded: the next failure starts from the beginning.
    pub(crate) fn reset(&mut self) {
        self.0.reset();
    }

    /// Pauses before the next attempt, for a tenth of the present bound at least.
    pub(crate) async fn wait(&mut self) {
        tokio::time::sleep(self.0.next(rand::random_range(0.1..=1.0))).await;
    }
}
