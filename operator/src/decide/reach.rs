//! Whether a stop reaches the Deployments that profiles name: what may not be watched or scaled runs on through a stop, and must say so
//! before one comes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use nexus_compile::{Condition, ConditionType, ObjectConditions, Reason, Status};
use nexus_crds::AgentProfile;
use tokio::time::Instant;

use super::Decider;
use crate::engine::Observed;
use crate::objects::Key;
use crate::scale::Workload;
use crate::watch::FORBIDDEN;

/// What could not be watched is granted once it can be read for so long: a list may be granted where a watch is not.
const GRANTED: Duration = Duration::from_secs(5);

/// Whether a stop reaches a Deployment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Reach {
    /// Not looked at yet, or about to be scaled: what stands there stays.
    #[default]
    Unknown,
    /// It does.
    Well,
    /// There is none.
    Missing,
    /// It may not be watched.
    Unwatched,
    /// To scale it is refused.
    Unscaled,
}

/// Deployments that are refused to the operator.
#[derive(Debug, Default)]
pub(super) struct Refused {
    /// Those that may not be watched, and since when they can be read nevertheless.
    unwatched: BTreeMap<Key, Option<Instant>>,
    /// Those that may not be scaled.
    unscaled: BTreeSet<Key>,
    /// Those that are to be scaled.
    pending: BTreeSet<Key>,
}

impl Refused {
    /// Takes in what a watch says.
    pub(super) fn heard(&mut self, key: &Key, observed: &Observed<Workload>, now: Instant) {
        match observed {
            Observed::Unreadable(why) if why == FORBIDDEN => drop(self.unwatched.insert(key.clone(), None)),
            // The API server does not answer: that says nothing of rights.
            Observed::Unreadable(_) => {}
            Observed::There(_) | Observed::Missing => {
                if let Some(since) = self.unwatched.get_mut(key) {
                    since.get_or_insert(now);
                }
            }
        }
    }

    /// The API server refuses that a Deployment is scaled, or does it.
    pub(super) fn scaled(&mut self, key: &Key, refused: bool) {
        match refused {
            true => drop(self.unscaled.insert(key.clone())),
            false => drop(self.unscaled.remove(key)),
        }
    }

    /// Forgets what is granted, and what is not wanted any more. True if something may soon turn out to be granted.
    pub(super) fn settle(&mut self, wanted: &BTreeSet<Key>, now: Instant) -> bool {
        let granted =
            |since: &Option<Instant>| since.is_some_and(|at| now.saturating_duration_since(at) >= GRANTED);
        self.unwatched.retain(|key, since| wanted.contains(key) && !granted(since));
        self.unwatched.values().any(Option::is_some)
    }

    /// Takes in which Deployments are to be scaled: nobody knows whether the others could be.
    pub(super) fn pending(&mut self, pending: BTreeSet<Key>) {
        self.unscaled.retain(|key| pending.contains(key));
        self.pending = pending;
    }
}

impl Decider {
    /// Whether a stop reaches a Deployment, as far as is known now.
    pub(super) fn reach(&self, key: &Key) -> Reach {
        if self.refused.unwatched.contains_key(key) {
            return Reach::Unwatched;
        }
        if self.refused.unscaled.contains(key) {
            return Reach::Unscaled;
        }
        match self.engine.workloads.get(key) {
            Some(Observed::There(_)) if self.refused.pending.contains(key) => Reach::Unknown,
            Some(Observed::There(_)) => Reach::Well,
            Some(Observed::Missing) => Reach::Missing,
            Some(Observed::Unreadable(_)) | None => Reach::Unknown,
        }
    }

    /// What was found of a profile, and of the Deployment that it names.
    pub(super) fn with_workload(
        &self,
        object: &ObjectConditions,
        profile: &AgentProfile,
    ) -> ObjectConditions {
        let mut object = object.clone();
        let Some(workload) = &profile.spec.workload_ref else { return object };
        let (name, key) = (&workload.name, (object.namespace.clone(), workload.name.clone()));
        let mut refer = |wrong, reason, what: &str, remedy: &str| {
            object.refer(wrong, reason, "spec.workloadRef", &format!("{what} Deployment `{name}`"), remedy);
        };
        match self.reached.get(&key).copied().unwrap_or_default() {
            Reach::Well => {}
            Reach::Missing => refer(
                false,
                Reason::WorkloadNotFound,
                "a stop scales nothing while there is no",
                "deploy it, or name the one that runs the agent",
            ),
            Reach::Unwatched => refer(
                true,
                Reason::WorkloadForbidden,
                "no stop reaches what the operator may not watch,",
                "print the namespace's Role anew with `nexus rbac` and apply it",
            ),
            Reach::Unscaled => refer(
                true,
                Reason::WorkloadForbidden,
                "a stop holds, and the API server refuses that the operator scales",
                "print the namespace's Role anew with `nexus rbac` and apply it; where that grants `patch`, look for the admission \
                 policy that refuses",
            ),
            Reach::Unknown => stays(&mut object, profile),
        }
        object
    }
}

/// What was said of the Deployment last goes on to hold: a leader that begins would else take it back for a moment.
fn stays(object: &mut ObjectConditions, profile: &AgentProfile) {
    let conditions = profile.status.as_ref().map_or(&[][..], |status| &status.conditions);
    let present = conditions.iter().find(|condition| condition.type_ == ConditionType::ResolvedRefs.name());
    let kept = present.and_then(|present| {
        let reasons = [Reason::WorkloadForbidden, Reason::WorkloadNotFound];
        let reason = reasons.into_iter().find(|reason| reason.name() == present.reason)?;
        let status = if present.status == "True" { Status::True } else { Status::False };
        Some((present.observed_generation, reason, status, &present.message))
    });
    let ours = |one: &&mut Condition| one.kind == ConditionType::ResolvedRefs && one.status == Status::True;
    if let Some((generation, reason, status, message)) = kept
        && let Some(condition) = object.conditions.iter_mut().find(ours)
        && condition.observed_generation == generation
    {
        (condition.reason, condition.status, condition.message) = (reason, status, message.clone());
    }
}
