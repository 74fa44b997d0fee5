//! Whether an event goes elsewhere by other rules, and why. Pure.

use std::collections::{BTreeMap, BTreeSet};

use nexus_core::event::StandardEvent;
use nexus_core::id::{EventId, InboxId, TenantKey};
use nexus_core::kind::Kind;
use nexus_core::route::{Decision, RouteTable};
use nexus_core::snapshot::GatewaySnapshot;
use serde::Serialize;

use crate::cli::why;

/// The rules of all tenants, ready to route by.
#[derive(Debug, Default)]
pub struct Rules {
    tenants: BTreeMap<TenantKey, TenantRules>,
}

/// The rules of one tenant.
#[derive(Debug)]
struct TenantRules {
    table: RouteTable,
    agents: BTreeSet<String>,
    /// Who draws from each shared inbox.
    members: BTreeMap<InboxId, BTreeSet<String>>,
}

/// An event that goes elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Moved {
    /// Its id.
    pub id: EventId,
    /// Its tenant.
    pub tenant: TenantKey,
    /// Its kind.
    pub kind: Kind,
    /// A line for people.
    pub title: Option<String>,
    /// Who gets it by the rules before: agents by name, shared inboxes as `@alias`.
    pub before: Vec<String>,
    /// Who gets it by the rules after.
    pub after: Vec<String>,
    /// What makes the difference, one for each that is gained or lost.
    pub changes: Vec<Change>,
}

/// What one inbox gains or loses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// The agent, or `@alias`.
    pub target: String,
    /// What becomes of it.
    pub change: Turn,
    /// The rule that gives it, or the one that gave it and why it does not any more.
    pub why: String,
}

/// Which way a change goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Turn {
    /// It gets the event now.
    Gains,
    /// It does not get it any more.
    Loses,
    /// It still gets it, but other agents share it.
    Shares,
}

/// Agents that stand on one side only, as `agent of tenant`.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Agents {
    /// Only in the rules before.
    pub removed: Vec<String>,
    /// Only in the rules after.
    pub added: Vec<String>,
}

impl Rules {
    /// Rules of snapshots.
    pub fn build(snapshots: &[GatewaySnapshot]) -> Self {
        let tenants =
            snapshots.iter().map(|snapshot| (snapshot.tenant.clone(), TenantRules::build(snapshot)));
        Self { tenants: tenants.collect() }
    }

    /// Whether there are rules for this tenant.
    pub fn has(&self, tenant: &TenantKey) -> bool {
        self.tenants.contains_key(tenant)
    }

    /// The tenants, by name.
    pub fn tenants(&self) -> impl Iterator<Item = &TenantKey> {
        self.tenants.keys()
    }

    /// Agents that stand on one side only.
    pub fn agents(&self, after: &Self) -> Agents {
        let names = |rules: &Self| -> BTreeSet<String> {
            let named = rules.tenants.iter().flat_map(|(tenant, rules)| {
                rules.agents.iter().map(move |agent| format!("{agent} of {tenant}"))
            });
            named.collect()
        };
        let (old, new) = (names(self), names(after));
        Agents {
            removed: old.difference(&new).cloned().collect(),
            added: new.difference(&old).cloned().collect(),
        }
    }

    /// How the event goes elsewhere by the rules of `after`; none if it goes where it went.
    pub fn moved(&self, after: &Self, event: &StandardEvent) -> Option<Moved> {
        let (old, new) = (Side::of(self, event), Side::of(after, event));
        let changes: Vec<_> = old.lost(&new).chain(new.gained(&old)).chain(new.shared(&old)).collect();
        (!changes.is_empty()).then(|| Moved {
            id: event.id,
            tenant: event.tenant.clone(),
            kind: event.kind,
            title: event.data.title.clone().or_else(|| event.data.text.clone()),
            before: old.names(),
            after: new.names(),
            changes,
        })
    }
}

impl TenantRules {
    fn build(snapshot: &GatewaySnapshot) -> Self {
        let mut members = BTreeMap::<_, BTreeSet<_>>::new();
        for (name, agent) in &snapshot.agents {
            for inbox in &agent.shared_inboxes {
                members.entry(*inbox).or_default().insert(name.clone());
            }
        }
        let agents = snapshot.agents.keys().cloned().collect();
        Self { table: RouteTable::build(snapshot), agents, members }
    }
}

/// One event by one side's rules.
struct Side<'r> {
    rules: Option<&'r TenantRules>,
    decision: Option<Decision>,
}

impl<'r> Side<'r> {
    fn of(rules: &'r Rules, event: &StandardEvent) -> Self {
        let rules = rules.tenants.get(&event.tenant);
        Self { rules, decision: rules.map(|rules| rules.table.route(event)) }
    }

    fn chosen(&self) -> &[nexus_core::route::Chosen] {
        self.decision.as_ref().map_or(&[], |decision| &decision.chosen)
    }

    fn has(&self, inbox: InboxId) -> bool {
        self.chosen().iter().any(|chosen| chosen.inbox == inbox)
    }

    fn names(&self) -> Vec<String> {
        self.chosen().iter().map(|chosen| chosen.target.clone()).collect()
    }

    fn members(&self, inbox: InboxId) -> Option<&'r BTreeSet<String>> {
        self.rules.and_then(|rules| rules.members.get(&inbox))
    }

    fn gained<'s>(&'s self, old: &'s Self) -> impl Iterator<Item = Change> + 's {
        self.chosen().iter().filter(|chosen| !old.has(chosen.inbox)).map(|chosen| Change {
            target: chosen.target.clone(),
            change: Turn::Gains,
            why: why::rules(&chosen.rules),
        })
    }

    fn lost<'s>(&'s self, new: &'s Self) -> impl Iterator<Item = Change> + 's {
        self.chosen().iter().filter(|chosen| !new.has(chosen.inbox)).map(|chosen| Change {
            target: chosen.target.clone(),
            change: Turn::Loses,
            why: format!("was: {}; now: {}", why::rules(&chosen.rules), new.why_not(&chosen.target)),
        })
    }

    /// Shared inboxes that both sides choose, and that other agents draw from now.
    fn shared<'s>(&'s self, old: &'s Self) -> impl Iterator<Item = Change> + 's {
        let kept = self.chosen().iter().filter(|chosen| old.has(chosen.inbox));
        kept.filter_map(|chosen| {
            let (was, is) = (old.members(chosen.inbox), self.members(chosen.inbox));
            (was != is).then(|| Change {
                target: chosen.target.clone(),
                change: Turn::Shares,
                why: format!("shared by {} instead of {}", names(is), names(was)),
            })
        })
    }

    /// Why this side does not choose a target.
    fn why_not(&self, target: &str) -> String {
        let (Some(rules), Some(decision)) = (self.rules, &self.decision) else {
            return "the tenant is not there".to_owned();
        };
        if target.starts_with('@') {
            return format!("no alias {target} with `delivery: any` is named");
        }
        if !rules.agents.contains(target) {
            return "the agent is not there".to_owned();
        }
        let passed =
            decision.passed_over.iter().find(|passed| passed.agents.iter().any(|agent| agent == target));
        passed.map_or_else(|| "no rule chooses it".to_owned(), why::why_not)
    }
}

fn names(members: Option<&BTreeSet<String>>) -> String {
    match members {
        Some(members) => members.iter().map(String::as_str).collect::<Vec<_>>().join(", "),
        None => "nobody".to_owned(),
    }
}

#[cfg(test)]
#[path = "compare_tests.rs"]
mod tests;
