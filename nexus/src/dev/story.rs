//! What the admin API tells, gathered from the bus, the gateway and the control plane.

use bytes::Bytes;
use nexus_compile::Compiled;
use nexus_core::id::{EventId, InboxId, TenantKey};
use nexus_core::route::Decision;
use nexus_core::snapshot::{Agent, Alias, Delivery, GatewaySnapshot};
use nexus_core::stop::{Engagement, Latch, Subject, Targets};
use nexus_store::bus::{Bus, BusError, InboxDepth, Summary};

use super::roles::Roles;
use crate::api::{
    AgentStatus, AliasStatus, CopyStory, EventLine, EventStory, SharedStatus, SourceStatus, Status, Stop,
    TenantStatus,
};
use crate::role::control::complaints;

impl Roles {
    /// How things are.
    pub async fn status(&self) -> Result<Status, BusError> {
        let view = self.control.view();
        let addresses = self.addresses();
        let latch = self.gate().latch();
        let mut tenants = Vec::new();
        for (tenant, compiled) in &view.tenants {
            tenants.push(self.tenant_status(tenant, compiled, &latch).await?);
        }
        Ok(Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            folder: self.settings.folder.clone(),
            data: self.settings.data.clone(),
            ingest: format!("http://{}", addresses.ingest),
            gateway: format!("http://{}", addresses.gateway),
            tenants,
            stops: stops(&latch),
            stop_known: latch.is_known(),
            alarms: latch.alarms().to_vec(),
            problems: view.problems.clone(),
        })
    }

    /// Everything about one event, whichever tenant has it.
    pub async fn event(&self, id: EventId) -> Result<Option<EventStory>, StoryError> {
        for tenant in self.bus.tenants().await? {
            let Some(record) = self.bus.event(&tenant, id).await? else {
                continue;
            };
            let decision = record.decision.as_deref().map(serde_json::from_slice).transpose();
            let decision: Option<Decision> = decision.map_err(StoryError::Read)?;
            let decided = |inbox| decision.as_ref().and_then(|decision| decided(decision, inbox));
            let copies = record.copies.into_iter().map(|(inbox, copy)| CopyStory {
                inbox,
                target: self.owner(&tenant, inbox).or_else(|| decided(inbox)),
                copy,
            });
            let copies = copies.collect();
            let event = serde_json::from_slice(&record.event).map_err(StoryError::Read)?;
            return Ok(Some(EventStory { event, decision, copies }));
        }
        Ok(None)
    }

    /// Whose an inbox is by the rules in force: an agent's name or `@alias`.
    pub fn owner(&self, tenant: &TenantKey, inbox: InboxId) -> Option<String> {
        owner(&self.control.view().tenants.get(tenant)?.gateway, inbox)
    }

    async fn tenant_status(
        &self,
        tenant: &TenantKey,
        compiled: &Compiled,
        latch: &Latch,
    ) -> Result<TenantStatus, BusError> {
        let addresses = self.addresses();
        let depth = self.bus.depth(tenant).await?;
        let mut agents = Vec::new();
        for (name, agent) in &compiled.gateway.agents {
            agents.push(self.agent_status(tenant, name, agent, latch).await?);
        }
        let mut aliases = Vec::new();
        for alias in &compiled.gateway.aliases {
            aliases.push(self.alias_status(tenant, alias).await?);
        }
        let sources = compiled.ingest.sources.iter().map(|(name, source)| SourceStatus {
            name: name.clone(),
            provider: source.provider.name().to_owned(),
            url: format!("http://{}/hooks/{tenant}/{name}", addresses.ingest),
        });
        Ok(TenantStatus {
            tenant: tenant.clone(),
            sources: sources.collect(),
            agents,
            events: depth.appended,
            unrouted: depth.unrouted,
            pending_bytes: depth.pending_bytes,
            parked_bytes: depth.dead_bytes,
            quota_bytes: compiled.ingest.storage.quota_bytes,
            parked: depth.dead,
            aliases,
            conditions: compiled.conditions.iter().flat_map(complaints).collect(),
        })
    }

    async fn alias_status(&self, tenant: &TenantKey, alias: &Alias) -> Result<AliasStatus, BusError> {
        let shared = match alias.delivery {
            Delivery::All => None,
            Delivery::Any => {
                let inbox = InboxId::of_alias(tenant, &alias.name);
                let InboxDepth { waiting, held, dead, oldest } = self.bus.inbox_depth(tenant, inbox).await?;
                Some(SharedStatus { inbox, waiting, held, dead, oldest })
            }
        };
        Ok(AliasStatus { name: alias.name.clone(), members: alias.members.clone(), shared })
    }

    async fn agent_status(
        &self,
        tenant: &TenantKey,
        name: &str,
        agent: &Agent,
        latch: &Latch,
    ) -> Result<AgentStatus, BusError> {
        let depth = self.bus.inbox_depth(tenant, agent.id.inbox()).await?;
        let subject = Subject { tenant, agent: agent.id, labels: &agent.labels };
        Ok(AgentStatus {
            name: name.to_owned(),
            id: agent.id.to_string(),
            sessions: self.sessions_of(agent.id),
            waiting: depth.waiting,
            held: depth.held,
            dead: depth.dead,
            oldest: depth.oldest,
            stopped: !latch.decide(&subject).may_run(),
        })
    }
}

/// The stops that hold.
pub fn stops(latch: &Latch) -> Vec<Stop> {
    let stop = |engagement: &Engagement| Stop {
        engagement: engagement.name(),
        policy: engagement.policy.clone(),
        reason: engagement.reason.clone(),
        everybody: engagement.scopes.iter().any(Targets::everybody),
        agents: engagement.agents.len(),
    };
    latch.engagements().map(stop).collect()
}

/// The line of an event in lists.
pub fn line(tenant: &TenantKey, summary: Summary) -> EventLine {
    let Summary { seq, id, kind, source, title, received, routed, bytes } = summary;
    EventLine { tenant: tenant.clone(), seq, id, kind, source, title, received, routed, bytes, event: None }
}

/// Whose an inbox is by these rules.
fn owner(rules: &GatewaySnapshot, inbox: InboxId) -> Option<String> {
    let agent = rules.agents.iter().find(|(_, agent)| agent.id.inbox() == inbox);
    let alias = || rules.aliases.iter().find(|alias| InboxId::of_alias(&rules.tenant, &alias.name) == inbox);
    agent.map(|(name, _)| name.clone()).or_else(|| alias().map(|alias| format!("@{}", alias.name)))
}

/// Whose an inbox was when an event was routed there.
pub fn decided(decision: &Decision, inbox: InboxId) -> Option<String> {
    let chosen = decision.chosen.iter().find(|chosen| chosen.inbox == inbox);
    chosen.map(|chosen| chosen.target.clone())
}

/// An event's body as the provider sent it, whichever tenant has it.
pub async fn raw(bus: &Bus, id: EventId) -> Result<Option<Bytes>, BusError> {
    for tenant in bus.tenants().await? {
        if let Some(record) = bus.event(&tenant, id).await? {
            return Ok(Some(record.raw.body));
        }
    }
    Ok(None)
}

/// Why an event's story cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum StoryError {
    /// The bus does not answer.
    #[error("cannot ask the bus")]
    Bus(#[from] BusError),
    /// What is stored was written by another version.
    #[error("what is stored of the event was written by another version")]
    Read(#[source] serde_json::Error),
}
