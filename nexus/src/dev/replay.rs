//! Replay: events that are delivered once more, by the rules in force or to one that is named.

use std::collections::BTreeMap;

use nexus_core::event::StandardEvent;
use nexus_core::id::{EventId, InboxId, TenantKey};
use nexus_core::route::RouteTable;
use nexus_core::snapshot::{Delivery, GatewaySnapshot};
use nexus_store::bus::{Bus, BusError, Copy, Record};

use crate::api::{ReplayAnswer, ReplayRequest, ReplayTarget};

/// Why nothing was replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// There is no such target.
    #[error("{0}")]
    Target(String),
    /// The bus does not answer.
    #[error("cannot replay")]
    Bus(#[from] BusError),
}

/// Who gets an event: names and inboxes.
type Targets = Vec<(String, InboxId)>;

/// Replays events, or says what would be replayed.
pub async fn replay(
    bus: &Bus,
    rules: &GatewaySnapshot,
    request: ReplayRequest,
) -> Result<ReplayAnswer, ReplayError> {
    let named = request.target.as_deref().map(|target| resolve(rules, target)).transpose()?;
    let table = RouteTable::build(rules);
    let mut answer = ReplayAnswer::default();
    // Events that go to the same inboxes are put there in one step.
    let mut batches = BTreeMap::<Targets, Vec<EventId>>::new();
    for id in request.events {
        let Some(record) = bus.event(&rules.tenant, id).await? else {
            answer.unknown.push(id);
            continue;
        };
        if record.decision.is_none() {
            answer.unrouted += 1;
            continue;
        }
        let mut targets = match &named {
            Some(named) => named.clone(),
            None => match route(&table, &record) {
                Ok(targets) => targets,
                Err(_) => {
                    answer.unreadable.push(id);
                    continue;
                }
            },
        };
        if targets.is_empty() {
            answer.nobody += 1;
        }
        let all = targets.len();
        targets.retain(|(_, inbox)| !is_open(&record, *inbox));
        answer.waiting += all - targets.len();
        if !targets.is_empty() {
            batches.entry(targets).or_default().push(id);
        }
    }
    let mut counts = BTreeMap::<String, usize>::new();
    for (targets, ids) in batches {
        for (name, _) in &targets {
            *counts.entry(name.clone()).or_default() += ids.len();
        }
        let planned = ids.len() * targets.len();
        if request.dry_run {
            answer.copies += planned;
        } else {
            let inboxes = targets.into_iter().map(|(_, inbox)| inbox).collect();
            let copies = bus.replay(&rules.tenant, ids, inboxes).await?;
            answer.copies += copies;
            // Somebody else was faster with these.
            answer.waiting += planned.saturating_sub(copies);
        }
    }
    answer.targets = counts.into_iter().map(|(target, events)| ReplayTarget { target, events }).collect();
    Ok(answer)
}

fn route(table: &RouteTable, record: &Record) -> serde_json::Result<Targets> {
    let event: StandardEvent = serde_json::from_slice(&record.event)?;
    let chosen = table.route(&event).chosen.into_iter();
    Ok(chosen.map(|chosen| (chosen.target, chosen.inbox)).collect())
}

/// Whether the event waits in an inbox or is held there: then it comes anyway.
fn is_open(record: &Record, inbox: InboxId) -> bool {
    let copy = record.copies.iter().find(|(other, _)| *other == inbox);
    matches!(copy, Some((_, Copy::Waiting { .. } | Copy::Held { .. })))
}

/// The inboxes of a target: an agent's name, or an alias as `@name`.
fn resolve(rules: &GatewaySnapshot, target: &str) -> Result<Targets, ReplayError> {
    if let Some(name) = target.strip_prefix('@') {
        let alias = rules.aliases.iter().find(|alias| alias.name.eq_ignore_ascii_case(name));
        let known = rules.aliases.iter().map(|alias| alias.name.as_str());
        let alias = alias.ok_or_else(|| unknown("alias", name, &rules.tenant, known))?;
        return Ok(match alias.delivery {
            Delivery::Any => {
                vec![(format!("@{}", alias.name), InboxId::of_alias(&rules.tenant, &alias.name))]
            }
            Delivery::All => {
                let members = alias.members.iter();
                members.filter_map(|name| Some((name.clone(), rules.agents.get(name)?.id.inbox()))).collect()
            }
        });
    }
    let agent = rules.agents.get(target);
    let known = rules.agents.keys().map(String::as_str);
    let agent = agent.ok_or_else(|| unknown("agent", target, &rules.tenant, known))?;
    Ok(vec![(target.to_owned(), agent.id.inbox())])
}

fn unknown<'k>(
    what: &str,
    given: &str,
    tenant: &TenantKey,
    known: impl Iterator<Item = &'k str>,
) -> ReplayError {
    let remedy = match nexus_compile::nearest(given, known) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "`nexus status` lists them".to_owned(),
    };
    ReplayError::Target(format!("{tenant} has no {what} `{given}`; {remedy}"))
}

#[cfg(test)]
mod tests {
    use nexus_core::snapshot::Heartbeat;

    use super::*;
    use crate::dev::unreadable::{self, id};

    #[tokio::test]
    async fn one_event_that_cannot_be_read_does_not_keep_the_others_back() {
        let (_folder, bus, tenant) = unreadable::bus().await;
        let (agents, aliases) = (BTreeMap::new(), Vec::new());
        let rules = GatewaySnapshot { tenant, agents, aliases, heartbeat: Heartbeat::default() };
        let request = ReplayRequest { events: [1, 2, 3, 4].map(id).to_vec(), target: None, dry_run: false };
        let answer = replay(&bus, &rules, request).await.unwrap();
        assert_eq!(answer.unreadable, [id(2)]);
        assert_eq!((answer.nobody, answer.unknown), (2, vec![id(4)]));
    }
}
