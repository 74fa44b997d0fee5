//! The status of a NexusPolicy: whether its stop holds, and what it did.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, MicroTime};
use nexus_core::stop::EngagementName;
use nexus_crds::NexusPolicyStatus;
use nexus_wire::config::{HeldStop, Pods, Role};

use super::{Aspect, ready};
use crate::policy::ReadPolicy;

/// What pods tell of one policy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Reported {
    /// How many pods obey it as it stands.
    pub(crate) obeying: usize,
    /// How many pods there are.
    pub(crate) pods: usize,
    /// Pods that do not, some of them.
    pub(crate) missing: Vec<String>,
    /// The stop that they hold, by the latest of its names.
    pub(crate) held: Option<EngagementName>,
    /// What one of them wants an admin to look at.
    pub(crate) alarm: Option<String>,
    /// When the first of them put it in force.
    pub(crate) engaged: Option<Timestamp>,
    /// Connections that they closed.
    pub(crate) severed: u64,
    /// When the last of them wrote its last byte to an agent.
    pub(crate) last_byte: Option<Timestamp>,
}

impl Reported {
    /// What the pods of `existing` tell of the policy with this uid at this generation.
    pub(crate) fn of(
        policy: &str,
        uid: &str,
        generation: u64,
        existing: &BTreeSet<String>,
        pods: &Pods,
    ) -> Self {
        let mut reported = Self { pods: existing.len(), ..Self::default() };
        for name in existing {
            let stops = pods.get(name).filter(|pod| pod.role == Role::Gateway);
            let stops = stops.and_then(|pod| pod.stops.as_ref());
            let seen = stops.into_iter().flat_map(|stops| &stops.seen);
            if seen.clone().any(|seen| seen.uid == uid && seen.generation >= generation) {
                reported.obeying += 1;
            } else if reported.missing.len() < 3 {
                reported.missing.push(name.clone());
            }
            let held = stops.into_iter().flat_map(|stops| &stops.held);
            held.filter(|held| held.uid == uid || held.policy == policy).for_each(|held| reported.add(held));
        }
        reported
    }

    fn add(&mut self, held: &HeldStop) {
        self.held = self.held.take().max(held.engagement.parse().ok());
        self.alarm = self.alarm.take().or_else(|| held.alarm.clone());
        self.severed = self.severed.saturating_add(held.sockets_severed);
        self.engaged = self.engaged.into_iter().chain(held.engaged).min();
        self.last_byte = self.last_byte.max(held.last_byte);
    }

    fn programmed(&self, generation: Option<i64>) -> Aspect {
        if let Some(alarm) = &self.alarm {
            let message = format!("A pod holds more than this object orders: {alarm}");
            return Aspect {
                kind: "Programmed",
                holds: false,
                reason: "Alarm".to_owned(),
                message,
                generation,
            };
        }
        let (holds, reason, message) = match (self.pods, self.obeying) {
            (0, _) => {
                (false, "NoPods", "There is no pod of gateway: see to the workload nexus-gateway.".to_owned())
            }
            (pods, obeying) if pods == obeying => (true, "Programmed", format!("All pods obey it ({pods}).")),
            (pods, obeying) => {
                let missing = self.missing.join(", ");
                (false, "Pending", format!("{obeying} of {pods} pods obey it; awaited: {missing}."))
            }
        };
        Aspect { kind: "Programmed", holds, reason: reason.to_owned(), message, generation }
    }
}

