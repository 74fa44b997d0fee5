//! What an admin must look at while a stop holds.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Engagement, EngagementName, Policy, Subject, Targets};

/// Something that an admin must look at: a stop holds although its policy no longer orders it, or not of all whom it holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Alarm {
    /// The engagement that holds.
    pub engagement: EngagementName,
    /// Its policy.
    pub policy: String,
    /// What is wrong.
    pub what: AlarmKind,
}

/// What is wrong with an engaged policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", tag = "kind")]
pub enum AlarmKind {
    /// The policy is gone.
    Absent,
    /// Another object stands under its name.
    Recreated,
    /// Its generation went back, as after a restore from an older backup.
    GenerationWentBack,
    /// Its targets are others than those that it stopped, all of whom stay stopped.
    Narrowed,
    /// Agents that it stopped do not match it any more, as after a change of their labels. They stay stopped.
    Unmatched {
        /// How many of those that are known here.
        agents: usize,
    },
    /// `stop` was taken back without a release.
    NotReleased,
    /// `release` was there before the stop.
    StaleRelease,
    /// Another gateway engaged it, and there is no such policy here.
    UnknownHere,
    /// Another gateway engaged it, and the policy as it is seen here does not order it.
    NotOrderedHere,
    /// `release` names something else.
    WrongRelease {
        /// What it names.
        named: String,
    },
}

impl fmt::Display for Alarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { engagement, policy, what } = self;
        match what {
            AlarmKind::Absent => write!(f, "policy {policy} is gone")?,
            AlarmKind::Recreated => write!(f, "policy {policy} is another object than the one that engaged")?,
            AlarmKind::GenerationWentBack => write!(f, "policy {policy} went back to an older generation")?,
            AlarmKind::Narrowed => write!(f, "policy {policy} means others than those that it stopped")?,
            AlarmKind::Unmatched { agents } => {
                write!(f, "{agents} agents that policy {policy} stopped do not match it any more")?;
            }
            AlarmKind::NotReleased => write!(f, "policy {policy} no longer says stop, but releases nothing")?,
            AlarmKind::StaleRelease => {
                write!(
                    f,
                    "the release in policy {policy} was there before the stop: take it out, then set it anew"
                )?;
            }
            AlarmKind::WrongRelease { named } => {
                write!(f, "policy {policy} releases `{named}`, which is not engaged")?
            }
            AlarmKind::UnknownHere => {
                write!(f, "another gateway engaged this stop, and there is no policy {policy} here")?;
            }
            AlarmKind::NotOrderedHere => {
                write!(f, "another gateway engaged this stop, which policy {policy} does not order here")?;
            }
        }
        write!(f, "; the stop holds until `spec.release: {engagement}`")
    }
}

/// What is wrong with the policy of an engagement, given all policies as they stand, and the agents known now.
pub(super) fn alarm(
    engagement: &Engagement,
    policies: &[Policy],
    directory: &[Subject<'_>],
) -> Option<Alarm> {
    let policy = policies.iter().find(|policy| policy.name == engagement.policy);
    let what =
        if engagement.heard { of_heard(engagement, policy) } else { of_seen(engagement, policy, directory) };
    what.map(|what| Alarm { engagement: engagement.name(), policy: engagement.policy.clone(), what })
}

/// Of a stop that was seen here.
fn of_seen(engagement: &Engagement, policy: Option<&Policy>, directory: &[Subject<'_>]) -> Option<AlarmKind> {
    match policy {
        None => Some(AlarmKind::Absent),
        Some(policy) if policy.uid != engagement.uid => Some(AlarmKind::Recreated),
        Some(policy) if policy.generation < engagement.generation => {
            let stale = policy.release.is_some() && policy.release == engagement.stale_release;
            Some(if stale { AlarmKind::StaleRelease } else { AlarmKind::GenerationWentBack })
        }
        Some(policy) if policy.stop => of_targets(engagement, &policy.targets, directory),
        Some(policy) => of_release(engagement, policy).or(Some(AlarmKind::NotReleased)),
    }
}

/// Of a stop that is ordered, but not of all whom it holds.
fn of_targets(engagement: &Engagement, now: &Targets, directory: &[Subject<'_>]) -> Option<AlarmKind> {
    if !engagement.scopes.iter().all(|scope| scope.is_within(now)) {
        return Some(AlarmKind::Narrowed);
    }
    let unmatched =
        |subject: &&Subject<'_>| engagement.agents.contains(&subject.agent) && !now.covers(subject);
    let agents = directory.iter().filter(unmatched).count();
    (agents > 0).then_some(AlarmKind::Unmatched { agents })
}

/// Of a stop that others told of. Its policy may be another object here, and this may look later than they.
fn of_heard(engagement: &Engagement, policy: Option<&Policy>) -> Option<AlarmKind> {
    match policy {
        None => Some(AlarmKind::UnknownHere),
        Some(policy) if policy.stop => None,
        Some(policy) => of_release(engagement, policy).or(Some(AlarmKind::NotOrderedHere)),
    }
}

/// Of a release that releases something else.
fn of_release(engagement: &Engagement, policy: &Policy) -> Option<AlarmKind> {
    let named = policy.release.as_ref()?;
    if policy.release == engagement.stale_release {
        return Some(AlarmKind::StaleRelease);
    }
    Some(AlarmKind::WrongRelease { named: named.clone() })
}
