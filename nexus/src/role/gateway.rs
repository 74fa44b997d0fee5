//! The gateway of a process: bound before it runs, and again whenever it has ended.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Context as _;
use arc_swap::ArcSwapOption;
use nexus_core::clock::Clock;
use nexus_gateway::{
    Bound, Fleet, Gateway, GatewayConfig, GatewayDeps, GatewaySettings, Leases, Presence, TokenKeys,
};
use nexus_runtime::Drain;
use nexus_runtime::lane::StopGate;
use nexus_runtime::readiness::Readiness;
use nexus_store::bus::Bus;
use tokio::sync::watch;

use super::ports;
use super::supervise::supervise;

/// What the gateway needs.
pub struct GatewayParts {
    /// The bus.
    pub bus: Bus,
    /// The stop gate.
    pub gate: StopGate,
    /// What it is configured with.
    pub config: watch::Receiver<Arc<GatewayConfig>>,
    /// The keys of access tokens.
    pub keys: TokenKeys,
    /// How long access tokens are good for.
    pub token_lifetime: Duration,
    /// The most sessions.
    pub max_sessions: usize,
    /// The time.
    pub clock: Clock,
    /// The flag that chooses the address.
    pub flag: &'static str,
}

/// The gateway, and what outlives its restarts.
pub struct GatewayRole {
    parts: GatewayParts,
    /// What a gateway that was cut down could not return, the next one does.
    leases: Leases,
    /// A gateway that begins again goes on as the one that it was.
    fleet: Fleet,
    presence: ArcSwapOption<Presence>,
    address: OnceLock<SocketAddr>,
}

impl GatewayRole {
    /// A gateway that has no address yet.
    pub fn new(parts: GatewayParts) -> Self {
        let (presence, address) = (ArcSwapOption::empty(), OnceLock::new());
        Self { parts, leases: Leases::default(), fleet: Fleet::default(), presence, address }
    }

    /// Takes the address.
    pub async fn bind(&self, address: SocketAddr) -> anyhow::Result<Bound> {
        let GatewayParts { bus, gate, config, keys, token_lifetime, max_sessions, clock, flag } = &self.parts;
        let deps = GatewayDeps {
            bus: bus.clone(),
            gate: gate.clone(),
            config: config.clone(),
            keys: keys.clone(),
            clock: clock.clone(),
        };
        let settings = GatewaySettings {
            leases: self.leases.clone(),
            fleet: self.fleet.clone(),
            token_lifetime: *token_lifetime,
            max_sessions: *max_sessions,
            ..GatewaySettings::at(address)
        };
        let bound = Gateway::bind(deps, settings).await.with_context(|| ports::taken(flag, address))?;
        self.presence.store(Some(Arc::new(bound.presence())));
        let _ = self.address.set(bound.address());
        Ok(bound)
    }

    /// Runs what is bound, and again whenever it ended, until drained.
    pub async fn run(
        self: Arc<Self>,
        bound: Bound,
        readiness: Readiness,
        drain: Drain,
    ) -> anyhow::Result<()> {
        let (mut first, address, draining) = (Some(bound), self.address(), drain.clone());
        supervise("gateway", readiness, drain, move || {
            let (role, bound, drain) = (Arc::clone(&self), first.take(), draining.clone());
            async move {
                let bound = match bound {
                    Some(bound) => bound,
                    None => role.bind(address).await?,
                };
                Ok(bound.run(drain).await?)
            }
        })
        .await
    }

    /// Where agents connect.
    ///
    /// # Panics
    /// Before it was bound.
    pub fn address(&self) -> SocketAddr {
        *self.address.get().expect("the gateway is bound before anything asks for its address")
    }

    /// Who is connected, once it is bound.
    pub fn presence(&self) -> Option<Presence> {
        self.presence.load().as_deref().cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::role::process::DRAIN;

    #[test]
    fn the_process_waits_for_longer_than_its_gateway_takes_to_end() {
        let settings = GatewaySettings::at(([127, 0, 0, 1], 0).into());
        assert!(settings.longest_end() < DRAIN);
    }
}
