//! How many streams there may be: so many at a time, and so many new ones a second.

use std::time::Duration;

/// The most streams at a time.
pub const MAX_STREAMS: usize = 1_000;

/// New streams a second beyond the burst.
pub const STREAMS_PER_SECOND: u32 = 20;

/// New streams that may come at once.
pub const STREAM_BURST: u32 = 100;

/// A token bucket. Time comes as an argument.
#[derive(Debug)]
pub(super) struct Door {
    /// Streams that may come now.
    room: f64,
    /// When that was so, since any fixed time.
    at: Duration,
}

impl Door {
    /// A full bucket.
    pub(super) fn new() -> Self {
        Self { room: f64::from(STREAM_BURST), at: Duration::ZERO }
    }

    /// Whether one more stream may come.
    pub(super) fn admits(&mut self, now: Duration) -> bool {
        let passed = now.saturating_sub(self.at).as_secs_f64();
        self.room = (self.room + passed * f64::from(STREAMS_PER_SECOND)).min(f64::from(STREAM_BURST));
        self.at = self.at.max(now);
        if self.room < 1.0 {
            return false;
        }
        self.room -= 1.0;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_comes_at_once_and_then_so_many_a_second() {
        let mut door = Door::new();
        let mut come =
            |millis, count: u32| (0..count).filter(|_| door.admits(Duration::from_millis(millis))).count();
        assert_eq!(come(0, 150), 100);
        assert_eq!(come(49, 10), 0);
        assert_eq!(come(1_049, 100), 20);
        // Time that goes backwards gives nothing.
        assert_eq!(come(500, 10), 0);
        assert_eq!(come(3_600_000, 500), 100);
    }
}
