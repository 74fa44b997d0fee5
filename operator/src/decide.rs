//! What is to be published and what is to be written, given all that is known. Pure: the time is handed in.
//!
//! Every decision is made anew from the whole state of its subject, so that it does not matter which changes came, in which order or
//! how often. A write that is under way, or that failed a moment ago, is waited for; then it is decided again.

mod policies;
mod reach;
mod scaling;
mod tenants;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use nexus_compile::Compiled;
use nexus_core::id::{AgentId, TenantKey};
use nexus_core::stop::Latch;
use nexus_wire::config::{Pods, Publisher, Resource, ResourceName, ResourceType, Role, TooLarge};
use tokio::time::Instant;

use self::reach::{Reach, Refused};
use crate::engine::{Change, Engine, Outcome};
use crate::objects::{Broken, Key};
use crate::scale::Record;
use crate::status::Existing;
use crate::write::{Answer, Target, Write, Written};

/// How long pods may take to answer before it is said that they did not.
const ANSWER: Duration = Duration::from_secs(1);

/// The most writes that are under way.
const WRITES: usize = 32;

/// The pause after a failed write of one object, and the longest.
const PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// Within this time more Tenants than so many, and more than so many of a hundred, are not taken from pods.
const GONE_WITHIN: Duration = Duration::from_secs(60);
const MANY: usize = 10;
const MOST_PERCENT: usize = 30;

/// How long a pod that exists may be without a connection before that counts: longer than its longest pause.
const ABSENT: Duration = Duration::from_secs(20);

/// How long a write that no answer shows waits for the watch.
const SEEN: Duration = Duration::from_secs(1);

/// For how long at most a restore waits for pods that do not come.
const PODS_COME: Duration = Duration::from_secs(60);

/// How long a new leader watches before it restores what a stop took: pods may hold a stop that no object shows.
const WATCH_FIRST: Duration = Duration::from_secs(3);

/// The state.
#[derive(Debug, Default)]
pub(crate) struct Decider {
    engine: Engine,
    /// How pods stand, those included that lost their connection a moment ago.
    pods: Arc<Pods>,
    connected: Arc<Pods>,
    existing: Existing,
    /// Pods that exist and are not connected, and since when.
    absent: BTreeMap<String, Instant>,
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
    scaling_unsettled: bool,
    /// Whether profiles may name other Deployments than before.
    profiles_changed: bool,
    /// What a stop is to record of profiles, where that is not what stands there.
    records: BTreeMap<Key, Record>,
    /// Since when a Deployment waits for its record before it is scaled.
    recording: BTreeMap<Key, Instant>,
    refused: Refused,
    /// Whether a stop reaches Deployments, as of the last decision.
    reached: BTreeMap<Key, Reach>,
    strays_unsettled: bool,
    leading_since: Option<Instant>,
    /// Writes that are under way.
    busy: BTreeSet<Target>,
    /// Writes that failed: until when they rest, and for how long the next time.
    resting: BTreeMap<Target, (Instant, Duration)>,
    complete: bool,
    /// When Tenants were deleted lately.
    gone: Vec<Instant>,
    /// Tenants that are deleted and stay with pods.
    held_back: BTreeSet<TenantKey>,
    /// Objects that cannot be read and were told so, as they were then.
    told: BTreeMap<Target, Broken>,
}

