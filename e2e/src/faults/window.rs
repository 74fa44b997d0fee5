//! What was seen in some time of those who have nothing to do with a fault.

use anyhow::ensure;

use crate::ledger::Times;

/// The least part of what came before that has to come meanwhile.
const LEAST: f64 = 0.9;

/// What was seen in some time.
#[derive(Debug, Default)]
pub(super) struct Window {
    pub(super) seconds: f64,
    /// Webhooks answered 200.
    pub(super) accepted: usize,
    pub(super) times: Times,
}

impl Window {
    /// Both together.
    pub(super) fn join(&mut self, mut other: Self) {
        self.seconds += other.seconds;
        self.accepted += other.accepted;
        self.times.answers.append(&mut other.times.answers);
        self.times.latencies.append(&mut other.times.latencies);
    }

    /// p99 from a post until an agent has it, in milliseconds.
    pub(super) fn p99_ms(&mut self) -> f64 {
        self.times.latency_p99().as_secs_f64() * 1e3
    }

    /// Fails if less came than before, or if it took more than so many times as long.
    pub(super) fn is_spared(&mut self, before: &mut Self, most: f64) -> anyhow::Result<()> {
        let delivered = |window: &Self| window.times.latencies.len();
        for (what, count, count_before) in
            [("accepted", self.accepted, before.accepted), ("delivered", delivered(self), delivered(before))]
        {
            let (rate, rate_before) = (count as f64 / self.seconds, count_before as f64 / before.seconds);
            ensure!(
                rate_before > 0.0 && rate >= LEAST * rate_before,
                "others had {rate:.0} events a second {what}, and {rate_before:.0} before"
            );
        }
        let (p99, p99_before) = (self.p99_ms(), before.p99_ms());
        ensure!(
            p99 <= most * p99_before,
            "p99 of others was {p99:.1} ms, more than {most} times the {p99_before:.1} ms before"
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn window(accepted: usize, delivered: usize, slowest_ms: u64) -> Window {
        let mut latencies = vec![Duration::from_millis(10); delivered];
        latencies
            .iter_mut()
            .take(delivered.div_ceil(20))
            .for_each(|time| *time = Duration::from_millis(slowest_ms));
        Window { seconds: 10.0, accepted, times: Times { answers: Vec::new(), latencies } }
    }

    #[test]
    fn others_are_spared_if_as_much_comes_as_fast() {
        assert!(window(950, 950, 21).is_spared(&mut window(1000, 1000, 20), 1.1).is_ok());
    }

    #[test]
    fn others_are_not_spared_if_less_is_taken_or_delivered_or_it_takes_longer() {
        let fails =
            |mut during: Window| during.is_spared(&mut window(1000, 1000, 20), 1.1).unwrap_err().to_string();
        assert!(fails(window(0, 1000, 20)).contains("0 events a second accepted"));
        assert!(fails(window(1000, 800, 20)).contains("80 events a second delivered"));
        assert!(fails(window(1000, 1000, 23)).contains("p99"));
        // Nothing before proves nothing.
        assert!(window(10, 10, 20).is_spared(&mut window(0, 0, 20), 1.1).is_err());
    }

    #[test]
    fn windows_join() {
        let mut both = window(100, 100, 10);
        both.join(window(100, 100, 30));
        assert_eq!((both.seconds, both.accepted, both.times.latencies.len()), (20.0, 200, 200));
        assert_eq!(both.p99_ms(), 30.0);
    }
}
