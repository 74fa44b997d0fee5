//! Routing: whom an event concerns, and why.
//!
//! [`RouteTable::build`] indexes a tenant's gateway snapshot and cannot fail; [`RouteTable::route`] is pure, so
//! that a decision can be replayed against another snapshot. The union of three rules is the route: an agent
//! is named in the text, an alias is named in the text, a subscription matches.
//!
//! An alias with `delivery: any` is one shared inbox, drawn from by whichever member is free first. A member
//! that the event reaches by another rule as well may therefore see it twice, under one event id and with the
//! inbox named on each delivery: leaving either copy out could leave nobody to answer.

use std::collections::HashMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::event::{EventData, Provider, StandardEvent};
use crate::id::{InboxId, TenantKey};
use crate::kind::Kind;
use crate::mention::{Mention, MentionKind};
use crate::snapshot::{Agent, Delivery, GatewaySnapshot, Subscription, Version};

/// At most this many agents that were passed over are named in a decision; all are counted.
pub const MAX_PASSED_OVER: usize = 50;

/// Why an event went where it went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Decision {
    /// Version of the snapshot that decided.
    pub version: Version,
    /// Who gets it, agents by name first, then shared inboxes.
    pub chosen: Vec<Chosen>,
    /// Who does not, put together by reason, in the order of each one's first name; the first [`MAX_PASSED_OVER`] of them.
    pub passed_over: Vec<PassedOver>,
    /// How many do not.
    pub passed_over_count: usize,
    /// Mentions that name nobody here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unresolved: Vec<String>,
}

/// One inbox that gets the event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Chosen {
    /// The inbox.
    pub inbox: InboxId,
    /// The agent's name, or `@alias` for a shared inbox.
    pub target: String,
    /// The rules that chose it; never empty.
    pub rules: Vec<Rule>,
}

/// A rule that chose somebody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", tag = "rule")]
pub enum Rule {
    /// The text names the agent.
    Mention {
        /// As the text has it.
        mention: String,
    },
    /// The text names an alias that the agent is a member of.
    #[serde(rename_all = "camelCase")]
    Alias {
        /// The alias, without `@`.
        alias: String,
        /// As the text has it.
        mention: String,
    },
    /// A subscription of the agent's matches.
    Subscription {
        /// Its place in the profile's list, from 0.
        index: usize,
    },
}

/// Agents that do not get the event, for the same reasons.
// A decision is kept with each event: the reasons of fifty agents, each told by itself, were most of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PassedOver {
    /// For each of an agent's subscriptions the first requirement that failed; empty if it has none.
    pub mismatches: Vec<Mismatch>,
    /// Their names, in order.
    #[serde(alias = "agent", deserialize_with = "names")]
    pub agents: Vec<String>,
}

/// Names; of decisions that were kept before agents were put together, one.
fn names<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Names {
        One(String),
        Many(Vec<String>),
    }
    Ok(match Names::deserialize(deserializer)? {
        Names::One(name) => vec![name],
        Names::Many(names) => names,
    })
}

/// The first requirement of a subscription that an event did not meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mismatch {
    /// Another kind.
    Kind,
    /// Another source.
    Source,
    /// Another project.
    Project,
    /// None of the labels.
    Label,
    /// The event is of a program, or of a person.
    Bots,
}

/// Who a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Named {
    /// The agent at this place.
    Agent(usize),
    /// The alias at this place.
    Alias(usize),
}

/// A tenant's gateway snapshot, indexed for routing.
#[derive(Debug)]
pub struct RouteTable {
    tenant: TenantKey,
    version: Version,
    agents: Vec<(String, Agent)>,
    aliases: Vec<IndexedAlias>,
    /// Lower-case names, without `@`. Aliases win over agents of the same name: `compile` reports the clash.
    names: HashMap<String, Named>,
    /// Aliases by the ids of providers' groups.
    handles: HashMap<(Provider, String), usize>,
    /// Places in `agents` of those with a subscription to a kind.
    by_kind: HashMap<Kind, Vec<usize>>,
    /// Places of those with a subscription to every kind.
    any_kind: Vec<usize>,
}

/// An alias with the places of its members.
#[derive(Debug)]
struct IndexedAlias {
    name: String,
    members: Vec<usize>,
    delivery: Delivery,
}

/// Rules collected for one event.
struct Route {
    agents: Vec<Vec<Rule>>,
    shared: Vec<Vec<Rule>>,
    unresolved: Vec<String>,
}

impl RouteTable {
    /// Indexes a snapshot.
    #[must_use]
    pub fn build(snapshot: &GatewaySnapshot) -> Self {
        let agents: Vec<_> =
            snapshot.agents.iter().map(|(name, agent)| (name.clone(), agent.clone())).collect();
        let place = |name: &String| agents.binary_search_by(|(other, _)| other.cmp(name)).ok();
        let mut names = HashMap::new();
        let mut by_kind = HashMap::<Kind, Vec<usize>>::new();
        let mut any_kind = Vec::new();
        for (at, (name, agent)) in agents.iter().enumerate() {
            for known in std::iter::once(name).chain(&agent.aliases) {
                names.entry(known.to_lowercase()).or_insert(Named::Agent(at));
            }
            if agent.subscriptions.iter().any(|subscription| subscription.kinds.is_empty()) {
                any_kind.push(at);
                continue;
            }
            for kind in agent.subscriptions.iter().flat_map(|subscription| &subscription.kinds) {
                let places = by_kind.entry(*kind).or_default();
                if places.last() != Some(&at) {
                    places.push(at);
                }
            }
        }
        let mut aliases = Vec::new();
        let mut handles = HashMap::new();
        for (at, alias) in snapshot.aliases.iter().enumerate() {
            names.insert(alias.name.to_lowercase(), Named::Alias(at));
            for (provider, id) in &alias.handles {
                handles.insert((*provider, id.to_lowercase()), at);
            }
            aliases.push(IndexedAlias {
                name: alias.name.clone(),
                members: alias.members.iter().filter_map(place).collect(),
                delivery: alias.delivery,
            });
        }
        let version = Version::of(snapshot);
        Self { tenant: snapshot.tenant.clone(), version, agents, aliases, names, handles, by_kind, any_kind }
    }

