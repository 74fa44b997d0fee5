//! The status of an AgentProfile.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use nexus_compile::ObjectConditions;
use nexus_core::id::AgentId;
use nexus_core::stop::EngagementName;
use nexus_crds::AgentProfileStatus;
use nexus_wire::config::Pods;

use super::{Aspect, Programmed, conditions};

/// Whether an agent has a session at any pod.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Whether it has one; none where no pod has ever told of it.
    pub(crate) online: Option<bool>,
    /// When its last session began or ended.
    pub(crate) since: Option<Timestamp>,
    /// Whether a pod that exists may still come and tell of one.
    pub(crate) awaits: bool,
    /// The stop that holds it.
    pub(crate) stopped: Option<EngagementName>,
}

/// What pods tell of an agent.
pub(crate) fn seen(agent: AgentId, pods: &Pods, awaits: bool) -> Seen {
    let told = pods.values().filter_map(|pod| pod.presence.get(&agent));
    told.fold(Seen { awaits, ..Seen::default() }, |seen, presence| Seen {
        awaits,
        stopped: None,
        online: Some(seen.online.unwrap_or(false) || presence.online),
        since: seen.since.max(Some(presence.since)),
    })
}

/// The status of an AgentProfile; what a stop recorded stays.
pub(crate) fn agent(
    object: &ObjectConditions,
    programmed: &Programmed,
    seen: Seen,
    present: Option<&AgentProfileStatus>,
    now: Timestamp,
) -> AgentProfileStatus {
    let none = AgentProfileStatus::default();
    let present = present.unwrap_or(&none);
    let mut conditions = conditions(object, programmed, &present.conditions, now);
    let before = present.conditions.iter().find(|condition| condition.type_ == "Online");
    // Of whom no pod tells anything, what stands there was said by one that is gone: it is offline. An operator that begins anew
    // knows no pod at first, and turns nothing over.
    let online = seen.online.unwrap_or(false);
    if let Some(before) = before.filter(|before| before.status == super::word(true) && seen.awaits && !online)
    {
        conditions.push(before.clone());
        return AgentProfileStatus { conditions, ..present.clone() };
    }
    let turned = before.is_none_or(|before| before.status != super::word(online));
    // Facts are written on transitions only.
    let last_seen = match seen.since {
        Some(since) if turned && seen.online.is_some() => Some(Time(since)),
        _ => present.last_seen.clone(),
    };
    let (reason, message) = match (online, &seen.stopped) {
        (true, _) => ("Connected", "It has a session.".to_owned()),
        (false, Some(stop)) => ("Stopped", format!("Stop {stop} holds it; what is meant for it waits.")),
        (false, None) => ("NotConnected", "It has no session; what is meant for it waits.".to_owned()),
    };
    let aspect =
        Aspect { kind: "Online", holds: online, reason: reason.to_owned(), message, generation: None };
    conditions.push(aspect.condition(&present.conditions, now));
    AgentProfileStatus { conditions, last_seen, ..present.clone() }
}
