//! Reports as messages: what a pod writes and what the operator makes of it, within bounds on both sides.

use std::collections::BTreeMap;

use jiff::Timestamp;
use nexus_core::id::AgentId;

use super::held::Held;
use super::pod::{HeldStop, Pod, Presence, Refused, SeenPolicy, Standing, Stops};
use super::resource::{Digest, ResourceName};
use super::{MAX_ENTRIES, MAX_STOPS, bounded, v1};

/// The most agents whose presence one report tells; the rest are in the next ones.
const PRESENCES: usize = 10_000;

/// What a pod has told over one stream.
#[derive(Debug, Default)]
pub(super) struct Reporter {
    /// None before the first report, which tells all.
    holdings: Option<v1::Holdings>,
    stops: Option<Stops>,
    presence: BTreeMap<AgentId, Presence>,
}

impl Reporter {
    /// What differs from what was told, and whether there is more to tell; none when nothing does.
    pub(super) fn report(&mut self, held: &Held, standing: &Standing) -> Option<(v1::Report, bool)> {
        let first = self.holdings.is_none();
        let holdings = Some(holdings(held));
        let stops = standing.stops.as_ref().filter(|stops| self.stops.as_ref() != Some(*stops));
        let changed = standing.presence.iter().filter(|(agent, now)| self.presence.get(agent) != Some(*now));
        let presence: Vec<_> = changed.take(PRESENCES).map(|(agent, now)| (*agent, *now)).collect();
        let report = v1::Report {
            holdings: holdings.clone().filter(|_| self.holdings != holdings),
            stops: stops.map(stops_proto),
            presence: presence.iter().map(|(agent, now)| presence_proto(*agent, *now)).collect(),
        };
        if !first && report == v1::Report::default() {
            return None;
        }
        self.holdings = holdings;
        self.stops.clone_from(&standing.stops);
        // An agent that is not told of any more was told to be offline before.
        self.presence.retain(|agent, _| standing.presence.contains_key(agent));
        let more = presence.len() == PRESENCES;
        self.presence.extend(presence);
        Some((report, more))
    }
}

impl Pod {
    /// Takes a report in. False when something of it was beyond the bounds and left out.
    pub(super) fn take(&mut self, report: v1::Report) -> bool {
        let mut whole = true;
        if let Some(v1::Holdings { held, refused }) = report.holdings {
            whole &= held.len() <= MAX_ENTRIES && refused.len() <= MAX_ENTRIES;
            self.held = versions(held);
            self.refused = refused.into_iter().take(MAX_ENTRIES).filter_map(refusal).collect();
        }
        if let Some(stops) = report.stops {
            whole &= stops.seen.len().max(stops.held.len()) <= MAX_STOPS;
            self.stops = Some(stops_of(stops));
        }
        for presence in report.presence {
            let Some((agent, presence)) = presence_of(&presence) else { continue };
            if self.presence.len() >= MAX_ENTRIES && !self.presence.contains_key(&agent) {
                whole = false;
                continue;
            }
            self.presence.insert(agent, presence);
        }
        whole
    }
}

/// Versions of a list; what has no name that is known here is left out.
pub(super) fn versions(list: Vec<v1::Version>) -> BTreeMap<ResourceName, Digest> {
    let version = |version: v1::Version| {
        Some((ResourceName::of_proto(version.name)?, Digest::from_slice(&version.sha256)?))
    };
    list.into_iter().take(MAX_ENTRIES).filter_map(version).collect()
}

/// A list of versions.
pub(super) fn versions_proto<'a>(
    versions: impl Iterator<Item = (&'a ResourceName, Digest)>,
) -> Vec<v1::Version> {
    let version = |(name, digest): (&ResourceName, Digest)| v1::Version {
        name: Some(name.proto()),
        sha256: digest.as_bytes().to_vec(),
    };
    versions.take(MAX_ENTRIES).map(version).collect()
}

/// A refusal, if it names what is known here.
pub(super) fn refusal(refusal: v1::Refusal) -> Option<(ResourceName, Refused)> {
    let v1::Refusal { name, sha256, reason } = refusal;
    let digest = Digest::from_slice(&sha256)?;
    Some((ResourceName::of_proto(name)?, Refused { digest, reason: bounded(reason) }))
}

fn holdings(held: &Held) -> v1::Holdings {
    let refused = held.refused().take(MAX_ENTRIES).map(|(name, refused)| v1::Refusal {
        name: Some(name.proto()),
        sha256: refused.digest.as_bytes().to_vec(),
        reason: refused.reason.clone(),
    });
    v1::Holdings { held: versions_proto(held.versions()), refused: refused.collect() }
}

fn stops_proto(stops: &Stops) -> v1::Stops {
    let seen = stops.seen.iter().map(|policy| v1::SeenPolicy {
        name: bounded(policy.name.clone()),
        uid: bounded(policy.uid.clone()),
        generation: policy.generation,
    });
    let held = stops.held.iter().map(|stop| v1::HeldStop {
        policy: bounded(stop.policy.clone()),
        uid: bounded(stop.uid.clone()),
        engagement: bounded(stop.engagement.clone()),
        sockets_severed: stop.sockets_severed,
        last_byte: stop.last_byte.map(moment_proto),
        alarm: stop.alarm.clone().map(bounded),
        engaged: stop.engaged.map(moment_proto),
    });
    v1::Stops {
        known: stops.known,
        seen: seen.take(MAX_STOPS).collect(),
        held: held.take(MAX_STOPS).collect(),
    }
}