impl Decider {
    /// Takes in what comes from the API server.
    pub(crate) fn take(&mut self, change: Change, now: Instant) {
        self.profiles_changed |= matches!(change, Change::Profile(_));
        match &change {
            Change::Policy(_) => self.policies_unsettled = true,
            Change::Profile(_) | Change::Mapping(_) => self.strays_unsettled = true,
            Change::Workload(..) | Change::Slice(_) | Change::Tenant(_) | Change::Secret(..) => {}
        }
        if matches!(change, Change::Workload(..) | Change::Profile(_) | Change::Policy(_)) {
            self.scaling_unsettled = true;
        }
        if let Change::Workload(key, observed) = &change {
            self.refused.heard(key, observed, now);
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
                self.note_absent(now);
                self.everything();
            }
        }
    }

    /// Notes which pods exist and are not connected, and since when.
    fn note_absent(&mut self, now: Instant) {
        let absent = self.existing.values().flatten().filter(|pod| !self.connected.contains_key(*pod));
        let absent = absent.map(|pod| (pod.clone(), self.absent.get(pod).copied().unwrap_or(now)));
        self.absent = absent.collect();
    }

    /// Takes in how the pods stand. One that exists and has lost its connection stands as it was, for a while.
    pub(crate) fn pods(&mut self, connected: Arc<Pods>, now: Instant) {
        self.connected = connected;
        self.note_absent(now);
        let mut pods = (*self.connected).clone();
        for (name, since) in &self.absent {
            if now.saturating_duration_since(*since) < ABSENT
                && let Some(pod) = self.pods.get(name)
            {
                pods.insert(name.clone(), Arc::clone(pod));
            }
        }
        self.stand(Arc::new(pods));
    }

    /// Lets go of pods that stayed away.
    fn forget_absent(&mut self, now: Instant) {
        let gone = self.absent.values().any(|since| now.saturating_duration_since(*since) >= ABSENT);
        if gone && self.pods.len() > self.connected.len() {
            self.pods(Arc::clone(&self.connected), now);
        }
    }

    /// Whether some pod that exists may still come and tell how it stands.
    fn awaits_pods(&self, now: Instant) -> bool {
        self.absent.values().any(|since| now.saturating_duration_since(*since) < ABSENT)
    }

    /// Whether a gateway that exists may still come, of which nothing is known so far.
    fn awaits_gateways(&self, now: Instant) -> bool {
        let Some(gateways) = self.existing.get(&Role::Gateway) else { return false };
        self.absent.iter().any(|(pod, since)| {
            let comes = now.saturating_duration_since(*since) < ABSENT;
            comes && gateways.contains(pod) && !self.pods.contains_key(pod)
        })
    }

    fn stand(&mut self, pods: Arc<Pods>) {
        let before = std::mem::replace(&mut self.pods, pods);
        for name in before.keys().chain(self.pods.keys()) {
            let (old, new) = (before.get(name), self.pods.get(name));
            if old.zip(new).is_some_and(|(old, new)| Arc::ptr_eq(old, new)) {
                continue;
            }
            let (old, new) = (old.map(|pod| &**pod), new.map(|pod| &**pod));
            if old.map(|pod| &pod.stops) != new.map(|pod| &pod.stops) {
                (self.policies_unsettled, self.scaling_unsettled) = (true, true);
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
        (self.policies_unsettled, self.strays_unsettled, self.scaling_unsettled) = (true, true, true);
    }

    /// Compiles and publishes what changed. True once everything was read and is published.
    pub(crate) fn settle(&mut self, publisher: &Publisher, now: Instant) -> bool {
        for (tenant, outcome) in self.engine.settle() {
            match outcome {
                Outcome::Compiled(compiled, withheld) => {
                    self.know_agents(&tenant, Some(&compiled));
                    self.publish(publisher, &tenant, &compiled, &withheld, now);
                }
                Outcome::Withheld => {
                    let why = "The Tenant cannot be read, so pods keep what they have of it.";
                    self.unpublished.insert(tenant.clone(), ("Withheld", why.to_owned()));
                    publisher.publish_but(&tenant, Vec::new(), &ResourceType::ALL);
                }
                Outcome::Gone => self.gone(publisher, &tenant, now),
            }
        }
        self.unsettled.extend(self.engine.take_unsettled());
        if !self.complete && self.engine.is_complete() {
            self.complete = true;
            // Scaling was decided before, without what only tells.
            self.scaling_unsettled = true;
            publisher.complete();
        }
        self.complete
    }

    /// A tenant is no more. Where many go at once, somebody may have deleted more than he meant: pods then keep what they have.
    fn gone(&mut self, publisher: &Publisher, tenant: &TenantKey, now: Instant) {
        // Also when the last object that names it goes, however long after.
        if self.held_back.contains(tenant) {
            return;
        }
        self.know_agents(tenant, None);
        self.unpublished.remove(tenant);
        if self.published.remove(tenant).is_some() {
            self.gone.retain(|at| now.saturating_duration_since(*at) < GONE_WITHIN);
            // Bounded by how many there were.
            self.gone.push(now);
        }
        let (gone, left) = (self.gone.len(), self.engine.all().len());
        if gone > MANY && gone * 100 > (gone + left) * MOST_PERCENT {
            tracing::error!(
                %tenant, gone, left,
                "many Tenants are deleted at once, so pods keep what they have of this one; restart the operators if that is meant"
            );
            self.held_back.insert(tenant.clone());
            publisher.publish_but(tenant, Vec::new(), &ResourceType::ALL);
            return;
        }
        publisher.publish(tenant, Vec::new());
    }

    fn publish(
        &mut self,
        publisher: &Publisher,
        tenant: &TenantKey,
        compiled: &Compiled,
        withheld: &[ResourceType],
        now: Instant,
    ) {
        match resources(tenant, compiled) {
            Ok(resources) => {
                let new = |one: &Resource| publisher.digest(one.name()) != Some(one.digest());
                self.held_back.remove(tenant);
                if resources.iter().any(new) {
                    self.published.insert(tenant.clone(), now);
                }
                self.unpublished.remove(tenant);
                if !withheld.is_empty() {
                    let why = "A Secret that it names cannot be read, so pods keep what they have of it.";
                    self.unpublished.insert(tenant.clone(), ("Withheld", why.to_owned()));
                }
                publisher.publish_but(tenant, resources, withheld);
            }
            Err(error) => {
                let why = format!(
                    "{error}, so pods keep what they have; split the Tenant, or shorten what it says."
                );
                self.unpublished.insert(tenant.clone(), ("TooLarge", why));
                publisher.publish_but(tenant, Vec::new(), &ResourceType::ALL);
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

    /// The Deployments that are to be watched, if these may be others than before.
    pub(crate) fn take_workloads(&mut self) -> Option<BTreeSet<Key>> {
        std::mem::take(&mut self.profiles_changed).then(|| self.workloads())
    }

    fn workloads(&self) -> BTreeSet<Key> {
        let profiles = self.engine.profiles.iter().filter_map(|(key, standing)| {
            let workload = standing.good.as_ref()?.spec.workload_ref.as_ref()?;
            Some((key.0.clone(), workload.name.clone()))
        });
        profiles.collect()
    }

    /// What is to be written now; `time` stands in what is written. Only who leads may ask.
    pub(crate) fn decide(&mut self, publisher: &Publisher, now: Instant, time: Timestamp) -> Vec<Write> {
        let mut writes = Vec::new();
        let engine = &self.engine;
        self.told.retain(|target, broken| engine.broken(target) == Some(broken));
        // What stops must not wait for what merely tells, which needs every Secret to be looked at.
        if !self.engine.policies.is_complete() || !self.engine.profiles.is_complete() {
            return writes;
        }
        let moment = Moment { now, time };
        self.forget_absent(now);
        if std::mem::take(&mut self.scaling_unsettled) {
            self.scaling_unsettled = self.decide_scaling(&moment, &mut writes);
        }
        if std::mem::take(&mut self.policies_unsettled) {
            self.policies_unsettled = self.decide_policies(&moment, &mut writes);
        }
        if !self.complete {
            return writes;
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
            Answer::Scaled(answer) => self.scaled(&target, answer),
            Answer::Done if matches!(target, Target::Deployment(_) | Target::Credentials(_)) => {
                // The watch tells in a moment; until then it would be done again.
                self.resting.insert(target, (now + SEEN, PAUSE.0));
                return;
            }
            Answer::Done | Answer::NotLeading => {}
            Answer::Failed | Answer::Refused => {
                if let (Target::Deployment(key), Answer::Refused) = (&target, answer) {
                    self.refused.scaled(key, true);
                }
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
        (self.strays_unsettled, self.scaling_unsettled) = (true, true);
    }

    /// Figures for metrics.
    pub(crate) fn figures(&self) -> Figures {
        let count = |n: usize| u32::try_from(n).map_or(f64::INFINITY, f64::from);
        Figures {
            tenants: count(self.engine.all().len()),
            pods: count(self.pods.len()),
            unsettled: count(self.unsettled.len()),
            held_back: count(self.held_back.len()),
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
    /// Tenants that are deleted and stay with pods, since many were deleted at once.
    pub(crate) held_back: f64,
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
