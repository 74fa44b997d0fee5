//! What the operator knows and what it makes of it: objects in, snapshots and conditions out. Pure.
//!
//! Tenants are independent: a change compiles its own tenant again and no other. Nothing is compiled before all objects
//! were read once, and no tenant before each Secret that it names was looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::core::DeserializeGuard;
use kube::runtime::watcher::Event;
use nexus_compile::{Compiled, ObjectConditions, ObjectKind, Previous, SecretData, TenantObjects};
use nexus_core::id::TenantKey;
use nexus_core::secret::Secret;
use nexus_crds::{AgentProfile, Mapping, Tenant};
use nexus_wire::config::ResourceType;

use crate::objects::{Broken, Changed, Key, Objects, OfTenant};
use crate::policy::ReadPolicy;
use crate::scale::Workload;
use crate::slices::Slices;
use crate::write::Target;

/// Something that is looked at by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Observed<T> {
    /// It is there.
    There(T),
    /// It is not there.
    Missing,
    /// It cannot be read, and why.
    Unreadable(String),
}

/// The data of a Secret.
pub(crate) type SecretValues = BTreeMap<String, Secret>;

/// What comes in.
#[derive(Debug)]
pub(crate) enum Change {
    /// Of the Tenants.
    Tenant(Event<DeserializeGuard<Tenant>>),
    /// Of the AgentProfiles.
    Profile(Event<DeserializeGuard<AgentProfile>>),
    /// Of the Mappings.
    Mapping(Event<DeserializeGuard<Mapping>>),
    /// Of the NexusPolicies.
    Policy(Event<DeserializeGuard<ReadPolicy>>),
    /// Of a Secret.
    Secret(Key, Observed<SecretValues>),
    /// Of a Deployment.
    Workload(Key, Observed<Workload>),
    /// Of the EndpointSlices of our pods.
    Slice(Event<EndpointSlice>),
}

/// What became of a tenant.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Outcome {
    /// This is to be published, but for these, of which nobody can tell what they are.
    Compiled(Arc<Compiled>, Vec<ResourceType>),
    /// It is there, and nobody can tell what it says: pods keep what they hold of it.
    Withheld,
    /// It is no more.
    Gone,
}

/// Whether all Secrets of a part of a tenant could be read once.
#[derive(Debug, Default)]
struct Read {
    sources: bool,
    agents: bool,
}

/// The state.
#[derive(Debug, Default)]
pub(crate) struct Engine {
    /// Tenants.
    pub(crate) tenants: Objects<Tenant>,
    /// AgentProfiles.
    pub(crate) profiles: Objects<AgentProfile>,
    /// Mappings.
    pub(crate) mappings: Objects<Mapping>,
    /// NexusPolicies.
    pub(crate) policies: Objects<ReadPolicy>,
    /// Deployments that profiles name.
    pub(crate) workloads: BTreeMap<Key, Observed<Workload>>,
    /// The EndpointSlices of our pods.
    pub(crate) slices: Slices,
    secrets: BTreeMap<Key, Observed<SecretValues>>,
    wanted: BTreeMap<TenantKey, BTreeSet<Key>>,
    compiled: BTreeMap<TenantKey, Arc<Compiled>>,
    judged: BTreeMap<TenantKey, Vec<ObjectConditions>>,
    /// Of which tenants the Secrets could all be read once.
    read: BTreeMap<TenantKey, Read>,
    /// Which object each tenant was compiled from.
    uids: BTreeMap<TenantKey, Option<String>>,
    dirty: BTreeSet<TenantKey>,
    /// Tenants of which the status of some object must be looked at.
    unsettled: BTreeSet<TenantKey>,
    /// Whether tenants name other Secrets than before.
    names_changed: bool,
}

