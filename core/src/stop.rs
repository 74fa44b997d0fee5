//! The stop latch: whether anybody may run, in a form that only a deliberate release can undo.
//!
//! [`Latch::merge`] takes in what is seen of the NexusPolicies; [`Latch::decide`] answers for one agent. Both
//! are pure. What is seen may come late, twice, or not at all, so the rule is one-sided: any sight of a stop
//! stops, whereas absence, deletion, re-creation, an older backup, an edited selector or a relabelled agent
//! change nothing and raise an [`Alarm`]. An engagement ends only when its policy is seen without `stop` and
//! with a `release` that names it:
//!
//! - on the very object that engaged: the generation that is known here, or a later one that the object has
//!   since passed (a pod may have missed a renewal of the stop, which its admin saw and named);
//! - on another object under the same name: the very name that is known here, and no other.
//!
//! A `release` that stood there when the stop was ordered or renewed names nothing: it must be written after that.
//!
//! Nothing known is no permission: until a first answer, or a latch file, the verdict is stopped.
//!
//! [`Latch::hear`] takes in what other processes tell of the stops that they hold. It engages and widens, and does
//! nothing else: a release is seen, never heard.

mod alarm;
mod told;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::alarm::{Alarm, AlarmKind};
pub use self::told::{Heard, MAX_TOLD_BYTES, MAX_TOLD_STOPS, Told, ToldError};

use self::alarm::alarm;
use self::told::Released;
use crate::id::{AgentId, ParseIdError, TenantKey};
use crate::selector::{Labels, Selector};

/// Different scopes remembered for one engagement; beyond them it covers everybody.
const MAX_SCOPES: usize = 16;

/// The name of an engagement: `<first 8 characters of the policy's uid>-<generation>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(into = "String", try_from = "String")]
#[schemars(with = "String")]
pub struct EngagementName {
    uid_prefix: String,
    generation: u64,
}

impl EngagementName {
    /// The engagement of the object with this uid at this generation.
    #[must_use]
    pub fn new(uid: &str, generation: u64) -> Self {
        Self { uid_prefix: uid.chars().take(8).collect(), generation }
    }

    /// Whether it names an engagement of the same object as `other`, and not an earlier one.
    #[must_use]
    pub fn reaches(&self, other: &Self) -> bool {
        self.uid_prefix == other.uid_prefix && self.generation >= other.generation
    }

    /// The generation that it names.
    #[must_use]
    pub const fn generation(&self) -> u64 {
        self.generation
    }
}

impl fmt::Display for EngagementName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.uid_prefix, self.generation)
    }
}

impl From<EngagementName> for String {
    fn from(name: EngagementName) -> Self {
        name.to_string()
    }
}

impl TryFrom<String> for EngagementName {
    type Error = ParseIdError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl FromStr for EngagementName {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts =
            text.rsplit_once('-').filter(|(prefix, _)| !prefix.is_empty() && prefix.chars().count() <= 8);
        parts
            .and_then(|(prefix, generation)| Some((prefix, generation.parse().ok()?)))
            .map(|(prefix, generation)| Self { uid_prefix: prefix.to_owned(), generation })
            .ok_or_else(|| ParseIdError::new(text, "engagement name (<first 8 of the uid>-<generation>)"))
    }
}

/// Whom a policy means. Both parts must hold; an empty part holds for everybody.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Targets {
    /// These tenants.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tenants: Vec<TenantKey>,
    /// Agents with these labels.
    #[serde(skip_serializing_if = "Selector::is_empty")]
    pub agents: Selector,
}

impl Targets {
    /// Whether the policy means everybody.
    #[must_use]
    pub fn everybody(&self) -> bool {
        self.tenants.is_empty() && self.agents.is_empty()
    }

    /// Whether the policy means this agent.
    #[must_use]
    pub fn covers(&self, subject: &Subject<'_>) -> bool {
        (self.tenants.is_empty() || self.tenants.contains(subject.tenant))
            && self.agents.matches(subject.labels)
    }

    /// Whether `others` mean everybody whom these mean, as far as that can be told without the agents: selectors that differ
    /// are held to mean others.
    fn is_within(&self, others: &Self) -> bool {
        let tenants = others.tenants.is_empty()
            || !self.tenants.is_empty() && self.tenants.iter().all(|tenant| others.tenants.contains(tenant));
        tenants && (others.agents.is_empty() || others.agents == self.agents)
    }
}

/// What happens to the Deployments of stopped agents.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Workloads {
    /// They stay as they are.
    Keep,
    /// They are scaled to zero and back on release.
    #[default]
    ScaleToZero,
}

