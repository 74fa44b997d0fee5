//! Who a name stands for when several claim it.
//!
//! An alias of the Tenant wins over an agent, an agent's own name over another agent's alias, and of two
//! agents' aliases the older profile's. Nobody is refused for it: an object must not break by what its
//! neighbours do. The loser does without the name and its conditions say so.

use std::collections::BTreeMap;

use kube::ResourceExt;
use nexus_core::snapshot::Agent;
use nexus_crds::AgentProfile;

use crate::alias::{Placed, folded};
use crate::conditions::{ConditionType, Findings, Reason};

/// Profiles by name, each with what was found about it.
pub(crate) type Profiles<'a> = BTreeMap<String, (&'a AgentProfile, Findings)>;

/// Takes from each agent the aliases that mean somebody else, and says so.
pub(crate) fn settle(
    agents: &mut BTreeMap<String, Agent>,
    aliases: &[Placed],
    profiles: &mut Profiles<'_>,
    tenant: &mut Findings,
) {
    let mut owners: BTreeMap<String, String> = BTreeMap::new();
    for Placed { alias, .. } in aliases {
        owners.insert(folded(&alias.name), format!("the Tenant's alias `@{}`", alias.name));
    }
    for name in agents.keys() {
        let Some(owner) = owners.get(&folded(name)) else {
            owners.insert(folded(name), format!("agent `{name}`"));
            continue;
        };
        note_both(name, name, owner, "metadata.name", aliases, profiles, tenant);
    }
    for name in by_age(agents, profiles) {
        let Some(agent) = agents.get_mut(&name) else {
            continue;
        };
        let mut lost = Vec::new();
        agent.aliases.retain(|alias| {
            let taken = owners.get(&folded(alias));
            lost.extend(taken.map(|owner| (alias.clone(), owner.clone())));
            taken.is_none()
        });
        for alias in &agent.aliases {
            owners.insert(folded(alias), format!("agent `{name}`"));
        }
        for (alias, owner) in lost {
            note_both(&name, &alias, &owner, "spec.aliases", aliases, profiles, tenant);
        }
    }
}

/// Names of the agents, the oldest profile first; without times, by name.
fn by_age(agents: &BTreeMap<String, Agent>, profiles: &Profiles<'_>) -> Vec<String> {
    let mut names: Vec<_> = agents.keys().cloned().collect();
    names.sort_by_key(|name| {
        let created =
            profiles.get(name).and_then(|(profile, _)| profile.creation_timestamp()).map(|time| time.0);
        (created.is_none(), created)
    });
    names
}

fn note_both(
    agent: &str,
    claimed: &str,
    owner: &str,
    path: &str,
    aliases: &[Placed],
    profiles: &mut Profiles<'_>,
    tenant: &mut Findings,
) {
    if let Some((_, findings)) = profiles.get_mut(agent) {
        let what = format!("a mention of `@{claimed}` means {owner}");
        findings.note(ConditionType::Accepted, Reason::NameClash, path, &what, "rename one of them");
    }
    let alias = aliases.iter().find(|placed| folded(&placed.alias.name) == folded(claimed));
    if let Some(Placed { at, alias }) = alias {
        let what = format!("`@{}` means the alias and no longer agent `{agent}`", alias.name);
        let path = format!("spec.aliases[{at}].name");
        tenant.note(ConditionType::Accepted, Reason::NameClash, &path, &what, "rename one of them");
    }
}
