//! NexusPolicies: the latch of the operator, and their status.

use std::collections::BTreeSet;

use nexus_core::id::TenantKey;
use nexus_core::stop::{Engagement, EngagementName, Policy, Subject};
use nexus_wire::config::Role;
use tokio::time::Instant;

use super::{ANSWER, Decider, Moment};
use crate::policy::ReadPolicy;
use crate::status::{self, Reported};
use crate::write::{Note, Write, about};

impl Decider {
    /// Takes in the policies as they stand.
    pub(super) fn look_at_policies(&mut self, now: Instant) {
        if !self.engine.policies.is_complete() {
            return;
        }
        let policies = self.standing();
        for policy in &policies {
            let seen = self.policies_seen.entry(policy.uid.clone()).or_insert((policy.generation, now));
            if seen.0 != policy.generation {
                *seen = (policy.generation, now);
            }
        }
        let uids: BTreeSet<_> = policies.iter().map(|policy| policy.uid.clone()).collect();
        self.policies_seen.retain(|uid, _| uids.contains(uid));
        let agents = directory(&self.engine);
        let merged = self.latch.merge(&policies, agents.iter().map(Known::subject));
        if merged.changed {
            self.everything();
        }
    }

    /// Binds agents to the stops that mean them.
    pub(super) fn remember(&mut self) {
        if self.latch.engagements().next().is_none() {
            return;
        }
        let agents = directory(&self.engine);
        self.latch.remember(agents.iter().map(Known::subject));
    }

    /// The stop that holds an agent.
    pub(super) fn stop_of(&self, tenant: &TenantKey, name: &str) -> Option<EngagementName> {
        let agent = self.engine.compiled(tenant)?.gateway.agents.get(name)?;
        let subject = Subject { tenant, agent: agent.id, labels: &agent.labels };
        self.latch.engagements().find(|stop| stop.covers(&subject)).map(Engagement::name)
    }

    /// The policies as they stand.
    pub(super) fn standing(&self) -> Vec<Policy> {
        let good = self.engine.policies.iter().filter_map(|(_, standing)| standing.good.clone());
        let policies = good.filter_map(|object| {
            let (name, uid) = (object.metadata.name.as_deref()?, object.metadata.uid.as_deref()?);
            let generation = u64::try_from(object.metadata.generation?).ok()?;
            Some(nexus_compile::policy(name, uid, generation, &object.spec))
        });
        policies.collect()
    }

    /// Decides for all policies. True if it must be done again.
    pub(super) fn decide_policies(&mut self, moment: &Moment, writes: &mut Vec<Write>) -> bool {
        let mut again = false;
        let existing = self.existing.get(&Role::Gateway).cloned().unwrap_or_default();
        let all: Vec<_> = self
            .engine
            .policies
            .iter()
            .filter_map(|(key, standing)| Some((key.clone(), standing.good.clone()?)))
            .collect();
        for (key, object) in all {
            let uid = object.metadata.uid.as_deref().unwrap_or_default();
            let generation = object.metadata.generation.and_then(|generation| u64::try_from(generation).ok());
            let mut reported =
                Reported::of(&key.1, uid, generation.unwrap_or_default(), &existing, &self.pods);
            // What this operator saw and nobody released holds Deployments, whatever pods have forgotten.
            let own = self.latch.engagements().filter(|stop| stop.uid == uid || stop.policy == key.1);
            reported.held = own.map(Engagement::name).max().max(reported.held);
            let seen = self.policies_seen.get(uid);
            let fresh = seen.is_some_and(|(_, since)| moment.now.saturating_duration_since(*since) < ANSWER);
            // Of what stands there already nothing is turned over by an operator that begins anew; a new order is told of as it is.
            // No pod can come before all is read, for this replica is not ready then.
            let early = self.awaits_pods(moment.now) || !self.complete;
            let fresh = fresh || (early && is_told(&object));
            again |= fresh && reported.obeying < reported.pods;
            let status = status::policy(&object, &reported, fresh, moment.time);
            if object.status.as_ref() == Some(&status) {
                continue;
            }
            let before = object.status.as_ref().and_then(|status| status.engagement.as_deref());
            let notes = turned(before, status.engagement.as_deref(), || about(&*object));
            again |= !self.begin(Write::Policy(key, status, notes), moment, writes);
        }
        again
    }
}

/// Whether what stands in the status is of the object as it stands.
fn is_told(object: &ReadPolicy) -> bool {
    let conditions = object.status.as_ref().map_or(&[][..], |status| &status.conditions);
    let programmed = conditions.iter().find(|condition| condition.type_ == "Programmed");
    programmed.is_some_and(|condition| condition.observed_generation == object.metadata.generation)
}

/// What to tell of a stop that was engaged or released.
fn turned(
    before: Option<&str>,
    after: Option<&str>,
    about: impl Fn() -> k8s_openapi::api::core::v1::ObjectReference,
) -> Vec<Note> {
    let note = |warning, reason: &str, message| Note {
        warning,
        reason: reason.to_owned(),
        action: "Stop",
        message,
        about: about(),
    };
    match (before, after) {
        (None, Some(name)) => {
            vec![note(true, "StopEngaged", format!("The stop holds; its engagement is {name}."))]
        }
        (Some(name), None) => vec![note(false, "StopReleased", format!("Engagement {name} is released."))],
        _ => Vec::new(),
    }
}

/// An agent that there is.
struct Known {
    tenant: nexus_core::id::TenantKey,
    agent: nexus_core::id::AgentId,
    labels: nexus_core::selector::Labels,
}

impl Known {
    fn subject(&self) -> Subject<'_> {
        Subject { tenant: &self.tenant, agent: self.agent, labels: &self.labels }
    }
}

fn directory(engine: &crate::engine::Engine) -> Vec<Known> {
    let agents = engine.all().iter().flat_map(|(tenant, compiled)| {
        compiled.gateway.agents.values().map(|agent| Known {
            tenant: tenant.clone(),
            agent: agent.id,
            labels: agent.labels.clone(),
        })
    });
    agents.collect()
}