fn stops_of(stops: v1::Stops) -> Stops {
    let seen = stops.seen.into_iter().map(|policy| SeenPolicy {
        name: bounded(policy.name),
        uid: bounded(policy.uid),
        generation: policy.generation,
    });
    let held = stops.held.into_iter().map(|stop| HeldStop {
        policy: bounded(stop.policy),
        uid: bounded(stop.uid),
        engagement: bounded(stop.engagement),
        sockets_severed: stop.sockets_severed,
        last_byte: stop.last_byte.as_ref().and_then(moment),
        alarm: stop.alarm.map(bounded),
        engaged: stop.engaged.as_ref().and_then(moment),
    });
    Stops { known: stops.known, seen: seen.take(MAX_STOPS).collect(), held: held.take(MAX_STOPS).collect() }
}

fn presence_proto(agent: AgentId, presence: Presence) -> v1::Presence {
    let since = Some(moment_proto(presence.since));
    v1::Presence { agent: agent.to_string(), online: presence.online, since }
}

fn presence_of(presence: &v1::Presence) -> Option<(AgentId, Presence)> {
    let agent = presence.agent.parse().ok()?;
    let since = presence.since.as_ref().and_then(moment)?;
    Some((agent, Presence { online: presence.online, since }))
}

fn moment_proto(moment: Timestamp) -> pbjson_types::Timestamp {
    pbjson_types::Timestamp { seconds: moment.as_second(), nanos: moment.subsec_nanosecond() }
}

fn moment(moment: &pbjson_types::Timestamp) -> Option<Timestamp> {
    Timestamp::new(moment.seconds, moment.nanos).ok()
}

#[cfg(test)]
mod tests {
    use super::super::Role;
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn agent(number: u128) -> AgentId {
        AgentId::from_bytes(number.to_be_bytes())
    }

    fn stops() -> Stops {
        let (name, uid) = ("stop-all".to_owned(), "1f2e3d4c".to_owned());
        let held = HeldStop {
            policy: name.clone(),
            uid: uid.clone(),
            engagement: "1f2e3d4c-3".into(),
            sockets_severed: 7,
            last_byte: Some("2026-11-24T07:00:00.123456789Z".parse().unwrap()),
            alarm: Some("gone".into()),
            engaged: Some("2026-11-24T06:59:59.9Z".parse().unwrap()),
        };
        let seen = SeenPolicy { name, uid, generation: 3 };
        Stops { known: true, seen: vec![seen], held: vec![held] }
    }

    #[test]
    fn only_what_changed_is_told_and_the_operator_knows_all() {
        let (held, mut reporter) = (Held::new(Role::Gateway), Reporter::default());
        let mut standing = Standing::default();
        let mut pod = Pod::new(Role::Gateway);
        assert!(reporter.report(&held, &standing).is_some_and(|(report, _)| report.holdings.is_some()));
        assert!(reporter.report(&held, &standing).is_none());
        standing.stops = Some(stops());
        standing.presence.insert(agent(1), Presence { online: true, since: at(1) });
        standing.presence.insert(agent(2), Presence { online: true, since: at(2) });
        let (report, _) = reporter.report(&held, &standing).unwrap();
        assert!(report.holdings.is_none() && report.presence.len() == 2);
        assert!(pod.take(report));
        standing.presence.insert(agent(1), Presence { online: false, since: at(3) });
        let (report, more) = reporter.report(&held, &standing).unwrap();
        assert!(report.stops.is_none() && report.presence.len() == 1 && !more);
        assert!(pod.take(report));
        assert_eq!((pod.stops, pod.presence), (standing.stops, standing.presence));
    }

    #[test]
    fn many_agents_take_several_reports() {
        let (held, mut reporter) = (Held::new(Role::Gateway), Reporter::default());
        let each = |number| (agent(number), Presence { online: true, since: at(1) });
        let count = u128::try_from(PRESENCES).unwrap() + 1;
        let standing = Standing { stops: None, presence: (0..count).map(each).collect() };
        let mut pod = Pod::new(Role::Gateway);
        let (report, more) = reporter.report(&held, &standing).unwrap();
        assert!(more && pod.take(report));
        let (report, more) = reporter.report(&held, &standing).unwrap();
        assert!(!more && pod.take(report));
        assert_eq!(pod.presence, standing.presence);
    }

    #[test]
    fn what_a_pod_tells_is_bounded() {
        let mut pod = Pod::new(Role::Ingest);
        let version = |number: usize| v1::Version {
            name: Some(v1::ResourceName { r#type: 1, tenant: format!("a/{number}") }),
            sha256: vec![0; 32],
        };
        let held = (0..=MAX_ENTRIES).map(version).collect();
        let name = Some(v1::ResourceName { r#type: 1, tenant: "a/a".into() });
        let reason = "ö".repeat(MAX_ENTRIES);
        let refused = vec![v1::Refusal { name, sha256: vec![0; 32], reason }];
        let holdings = Some(v1::Holdings { held, refused });
        let alarm = Some("ö".repeat(MAX_ENTRIES));
        let held = vec![v1::HeldStop { alarm, ..v1::HeldStop::default() }; MAX_STOPS + 1];
        let stops = Some(v1::Stops { held, ..v1::Stops::default() });
        assert!(!pod.take(v1::Report { holdings, stops, presence: vec![] }));
        assert_eq!(pod.held.len(), MAX_ENTRIES);
        assert!(pod.refused.values().all(|refused| refused.reason.len() <= super::super::MAX_TEXT_BYTES));
        let held = pod.stops.unwrap().held;
        assert_eq!(held.len(), MAX_STOPS);
        assert!(held.iter().all(|stop| stop.alarm.as_ref().unwrap().len() <= super::super::MAX_TEXT_BYTES));
        let strange = v1::Presence { agent: "who".into(), online: true, since: None };
        let mut pod = Pod::new(Role::Gateway);
        assert!(pod.take(v1::Report { presence: vec![strange], ..v1::Report::default() }));
        assert!(pod.presence.is_empty());
    }
}