impl Engine {
    /// Takes in what comes in.
    pub(crate) fn take(&mut self, change: Change) {
        match change {
            Change::Tenant(event) => {
                let changed = self.tenants.take(event);
                // One that never could be read is withheld though no other object names it, and goes when it is deleted.
                let unread = changed
                    .objects
                    .iter()
                    .filter(|key| self.tenants.get(key).is_none_or(|standing| standing.good.is_none()));
                self.dirty.extend(unread.filter_map(|key| TenantKey::new(&key.0, &key.1).ok()));
                // Whose Tenant comes or goes is judged by that.
                self.note(changed, |key| TenantKey::new(&key.0, &key.1).ok());
            }
            Change::Profile(event) => {
                let changed = self.profiles.take(event);
                let profiles = &self.profiles;
                let of =
                    changed.objects.iter().filter_map(|key| tenant_of(profiles, key)).collect::<Vec<_>>();
                self.unsettled.extend(of);
                self.note(changed, |_| None);
            }
            Change::Mapping(event) => {
                let changed = self.mappings.take(event);
                let mappings = &self.mappings;
                let of =
                    changed.objects.iter().filter_map(|key| tenant_of(mappings, key)).collect::<Vec<_>>();
                self.unsettled.extend(of);
                self.note(changed, |_| None);
            }
            Change::Policy(event) => drop(self.policies.take(event)),
            Change::Secret(key, observed) => self.secret(key, observed),
            Change::Workload(key, observed) => {
                // What was seen last of it stays what is known while it cannot be read.
                if !matches!(observed, Observed::Unreadable(_)) {
                    self.workloads.insert(key, observed);
                }
            }
            Change::Slice(event) => self.slices.take(event),
        }
    }

    fn note(&mut self, changed: Changed, tenant: impl Fn(&Key) -> Option<TenantKey>) {
        self.unsettled.extend(changed.objects.iter().filter_map(tenant));
        self.unsettled.extend(changed.tenants.iter().cloned());
        self.dirty.extend(changed.tenants);
    }

    fn secret(&mut self, key: Key, observed: Observed<SecretValues>) {
        let known = match (self.secrets.get(&key), &observed) {
            // What was known stays in force while it cannot be read.
            (Some(Observed::There(_) | Observed::Missing), Observed::Unreadable(_)) => true,
            (known, observed) => known == Some(observed),
        };
        if known {
            return;
        }
        let of = self.wanted.iter().filter(|(_, wanted)| wanted.contains(&key));
        self.dirty.extend(of.map(|(tenant, _)| tenant.clone()));
        self.secrets.insert(key, observed);
    }

    /// Whether everything was read once and compiled.
    pub(crate) fn is_complete(&self) -> bool {
        self.is_listed() && self.dirty.is_empty()
    }

    fn is_listed(&self) -> bool {
        self.tenants.is_complete() && self.profiles.is_complete() && self.mappings.is_complete()
    }

    /// The Secrets that tenants name, if these are not the ones that were told of last.
    pub(crate) fn take_wanted(&mut self) -> Option<BTreeSet<Key>> {
        std::mem::take(&mut self.names_changed).then(|| self.wanted())
    }

    #[cfg(test)]
    pub(crate) fn secret_names(&self) -> BTreeSet<Key> {
        self.wanted()
    }

    fn wanted(&self) -> BTreeSet<Key> {
        self.wanted.values().flatten().cloned().collect()
    }

    /// A Secret, as it was read last.
    pub(crate) fn observed(&self, key: &Key) -> Option<&Observed<SecretValues>> {
        self.secrets.get(key)
    }

    /// What a tenant compiled to.
    pub(crate) fn compiled(&self, tenant: &TenantKey) -> Option<&Arc<Compiled>> {
        self.compiled.get(tenant)
    }

    /// All that is compiled.
    pub(crate) fn all(&self) -> &BTreeMap<TenantKey, Arc<Compiled>> {
        &self.compiled
    }

    /// What is found of a tenant's objects, and of those that name it without its being there.
    pub(crate) fn judged(&self, tenant: &TenantKey) -> &[ObjectConditions] {
        self.judged.get(tenant).map_or(&[], Vec::as_slice)
    }

