//! What status says: conditions from what was compiled and from what pods report. Pure.
//!
//! A status is written only when it differs, and a condition's time changes only with its value, so that an idle system
//! writes nothing.

mod agent;
mod policy;
mod programmed;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use nexus_compile::{ObjectConditions, Status};
use nexus_crds::{MappingStatus, TenantStatus};

pub(crate) use agent::{Seen, agent, seen};
pub(crate) use policy::{Reported, policy};
pub(crate) use programmed::{Existing, Programmed, programmed};

/// A condition that is to hold; its time is that of its last change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Aspect {
    /// Its type.
    pub(crate) kind: &'static str,
    /// Whether it holds.
    pub(crate) holds: bool,
    /// Why, for programs.
    pub(crate) reason: String,
    /// Why, for people.
    pub(crate) message: String,
    /// `metadata.generation` of the object that was judged.
    pub(crate) generation: Option<i64>,
}

impl Aspect {
    fn is(&self, condition: &Condition) -> bool {
        condition.type_ == self.kind && condition.status == word(self.holds)
    }

    /// The condition; `present` are those that stand there.
    fn condition(self, present: &[Condition], now: Timestamp) -> Condition {
        let since = present.iter().find(|condition| self.is(condition));
        let since = since.map_or(Time(now), |condition| condition.last_transition_time.clone());
        Condition {
            type_: self.kind.to_owned(),
            status: word(self.holds).to_owned(),
            reason: self.reason,
            message: self.message,
            observed_generation: self.generation,
            last_transition_time: since,
        }
    }
}

fn word(holds: bool) -> &'static str {
    if holds { "True" } else { "False" }
}

/// What was compiled, as aspects.
fn judged(object: &ObjectConditions) -> Vec<Aspect> {
    let aspects = object.conditions.iter().map(|condition| Aspect {
        kind: condition.kind.name(),
        holds: condition.status == Status::True,
        reason: condition.reason.name().to_owned(),
        message: condition.message.clone(),
        generation: condition.observed_generation,
    });
    aspects.collect()
}

/// The conditions of an object: what was compiled, `Programmed`, and `Ready`, which is all of these.
///
/// While pods are about to answer, what stands there of the last two stays.
fn conditions(
    object: &ObjectConditions,
    programmed: &Programmed,
    present: &[Condition],
    now: Timestamp,
) -> Vec<Condition> {
    let mut aspects = judged(object);
    let generation = aspects.first().and_then(|aspect| aspect.generation);
    let verdict = programmed.aspect(generation);
    let stays = |kind: &str| present.iter().find(|condition| condition.type_ == kind).cloned();
    let (programmed, ready) = match verdict {
        Some(verdict) => {
            aspects.push(verdict);
            let ready = ready(&aspects, generation).condition(present, now);
            (None, Some(ready))
        }
        None => (stays("Programmed"), stays("Ready")),
    };
    let aspects = aspects.into_iter().map(|aspect| aspect.condition(present, now));
    aspects.chain(programmed).chain(ready).collect()
}

fn ready(aspects: &[Aspect], generation: Option<i64>) -> Aspect {
    let ready = |holds, reason: &str, message: String| Aspect {
        kind: "Ready",
        holds,
        reason: reason.to_owned(),
        message,
        generation,
    };
    match aspects.iter().find(|aspect| !aspect.holds) {
        Some(fault) => ready(false, &fault.reason, format!("{} is False: {}", fault.kind, fault.message)),
        None => ready(true, "Ready", "All of it is in force.".to_owned()),
    }
}

/// The status of a Tenant.
pub(crate) fn tenant(
    object: &ObjectConditions,
    programmed: &Programmed,
    present: Option<&TenantStatus>,
    now: Timestamp,
) -> TenantStatus {
    let standing = present.map_or(&[][..], |status| &status.conditions);
    let stays = present.and_then(|status| status.acknowledged.clone());
    TenantStatus {
        conditions: conditions(object, programmed, standing, now),
        acknowledged: programmed.count().or(stays),
    }
}

/// The status of a Mapping.
pub(crate) fn mapping(
    object: &ObjectConditions,
    programmed: &Programmed,
    present: Option<&MappingStatus>,
    now: Timestamp,
) -> MappingStatus {
    let standing = present.map_or(&[][..], |status| &status.conditions);
    MappingStatus { conditions: conditions(object, programmed, standing, now) }
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
