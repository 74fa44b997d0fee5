//! The rules of a folder, without any last good value: what is broken is told, never replaced.

use std::path::Path;

use anyhow::Context as _;
use nexus_compile::{ConditionType, Previous, Reason, Status};
use nexus_core::snapshot::GatewaySnapshot;

use crate::folder::{Folder, Problem};
use crate::role::control::complaints;

/// A folder's rules, and what of it an admin should know.
#[derive(Debug, Default)]
pub struct FolderRules {
    /// The rules of each tenant.
    pub snapshots: Vec<GatewaySnapshot>,
    /// What is wrong, but makes no difference to routing.
    pub notes: Vec<String>,
}

/// Reads and compiles a folder.
///
/// # Errors
/// When anything in it is broken that could make a difference, naming all of it.
pub fn read(path: &Path) -> anyhow::Result<FolderRules> {
    anyhow::ensure!(
        path.is_dir(),
        "{} is no folder; give one with Tenant and AgentProfile files",
        path.display()
    );
    let reading = Folder::new(path).read();
    let seen_from_here = |problem: &Problem| Problem { file: path.join(&problem.file), ..problem.clone() };
    let mut wrong: Vec<_> =
        reading.problems.iter().map(|problem| seen_from_here(problem).to_string()).collect();
    let (groups, orphans) = reading.objects.by_tenant();
    wrong.extend(orphans.iter().flat_map(complaints));
    let mut rules = FolderRules::default();
    for objects in &groups {
        let compiled = nexus_compile::compile(objects, Previous::default())
            .with_context(|| format!("cannot compile {}", path.display()))?;
        for object in &compiled.conditions {
            let complaints = complaints(object);
            let harmless = object
                .conditions
                .iter()
                .filter(|condition| condition.status == Status::False)
                .all(|condition| is_harmless(condition.kind, condition.reason));
            if harmless { &mut rules.notes } else { &mut wrong }.extend(complaints);
        }
        rules.snapshots.push(compiled.gateway);
    }
    anyhow::ensure!(
        wrong.is_empty(),
        "{} is broken, so nothing was compared:\n  {}",
        path.display(),
        wrong.join("\n  ")
    );
    anyhow::ensure!(
        !rules.snapshots.is_empty(),
        "{} has no Tenant; give the folder that `nexus dev` would serve",
        path.display()
    );
    Ok(rules)
}

/// Whether what was found says nothing about routing. Secrets do not: a folder under review seldom has them.
fn is_harmless(kind: ConditionType, reason: Reason) -> bool {
    kind == ConditionType::ResolvedRefs
        && matches!(
            reason,
            Reason::SecretNotFound
                | Reason::SecretKeyNotFound
                | Reason::SecretEmpty
                | Reason::SecretEndsWithNewline
                | Reason::ClientSecretTooShort
                | Reason::ClientIdMismatch
        )
}
