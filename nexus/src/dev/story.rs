//! What the admin API tells, gathered from the bus, the gateway and the control plane.

use bytes::Bytes;
use jiff::Timestamp;
use nexus_compile::Compiled;
use nexus_core::id::{EventId, TenantKey};
use nexus_core::snapshot::Agent;
use nexus_core::stop::{Engagement, Latch, Subject, Targets};
use nexus_store::bus::{Bus, BusError, Page};

use super::control::complaints;
use super::roles::Roles;
use crate::api::{AgentStatus, CopyStory, EventLine, EventStory, SourceStatus, Status, Stop, TenantStatus};

impl Roles {
    /// How things are.
    pub async fn status(&self) -> Result<Status, BusError> {
        let view = self.control.view();
        let addresses = self.addresses();
        let latch = self.lane.gate().latch();
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
            conditions: compiled.conditions.iter().flat_map(complaints).collect(),
        })
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

/// Events of one tenant or of all that the bus has, newest first.
pub async fn events(bus: &Bus, tenant: Option<&TenantKey>, page: Page) -> Result<Vec<EventLine>, BusError> {
    let tenants = match tenant {
        Some(tenant) => vec![tenant.clone()],
        None => bus.tenants().await?,
    };
    let mut lines = Vec::new();
    for tenant in tenants {
        let mut page = page.clone();
        while page.limit > 0 {
            let found = bus.events(&tenant, page.clone()).await?;
            page.limit = page.limit.saturating_sub(found.events.len());
            lines.extend(found.events.into_iter().map(|summary| EventLine {
                tenant: tenant.clone(),
                id: summary.id,
                kind: summary.kind,
                source: summary.source,
                title: summary.title,
                received: summary.received,
                routed: summary.routed,
            }));
            page.before = found.next;
            if page.before.is_none() {
                break;
            }
        }
    }
    lines.sort_by_key(|line| std::cmp::Reverse::<Timestamp>(line.received));
    Ok(lines)
}

/// Everything about one event, whichever tenant has it.
pub async fn event(bus: &Bus, id: EventId) -> Result<Option<EventStory>, StoryError> {
    for tenant in bus.tenants().await? {
        let Some(record) = bus.event(&tenant, id).await? else {
            continue;
        };
        let decision = record.decision.as_deref().map(serde_json::from_slice).transpose();
        let copies = record.copies.into_iter().map(|(inbox, copy)| CopyStory { inbox, copy });
        return Ok(Some(EventStory {
            event: serde_json::from_slice(&record.event).map_err(StoryError::Read)?,
            decision: decision.map_err(StoryError::Read)?,
            copies: copies.collect(),
        }));
    }
    Ok(None)
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