    /// The version of the snapshot that was indexed.
    #[must_use]
    pub fn version(&self) -> &Version {
        &self.version
    }

    /// Decides whom an event concerns.
    #[must_use]
    pub fn route(&self, event: &StandardEvent) -> Decision {
        let mut route = Route {
            agents: vec![Vec::new(); self.agents.len()],
            shared: vec![Vec::new(); self.aliases.len()],
            unresolved: Vec::new(),
        };
        for mention in &event.data.mentions {
            self.apply_mention(event.data.provider, mention, &mut route);
        }
        for &at in self.by_kind.get(&event.kind).into_iter().flatten().chain(&self.any_kind) {
            let subscriptions = &self.agents[at].1.subscriptions;
            let matching =
                subscriptions.iter().position(|subscription| mismatch(subscription, event).is_none());
            route.agents[at].extend(matching.map(|index| Rule::Subscription { index }));
        }
        self.decision(event, route)
    }

    fn apply_mention(&self, provider: Provider, mention: &Mention, route: &mut Route) {
        let as_text = mention.name.as_deref().unwrap_or(&mention.id);
        match self.resolve(provider, mention) {
            Some(Named::Agent(at)) => {
                push_once(&mut route.agents[at], Rule::Mention { mention: as_text.to_owned() })
            }
            Some(Named::Alias(at)) => {
                let alias = &self.aliases[at];
                let rule = Rule::Alias { alias: alias.name.clone(), mention: as_text.to_owned() };
                match alias.delivery {
                    Delivery::All => {
                        for &member in &alias.members {
                            push_once(&mut route.agents[member], rule.clone());
                        }
                    }
                    Delivery::Any => push_once(&mut route.shared[at], rule),
                }
            }
            None => route.unresolved.push(as_text.to_owned()),
        }
    }

    fn resolve(&self, provider: Provider, mention: &Mention) -> Option<Named> {
        let by_name = |name: &str| self.names.get(&name.to_lowercase()).copied();
        match mention.kind {
            MentionKind::Broadcast => None,
            MentionKind::Name => by_name(&mention.id),
            MentionKind::User => mention.name.as_deref().and_then(by_name),
            MentionKind::Group => self
                .handles
                .get(&(provider, mention.id.to_lowercase()))
                .map(|&at| Named::Alias(at))
                .or_else(|| mention.name.as_deref().and_then(by_name)),
        }
    }

    fn decision(&self, event: &StandardEvent, route: Route) -> Decision {
        let mut chosen = Vec::new();
        let mut passed_over: Vec<PassedOver> = Vec::new();
        let mut passed_over_count = 0;
        let mut mismatches = Vec::new();
        for ((name, agent), rules) in self.agents.iter().zip(route.agents) {
            if !rules.is_empty() {
                chosen.push(Chosen { inbox: agent.id.inbox(), target: name.clone(), rules });
                continue;
            }
            passed_over_count += 1;
            if passed_over_count > MAX_PASSED_OVER {
                continue;
            }
            mismatches.clear();
            mismatches.extend(agent.subscriptions.iter().filter_map(|one| mismatch(one, event)));
            match passed_over.iter_mut().find(|same| same.mismatches == mismatches) {
                Some(same) => same.agents.push(name.clone()),
                None => passed_over
                    .push(PassedOver { mismatches: mismatches.clone(), agents: vec![name.clone()] }),
            }
        }
        for (alias, rules) in self.aliases.iter().zip(route.shared) {
            if !rules.is_empty() {
                let inbox = InboxId::of_alias(&self.tenant, &alias.name);
                chosen.push(Chosen { inbox, target: format!("@{}", alias.name), rules });
            }
        }
        Decision {
            version: self.version.clone(),
            chosen,
            passed_over,
            passed_over_count,
            unresolved: route.unresolved,
        }
    }
}

fn push_once(rules: &mut Vec<Rule>, rule: Rule) {
    if !rules.contains(&rule) {
        rules.push(rule);
    }
}

/// The first requirement of a subscription that an event does not meet.
fn mismatch(subscription: &Subscription, event: &StandardEvent) -> Option<Mismatch> {
    let data: &EventData = &event.data;
    let any_or = |list: &[String], holds: &dyn Fn(&String) -> bool| list.is_empty() || list.iter().any(holds);
    if !subscription.kinds.is_empty() && !subscription.kinds.contains(&event.kind) {
        Some(Mismatch::Kind)
    } else if !any_or(&subscription.sources, &|source| source == event.source_name()) {
        Some(Mismatch::Source)
    } else if !any_or(&subscription.projects, &|project| data.project_key.as_ref() == Some(project)) {
        Some(Mismatch::Project)
    } else if !any_or(&subscription.labels, &|label| data.labels.contains(label)) {
        Some(Mismatch::Label)
    } else if !subscription.bots.admits(data.actor.as_ref()) {
        Some(Mismatch::Bots)
    } else {
        None
    }
}

#[cfg(test)]
#[path = "route_tests.rs"]
mod tests;