    /// Why an object of a target cannot be read.
    pub(crate) fn broken(&self, target: &Target) -> Option<&Broken> {
        match target {
            Target::Tenant(key) => self.tenants.get(key).and_then(|one| one.broken.as_ref()),
            Target::Profile(key) => self.profiles.get(key).and_then(|one| one.broken.as_ref()),
            Target::Mapping(key) => self.mappings.get(key).and_then(|one| one.broken.as_ref()),
            Target::Policy(_) | Target::Deployment(_) | Target::Credentials(_) => None,
        }
    }

    /// What is found of objects that cannot be read and never could: nobody knows whose they are.
    pub(crate) fn strays(&self) -> impl Iterator<Item = ObjectConditions> {
        broken_of(ObjectKind::AgentProfile, self.profiles.strays())
            .chain(broken_of(ObjectKind::Mapping, self.mappings.strays()))
    }

    /// Every tenant of which there is an object.
    pub(crate) fn known(&self) -> BTreeSet<TenantKey> {
        self.judged.keys().cloned().collect()
    }

    /// Tenants of which some object's status must be looked at; each is told of once.
    pub(crate) fn take_unsettled(&mut self) -> BTreeSet<TenantKey> {
        std::mem::take(&mut self.unsettled)
    }

    /// Compiles what changed, and tells what became of it. A tenant that waits for a Secret to be read stays as it was.
    pub(crate) fn settle(&mut self) -> Vec<(TenantKey, Outcome)> {
        if !self.is_listed() {
            return Vec::new();
        }
        let mut settled = Vec::new();
        for tenant in std::mem::take(&mut self.dirty) {
            match self.compile(&tenant) {
                Some(outcome) => {
                    self.unsettled.insert(tenant.clone());
                    settled.push((tenant, outcome));
                }
                None => drop(self.dirty.insert(tenant)),
            }
        }
        if self.names_changed {
            let wanted = self.wanted();
            self.secrets.retain(|key, _| wanted.contains(key));
        }
        settled
    }

    fn compile(&mut self, tenant: &TenantKey) -> Option<Outcome> {
        let key = (tenant.namespace().to_owned(), tenant.name().to_owned());
        let Some(standing) = self.tenants.get(&key) else {
            self.orphan(tenant);
            return Some(Outcome::Gone);
        };
        let Some(good) = standing.good.clone() else {
            let broken = standing.broken.as_ref();
            let judged = broken.map(|broken| unreadable(ObjectKind::Tenant, &key, broken, false));
            self.judged.insert(tenant.clone(), judged.into_iter().collect());
            return Some(Outcome::Withheld);
        };
        // A Tenant that was made anew has no last good values.
        if self.uids.insert(tenant.clone(), good.metadata.uid.clone()) != Some(good.metadata.uid.clone()) {
            self.compiled.remove(tenant);
            self.read.remove(tenant);
        }
        let mut objects = TenantObjects::of(good);
        objects.profiles = good_of(&self.profiles, tenant);
        objects.mappings = good_of(&self.mappings, tenant);
        self.look_up(tenant, &mut objects)?;
        let previous = self.compiled.get(tenant);
        let previous = previous.map_or_else(Previous::default, |compiled| compiled.as_previous());
        let Ok(compiled) = nexus_compile::compile(&objects, previous) else {
            return Some(Outcome::Gone);
        };
        let judged = self.with_broken(tenant, compiled.conditions.clone());
        self.judged.insert(tenant.clone(), judged);
        let compiled = Arc::new(compiled);
        let withheld = self.withheld(tenant, &objects);
        self.compiled.insert(tenant.clone(), Arc::clone(&compiled));
        Some(Outcome::Compiled(compiled, withheld))
    }

    /// What must not be published: without last good values a Secret that cannot be read would count as none. It is published
    /// once all of them were read, and from then on last good values hold.
    fn withheld(&mut self, tenant: &TenantKey, objects: &TenantObjects) -> Vec<ResourceType> {
        let signing = objects.signing_names();
        let (of_sources, of_agents): (Vec<_>, Vec<_>) =
            objects.unreadable.keys().partition(|name| signing.contains(*name));
        let known = self.read.entry(tenant.clone()).or_default();
        known.sources |= of_sources.is_empty();
        known.agents |= of_agents.is_empty();
        let mut withheld = Vec::new();
        if !known.sources {
            withheld.push(ResourceType::SigningSecrets);
        }
        if !known.agents {
            withheld.push(ResourceType::Gateway);
        }
        withheld
    }