/// What happens to mirrored messages while stopped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Mirror {
    /// People's messages go on crossing.
    Run,
    /// They wait.
    #[default]
    Pause,
}

/// A NexusPolicy as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// Its generation: raised by every change of its spec.
    pub generation: u64,
    /// Whether it orders a stop.
    pub stop: bool,
    /// The engagement that it releases. A text that is no engagement's name releases nothing.
    pub release: Option<String>,
    /// Why, for people.
    pub reason: Option<String>,
    /// Whom it means.
    pub targets: Targets,
    /// What happens to Deployments.
    pub workloads: Workloads,
    /// What happens to mirrored messages.
    pub mirror: Mirror,
}

/// One agent, as the latch asks about it.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// Its tenant.
    pub tenant: &'a TenantKey,
    /// Its id.
    pub agent: AgentId,
    /// Its labels, now.
    pub labels: &'a Labels,
}

/// A stop that holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Engagement {
    /// The policy's name.
    pub policy: String,
    /// The policy's uid.
    pub uid: String,
    /// The latest generation at which it was seen to order the stop.
    pub generation: u64,
    /// Why, for people.
    pub reason: Option<String>,
    /// Everybody that it ever meant while engaged.
    pub scopes: Vec<Targets>,
    /// Agents that were known and meant: they stay meant when their labels change.
    pub agents: BTreeSet<AgentId>,
    /// The strictest that it ever ordered for Deployments.
    pub workloads: Workloads,
    /// The strictest that it ever ordered for mirrored messages.
    pub mirror: Mirror,
    /// The `release` that stood in the policy at that generation; it releases nothing until it was gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stale_release: Option<String>,
    /// Known by the word of others alone: no look at the policies has shown it here.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    heard: bool,
}

impl Engagement {
    /// The name by which it is released.
    #[must_use]
    pub fn name(&self) -> EngagementName {
        EngagementName::new(&self.uid, self.generation)
    }

    fn new(policy: &Policy) -> Self {
        Self {
            policy: policy.name.clone(),
            uid: policy.uid.clone(),
            generation: policy.generation,
            reason: policy.reason.clone(),
            scopes: vec![policy.targets.clone()],
            agents: BTreeSet::new(),
            workloads: policy.workloads,
            mirror: policy.mirror,
            stale_release: policy.release.clone(),
            heard: false,
        }
    }

    /// Whether it means everybody.
    #[must_use]
    pub fn everybody(&self) -> bool {
        self.scopes.iter().any(Targets::everybody)
    }

    /// Widens the engagement by another sight of its policy; nothing in it ever narrows.
    fn widen(&mut self, policy: &Policy) {
        self.heard = false;
        if policy.generation > self.generation {
            self.generation = policy.generation;
            // It has another name now, and what stands there was written before it.
            self.stale_release = policy.release.clone();
        }
        self.reason = policy.reason.clone().or_else(|| self.reason.take());
        self.workloads = self.workloads.max(policy.workloads);
        self.mirror = self.mirror.max(policy.mirror);
        self.reach(&policy.targets);
    }

    /// Means these as well.
    fn reach(&mut self, targets: &Targets) {
        if !self.scopes.contains(targets) {
            self.scopes.push(targets.clone());
        }
        if self.scopes.len() > MAX_SCOPES || self.everybody() {
            self.scopes = vec![Targets::default()];
        }
    }

    /// Whether it means this agent.
    #[must_use]
    pub fn covers(&self, subject: &Subject<'_>) -> bool {
        self.agents.contains(&subject.agent) || self.scopes.iter().any(|scope| scope.covers(subject))
    }

    /// Whether `policy`, seen without `stop`, releases this engagement; if so, up to which generation.
    fn released_by(&mut self, policy: &Policy) -> Option<u64> {
        if policy.name != self.policy {
            return None;
        }
        if self.stale_release.is_some() && self.stale_release == policy.release {
            return None;
        }
        // An older sight of the same object shows what was there before the stop, not that something is gone since. One of the same
        // generation that does not say stop is of a restored store, where it was edited since.
        if policy.uid != self.uid || policy.generation >= self.generation {
            self.stale_release = None;
        }
        let named = policy.release.as_deref()?.parse::<EngagementName>().ok()?;
        let own = self.name();
        // A later generation counts only if the object itself has passed it: else a name far in the future,
        // left in a manifest, would release every stop to come.
        let passed = policy.uid == self.uid && named.reaches(&own) && named.generation < policy.generation;
        (named == own || passed).then_some(named.generation)
    }
}

/// What a merge changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Merged {
    /// Stops that were engaged by it.
    pub engaged: Vec<EngagementName>,
    /// Stops that were released by it.
    pub released: Vec<EngagementName>,
    /// Whether anything that must outlive the process changed.
    pub changed: bool,
}

