//! Why a session ends, and what the agent is told.

use std::time::Duration;

use nexus_core::stop::{EngagementName, Verdict};
use nexus_wire::agent::v1::{Goodbye, GoodbyeReason};
use nexus_wire::frame;

use crate::gateway::GatewaySettings;

/// How many agents of a gateway that drains connect elsewhere in a second, about.
const RECONNECTS_PER_SECOND: u64 = 200;

/// The least and the longest time over which they do.
const SPREAD: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(120));

/// Why a session ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// A stop holds for the agent.
    Stopped { engagement: Option<EngagementName>, reason: Option<String> },
    /// The gateway shuts down.
    Draining,
    /// The agent was silent for too long.
    HeartbeatMissed,
    /// The token's time is over.
    TokenExpired,
    /// The profile is gone or has another secret.
    ProfileRemoved,
    /// The agent does not keep to the protocol.
    ProtocolError(String),
    /// The agent does not read.
    TooSlow,
    /// The bus cannot do what a session needs.
    Internal,
    /// The agent closed the connection.
    PeerClosed,
    /// The connection broke.
    PeerLost,
}

impl End {
    /// The end that a verdict orders.
    pub(crate) fn of(verdict: Verdict) -> Option<Self> {
        match verdict {
            Verdict::Run => None,
            Verdict::Stopped { engagement, reason } => Some(Self::Stopped { engagement, reason }),
        }
    }

    /// The variant's name, for metric labels.
    pub(crate) const fn label(&self) -> &'static str {
        match self {
            Self::Stopped { .. } => "stopped",
            Self::Draining => "draining",
            Self::HeartbeatMissed => "heartbeat_missed",
            Self::TokenExpired => "token_expired",
            Self::ProfileRemoved => "profile_removed",
            Self::ProtocolError(_) => "protocol_error",
            Self::TooSlow => "too_slow",
            Self::Internal => "internal",
            Self::PeerClosed => "peer_closed",
            Self::PeerLost => "peer_lost",
        }
    }

    /// How long the agent may take to hear of it; after a stop, who has heard is waited for with all others.
    pub(crate) const fn patience(&self, settings: &GatewaySettings) -> Duration {
        match self {
            Self::Stopped { .. } => settings.stop_patience,
            _ => Duration::from_secs(1),
        }
    }

    /// What the agent is told; nothing where nobody listens.
    ///
    /// `sessions` is how many end with it in a drain.
    pub(crate) fn goodbye(&self, sessions: usize) -> Option<Goodbye> {
        let (reason, message, after) = match self {
            Self::Stopped { engagement, reason } => (
                GoodbyeReason::Stopped,
                stop_message(engagement.as_ref(), reason.as_deref()),
                Some(Duration::from_secs(5)),
            ),
            Self::Draining => (
                GoodbyeReason::Draining,
                "this gateway restarts; connect again".to_owned(),
                // Spread out, or all agents would come back at once.
                Some(spread(sessions).mul_f64(rand::random())),
            ),
            Self::HeartbeatMissed => (
                GoodbyeReason::HeartbeatMissed,
                "no frame came for longer than the heartbeat allows; send Ping".to_owned(),
                None,
            ),
            Self::TokenExpired => (
                GoodbyeReason::TokenExpired,
                "the access token expired; send Reauth in time, or connect with a new one".to_owned(),
                None,
            ),
            Self::ProfileRemoved => (
                GoodbyeReason::ProfileRemoved,
                "the agent's profile was removed or its client secret was changed".to_owned(),
                None,
            ),
            Self::ProtocolError(what) => (GoodbyeReason::ProtocolError, what.clone(), None),
            Self::Internal => (
                GoodbyeReason::Internal,
                "the gateway's store does not answer; what was not acknowledged comes again".to_owned(),
                Some(Duration::from_millis(rand::random_range(1_000..=5_000))),
            ),
            Self::TooSlow => {
                (GoodbyeReason::TooSlow, "the agent did not read what was sent to it".to_owned(), None)
            }
            Self::PeerClosed | Self::PeerLost => return None,
        };
        Some(Goodbye { reason: reason.into(), message, reconnect_after: after.map(frame::duration) })
    }
}

/// The time over which agents come back after a drain.
fn spread(sessions: usize) -> Duration {
    let needed = Duration::from_secs(sessions as u64 / RECONNECTS_PER_SECOND);
    needed.clamp(SPREAD.0, SPREAD.1)
}

/// A stop in a sentence: which engagement, why, and what ends it.
pub(crate) fn stop_message(engagement: Option<&EngagementName>, reason: Option<&str>) -> String {
    let Some(engagement) = engagement else {
        return "stopped: this gateway has not learned yet whether a stop is engaged".to_owned();
    };
    let because = reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
    format!(
        "stopped by engagement {engagement}{because}; it holds until an admin takes back spec.stop and sets \
         spec.release to {engagement} on the NexusPolicy"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_sessions_a_drain_ends_the_longer_they_take_to_come_back() {
        assert_eq!(spread(3), SPREAD.0);
        assert_eq!(spread(10_000), Duration::from_secs(50));
        assert_eq!(spread(1_000_000), SPREAD.1);
        let hints = (0..1000).map(|_| {
            let after = End::Draining.goodbye(10_000).unwrap().reconnect_after.unwrap();
            u64::try_from(after.seconds).unwrap()
        });
        let late = hints.inspect(|after| assert!(*after <= 50)).filter(|after| *after >= 25).count();
        assert!((300..700).contains(&late), "{late} of 1000 in the second half");
    }
}
