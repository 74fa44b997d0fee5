//! What is to be published and what is to be written, given all that is known. Pure: the time is handed in.
//!
//! Every decision is made anew from the whole state of its subject, so that it does not matter which changes came, in which order or
//! how often. A write that is under way, or that failed a moment ago, is waited for; then it is decided again.

mod policies;
mod scaling;
mod tenants;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use nexus_compile::Compiled;
use nexus_core::id::{AgentId, TenantKey};
use nexus_core::stop::Latch;
use nexus_wire::config::{Pods, Publisher, Resource, ResourceName, ResourceType, TooLarge};
use tokio::time::Instant;

use crate::engine::{Change, Engine, Outcome};
use crate::objects::Key;
use crate::status::Existing;
use crate::write::{Answer, Target, Write, Written};

/// How long pods may take to answer before it is said that they did not.
const ANSWER: Duration = Duration::from_secs(1);

/// The most writes that are under way.
const WRITES: usize = 32;

/// The pause after a failed write of one object, and the longest.
const PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// How long a new leader watches before it restores what a stop took: pods may hold a stop that no object shows.
const WATCH_FIRST: Duration = Duration::from_secs(3);

/// The state.
#[derive(Debug, Default)]
pub(crate) struct Decider {
    engine: Engine,
    pods: Arc<Pods>,
    existing: Existing,
    /// When something else was published of a tenant.
    published: BTreeMap<TenantKey, Instant>,
    /// Tenants of which the present state is not published: the reason, for programs and for people.
    unpublished: BTreeMap<TenantKey, (&'static str, String)>,
    /// Which tenant an agent is of.
    agents: HashMap<AgentId, TenantKey>,
    latch: Latch,
    /// Since when a policy is as it is, by uid: its generation, and when it was first seen.
    policies_seen: BTreeMap<String, (u64, Instant)>,
    /// Tenants of which the status of some object must be looked at.
    unsettled: BTreeSet<TenantKey>,
    policies_unsettled: bool,
    strays_unsettled: bool,
    leading_since: Option<Instant>,
    /// Writes that are under way.
    busy: BTreeSet<Target>,
    /// Writes that failed: until when they rest, and for how long the next time.
    resting: BTreeMap<Target, (Instant, Duration)>,
    complete: bool,
    /// Objects that cannot be read and were told so, in which generation.
    told: BTreeMap<Target, Option<i64>>,
}

impl Decider {
    /// Takes in what comes from the API server.
    pub(crate) fn take(&mut self, change: Change, now: Instant) {
        match &change {
            Change::Policy(_) => self.policies_unsettled = true,
            Change::Profile(_) | Change::Mapping(_) => self.strays_unsettled = true,
            Change::Workload(key, _) => {
                let namespace = &key.0;
                let of = self.engine.profiles.tenants().filter(|tenant| tenant.namespace() == namespace);
                self.unsettled.extend(of.cloned());
            }
            Change::Slice(_) | Change::Tenant(_) | Change::Secret(..) => {}
        }
        let (policy, slice) = (matches!(change, Change::Policy(_)), matches!(change, Change::Slice(_)));
        self.engine.take(change);
        if policy {
            self.look_at_policies(now);
        }
        if slice {
            let existing = self.engine.slices.existing();
            if existing != self.existing {
                self.existing = existing;
                self.everything();
            }
        }
    }

    /// Takes in how the pods stand.
    pub(crate) fn pods(&mut self, pods: Arc<Pods>) {
        let before = std::mem::replace(&mut self.pods, pods);
        for name in before.keys().chain(self.pods.keys()) {
            let (old, new) = (before.get(name), self.pods.get(name));
            if old.zip(new).is_some_and(|(old, new)| Arc::ptr_eq(old, new)) {
                continue;
            }
            let (old, new) = (old.map(|pod| &**pod), new.map(|pod| &**pod));
            if old.map(|pod| &pod.stops) != new.map(|pod| &pod.stops) {
                self.policies_unsettled = true;
            }
            let changed = tenants::changed(old, new, &self.agents);
            self.unsettled.extend(changed);
        }
    }

    /// This replica writes from now on.
    pub(crate) fn lead(&mut self, now: Instant) {
        self.leading_since = Some(now);
        self.everything();
    }

    fn everything(&mut self) {
        self.unsettled.extend(self.engine.known());
        (self.policies_unsettled, self.strays_unsettled) = (true, true);
    }

    /// Compiles and publishes what changed. True once everything was read and is published.
    pub(crate) fn settle(&mut self, publisher: &Publisher, now: Instant) -> bool {
        for (tenant, outcome) in self.engine.settle() {
            match outcome {
                Outcome::Compiled(compiled) => {
                    self.know_agents(&tenant, Some(&compiled));
                    self.publish(publisher, &tenant, &compiled, now);
                }
                Outcome::Withheld => {
                    let why =
                        "The Tenant or a Secret that it names cannot be read, so pods keep what they have.";
                    self.unpublished.insert(tenant.clone(), ("Withheld", why.to_owned()));
                    publisher.withhold(&tenant);
                }
                Outcome::Gone => {
                    self.know_agents(&tenant, None);
                    self.unpublished.remove(&tenant);
                    self.published.remove(&tenant);
                    publisher.publish(&tenant, Vec::new());
                }
            }
        }
        self.unsettled.extend(self.engine.take_unsettled());
        if !self.complete && self.engine.is_complete() {
            self.complete = true;
            publisher.complete();
        }
        self.complete
    }

