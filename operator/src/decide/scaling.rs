//! Which Deployments a stop scales to zero, and which it gives back.

use kube::ResourceExt as _;
use nexus_core::id::{AgentId, TenantKey};
use nexus_core::stop::{EngagementName, Subject, Workloads};
use nexus_crds::AgentProfile;

use super::{Decider, Moment, WATCH_FIRST};
use crate::engine::Observed;
use crate::objects::Key;
use crate::scale::{Record, Step, step};
use crate::write::{Note, Write, about};

impl Decider {
    /// The next step for an agent's Deployment, and whether it is too early for it.
    pub(super) fn scaling(
        &self,
        tenant: &TenantKey,
        profile: &AgentProfile,
        moment: &Moment,
    ) -> (Option<Step>, bool) {
        let Some(workload) = &profile.spec.workload_ref else { return (None, false) };
        let key = (tenant.namespace().to_owned(), workload.name.clone());
        let workload = match self.engine.workloads.get(&key) {
            Some(Observed::There(workload)) => Some(workload),
            Some(Observed::Missing) => None,
            // Nothing is done to what nobody has looked at.
            Some(Observed::Unreadable(_)) | None => return (None, false),
        };
        let record = Record::of(profile.status.as_ref());
        let stopped = self.stopped(tenant, profile, &record);
        let next = step(stopped.as_ref(), &record, workload);
        let restores = stopped.is_none() && next.is_some();
        let watched = self.leading_since.map(|since| moment.now.saturating_duration_since(since));
        match restores && watched.is_none_or(|watched| watched < WATCH_FIRST) {
            true => (None, true),
            false => (next, false),
        }
    }

    /// The engagement that scales an agent to zero: one that means it, or the one that took its replicas and holds still.
    fn stopped(&self, tenant: &TenantKey, profile: &AgentProfile, record: &Record) -> Option<EngagementName> {
        let agent = AgentId::of(tenant, &profile.name_any());
        let labels = self
            .engine
            .compiled(tenant)
            .and_then(|compiled| compiled.gateway.agents.get(&profile.name_any()));
        let labels = labels.map_or_else(|| profile.labels().clone(), |agent| agent.labels.clone());
        let subject = Subject { tenant, agent, labels: &labels };
        let scaling = || self.latch.engagements().filter(|stop| stop.workloads == Workloads::ScaleToZero);
        if let Some(stop) = scaling().find(|stop| stop.covers(&subject)) {
            return Some(stop.name());
        }
        let by: EngagementName = record.by.as_deref()?.parse().ok()?;
        let of_pods = self.pods.values().filter_map(|pod| pod.stops.as_ref()).flat_map(|stops| &stops.held);
        let mut of_pods = of_pods.filter_map(|held| held.engagement.parse::<EngagementName>().ok());
        let holds = scaling().any(|stop| stop.name().reaches(&by)) || of_pods.any(|name| name.reaches(&by));
        holds.then_some(by)
    }

    /// Scales an agent's Deployment.
    pub(super) fn scale(
        &mut self,
        profile: &AgentProfile,
        key: &Key,
        replicas: u32,
        held: Option<u32>,
        moment: &Moment,
        writes: &mut Vec<Write>,
    ) {
        let Some(workload) = &profile.spec.workload_ref else { return };
        let name = &workload.name;
        let (warning, reason, message) = match held {
            Some(held) => (
                true,
                "ScaledToZero",
                format!("Deployment {name} had {held} replicas and has none while the stop holds."),
            ),
            None => (false, "ScaleRestored", format!("Deployment {name} has {replicas} replicas again.")),
        };
        let notes = vec![Note {
            warning,
            reason: reason.to_owned(),
            action: "Scale",
            message,
            about: about(profile),
        }];
        let deployment = (key.0.clone(), name.clone());
        self.begin(Write::Scale { key: deployment, replicas, held, notes }, moment, writes);
    }
}
