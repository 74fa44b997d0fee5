//! Who is silent: pure, told what was heard and when.

use std::collections::HashMap;
use std::time::Duration;

use nexus_core::id::GatewayId;
use tokio::time::Instant;

use super::{BEAT, SILENCE};

/// After a longer pause of our own nothing is known of others: each gets its time anew.
const GAP: Duration = BEAT.saturating_mul(3);

/// So much longer it is then until others are heard: their connections come about again later than ours, after one that
/// hangs for 5 s, a pause of 3 s and the time until a beat.
const RETURN: Duration = Duration::from_secs(9);

/// What was heard of others.
#[derive(Debug, Default)]
pub(super) struct Silence {
    heard: HashMap<GatewayId, (u64, Instant)>,
    last: Option<Instant>,
}

impl Silence {
    /// Takes in the counters of the living and gives those that stood still for too long.
    pub(super) fn hear(
        &mut self,
        now: Instant,
        me: GatewayId,
        living: &[(GatewayId, u64)],
    ) -> Vec<(GatewayId, u64)> {
        // Who has just begun has had no gap.
        if self.last.is_some_and(|last| now.duration_since(last) > GAP) {
            let returned = now + RETURN;
            self.heard = living.iter().map(|&(gateway, beats)| (gateway, (beats, returned))).collect();
        }
        self.last = Some(now);
        self.heard.retain(|gateway, _| living.iter().any(|(one, _)| one == gateway));
        let mut silent = Vec::new();
        for &(gateway, beats) in living.iter().filter(|(gateway, _)| *gateway != me) {
            let heard = self.heard.entry(gateway).or_insert((beats, now));
            if heard.0 != beats {
                *heard = (beats, now);
            } else if now.duration_since(heard.1) >= SILENCE {
                silent.push((gateway, beats));
            }
        }
        silent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gateway(n: u8) -> GatewayId {
        GatewayId::from_bytes([n; 16])
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_beats_no_more_is_silent_and_one_that_does_is_not() {
        let (mut silence, start) = (Silence::default(), Instant::now());
        let mut last = Vec::new();
        for second in 0..=5 {
            let living = [(gateway(1), second), (gateway(2), 7), (gateway(3), second)];
            assert!(last.is_empty());
            last = silence.hear(start + BEAT * u32::try_from(second).unwrap(), gateway(1), &living);
        }
        assert_eq!(last, [(gateway(2), 7)]);
    }

    #[tokio::test(start_paused = true)]
    async fn who_could_not_listen_accuses_nobody() {
        let (mut silence, start) = (Silence::default(), Instant::now());
        let living = [(gateway(1), 1), (gateway(2), 7)];
        for second in 0..4 {
            assert!(silence.hear(start + BEAT * second, gateway(1), &living).is_empty());
        }
        // Away for a minute, as all others may have been.
        let back = start + Duration::from_secs(60);
        // They may be found later than this one was.
        let longest = u32::try_from((SILENCE + RETURN).as_secs()).unwrap();
        for second in 0..longest {
            assert!(silence.hear(back + BEAT * second, gateway(1), &living).is_empty());
        }
        assert_eq!(silence.hear(back + BEAT * longest, gateway(1), &living), [(gateway(2), 7)]);
    }

    #[tokio::test(start_paused = true)]
    async fn who_came_back_after_a_gap_has_no_more_time_than_others() {
        let (mut silence, start) = (Silence::default(), Instant::now());
        silence.hear(start, gateway(1), &[(gateway(1), 1), (gateway(2), 7)]);
        let back = start + Duration::from_secs(60);
        silence.hear(back, gateway(1), &[(gateway(1), 1), (gateway(2), 7)]);
        let living = [(gateway(1), 1), (gateway(2), 8)];
        for second in 1..6 {
            assert!(silence.hear(back + BEAT * second, gateway(1), &living).is_empty());
        }
        assert_eq!(silence.hear(back + BEAT * 6, gateway(1), &living), [(gateway(2), 8)]);
    }
}
