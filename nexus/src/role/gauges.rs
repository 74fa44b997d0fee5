//! Gauges of what waits, who is there and what is in force: one task looks every few seconds.
//!
//! The cost of a look is bounded: at most [`INBOXES`] inboxes a round, the rest in later ones; what is shown of a
//! tenant is replaced once all of its inboxes were looked at.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use metrics::{counter, gauge};
use nexus_core::clock::Clock;
use nexus_core::id::{InboxId, TenantKey};
use nexus_core::snapshot::GatewaySnapshot;
use nexus_gateway::GatewayConfig;
use nexus_runtime::Drain;
use nexus_runtime::lane::StopGate;
use nexus_runtime::readiness::Readiness;
use nexus_store::bus::{Bus, BusError, Depth};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::gateway::GatewayRole;

/// How often it looks.
const EVERY: Duration = Duration::from_secs(5);

/// The most inboxes that a round looks at.
const INBOXES: usize = 256;

/// What the inboxes of a tenant have, added up.
#[derive(Debug, Default)]
struct Sum {
    waiting: u64,
    held: u64,
    dead: u64,
    oldest: Option<Timestamp>,
}

/// Where the look at inboxes stands.
#[derive(Debug, Default)]
struct Look {
    /// Tenants that are still to be looked at in this pass, the next one last, each with its inboxes.
    todo: Vec<(TenantKey, Vec<InboxId>)>,
    sum: Sum,
    /// All tenants of this pass so far.
    all: Backlog,
    /// Tenants that have gauges.
    shown: BTreeSet<TenantKey>,
}

/// What waits of all tenants.
#[derive(Debug, Default)]
struct Backlog {
    unrouted: u64,
    pending_bytes: u64,
    inboxes: Sum,
}

/// What is looked at.
pub struct Looked {
    /// The bus.
    pub bus: Bus,
    /// What is in force.
    pub config: watch::Receiver<Arc<GatewayConfig>>,
    /// The gateway.
    pub gateway: Arc<GatewayRole>,
    /// The stop gate.
    pub gate: StopGate,
    /// The time.
    pub clock: Clock,
    /// Where what waits is shown, too.
    pub readiness: Readiness,
}

/// Refreshes gauges until drained.
pub async fn run(looked: Looked, drain: Drain) -> anyhow::Result<()> {
    let mut tick = tokio::time::interval(EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut look = Look::default();
    loop {
        tokio::select! {
            () = drain.cancelled() => return Ok(()),
            _ = tick.tick() => {}
        }
        let config = Arc::clone(&looked.config.borrow());
        stop(&looked.gate);
        present(&looked.gateway, config.tenants());
        look.know(&config);
        let now = looked.clock.now();
        let round = tokio::select! {
            () = drain.cancelled() => return Ok(()),
            round = look.round(&looked.bus, now, &config) => round,
        };
        if let Err(error) = round {
            counter!("nexus_depth_errors_total", "error" => error.label()).increment(1);
        }
        if look.todo.is_empty() {
            looked.readiness.show_backlog("bus", look.all.figures(now));
        }
    }
}

fn stop(gate: &StopGate) {
    gauge!("nexus_stop_known").set(f64::from(u8::from(gate.latch().is_known())));
}

fn present<'t>(gateway: &GatewayRole, tenants: impl Iterator<Item = &'t TenantKey>) {
    let Some(presence) = gateway.presence() else { return };
    for tenant in tenants {
        let agents = presence.tenant(tenant);
        let online = agents.iter().filter(|agent| agent.online).count();
        let sessions = agents.iter().flat_map(|agent| &agent.sessions);
        let credit: u64 = sessions.map(|session| u64::from(session.credit)).sum();
        set("nexus_agents_online", tenant, online as f64);
        set("nexus_session_credit", tenant, credit as f64);
    }
}

impl Look {
    /// Looks at some inboxes, and at whole tenants when their turn comes. One that cannot be looked at holds up no other,
    /// and its gauges stay as they are; gives the first error at the end.
    async fn round(&mut self, bus: &Bus, now: Timestamp, config: &GatewayConfig) -> Result<(), BusError> {
        if self.todo.is_empty() {
            let tenants = config.tenants().filter_map(|tenant| Some((tenant, config.tenant(tenant)?)));
            self.todo = tenants.map(|(key, tenant)| (key.clone(), inboxes(tenant.snapshot()))).collect();
            self.todo.reverse();
            (self.sum, self.all) = (Sum::default(), Backlog::default());
        }
        let (mut left, mut all) = (INBOXES, Ok(()));
        while let Some((tenant, mut inboxes)) = self.todo.pop() {
            match self.tenant(bus, now, &tenant, &mut inboxes, &mut left).await {
                Ok(true) => {}
                Ok(false) => {
                    self.todo.push((tenant, inboxes));
                    break;
                }
                Err(error) => {
                    self.sum = Sum::default();
                    all = all.and(Err(error));
                }
            }
        }
        all
    }

