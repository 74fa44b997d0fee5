//! Whether what was chosen can be replayed: seen before the first request, so that no tenant is done and the next
//! one refused.

use anyhow::{bail, ensure};
use indicatif::HumanBytes;
use nexus_core::id::TenantKey;

use super::chosen::Chosen;
use crate::api::{Status, TenantStatus};
use crate::cli::output::note;
use crate::cli::pages::no_such;

/// Leaves out what is of tenants that the folder no longer has, with a note; an error if that is all of it, or if a
/// tenant has no such target.
pub fn check(status: &Status, chosen: &mut Chosen, target: Option<&str>) -> anyhow::Result<()> {
    let gone: Vec<_> = chosen.tenants().into_iter().filter(|one| tenant(status, one).is_none()).collect();
    let mut left_out = 0;
    for tenant in &gone {
        left_out += chosen.leave_out(tenant);
    }
    if !gone.is_empty() {
        let names: Vec<_> = gone.iter().map(ToString::to_string).collect();
        let why = format!(
            "the folder no longer has {}, so nobody can get the {left_out} events of it",
            names.join(", ")
        );
        ensure!(chosen.count() > 0, why);
        note(&format!("{why}; they are left out"));
    }
    let Some(target) = target else {
        return Ok(());
    };
    let tenants = chosen.tenants();
    let (with, without): (Vec<_>, Vec<_>) = tenants
        .iter()
        .filter_map(|key| tenant(status, key))
        .partition(|one| names(one).any(|name| is_meant(&name, target)));
    let Some(first) = without.first() else {
        return Ok(());
    };
    let what = if target.starts_with('@') { "alias" } else { "agent" };
    if with.is_empty() {
        let known: Vec<_> = without.iter().flat_map(|one| names(one)).collect();
        bail!(no_such(what, target, &known));
    }
    let with: Vec<_> = with.iter().map(|one| one.tenant.to_string()).collect();
    bail!(
        "{} has no {what} `{target}`; choose a tenant that has by --tenant: {}",
        first.tenant,
        with.join(", ")
    )
}

/// Says of which tenants the quota may be used up, so that webhooks are refused until agents have caught up.
pub fn note_full(status: &Status, chosen: &Chosen) {
    for key in chosen.tenants() {
        let (Some(tenant), Some(bytes)) = (tenant(status, &key), chosen.bytes(&key)) else {
            continue;
        };
        let left = tenant.quota_bytes.saturating_sub(tenant.pending_bytes);
        if bytes > left {
            note(&format!(
                "the events of {key} take {}, and its quota has room for {}: if as much waits at once, its webhooks \
                 are answered 503 until agents have caught up; replay it in parts by --since and --until",
                HumanBytes(bytes),
                HumanBytes(left)
            ));
        }
    }
}

fn tenant<'s>(status: &'s Status, key: &TenantKey) -> Option<&'s TenantStatus> {
    status.tenants.iter().find(|one| one.tenant == *key)
}

/// Who can be named as a target.
fn names(tenant: &TenantStatus) -> impl Iterator<Item = String> {
    let aliases = tenant.aliases.iter().map(|alias| format!("@{}", alias.name));
    tenant.agents.iter().map(|agent| agent.name.clone()).chain(aliases)
}

/// An alias may be written in any case.
fn is_meant(name: &str, target: &str) -> bool {
    name == target || (target.starts_with('@') && name.eq_ignore_ascii_case(target))
}