/// May this agent run?
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It may.
    Run,
    /// It may not.
    Stopped {
        /// The engagement, unless nothing is known yet.
        engagement: Option<EngagementName>,
        /// Why, for people.
        reason: Option<String>,
    },
}

impl Verdict {
    /// Whether the agent may run.
    #[must_use]
    pub fn may_run(&self) -> bool {
        *self == Self::Run
    }
}

/// All that is known of stops. It is what the latch file holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Latch {
    /// Whether there was ever an answer. Without one everybody is stopped.
    known: bool,
    /// Engaged stops by the uid of their policy; as many as administrators made policies.
    engagements: BTreeMap<String, Engagement>,
    /// What an admin must look at, as of the last full list.
    alarms: Vec<Alarm>,
    /// What was released here, the latest last: it counts for what is heard, never for what is seen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    released: Vec<Released>,
}

impl Latch {
    /// Whether there was ever an answer.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.known
    }

    /// The same, where it may lack a stop that came after it: until the next answer everybody is stopped.
    #[must_use]
    pub fn doubted(mut self) -> Self {
        self.known = false;
        self
    }

    /// The stops that hold.
    pub fn engagements(&self) -> impl Iterator<Item = &Engagement> {
        self.engagements.values()
    }

    /// What an admin must look at.
    #[must_use]
    pub fn alarms(&self) -> &[Alarm] {
        &self.alarms
    }

    /// May this agent run? Asked at open, on each message and on every change.
    #[must_use]
    pub fn decide(&self, subject: &Subject<'_>) -> Verdict {
        if !self.known {
            return Verdict::Stopped { engagement: None, reason: None };
        }
        match self.engagements.values().find(|engagement| engagement.covers(subject)) {
            Some(engagement) => {
                Verdict::Stopped { engagement: Some(engagement.name()), reason: engagement.reason.clone() }
            }
            None => Verdict::Run,
        }
    }

    /// Takes in of a full list only what stops: to be put in force before anything is written.
    pub fn tighten<'a>(
        &mut self,
        policies: &[Policy],
        directory: impl IntoIterator<Item = Subject<'a>>,
    ) -> Merged {
        let before = self.clone();
        self.known = true;
        let mut merged = Merged::default();
        for policy in policies.iter().filter(|policy| policy.stop) {
            self.engage(policy, &mut merged);
        }
        self.remember(directory);
        merged.changed = *self != before;
        merged
    }

    /// Takes in a full list of the policies as they stand; `directory` holds the agents known now.
    pub fn merge<'a>(
        &mut self,
        policies: &[Policy],
        directory: impl IntoIterator<Item = Subject<'a>>,
    ) -> Merged {
        let before = self.clone();
        self.known = true;
        let mut merged = Merged::default();
        for policy in policies {
            if policy.stop {
                self.engage(policy, &mut merged);
            } else {
                self.release(policy, &mut merged);
            }
        }
        let held = !self.engagements.is_empty();
        let directory: Vec<_> = directory.into_iter().take_while(|_| held).collect();
        let alarm = |engagement| alarm(engagement, policies, &directory);
        self.alarms = self.engagements.values().filter_map(alarm).collect();
        self.remember(directory);
        merged.changed = *self != before;
        merged
    }

    /// Binds every agent that an engaged stop means, so that it stays meant. True when one was added.
    pub fn remember<'a>(&mut self, directory: impl IntoIterator<Item = Subject<'a>>) -> bool {
        if self.engagements.is_empty() {
            return false;
        }
        let mut added = false;
        for subject in directory {
            for engagement in self.engagements.values_mut() {
                added |= engagement.covers(&subject) && engagement.agents.insert(subject.agent);
            }
        }
        added
    }

    fn engage(&mut self, policy: &Policy, merged: &mut Merged) {
        match self.engagements.get_mut(&policy.uid) {
            Some(engagement) => engagement.widen(policy),
            None => {
                let engagement = Engagement::new(policy);
                merged.engaged.push(engagement.name());
                self.engagements.insert(policy.uid.clone(), engagement);
            }
        }
    }

    fn release(&mut self, policy: &Policy, merged: &mut Merged) {
        let mut marks = Vec::new();
        self.engagements.retain(|_, engagement| {
            let Some(upto) = engagement.released_by(policy) else { return true };
            merged.released.push(engagement.name());
            marks.push(Released { uid: engagement.uid.clone(), generation: upto });
            false
        });
        marks.into_iter().for_each(|mark| self.mark(mark));
    }
}

#[cfg(test)]
#[path = "stop_tests.rs"]
mod tests;