    /// Looks at a tenant. False if it has more inboxes than are left to be looked at.
    async fn tenant(
        &mut self,
        bus: &Bus,
        now: Timestamp,
        tenant: &TenantKey,
        inboxes: &mut Vec<InboxId>,
        left: &mut usize,
    ) -> Result<bool, BusError> {
        while let Some(inbox) = inboxes.pop() {
            if *left == 0 {
                inboxes.push(inbox);
                return Ok(false);
            }
            *left -= 1;
            self.sum.add(bus.inbox_depth(tenant, inbox).await?);
        }
        let depth = bus.depth(tenant).await?;
        set("nexus_bus_unrouted_events", tenant, depth.unrouted as f64);
        set("nexus_bus_pending_bytes", tenant, depth.pending_bytes as f64);
        set("nexus_bus_stored_bytes", tenant, depth.stored_bytes as f64);
        let sum = std::mem::take(&mut self.sum);
        sum.show(tenant, now);
        self.all.add(&depth, &sum);
        // It may have gone since the pass began.
        self.shown.insert(tenant.clone());
        Ok(true)
    }

    /// A series cannot be taken back; that of a tenant that is gone tells 0.
    fn know(&mut self, config: &GatewayConfig) {
        self.shown.retain(|tenant| {
            let known = config.tenant(tenant).is_some();
            if !known {
                for name in OF_TENANT {
                    set(name, tenant, 0.0);
                }
            }
            known
        });
        self.shown.extend(config.tenants().cloned());
    }
}

/// The gauges with a tenant.
const OF_TENANT: [&str; 9] = [
    "nexus_bus_unrouted_events",
    "nexus_bus_pending_bytes",
    "nexus_bus_stored_bytes",
    "nexus_inbox_waiting_events",
    "nexus_inbox_held_events",
    "nexus_inbox_dead_events",
    "nexus_inbox_oldest_age_seconds",
    "nexus_agents_online",
    "nexus_session_credit",
];

impl Sum {
    fn add(&mut self, depth: nexus_store::bus::InboxDepth) {
        self.waiting += depth.waiting;
        self.held += depth.held;
        self.dead += depth.dead;
        self.oldest = self.oldest.into_iter().chain(depth.oldest).min();
    }

    /// The age of the oldest copy that waits, in seconds.
    fn age(&self, now: Timestamp) -> f64 {
        self.oldest.map_or(0.0, |oldest| now.duration_since(oldest).as_secs_f64().max(0.0))
    }

    fn show(&self, tenant: &TenantKey, now: Timestamp) {
        let age = self.age(now);
        set("nexus_inbox_waiting_events", tenant, self.waiting as f64);
        set("nexus_inbox_held_events", tenant, self.held as f64);
        set("nexus_inbox_dead_events", tenant, self.dead as f64);
        set("nexus_inbox_oldest_age_seconds", tenant, age);
    }
}

impl Backlog {
    fn add(&mut self, depth: &Depth, inboxes: &Sum) {
        self.unrouted += depth.unrouted;
        self.pending_bytes += depth.pending_bytes;
        self.inboxes.waiting += inboxes.waiting;
        self.inboxes.held += inboxes.held;
        self.inboxes.dead += inboxes.dead;
        self.inboxes.oldest = self.inboxes.oldest.into_iter().chain(inboxes.oldest).min();
    }

    fn figures(&self, now: Timestamp) -> Value {
        json!({
            "unroutedEvents": self.unrouted,
            "pendingBytes": self.pending_bytes,
            "waitingCopies": self.inboxes.waiting,
            "heldCopies": self.inboxes.held,
            "deadCopies": self.inboxes.dead,
            "oldestSeconds": self.inboxes.age(now),
        })
    }
}

/// The inboxes of a tenant's agents, and those that they share.
fn inboxes(snapshot: &GatewaySnapshot) -> Vec<InboxId> {
    let agents = snapshot.agents.values();
    let all = agents.flat_map(|agent| agent.shared_inboxes.iter().copied().chain([agent.id.inbox()]));
    all.collect::<BTreeSet<_>>().into_iter().collect()
}

fn set(name: &'static str, tenant: &TenantKey, value: f64) {
    gauge!(name, "tenant" => tenant.to_string()).set(value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::role::broken::{BROKEN, Broken, SOUND};

    #[tokio::test]
    async fn a_tenant_that_is_broken_keeps_no_other_from_being_looked_at() {
        let broken = Broken::start().await;
        broken.handled().await;
        let tenant = |name: &str| name.parse::<TenantKey>().unwrap();
        let todo = [BROKEN[0], SOUND, BROKEN[1]].map(|name| (tenant(name), Vec::new()));
        let mut look = Look { todo: todo.into(), ..Look::default() };
        let round = look.round(&broken.bus, Timestamp::UNIX_EPOCH, &GatewayConfig::default()).await;
        assert_eq!(round.unwrap_err().label(), "storage");
        assert!(look.todo.is_empty());
        assert_eq!(look.shown, BTreeSet::from([tenant(SOUND)]));
    }
}
