//! `nexus rbac`: what a namespace lets the operator do, to be committed beside its objects.
//!
//! The operator may neither list a namespace's Secrets nor bind itself. So whoever owns the namespace grants what its objects
//! name, one by one. A Role stands for all objects of its namespace: what is broken or incomplete gives none.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context as _, ensure};
use nexus_compile::TenantObjects;
use serde_json::{Value, json};

use super::args::RbacArgs;
use super::output::Output;
use super::print;
use crate::folder::listing::{Content, FileContent, Listing, MAX_FILE_BYTES};
use crate::folder::{Folder, Problem, Reading};
use crate::role::control::complaints;

/// What the Role and its binding are called, and the operator's ServiceAccount.
const NAME: &str = "nexus-operator";

/// What the objects of a namespace name.
#[derive(Debug, Default, PartialEq, Eq)]
struct Named {
    secrets: BTreeSet<String>,
    deployments: BTreeSet<String>,
    /// Whether an agent is among them, whose credentials may have to be made.
    agents: bool,
}

pub fn run(args: &RbacArgs, output: Output) -> anyhow::Result<()> {
    let manifests = manifests(args)?;
    match output {
        Output::Json => {
            let list = json!({"apiVersion": "v1", "kind": "List", "items": manifests});
            print(&serde_json::to_string_pretty(&list)?)
        }
        Output::Table => print(&yaml(&manifests)?),
    }
}

/// The documents of a file.
fn yaml(manifests: &[Value]) -> anyhow::Result<String> {
    let documents = manifests.iter().map(serde_saphyr::to_string).collect::<Result<Vec<_>, _>>();
    Ok(documents.context("cannot write YAML")?.join("---\n"))
}

/// A Role and its binding for each namespace.
fn manifests(args: &RbacArgs) -> anyhow::Result<Vec<Value>> {
    let mut named = named(&args.path)?;
    if !args.namespaces.is_empty() {
        let absent = args.namespaces.iter().find(|namespace| !named.contains_key(*namespace));
        if let Some(absent) = absent {
            let known: Vec<_> = named.keys().map(String::as_str).collect();
            let path = args.path.display();
            anyhow::bail!(
                "{path} has no Tenant in namespace `{absent}`; it has some in {}",
                known.join(", ")
            );
        }
        named.retain(|namespace, _| args.namespaces.contains(namespace));
    }
    let manifests = named.iter().flat_map(|(namespace, named)| {
        let role = role(namespace, named, args.own_credentials);
        [role, binding(namespace, &args.operator_namespace)]
    });
    Ok(manifests.collect())
}

/// What the objects name, by namespace.
fn named(path: &Path) -> anyhow::Result<BTreeMap<String, Named>> {
    let reading = read(path)?;
    let root = if path.is_dir() { path } else { path.parent().unwrap_or(Path::new("")) };
    let seen_from_here = |problem: &Problem| Problem { file: root.join(&problem.file), ..problem.clone() };
    let mut wrong: Vec<_> =
        reading.problems.iter().map(|problem| seen_from_here(problem).to_string()).collect();
    let (groups, orphans) = reading.objects.by_tenant();
    wrong.extend(orphans.iter().flat_map(complaints));
    ensure!(
        wrong.is_empty(),
        "{} does not hold all of a namespace's objects in good order, and a Role for some of them would take away what it \
         grants to others:\n  {}",
        path.display(),
        wrong.join("\n  ")
    );
    ensure!(!groups.is_empty(), "{} has no Tenant", path.display());
    let mut named = BTreeMap::<String, Named>::new();
    for group in &groups {
        let namespace = group.tenant.metadata.namespace.clone().unwrap_or_default();
        take(named.entry(namespace).or_default(), group);
    }
    Ok(named)
}

fn take(named: &mut Named, group: &TenantObjects) {
    named.secrets.extend(group.secret_names());
    let workloads = group.profiles.iter().filter_map(|profile| profile.spec.workload_ref.as_ref());
    named.deployments.extend(workloads.map(|workload| workload.name.clone()));
    named.agents |= !group.profiles.is_empty();
}

/// Reads a folder as `nexus dev` does, or a single file.
fn read(path: &Path) -> anyhow::Result<Reading> {
    if path.is_dir() {
        return Ok(Folder::new(path).read());
    }
    let cannot = || format!("cannot read {}", path.display());
    let size = std::fs::metadata(path).with_context(cannot)?.len();
    ensure!(size <= MAX_FILE_BYTES, "{} has more than {MAX_FILE_BYTES} bytes", path.display());
    let content = Content::Bytes(std::fs::read(path).with_context(cannot)?);
    let file = FileContent { path: path.file_name().unwrap_or_default().into(), content };
    Ok(Folder::new(path).take(Listing { files: vec![file], ..Listing::default() }))
}

/// A rule that names nothing would grant everything, so there is none then.
fn role(namespace: &str, named: &Named, own_credentials: bool) -> Value {
    let mut rules = Vec::new();
    if !named.secrets.is_empty() {
        rules.push(json!({
            "apiGroups": [""], "resources": ["secrets"], "resourceNames": named.secrets,
            "verbs": ["get", "list", "watch"],
        }));
    }
    if named.agents && !own_credentials {
        rules.push(json!({"apiGroups": [""], "resources": ["secrets"], "verbs": ["create"]}));
    }
    if !named.deployments.is_empty() {
        rules.push(json!({
            "apiGroups": ["apps"], "resources": ["deployments"], "resourceNames": named.deployments,
            "verbs": ["get", "list", "watch", "patch"],
        }));
    }
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
        "metadata": {"name": NAME, "namespace": namespace},
        "rules": rules,
    })
}

fn binding(namespace: &str, operator: &str) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": NAME, "namespace": namespace},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": NAME},
        "subjects": [{"kind": "ServiceAccount", "name": NAME, "namespace": operator}],
    })
}

#[cfg(test)]
#[path = "rbac_tests.rs"]
mod tests;