/// The status of a policy. While `fresh`, pods are about to answer, and what stands there of them stays.
pub(crate) fn policy(
    object: &ReadPolicy,
    reported: &Reported,
    fresh: bool,
    now: Timestamp,
) -> NexusPolicyStatus {
    let none = NexusPolicyStatus::default();
    let present = object.status.as_ref().unwrap_or(&none);
    let engagement = engagement(object, reported, present);
    let begins = engagement.is_some() && present.engagement.is_none();
    // Whoever was the first to know, by its own clock: the operator may have been away.
    let noted = if begins { Some(now) } else { present.engaged_at.as_ref().map(|at| at.0) };
    let engaged_at =
        engagement.as_ref().and_then(|_| noted.into_iter().chain(reported.engaged).min()).map(MicroTime);
    let kept = |value: u64, before: Option<u64>| {
        engagement.as_ref().map(|_| value.max(before.filter(|_| !begins).unwrap_or(0)))
    };
    let since = engaged_at.as_ref().map(|at| at.0);
    let last_byte = reported.last_byte.zip(since).map(|(last, since)| last.duration_since(since).as_millis());
    // The schema has a bound, and nobody waits for eleven days.
    let last_byte = last_byte.map(|millis| u64::try_from(millis).unwrap_or(0).min(1_000_000_000));
    NexusPolicyStatus {
        conditions: conditions(object, reported, &present.conditions, fresh, now),
        acknowledged: match fresh && reported.obeying < reported.pods {
            true => present.acknowledged.clone(),
            false => Some(format!("{}/{}", reported.obeying, reported.pods)),
        },
        sockets_severed: kept(reported.severed, present.sockets_severed),
        last_byte_milliseconds: last_byte
            .and_then(|millis| kept(millis, present.last_byte_milliseconds))
            .or(present.last_byte_milliseconds.filter(|_| engagement.is_some() && !begins)),
        engagement: engagement.map(|name| name.to_string()),
        engaged_at,
    }
}

/// The engagement that holds: by the order itself, by what pods hold, or by what stood there and was not released by its name.
fn engagement(
    object: &ReadPolicy,
    reported: &Reported,
    present: &NexusPolicyStatus,
) -> Option<EngagementName> {
    let generation = object.metadata.generation.and_then(|generation| u64::try_from(generation).ok());
    let uid = object.metadata.uid.as_deref()?;
    if object.spec.stop == Some(true) {
        return Some(EngagementName::new(uid, generation?)).max(reported.held.clone());
    }
    // Where all pods have seen the object as it stands, they know better than what was written of it.
    if reported.held.is_some() || (reported.pods > 0 && reported.obeying == reported.pods) {
        return reported.held.clone();
    }
    let stood: EngagementName = present.engagement.as_deref()?.parse().ok()?;
    let named = object.spec.release.as_deref().and_then(|release| release.parse::<EngagementName>().ok());
    (!named.is_some_and(|named| named.reaches(&stood))).then_some(stood)
}

/// Whether all of it could be read.
fn accepted(object: &ReadPolicy) -> Aspect {
    let complaint =
        object.complaint.as_ref().map(|complaint| complaint.chars().take(512).collect::<String>());
    let (reason, message) = match (complaint, object.spec.stop) {
        (None, _) => ("Accepted", "All of it is valid.".to_owned()),
        (Some(complaint), Some(true)) => (
            "Unreadable",
            format!("It says stop, and the rest cannot be read, so it stops everybody: {complaint}"),
        ),
        (Some(complaint), _) => {
            ("Unreadable", format!("It cannot be read, and releases nothing: {complaint}"))
        }
    };
    Aspect {
        kind: "Accepted",
        holds: object.complaint.is_none(),
        reason: reason.to_owned(),
        message,
        generation: object.metadata.generation,
    }
}

fn conditions(
    object: &ReadPolicy,
    reported: &Reported,
    present: &[Condition],
    fresh: bool,
    now: Timestamp,
) -> Vec<Condition> {
    let generation = object.metadata.generation;
    let accepted = accepted(object);
    if fresh && reported.obeying < reported.pods {
        let stays = |kind: &str| present.iter().find(|condition| condition.type_ == kind).cloned();
        let accepted = accepted.condition(present, now);
        return std::iter::once(accepted).chain(stays("Programmed")).chain(stays("Ready")).collect();
    }
    let programmed = reported.programmed(generation);
    let ready = ready(&[accepted.clone(), programmed.clone()], generation);
    [accepted, programmed, ready].map(|aspect| aspect.condition(present, now)).into()
}
