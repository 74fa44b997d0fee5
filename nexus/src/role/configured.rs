//! What a process is configured with, whether a folder says so or an operator: snapshots by tenant, and nothing of where they
//! come from.

use std::collections::BTreeMap;
use std::sync::Arc;

use nexus_core::id::TenantKey;
use nexus_gateway::{GatewayConfig, Snapshots};
use nexus_ingest::{IngestConfig, TenantSources};
use nexus_runtime::lane::KnownAgent;
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;

use super::control::touched;
use super::switch::Switch;

/// What is in force. A process puts in force what it has roles for, and no other role's cut.
pub struct Configured {
    ingest: watch::Sender<Arc<IngestConfig>>,
    gateway: watch::Sender<Arc<GatewayConfig>>,
    switch: Option<Arc<Switch>>,
    enough: watch::Sender<bool>,
}

impl Configured {
    /// Nothing is in force. `switch` hears of agents, in a process that has them.
    pub fn new(switch: Option<Arc<Switch>>) -> Self {
        let (ingest, gateway) = (watch::Sender::default(), watch::Sender::default());
        Self { ingest, gateway, switch, enough: watch::Sender::new(false) }
    }

    /// What ingest is configured with.
    pub fn ingest(&self) -> watch::Receiver<Arc<IngestConfig>> {
        self.ingest.subscribe()
    }

    /// What gateway is configured with.
    pub fn gateway(&self) -> watch::Receiver<Arc<GatewayConfig>> {
        self.gateway.subscribe()
    }

    /// Puts in force what ingest knows.
    pub fn put_ingest(&self, tenants: BTreeMap<TenantKey, TenantSources>) {
        self.ingest.send_replace(Arc::new(IngestConfig { tenants }));
    }

    /// Puts in force what gateway knows. May block on the disk where the stop latch is kept.
    pub fn put_gateway(&self, snapshots: Snapshots) {
        if let Some(switch) = &self.switch {
            let known = snapshots.iter().flat_map(|(tenant, snapshot)| {
                snapshot.agents.values().map(|agent| KnownAgent {
                    tenant: tenant.clone(),
                    agent: agent.id,
                    labels: agent.labels.clone(),
                })
            });
            // The stop lane knows an agent before the gateway does, so that a stop by label never misses one.
            switch.know(known.collect());
        }
        self.gateway.send_modify(|config| *config = Arc::new(config.next(snapshots)));
    }

    /// Roles may act by what is in force: it is all that there is, or was.
    pub fn suffice(&self) {
        self.enough.send_replace(true);
    }

    /// Waits until roles may act. Before that an absent tenant means nothing: its webhooks would be turned away for good, its
    /// events routed to nobody, and handled ones forgotten too early.
    pub async fn sufficient(&self) {
        // The sender lives as long as this.
        let _ = self.enough.subscribe().wait_for(|enough| *enough).await;
    }
}

/// Tells metrics that something is in force, and a number that follows from this form of it.
pub fn measure(form: &[u8]) {
    touched("nexus_config_applied_timestamp_seconds");
    // 48 bits: a float holds them exactly.
    let hash = Sha256::digest(form).iter().take(6).fold(0_u64, |hash, byte| hash << 8 | u64::from(*byte));
    metrics::gauge!("nexus_config_hash").set(hash as f64);
}
