//! The control plane of a process: the folder's objects, compiled and published, less what its roles have no use for.
//!
//! A stop by file is in force once the folder is read, before it is compiled: see [`StopSwitch`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context as _;
use arc_swap::ArcSwap;
use nexus_compile::{Compiled, Previous, Status};
use nexus_core::id::{AgentId, TenantKey};
use nexus_ingest::TenantSources;

use super::configured::{self, Configured};
use super::credentials;
use super::cut::Cut;
use super::switch::StopSwitch;
use crate::folder::{FilePolicy, Folder, Objects, Reading};

/// What is in force.
#[derive(Debug, Default)]
pub struct View {
    /// What each tenant compiled to.
    pub tenants: BTreeMap<TenantKey, Arc<Compiled>>,
    /// What is wrong in the folder, or with objects that belong to no tenant.
    pub problems: Vec<String>,
}

/// The folder to serve, as it is called for good.
pub fn served(folder: &Path) -> anyhow::Result<PathBuf> {
    folder.canonicalize().with_context(|| {
        format!("{} is no folder; give one with Tenant and AgentProfile files", folder.display())
    })
}

/// What a process is given of the folder.
#[derive(Default)]
pub struct Scope {
    /// A folder below the served one that is left out: what is in there is ours.
    pub without: Option<PathBuf>,
    /// Which snapshots it keeps.
    pub cut: Cut,
    /// Where credentials are made that no Secret gives; where there is no such place, an agent needs a Secret.
    pub agents: Option<PathBuf>,
    /// The stop switch.
    pub switch: StopSwitch,
}

/// Reads, compiles and publishes.
pub struct Control {
    folder: Mutex<Folder>,
    scope: Scope,
    /// Whether credentials could not be made and must be tried again.
    incomplete: AtomicBool,
    view: ArcSwap<View>,
    configured: Arc<Configured>,
}

impl Control {
    /// Nothing is in force yet; [`Control::reload`] comes next.
    pub fn new(folder: &Path, scope: Scope) -> Self {
        let served = Folder::new(folder);
        let served = match &scope.without {
            Some(ours) => served.without(ours),
            None => served,
        };
        let configured = Arc::new(Configured::new(scope.switch.switch().cloned()));
        let (incomplete, view) = (AtomicBool::new(false), ArcSwap::default());
        Self { folder: Mutex::new(served), scope, incomplete, view, configured }
    }

    /// What is in force.
    pub fn view(&self) -> Arc<View> {
        self.view.load_full()
    }

    /// What roles are configured with.
    pub fn configured(&self) -> &Arc<Configured> {
        &self.configured
    }

    /// Reads the folder and puts in force what changed. Blocks on the file system.
    pub fn reload(&self) {
        // Held to the end: two reloads must not publish in the wrong order.
        let mut folder = lock(&self.folder);
        let reading = folder.read();
        if let StopSwitch::Folder(switch) = &self.scope.switch {
            switch.observe(&reading.objects.policies);
        }
        touched("nexus_config_read_timestamp_seconds");
        if reading.changed || self.incomplete.load(Ordering::Relaxed) {
            self.apply(&reading);
        }
    }

    fn apply(&self, reading: &Reading) {
        let mut problems: Vec<_> = reading.problems.iter().map(ToString::to_string).collect();
        for notice in &reading.notices {
            tracing::info!("{notice}");
        }
        let before = self.view();
        let (groups, orphans) = self.group(&reading.objects, &mut problems);
        problems.extend(self.unobeyed(&reading.objects));
        problems.extend(orphans.iter().flat_map(complaints));
        let mut tenants = BTreeMap::new();
        for objects in groups {
            let key = nexus_compile::tenant_key(&objects.tenant).ok();
            let previous = key.and_then(|key| before.tenants.get(&key));
            let previous = previous.map_or_else(Previous::default, |compiled| compiled.as_previous());
            if let Ok(mut compiled) = nexus_compile::compile(&objects, previous) {
                self.scope.cut.keep(&mut compiled);
                tenants.insert(compiled.gateway.tenant.clone(), Arc::new(compiled));
            }
        }
        let view = Arc::new(View { tenants, problems });
        report(&before, &view);
        measure(&view);
        self.publish(&view);
        self.view.store(view);
    }

