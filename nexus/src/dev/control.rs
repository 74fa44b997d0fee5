//! The control plane of `nexus dev`: the folder's objects, compiled and published.
//!
//! Stop policies have locks of their own. A stop by command takes only one that is held for moments, never over
//! a read, a compile or a write: it is in force before anything waits for a disk. A stop by file is in force
//! once the folder is read, before it is compiled.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context as _;
use arc_swap::ArcSwap;
use nexus_compile::{Compiled, Previous, Status};
use nexus_core::id::{AgentId, TenantKey};
use nexus_core::stop::EngagementName;
use nexus_gateway::GatewayConfig;
use nexus_ingest::{IngestConfig, TenantSources};
use nexus_runtime::lane::{KnownAgent, StopLane};
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;

use super::credentials;
use super::data::DataDir;
use crate::folder::{Folder, Objects, PolicyError, PolicyStore, Reading};

/// What is in force.
#[derive(Debug, Default)]
pub struct View {
    /// What each tenant compiled to.
    pub tenants: BTreeMap<TenantKey, Arc<Compiled>>,
    /// What is wrong in the folder, or with objects that belong to no tenant.
    pub problems: Vec<String>,
}

/// Why the stop switch did not turn as asked.
#[derive(Debug, thiserror::Error)]
pub enum SwitchError {
    /// The policy's name is none.
    #[error("cannot turn the switch")]
    Name(#[source] PolicyError),
    /// The release does not fit what is engaged.
    #[error("{0}")]
    Refused(String),
    /// It cannot be written.
    #[error("the stop is in force, but it cannot be kept over a restart")]
    StopNotKept(#[source] anyhow::Error),
    /// It cannot be written.
    #[error("the stop holds: its release cannot be kept; it may take effect by itself once it can")]
    ReleaseNotKept(#[source] anyhow::Error),
}

/// Reads, compiles and publishes.
pub struct Control {
    folder: Mutex<Folder>,
    /// Held for moments only.
    policies: Mutex<PolicyStore>,
    /// Held over whatever releases, and over every write of policies. Stops do not wait for it.
    order: Mutex<()>,
    agents: PathBuf,
    /// Whether credentials could not be made and must be tried again.
    incomplete: AtomicBool,
    lane: Arc<StopLane>,
    view: ArcSwap<View>,
    ingest: watch::Sender<Arc<IngestConfig>>,
    gateway: watch::Sender<Arc<GatewayConfig>>,
}

impl Control {
    /// Nothing is in force yet; [`Control::reload`] comes next.
    pub fn open(folder: &Path, data: &DataDir, lane: Arc<StopLane>) -> anyhow::Result<Self> {
        let policies = PolicyStore::open(&data.policies()).context("cannot read what is kept of policies")?;
        Ok(Self {
            // The data folder may lie inside the served one; what is in there is ours.
            folder: Mutex::new(Folder::new(folder).without(data.path())),
            policies: Mutex::new(policies),
            order: Mutex::new(()),
            agents: data.agents(),
            incomplete: AtomicBool::new(false),
            lane,
            view: ArcSwap::default(),
            ingest: watch::Sender::new(Arc::default()),
            gateway: watch::Sender::new(Arc::default()),
        })
    }

    /// What is in force.
    pub fn view(&self) -> Arc<View> {
        self.view.load_full()
    }

    /// What ingest is configured with.
    pub fn ingest(&self) -> watch::Receiver<Arc<IngestConfig>> {
        self.ingest.subscribe()
    }

    /// What gateway is configured with.
    pub fn gateway(&self) -> watch::Receiver<Arc<GatewayConfig>> {
        self.gateway.subscribe()
    }

    /// Reads the folder and puts in force what changed. Blocks on the file system.
    pub fn reload(&self) {
        // Held to the end: two reloads must not publish in the wrong order.
        let mut folder = lock(&self.folder);
        let reading = folder.read();
        self.observe_policies(&reading);
        touched("nexus_config_read_timestamp_seconds");
        if reading.changed || self.incomplete.load(Ordering::Relaxed) {
            self.apply(&reading);
        }
    }

    /// Orders a stop on behalf of an admin. Blocks on the disk, but only once the stop is in force.
    pub fn engage(&self, policy: &str, reason: Option<String>) -> Result<(), SwitchError> {
        let current = lock(&self.policies).engage(policy, reason).map_err(SwitchError::Name)?;
        let observed = self.lane.observe(&current).map_err(anyhow::Error::from);
        let kept = self.keep(&lock(&self.order)).map_err(anyhow::Error::from);
        observed.and(kept).map_err(SwitchError::StopNotKept)
    }

    /// Releases an engagement on behalf of an admin. Blocks on the disk.
    pub fn release(&self, policy: &str, engagement: &str) -> Result<(), SwitchError> {
        let _order = lock(&self.order);
        let current = loop {
            let name = self.releasable(policy, engagement)?;
            let before = lock(&self.policies).clone();
            let mut after = before.clone();
            let current = after.release(policy, &name).map_err(|error| match error {
                PolicyError::Name { .. } => SwitchError::Name(error),
                PolicyError::OrderedByFile { .. } => SwitchError::Refused(error.to_string()),
                _ => SwitchError::ReleaseNotKept(error.into()),
            })?;
            let mut store = lock(&self.policies);
            // A stop that was ordered meanwhile must not be overwritten: look again whether the name still holds.
            if *store == before {
                *store = after;
                break current;
            }
        };
        let merged =
            self.lane.observe(&current).map_err(|error| SwitchError::ReleaseNotKept(error.into()))?;
        if merged.released.iter().all(|name| name.to_string() != engagement) {
            let why = format!(
                "`{engagement}` is not released, as the policy was changed meanwhile; see `nexus status`"
            );
            return Err(SwitchError::Refused(why));
        }
        Ok(())
    }

    /// The engagement of this name, if it is one of the policy's.
    fn releasable(&self, policy: &str, engagement: &str) -> Result<EngagementName, SwitchError> {
        let latch = self.lane.gate().latch();
        let held: Vec<_> = latch.engagements().map(|held| (held.name(), &held.policy)).collect();
        let refused = |why| Err(SwitchError::Refused(why));
        match held.iter().find(|(name, _)| name.to_string() == engagement) {
            Some((name, owner)) if *owner == policy => Ok(name.clone()),
            Some((_, owner)) => {
                refused(format!("`{engagement}` is of policy {owner}: give --policy {owner}"))
            }
            None if held.is_empty() => refused("no stop is engaged".to_owned()),
            None => {
                let names: Vec<_> = held.iter().map(|(name, _)| name.to_string()).collect();
                refused(format!("`{engagement}` is not engaged; engaged: {}", names.join(", ")))
            }
        }
    }

    fn observe_policies(&self, reading: &Reading) {
        let order = lock(&self.order);
        let current = lock(&self.policies).observe(&reading.objects.policies);
        let observed = self.lane.observe(&current).err().map(anyhow::Error::from);
        let kept = self.keep(&order).err().map(anyhow::Error::from);
        if observed.is_none() {
            touched("nexus_stop_read_timestamp_seconds");
        }
        for error in observed.into_iter().chain(kept) {
            tracing::error!(
                error = format!("{error:#}"),
                "cannot keep the state of the stop switch; trying again"
            );
        }
    }

    /// Writes the policies as they stand, without holding up those who order a stop.
    fn keep(&self, _order: &MutexGuard<'_, ()>) -> Result<(), PolicyError> {
        let mut copy = lock(&self.policies).clone();
        let before = copy.clone();
        copy.save()?;
        let mut store = lock(&self.policies);
        if *store == before {
            *store = copy;
        }
        Ok(())
    }

    fn apply(&self, reading: &Reading) {
        let mut problems: Vec<_> = reading.problems.iter().map(ToString::to_string).collect();
        for notice in &reading.notices {
            tracing::info!("{notice}");
        }
        let before = self.view();
        let (groups, orphans) = self.group(&reading.objects, &mut problems);
        problems.extend(orphans.iter().flat_map(complaints));
        let mut tenants = BTreeMap::new();
        for objects in groups {
            let key = nexus_compile::tenant_key(&objects.tenant).ok();
            let previous = key.and_then(|key| before.tenants.get(&key));
            let previous = previous.map_or_else(Previous::default, |compiled| compiled.as_previous());
            if let Ok(compiled) = nexus_compile::compile(&objects, previous) {
                tenants.insert(compiled.gateway.tenant.clone(), Arc::new(compiled));
            }
        }
        let view = Arc::new(View { tenants, problems });
        report(&before, &view);
        measure(&view);
        self.publish(&view);
        self.view.store(view);
    }

    /// Objects by tenant, with credentials made for agents that the folder gives none.
    fn group(
        &self,
        objects: &Objects,
        problems: &mut Vec<String>,
    ) -> (Vec<nexus_compile::TenantObjects>, Vec<nexus_compile::ObjectConditions>) {
        let (mut groups, orphans) = objects.by_tenant();
        self.incomplete.store(false, Ordering::Relaxed);
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
                match credentials::ensure(&self.agents, tenant.namespace(), name, AgentId::of(&tenant, name))
                {
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
        let sources = |compiled: &Arc<Compiled>| TenantSources {
            snapshot: Arc::new(compiled.ingest.clone()),
            secrets: compiled.signing.clone(),
        };
        let tenants = view.tenants.iter().map(|(key, compiled)| (key.clone(), sources(compiled)));
        self.ingest.send_replace(Arc::new(IngestConfig { tenants: tenants.collect() }));
        let known = view.tenants.iter().flat_map(|(tenant, compiled)| {
            compiled.gateway.agents.values().map(|agent| KnownAgent {
                tenant: tenant.clone(),
                agent: agent.id,
                labels: agent.labels.clone(),
            })
        });
        // The stop lane knows an agent before the gateway does, so that a stop by label never misses one.
        if let Err(error) = self.lane.know(known.collect()) {
            tracing::error!(
                error = format!("{:#}", anyhow::Error::from(error)),
                "cannot keep the stop latch"
            );
        }
        let snapshots =
            view.tenants.iter().map(|(key, compiled)| (key.clone(), Arc::new(compiled.gateway.clone())));
        let snapshots = snapshots.collect();
        self.gateway.send_modify(|config| *config = Arc::new(config.next(snapshots)));
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
fn touched(gauge: &'static str) {
    let now = nexus_runtime::clock::system().now();
    metrics::gauge!(gauge).set(now.as_duration().as_secs_f64());
}

/// Tells metrics what is in force.
fn measure(view: &View) {
    touched("nexus_config_applied_timestamp_seconds");
    metrics::gauge!("nexus_config_problems").set(all_problems(view).len() as f64);
    let snapshots = view.tenants.values().map(|compiled| (&compiled.ingest, &compiled.gateway));
    if let Ok(json) = serde_json::to_vec(&snapshots.collect::<Vec<_>>()) {
        // 48 bits: a float holds them exactly.
        let hash = Sha256::digest(json).iter().take(6).fold(0_u64, |hash, byte| hash << 8 | u64::from(*byte));
        metrics::gauge!("nexus_config_hash").set(hash as f64);
    }
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "control_tests.rs"]
mod tests;