    fn publish(&mut self, publisher: &Publisher, tenant: &TenantKey, compiled: &Compiled, now: Instant) {
        match resources(tenant, compiled) {
            Ok(resources) => {
                let new = |one: &Resource| publisher.digest(one.name()) != Some(one.digest());
                if resources.iter().any(new) {
                    self.published.insert(tenant.clone(), now);
                }
                self.unpublished.remove(tenant);
                publisher.publish(tenant, resources);
            }
            Err(error) => {
                let why = format!(
                    "{error}, so pods keep what they have; split the Tenant, or shorten what it says."
                );
                self.unpublished.insert(tenant.clone(), ("TooLarge", why));
            }
        }
    }

    fn know_agents(&mut self, tenant: &TenantKey, compiled: Option<&Compiled>) {
        self.agents.retain(|_, of| of != tenant);
        let agents = compiled.into_iter().flat_map(|compiled| compiled.gateway.agents.values());
        self.agents.extend(agents.map(|agent| (agent.id, tenant.clone())));
        self.remember();
        self.policies_unsettled = true;
    }

    /// The Secrets that are to be watched, if these are others than before.
    pub(crate) fn take_wanted(&mut self) -> Option<BTreeSet<Key>> {
        self.engine.take_wanted()
    }

    /// The Deployments that are to be watched.
    pub(crate) fn workloads(&self) -> BTreeSet<Key> {
        let profiles = self.engine.profiles.iter().filter_map(|(key, standing)| {
            let workload = standing.good.as_ref()?.spec.workload_ref.as_ref()?;
            Some((key.0.clone(), workload.name.clone()))
        });
        profiles.collect()
    }

    /// What is to be written now; `time` stands in what is written. Only who leads may ask.
    pub(crate) fn decide(&mut self, publisher: &Publisher, now: Instant, time: Timestamp) -> Vec<Write> {
        let mut writes = Vec::new();
        if !self.engine.policies.is_complete() || !self.complete {
            return writes;
        }
        let moment = Moment { now, time };
        if std::mem::take(&mut self.policies_unsettled) {
            self.policies_unsettled = self.decide_policies(&moment, &mut writes);
        }
        for tenant in std::mem::take(&mut self.unsettled) {
            if self.decide_tenant(publisher, &tenant, &moment, &mut writes) {
                self.unsettled.insert(tenant);
            }
        }
        if std::mem::take(&mut self.strays_unsettled) {
            self.strays_unsettled = self.decide_strays(&moment, &mut writes);
        }
        writes
    }

    /// Takes in what became of a write.
    pub(crate) fn written(&mut self, written: Written, now: Instant) {
        let Written { target, answer } = written;
        self.busy.remove(&target);
        match answer {
            Answer::Tenant(object) => self.engine.tenants.written(*object),
            Answer::Profile(object) => self.engine.profiles.written(*object),
            Answer::Mapping(object) => self.engine.mappings.written(*object),
            Answer::Policy(object) => self.engine.policies.written(*object),
            Answer::Done | Answer::NotLeading => {}
            Answer::Failed => {
                let pause = self.resting.get(&target).map_or(PAUSE.0, |&(_, pause)| pause);
                self.again(&target);
                self.resting.insert(target, (now + pause, (pause * 2).min(PAUSE.1)));
                return;
            }
        }
        self.resting.remove(&target);
    }

    /// Has it decided again whether something is written.
    fn again(&mut self, target: &Target) {
        self.told.remove(target);
        let (Target::Tenant(key)
        | Target::Profile(key)
        | Target::Mapping(key)
        | Target::Deployment(key)
        | Target::Credentials(key)) = target
        else {
            self.policies_unsettled = true;
            return;
        };
        let of = self.engine.known().into_iter().filter(|tenant| tenant.namespace() == key.0);
        self.unsettled.extend(of);
        self.strays_unsettled = true;
    }

    /// Figures for metrics.
    pub(crate) fn figures(&self) -> Figures {
        let count = |n: usize| u32::try_from(n).map_or(f64::INFINITY, f64::from);
        Figures {
            tenants: count(self.engine.all().len()),
            pods: count(self.pods.len()),
            unsettled: count(self.unsettled.len()),
        }
    }

    /// Puts a write among those that are under way. False if it must wait.
    fn begin(&mut self, write: Write, moment: &Moment, writes: &mut Vec<Write>) -> bool {
        let target = write.target();
        let rests = self.resting.get(&target).is_some_and(|(until, _)| moment.now < *until);
        if rests || self.busy.len() >= WRITES || !self.busy.insert(target) {
            return false;
        }
        writes.push(write);
        true
    }
}

/// Figures for metrics.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Figures {
    /// Tenants that are compiled.
    pub(crate) tenants: f64,
    /// Pods that are connected.
    pub(crate) pods: f64,
    /// Tenants of which something is still to be decided or written.
    pub(crate) unsettled: f64,
}

/// When a decision is made.
#[derive(Debug, Clone, Copy)]
struct Moment {
    now: Instant,
    time: Timestamp,
}

/// What pods are sent of a tenant.
fn resources(tenant: &TenantKey, compiled: &Compiled) -> Result<Vec<Resource>, TooLarge> {
    let name = |kind| ResourceName { kind, tenant: tenant.clone() };
    Ok(vec![
        Resource::of(name(ResourceType::Ingest), &compiled.ingest)?,
        Resource::of(name(ResourceType::Gateway), &compiled.gateway)?,
        Resource::signing(tenant.clone(), &compiled.signing)?,
    ])
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
