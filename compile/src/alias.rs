//! A Tenant's aliases: names that stand for several agents.

use std::collections::BTreeMap;

use nexus_core::event::Provider;
use nexus_core::id::{InboxId, TenantKey};
use nexus_core::snapshot::{Agent, Alias, Delivery};
use nexus_crds::TenantSpec;
use nexus_crds::tenant as crd;

use crate::bounds::{self, Violation};
use crate::conditions::{ConditionType, Consequence, Findings, Reason};
use crate::selector::selector;

/// An alias and its place in the Tenant's list.
#[derive(Debug)]
pub(crate) struct Placed {
    pub(crate) at: usize,
    pub(crate) alias: Alias,
}

/// A name as people compare it: without `@`, in lower case.
pub(crate) fn folded(name: &str) -> String {
    name.strip_prefix('@').unwrap_or(name).to_lowercase()
}

/// The aliases in the order of the list: those that are valid, and the last good value of those that are not.
pub(crate) fn aliases(
    spec: &TenantSpec,
    violations: &[Violation],
    previous: &[Alias],
    agents: &BTreeMap<String, Agent>,
    findings: &mut Findings,
) -> Vec<Placed> {
    let mut placed: Vec<Placed> = Vec::new();
    let mut first = BTreeMap::new();
    for (at, given) in spec.aliases.iter().enumerate() {
        let path = format!("spec.aliases[{at}]");
        if let Some(other) = first.get(&folded(&given.name)) {
            findings.refuse(
                Reason::DuplicateAlias,
                &format!("{path}.name"),
                &format!("`{}` is the name of `spec.aliases[{other}]` too; case does not matter", given.name),
                "give each its own name",
            );
            findings.consequence(Consequence::LeftOut, &path);
            continue;
        }
        first.insert(folded(&given.name), at);
        let well = !bounds::touches_entry(violations, "spec.aliases", at);
        let alias = match members(given, &path, agents, findings) {
            Some(members) if well => Some(build(given, members)),
            _ => last_good(given, &path, previous, agents, findings),
        };
        placed.extend(alias.map(|alias| Placed { at, alias }));
    }
    claim_handles(&mut placed, findings);
    placed
}

/// Names of the agents that the alias selects, sorted; none when its selector is invalid.
fn members(
    given: &crd::Alias,
    path: &str,
    agents: &BTreeMap<String, Agent>,
    findings: &mut Findings,
) -> Option<Vec<String>> {
    let selector = match selector(&given.agents) {
        Ok(selector) => selector,
        Err(error) => {
            let path = format!("{path}.agents.{}", error.path);
            findings.refuse(Reason::InvalidSelector, &path, &error.what, &error.remedy);
            return None;
        }
    };
    let members: Vec<_> = agents
        .iter()
        .filter(|(_, agent)| selector.matches(&agent.labels))
        .map(|(name, _)| name.clone())
        .collect();
    if members.is_empty() {
        findings.note(
            ConditionType::Accepted,
            Reason::NoMembers,
            &format!("{path}.agents"),
            &format!("no agent of this tenant has these labels, so `{}` reaches nobody", given.name),
            "label an AgentProfile or change the selector",
        );
    }
    Some(members)
}

/// What the alias was before, with those of its members that still exist.
fn last_good(
    given: &crd::Alias,
    path: &str,
    previous: &[Alias],
    agents: &BTreeMap<String, Agent>,
    findings: &mut Findings,
) -> Option<Alias> {
    let found = previous.iter().find(|alias| folded(&alias.name) == folded(&given.name));
    findings.consequence(Consequence::of_part(found.is_some()), path);
    let mut alias = found?.clone();
    alias.members.retain(|member| agents.contains_key(member));
    Some(alias)
}

fn build(given: &crd::Alias, members: Vec<String>) -> Alias {
    let handles = given.handles.clone().unwrap_or_default();
    Alias {
        name: given.name.trim_start_matches('@').to_owned(),
        handles: [
            (Provider::Slack, handles.slack_user_group),
            (Provider::ClickUp, handles.clickup_group),
            (Provider::GitHub, handles.github_team),
        ]
        .into_iter()
        .filter_map(|(provider, id)| Some((provider, id?)))
        .collect(),
        members,
        delivery: match given.delivery {
            crd::Delivery::All => Delivery::All,
            crd::Delivery::Any => Delivery::Any,
        },
    }
}

/// Leaves each group of a provider to the first alias that claims it: one group cannot mean two things.
fn claim_handles(placed: &mut [Placed], findings: &mut Findings) {
    let mut owners = BTreeMap::new();
    for Placed { at, alias } in placed {
        alias.handles.retain(|provider, id| {
            let owner = *owners.entry((*provider, id.to_lowercase())).or_insert(*at);
            if owner != *at {
                findings.refuse(
                    Reason::DuplicateHandle,
                    &format!("spec.aliases[{at}].handles"),
                    &format!(
                        "the {} group `{id}` belongs to `spec.aliases[{owner}]` already",
                        provider.name()
                    ),
                    "name it once",
                );
                let part = format!("the {} handle of spec.aliases[{at}]", provider.name());
                findings.consequence(Consequence::LeftOut, &part);
            }
            owner == *at
        });
    }
}

/// Gives each member of an alias with `delivery: any` the alias's shared inbox.
pub(crate) fn share<'a>(
    tenant: &TenantKey,
    aliases: impl IntoIterator<Item = &'a Alias>,
    agents: &mut BTreeMap<String, Agent>,
) {
    for alias in aliases {
        if alias.delivery != Delivery::Any {
            continue;
        }
        let inbox = InboxId::of_alias(tenant, &alias.name);
        for member in &alias.members {
            if let Some(agent) = agents.get_mut(member) {
                agent.shared_inboxes.push(inbox);
            }
        }
    }
}