    /// Fills in the Secrets. None while one of them was not looked at.
    fn look_up(&mut self, tenant: &TenantKey, objects: &mut TenantObjects) -> Option<()> {
        let namespace = tenant.namespace();
        let names = objects.secret_names();
        let wanted: BTreeSet<_> = names.iter().map(|name| (namespace.to_owned(), name.clone())).collect();
        if self.wanted.get(tenant) != Some(&wanted) {
            self.wanted.insert(tenant.clone(), wanted);
            self.names_changed = true;
        }
        let mut secrets = SecretData::new();
        for name in names {
            match self.secrets.get(&(namespace.to_owned(), name.clone()))? {
                Observed::There(data) => drop(secrets.insert(name, data.clone())),
                Observed::Missing => {}
                Observed::Unreadable(why) => drop(objects.unreadable.insert(name, why.clone())),
            }
        }
        objects.secrets = secrets;
        Some(())
    }

    /// A tenant that is not there, of which there may be objects nevertheless.
    fn orphan(&mut self, tenant: &TenantKey) {
        self.compiled.remove(tenant);
        self.read.remove(tenant);
        self.uids.remove(tenant);
        self.names_changed |= self.wanted.remove(tenant).is_some();
        let profiles = good_of(&self.profiles, tenant);
        let mappings = good_of(&self.mappings, tenant);
        if profiles.is_empty() && mappings.is_empty() {
            self.judged.remove(tenant);
            return;
        }
        let known: BTreeSet<_> = self.tenants.tenants().cloned().collect();
        let profiles = profiles.iter().map(|profile| &**profile);
        let mappings = mappings.iter().map(|mapping| &**mapping);
        self.judged.insert(tenant.clone(), nexus_compile::orphans(profiles, mappings, &known));
    }

    /// Conditions, where those of objects that cannot be read say so.
    fn with_broken(
        &self,
        tenant: &TenantKey,
        mut conditions: Vec<ObjectConditions>,
    ) -> Vec<ObjectConditions> {
        let key = (tenant.namespace().to_owned(), tenant.name().to_owned());
        let tenants = self.tenants.get(&key).map(|standing| (&key, standing)).into_iter();
        let broken = broken_of(ObjectKind::Tenant, tenants)
            .chain(broken_of(ObjectKind::AgentProfile, self.profiles.of(tenant)))
            .chain(broken_of(ObjectKind::Mapping, self.mappings.of(tenant)));
        for one in broken {
            conditions.retain(|other| (other.kind, &other.name) != (one.kind, &one.name));
            conditions.push(one);
        }
        conditions
    }
}

fn tenant_of<K: OfTenant>(objects: &Objects<K>, key: &Key) -> Option<TenantKey> {
    objects.get(key)?.good.as_ref()?.tenant()
}

fn good_of<K: OfTenant>(objects: &Objects<K>, tenant: &TenantKey) -> Vec<Arc<K>> {
    objects.of(tenant).filter_map(|(_, standing)| standing.good.clone()).collect()
}

fn broken_of<'a, K: 'a>(
    kind: ObjectKind,
    objects: impl Iterator<Item = (&'a Key, &'a crate::objects::Standing<K>)>,
) -> impl Iterator<Item = ObjectConditions> {
    objects.filter_map(move |(key, standing)| {
        let broken = standing.broken.as_ref()?;
        Some(unreadable(kind, key, broken, standing.good.is_some()))
    })
}

fn unreadable(
    kind: ObjectKind,
    key: &Key,
    broken: &crate::objects::Broken,
    has_last_good: bool,
) -> ObjectConditions {
    ObjectConditions::unreadable(kind, (&key.0, &key.1), broken.generation, &broken.error, has_last_good)
}

#[cfg(test)]
#[path = "engine_tests.rs"]
mod tests;
