//! What ends a session from outside, whatever the session is doing: a stop, a drain, the end of its token, a
//! profile that is gone.
//!
//! It is a future of its own beside the session's work and is asked first, so that no socket that does not
//! drain and no store that does not answer can hold up a stop.

use std::sync::Arc;
use std::time::Duration;

use nexus_core::id::AgentId;
use nexus_core::secret::SecretDigest;
use nexus_core::stop::Subject;
use nexus_runtime::Drain;
use nexus_runtime::lane::StopGate;
use tokio::sync::watch;

use super::end::End;
use crate::config::{GatewayConfig, Profile};
use crate::presence::Figures;
use crate::shared::Shared;

/// The longest time between two looks at the time of day, which may be set while a session sleeps.
const CLOCK_CHECK: Duration = Duration::from_secs(30);

/// What a session was admitted as.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Admitted {
    pub(crate) agent: AgentId,
    pub(crate) credential: Option<SecretDigest>,
}

impl Admitted {
    /// Whether the agent may go on; `gate` must have been subscribed before.
    pub(crate) fn decide(&self, config: &GatewayConfig, gate: &StopGate) -> Result<(), End> {
        let profile = config.agent(self.agent).ok_or(End::ProfileRemoved)?;
        if profile.agent.credential != self.credential {
            return Err(End::ProfileRemoved);
        }
        End::of(gate.decide(&subject(&profile))).map_or(Ok(()), Err)
    }
}

/// The agent as the stop gate asks about it.
pub(crate) fn subject<'a>(profile: &Profile<'a>) -> Subject<'a> {
    Subject { tenant: profile.tenant, agent: profile.agent.id, labels: &profile.agent.labels }
}

/// Waits for whatever ends the session. Cancelled by dropping it.
pub(crate) async fn severed(
    shared: &Shared,
    admitted: Admitted,
    figures: &Figures,
    mut gate: StopGate,
    drain: &Drain,
) -> End {
    let mut config = shared.config.clone();
    loop {
        let now = Arc::clone(&config.borrow_and_update());
        if let Err(end) = admitted.decide(&now, &gate) {
            return end;
        }
        drop(now);
        let left = figures.expires().duration_since(shared.clock.now());
        // A negative rest does not convert.
        let Some(left) = Duration::try_from(left).ok().filter(|left| !left.is_zero()) else {
            return End::TokenExpired;
        };
        tokio::select! {
            () = gate.changed() => {}
            () = changed(&mut config) => {}
            () = drain.cancelled() => return End::Draining,
            () = tokio::time::sleep(left.min(CLOCK_CHECK)) => {}
        }
    }
}

/// Waits until what is watched is another, such as the configuration.
pub(crate) async fn changed<T>(watched: &mut watch::Receiver<T>) {
    if watched.changed().await.is_err() {
        // Whoever told of it is gone: what was told last stands.
        std::future::pending::<()>().await;
    }
}
