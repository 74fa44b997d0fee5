//! Which Deployments a stop scales to zero, and which it gives back: decided for each Deployment, for several agents may name one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt as _;
use nexus_core::id::{AgentId, TenantKey};
use nexus_core::stop::{EngagementName, Subject, Workloads};
use nexus_crds::AgentProfile;
use nexus_wire::config::Role;

use super::{Decider, Moment, PODS_COME, WATCH_FIRST};
use crate::engine::{Change, Observed};
use crate::objects::{Key, OfTenant as _};
use crate::scale::{Record, Step, step};
use crate::write::{Note, Scaled, Target, Write, about};

/// How long scaling waits for its record in a status. The annotation is set in the same write, so nothing is lost without it; and a
/// status may be refused for as long as the stop holds.
const RECORDED: Duration = Duration::from_millis(500);

/// An agent that names a Deployment.
struct User {
    key: Key,
    profile: Arc<AgentProfile>,
    /// Whether its status can be written: it can be read, and all that it is judged by.
    readable: bool,
}

impl Decider {
    /// Decides for all Deployments. True if it must be done again.
    pub(super) fn decide_scaling(&mut self, moment: &Moment, writes: &mut Vec<Write>) -> bool {
        let (mut records, mut pending) = (BTreeMap::new(), BTreeSet::new());
        let users = self.users();
        let wanted: BTreeSet<_> = users.keys().cloned().collect();
        self.engine.workloads.retain(|key, _| wanted.contains(key));
        self.recording.retain(|key, _| wanted.contains(key));
        self.reached.retain(|key, _| wanted.contains(key));
        let mut again = self.refused.settle(&wanted, moment.now) | self.forget_unnamed(moment, &mut records);
        for (deployment, users) in &users {
            let (steps, wait) = self.next(deployment, users, moment);
            again |= wait || !steps.is_empty();
            for step in steps {
                match step {
                    Step::Record(record) => {
                        for user in users.iter().filter(|user| user.readable) {
                            records.insert(user.key.clone(), record.clone());
                            self.unsettled.extend(user.profile.tenant());
                        }
                    }
                    Step::Scale { replicas, held } => {
                        self.scale(deployment, users, (replicas, held), moment, writes);
                        pending.insert(deployment.clone());
                    }
                }
            }
        }
        self.records = records;
        self.refused.pending(pending);
        for (deployment, users) in users {
            let reach = self.reach(&deployment);
            if self.reached.insert(deployment, reach) != Some(reach) {
                self.unsettled.extend(users.iter().filter_map(|user| user.profile.tenant()));
            }
        }
        again
    }

    /// Takes the record from profiles that name no Deployment any more, once nothing stops them. True if it must be done again.
    fn forget_unnamed(&mut self, moment: &Moment, records: &mut BTreeMap<Key, Record>) -> bool {
        let mut again = false;
        let recorded = self.engine.profiles.iter().filter_map(|(key, standing)| {
            let profile = standing.good.clone().filter(|good| good.spec.workload_ref.is_none())?;
            let record = Record::of(profile.status.as_ref());
            (standing.broken.is_none() && record != Record::default()).then(|| (key.clone(), profile, record))
        });
        for (key, profile, record) in recorded.collect::<Vec<_>>() {
            if self.stopped(&profile, &record).is_some() {
                continue;
            }
            again = true;
            if self.may_restore(moment) {
                records.insert(key, Record::default());
                self.unsettled.extend(profile.tenant());
            }
        }
        again
    }

    /// The agents that name Deployments, by Deployment.
    fn users(&self) -> BTreeMap<Key, Vec<User>> {
        let mut users: BTreeMap<Key, Vec<User>> = BTreeMap::new();
        for (key, standing) in self.engine.profiles.iter() {
            let Some(profile) = standing.good.clone() else { continue };
            let Some(workload) = &profile.spec.workload_ref else { continue };
            let deployment = (key.0.clone(), workload.name.clone());
            let readable = standing.broken.is_none() && self.complete;
            users.entry(deployment).or_default().push(User { key: key.clone(), profile, readable });
        }
        users
    }

    /// The next steps for a Deployment, and whether it is too early for them.
    fn next(&mut self, deployment: &Key, users: &[User], moment: &Moment) -> (Vec<Step>, bool) {
        let workload = match self.engine.workloads.get(deployment) {
            Some(Observed::There(workload)) => Some(workload.clone()),
            Some(Observed::Missing) => None,
            // Nothing is done to what nobody has looked at.
            Some(Observed::Unreadable(_)) | None => return (Vec::new(), false),
        };
        let records: Vec<_> = users.iter().map(|user| Record::of(user.profile.status.as_ref())).collect();
        let mut stops =
            users.iter().zip(&records).filter_map(|(user, record)| self.stopped(&user.profile, record));
        let stopped = stops.next();
        // All of those whose status can be written must have the record. Where there is none, the annotation is all.
        let readable = users.iter().zip(&records).filter(|(user, _)| user.readable);
        let readable: Vec<_> = readable.map(|(_, record)| record).collect();
        let next = step(stopped.as_ref(), &readable, workload.as_ref());
        if stopped.is_none() && next.is_some() && !self.may_restore(moment) {
            return (Vec::new(), true);
        }
        let (Some(Step::Record(record)), Some(_)) = (&next, &stopped) else {
            self.recording.remove(deployment);
            return (next.into_iter().collect(), false);
        };
        let since = *self.recording.entry(deployment.clone()).or_insert(moment.now);
        let waited = moment.now.saturating_duration_since(since) >= RECORDED;
        let then = waited.then(|| step(stopped.as_ref(), &[record], workload.as_ref())).flatten();
        (next.into_iter().chain(then).collect(), false)
    }

