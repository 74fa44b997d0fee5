//! Gauges of what waits, who is there and what is in force: one task looks every few seconds.
//!
//! The cost of a look is bounded: at most [`INBOXES`] inboxes a round, the rest in later ones; what is shown of a
//! tenant is replaced once all of its inboxes were looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use metrics::{counter, gauge};
use nexus_compile::Compiled;
use nexus_core::clock::Clock;
use nexus_core::id::{InboxId, TenantKey};
use nexus_runtime::Drain;
use nexus_runtime::lane::StopGate;
use nexus_runtime::readiness::Readiness;
use nexus_store::bus::{Bus, BusError, Depth};
use serde_json::{Value, json};

use super::control::Control;
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
    pub control: Arc<Control>,
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
        let view = looked.control.view();
        stop(&looked.gate);
        present(&looked.gateway, view.tenants.keys());
        look.know(&view.tenants);
        if let Err(error) = look.round(&looked, &view.tenants).await {
            counter!("nexus_depth_errors_total", "error" => error.label()).increment(1);
            look = Look { shown: std::mem::take(&mut look.shown), ..Look::default() };
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
    /// Looks at some inboxes, and at whole tenants when their turn comes.
    async fn round(
        &mut self,
        looked: &Looked,
        tenants: &BTreeMap<TenantKey, Arc<Compiled>>,
    ) -> Result<(), BusError> {
        if self.todo.is_empty() {
            self.todo =
                tenants.iter().rev().map(|(key, compiled)| (key.clone(), inboxes(compiled))).collect();
            (self.sum, self.all) = (Sum::default(), Backlog::default());
        }
        let mut left = INBOXES;
        while let Some((tenant, inboxes)) = self.todo.last_mut() {
            let tenant = tenant.clone();
            while let Some(inbox) = inboxes.pop() {
                self.sum.add(looked.bus.inbox_depth(&tenant, inbox).await?);
                left -= 1;
                if left == 0 {
                    return Ok(());
                }
            }
            self.todo.pop();
            let depth = looked.bus.depth(&tenant).await?;
            set("nexus_bus_unrouted_events", &tenant, depth.unrouted as f64);
            set("nexus_bus_pending_bytes", &tenant, depth.pending_bytes as f64);
            set("nexus_bus_stored_bytes", &tenant, depth.stored_bytes as f64);
            let sum = std::mem::take(&mut self.sum);
            sum.show(&tenant, looked.clock.now());
            self.all.add(&depth, &sum);
            // It may have gone since the pass began.
            self.shown.insert(tenant);
        }
        looked.readiness.show_backlog("bus", self.all.figures(looked.clock.now()));
        Ok(())
    }

    /// A series cannot be taken back; that of a tenant that is gone tells 0.
    fn know(&mut self, tenants: &BTreeMap<TenantKey, Arc<Compiled>>) {
        self.shown.retain(|tenant| {
            let known = tenants.contains_key(tenant);
            if !known {
                for name in OF_TENANT {
                    set(name, tenant, 0.0);
                }
            }
            known
        });
        self.shown.extend(tenants.keys().cloned());
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
fn inboxes(compiled: &Compiled) -> Vec<InboxId> {
    let agents = compiled.gateway.agents.values();
    let all = agents.flat_map(|agent| agent.shared_inboxes.iter().copied().chain([agent.id.inbox()]));
    all.collect::<BTreeSet<_>>().into_iter().collect()
}

fn set(name: &'static str, tenant: &TenantKey, value: f64) {
    gauge!(name, "tenant" => tenant.to_string()).set(value);
}
