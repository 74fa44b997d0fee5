//! What a gateway tells the operator of itself: how it stands to stops, and who is online.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use jiff::Timestamp;
use nexus_core::clock::Clock;
use nexus_core::id::AgentId;
use nexus_core::stop::{Alarm, Engagement, EngagementName};
use nexus_gateway::presence::Severed;
use nexus_gateway::{GatewayConfig, Presence as Table};
use nexus_runtime::Drain;
use nexus_wire::config::{HeldStop, Presence, SeenPolicy, Standing, Stops};
use tokio::sync::watch;

use super::gateway::GatewayRole;
use super::switch::Switch;

/// How often it looks without a hint: not all that is told gives one.
const EVERY: Duration = Duration::from_millis(500);

/// The least time between two looks: sessions open by thousands.
const PACE: Duration = Duration::from_millis(100);

/// What is looked at, and who is told.
pub struct Teller {
    /// Who is told.
    pub standing: watch::Sender<Standing>,
    /// The stop switch.
    pub switch: Arc<Switch>,
    /// The gateway, once there is one.
    pub gateway: Arc<OnceLock<Arc<GatewayRole>>>,
    /// Which agents there are.
    pub config: watch::Receiver<Arc<GatewayConfig>>,
    /// The time.
    pub clock: Clock,
}

impl Teller {
    /// Tells until drained.
    pub async fn run(self, drain: Drain) -> anyhow::Result<()> {
        let (mut gate, mut seen) = (self.switch.gate(), self.switch.seen());
        let mut engaged = Engaged::default();
        loop {
            let table = self.gateway.get().and_then(|gateway| gateway.presence());
            // Subscribed before it looks, so that no change slips between.
            let mut changes = table.as_ref().map(Table::changes);
            self.look(table.as_ref(), &mut engaged);
            tokio::select! {
                () = drain.cancelled() => return Ok(()),
                () = tokio::time::sleep(PACE) => {}
            }
            let sessions = async {
                match &mut changes {
                    // One that is gone is followed by another, at the next look.
                    Some(changes) => drop(changes.changed().await),
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = drain.cancelled() => return Ok(()),
                () = gate.changed() => {}
                Ok(()) = seen.changed() => {}
                () = sessions => {}
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }

    fn look(&self, table: Option<&Table>, engaged: &mut Engaged) {
        let latch = self.switch.gate().latch();
        let held: Vec<_> = latch.engagements().collect();
        engaged.note(&held, self.clock.now());
        let severed = table.map_or_else(BTreeMap::new, |table| {
            table.severed(|name| held.iter().any(|engagement| of_one_policy(engagement, name)))
        });
        let seen = Arc::clone(&self.switch.seen().borrow());
        let seen = seen.iter().map(|policy| SeenPolicy {
            name: policy.name.clone(),
            uid: policy.uid.clone(),
            generation: policy.generation,
        });
        let stops = Stops {
            known: latch.is_known(),
            seen: seen.collect(),
            held: held.iter().map(|engagement| stop(engagement, &severed, latch.alarms(), engaged)).collect(),
        };
        let (config, now) = (Arc::clone(&self.config.borrow()), self.clock.now());
        self.standing.send_if_modified(|standing| {
            let online = table.map(Table::online).unwrap_or_default();
            let known = |agent| config.agent(agent).is_some();
            let changed = present(&mut standing.presence, &online, known, now);
            let same = standing.stops.as_ref() == Some(&stops);
            standing.stops = Some(stops);
            changed || !same
        });
    }
}

/// Whether an engagement of this name is the same stop, perhaps before it was renewed.
fn of_one_policy(engagement: &Engagement, name: &EngagementName) -> bool {
    EngagementName::new(&engagement.uid, name.generation()) == *name
        && name.generation() <= engagement.generation
}

/// When stops were put in force, by the uid of their policy.
#[derive(Debug, Default)]
struct Engaged(BTreeMap<String, Timestamp>);

impl Engaged {
    fn note(&mut self, held: &[&Engagement], now: Timestamp) {
        self.0.retain(|uid, _| held.iter().any(|engagement| engagement.uid == *uid));
        for engagement in held {
            self.0.entry(engagement.uid.clone()).or_insert(now);
        }
    }
}

fn stop(
    engagement: &Engagement,
    severed: &BTreeMap<EngagementName, Severed>,
    alarms: &[Alarm],
    engaged: &Engaged,
) -> HeldStop {
    let name = engagement.name();
    let alarm = alarms.iter().find(|alarm| alarm.engagement == name);
    let ours = severed.iter().filter(|(name, _)| of_one_policy(engagement, name));
    let ours: Vec<_> = ours.map(|(_, severed)| severed).collect();
    let first = ours.iter().map(|severed| severed.first);
    HeldStop {
        policy: engagement.policy.clone(),
        uid: engagement.uid.clone(),
        engagement: name.to_string(),
        sockets_severed: ours.iter().map(|severed| severed.sockets).sum(),
        last_byte: ours.iter().map(|severed| severed.last_byte).max(),
        alarm: alarm.map(ToString::to_string),
        // A connection may have been closed before this looked.
        engaged: engaged.0.get(&engagement.uid).copied().into_iter().chain(first).min(),
    }
}

/// Notes who came and who went. True when anybody did.
fn present(
    told: &mut BTreeMap<AgentId, Presence>,
    online: &BTreeMap<AgentId, bool>,
    known: impl Fn(AgentId) -> bool,
    now: Timestamp,
) -> bool {
    let mut changed = false;
    // Whoever was told to be online is told to be offline before it is forgotten.
    told.retain(|agent, presence| {
        let keep = online.contains_key(agent) || presence.online || known(*agent);
        changed |= !keep;
        keep
    });
    for (agent, presence) in told.iter_mut() {
        let online = online.get(agent).copied().unwrap_or_default();
        if presence.online != online {
            *presence = Presence { online, since: now };
            changed = true;
        }
    }
    for (agent, _) in online.iter().filter(|(_, online)| **online) {
        told.entry(*agent).or_insert_with(|| {
            changed = true;
            Presence { online: true, since: now }
        });
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_comes_goes_and_is_forgotten_only_once_it_was_told_to_be_gone() {
        let agent = AgentId::from_bytes([7; 16]);
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut told = BTreeMap::new();
        let mut look = |online: &[(AgentId, bool)], known: bool, second| {
            let changed = present(&mut told, &online.iter().copied().collect(), |_| known, at(second));
            (changed, told.get(&agent).map(|presence| (presence.online, presence.since.as_second())))
        };
        assert_eq!(look(&[(agent, false)], true, 1), (false, None), "it was never here");
        assert_eq!(look(&[(agent, true)], true, 2), (true, Some((true, 2))));
        assert_eq!(look(&[(agent, true)], true, 3), (false, Some((true, 2))));
        assert_eq!(look(&[(agent, false)], true, 4), (true, Some((false, 4))));
        assert_eq!(look(&[(agent, true)], true, 5), (true, Some((true, 5))));
        // The gateway began again, without it.
        assert_eq!(look(&[], true, 6), (true, Some((false, 6))));
        assert_eq!(look(&[], true, 7), (false, Some((false, 6))));
        assert_eq!(look(&[(agent, true)], false, 8), (true, Some((true, 8))));
        assert_eq!(look(&[], false, 9), (true, Some((false, 9))));
        assert_eq!(look(&[], false, 10), (true, None));
    }
}