    /// Whether pods had the time to tell of stops that no object shows.
    fn may_restore(&self, moment: &Moment) -> bool {
        let Some(since) = self.leading_since else { return false };
        let led = moment.now.saturating_duration_since(since);
        let gateways = self.existing.get(&Role::Gateway);
        let told = |pod: &String| {
            let stops = self.connected.get(pod).and_then(|pod| pod.stops.as_ref());
            stops.is_some_and(|stops| stops.known)
        };
        let all = gateways.into_iter().flatten().all(told);
        // What was relabelled is known by what is compiled.
        self.complete && (led >= PODS_COME || (led >= WATCH_FIRST && all))
    }

    /// The engagement that scales an agent to zero: one that means it, or the one that took its replicas and holds still.
    fn stopped(&self, profile: &AgentProfile, record: &Record) -> Option<EngagementName> {
        let tenant: TenantKey = profile.tenant()?;
        let agent = AgentId::of(&tenant, &profile.name_any());
        let known = self.engine.compiled(&tenant);
        let known = known.and_then(|compiled| compiled.gateway.agents.get(&profile.name_any()));
        let labels = known.map_or_else(|| profile.labels().clone(), |agent| agent.labels.clone());
        let subject = Subject { tenant: &tenant, agent, labels: &labels };
        let scaling = || self.latch.engagements().filter(|stop| stop.workloads == Workloads::ScaleToZero);
        if let Some(stop) = scaling().find(|stop| stop.covers(&subject)) {
            return Some(stop.name());
        }
        if let Some(name) = self.held_by_all(&subject) {
            return Some(name);
        }
        let by: EngagementName = record.by.as_deref()?.parse().ok()?;
        let of_pods = self.pods.values().filter_map(|pod| pod.stops.as_ref()).flat_map(|stops| &stops.held);
        let mut of_pods = of_pods.filter_map(|held| held.engagement.parse::<EngagementName>().ok());
        let holds = scaling().any(|stop| stop.name().reaches(&by)) || of_pods.any(|name| name.reaches(&by));
        holds.then_some(by)
    }

    /// A stop that every gateway holds, of a policy that means an agent and does not show it: the store was restored from before the
    /// stop, and this operator began after that. One gateway alone may merely have missed the release.
    fn held_by_all(&self, subject: &Subject<'_>) -> Option<EngagementName> {
        let gateways = self.existing.get(&Role::Gateway)?;
        let holds = |pod: &String| self.pods.get(pod)?.stops.as_ref().map(|stops| !stops.held.is_empty());
        // Mostly nobody holds anything.
        gateways.iter().all(|pod| holds(pod) == Some(true)).then_some(())?;
        self.standing().into_iter().find_map(|policy| {
            let held = |pod: &String| {
                let held = &self.pods.get(pod)?.stops.as_ref()?.held;
                let ours = held.iter().filter(|held| held.uid == policy.uid);
                ours.filter_map(|held| held.engagement.parse::<EngagementName>().ok()).max()
            };
            let means = policy.workloads == Workloads::ScaleToZero && policy.targets.covers(subject);
            let name =
                means.then(|| gateways.iter().map(held).collect::<Option<Vec<_>>>())??.into_iter().max()?;
            let release =
                policy.release.as_deref().and_then(|release| release.parse::<EngagementName>().ok());
            (!release.is_some_and(|release| release.reaches(&name))).then_some(name)
        })
    }

    /// Takes in how a Deployment is after it was scaled, or after that was refused since it had changed.
    pub(super) fn scaled(&mut self, target: &Target, answer: Scaled) {
        let Target::Deployment(key) = target else { return };
        self.refused.scaled(key, false);
        self.scaling_unsettled = true;
        let known = match self.engine.workloads.get(key) {
            Some(Observed::There(workload)) => &workload.revision,
            _ => return,
        };
        // Unless its watch said something meanwhile: that is later than what was written.
        if *known == answer.sent {
            self.engine.take(Change::Workload(key.clone(), answer.now));
        }
    }

    /// Scales a Deployment.
    fn scale(
        &mut self,
        deployment: &Key,
        users: &[User],
        (replicas, held): (Option<u32>, Option<u32>),
        moment: &Moment,
        writes: &mut Vec<Write>,
    ) {
        let name = &deployment.1;
        let note = |warning, reason: &str, message: String, user: &User| {
            let (reason, about) = (reason.to_owned(), about(&*user.profile));
            Note { warning, reason, action: "Scale", message, about }
        };
        let notes = users.iter().filter_map(|user| match (replicas, held) {
            (_, Some(held)) => {
                let message =
                    format!("Deployment {name} had {held} replicas and has none while the stop holds.");
                Some(note(true, "ScaledToZero", message, user))
            }
            (Some(replicas), None) => {
                let message = format!("Deployment {name} has {replicas} replicas again.");
                Some(note(false, "ScaleRestored", message, user))
            }
            (None, None) => None,
        });
        let revision = match self.engine.workloads.get(deployment) {
            Some(Observed::There(workload)) => workload.revision.clone(),
            _ => None,
        };
        let notes = notes.collect();
        let write = Write::Scale { key: deployment.clone(), replicas, held, revision, notes };
        self.begin(write, moment, writes);
    }
}