    /// Files with policies that nobody obeys: whoever wrote one might rely on it.
    fn unobeyed(&self, objects: &Objects) -> Vec<String> {
        if !matches!(self.scope.switch, StopSwitch::Elsewhere(_)) {
            return Vec::new();
        }
        let unobeyed = objects.policies.iter().map(|FilePolicy { file, policy }| {
            let name = policy.metadata.name.as_deref().unwrap_or_default();
            format!(
                "{}: NexusPolicy {name} is not obeyed, as policies come from the API server (--policies kubernetes); \
                 apply it there, and take it out here",
                file.display()
            )
        });
        unobeyed.collect()
    }

    /// Objects by tenant, with credentials made for agents that the folder gives none.
    fn group(
        &self,
        objects: &Objects,
        problems: &mut Vec<String>,
    ) -> (Vec<nexus_compile::TenantObjects>, Vec<nexus_compile::ObjectConditions>) {
        let (mut groups, orphans) = objects.by_tenant();
        self.incomplete.store(false, Ordering::Relaxed);
        let Some(agents) = &self.scope.agents else {
            return (groups, orphans);
        };
        for group in &mut groups {
            let Ok(tenant) = nexus_compile::tenant_key(&group.tenant) else {
                continue;
            };
            for profile in &group.profiles {
                let Some(name) = profile.metadata.name.as_deref() else {
                    continue;
                };
                let secret = nexus_compile::credential_secret(name);
                if group.secrets.contains_key(&secret) {
                    continue;
                }
                match credentials::ensure(agents, tenant.namespace(), name, AgentId::of(&tenant, name)) {
                    Ok(made) => {
                        let data = BTreeMap::from([(nexus_compile::CLIENT_SECRET.to_owned(), made)]);
                        group.secrets.insert(secret, data);
                    }
                    Err(error) => {
                        self.incomplete.store(true, Ordering::Relaxed);
                        problems.push(format!("{error:#}"));
                    }
                }
            }
        }
        (groups, orphans)
    }

    fn publish(&self, view: &View) {
        if self.scope.cut != Cut::Gateway {
            let sources = |compiled: &Arc<Compiled>| TenantSources {
                snapshot: Arc::new(compiled.ingest.clone()),
                secrets: compiled.signing.clone(),
            };
            let tenants = view.tenants.iter().map(|(key, compiled)| (key.clone(), sources(compiled)));
            self.configured.put_ingest(tenants.collect());
        }
        if self.scope.cut != Cut::Ingest {
            let snapshots = view.tenants.iter();
            let snapshots =
                snapshots.map(|(key, compiled)| (key.clone(), Arc::new(compiled.gateway.clone())));
            self.configured.put_gateway(snapshots.collect());
        }
        self.configured.suffice();
    }
}

/// The conditions of an object that do not hold.
pub fn complaints(object: &nexus_compile::ObjectConditions) -> Vec<String> {
    let bad = object.conditions.iter().filter(|condition| condition.status == Status::False);
    bad.map(|condition| {
        let (kind, reason) = (condition.kind.name(), condition.reason.name());
        format!(
            "{} {}/{}: {kind} is False ({reason}): {}",
            object.kind, object.namespace, object.name, condition.message
        )
    })
    .collect()
}

/// Everything that is wrong.
fn all_problems(view: &View) -> Vec<String> {
    let conditions =
        view.tenants.values().flat_map(|compiled| compiled.conditions.iter().flat_map(complaints));
    view.problems.iter().cloned().chain(conditions).collect()
}

/// Notes the time in a gauge.
pub fn touched(gauge: &'static str) {
    let now = nexus_runtime::clock::system().now();
    metrics::gauge!(gauge).set(now.as_duration().as_secs_f64());
}

/// Tells metrics what is in force.
fn measure(view: &View) {
    metrics::gauge!("nexus_config_problems").set(all_problems(view).len() as f64);
    let snapshots = view.tenants.values().map(|compiled| (&compiled.ingest, &compiled.gateway));
    let json = serde_json::to_vec(&snapshots.collect::<Vec<_>>());
    configured::measure(&json.unwrap_or_default());
}

/// Logs what became wrong, and that all is well again.
fn report(before: &View, after: &View) {
    let (old, new) = (all_problems(before), all_problems(after));
    for problem in new.iter().filter(|problem| !old.contains(problem)) {
        tracing::warn!("{problem}");
    }
    if new.is_empty() && !old.is_empty() {
        tracing::info!("the folder has no problem any more");
    }
    tracing::info!(tenants = after.tenants.len(), problems = new.len(), "configuration in force");
}

pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "control_tests.rs"]
mod tests;
