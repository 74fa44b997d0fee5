//! The objects of one kind as they stand at the API server, by the tenant that they belong to. Pure.
//!
//! A list replaces all at once, when it is complete: half a list would look like a deletion. An object that cannot be
//! read keeps its last good value, and says so.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::sync::Arc;

use kube::core::DeserializeGuard;
use kube::core::error_boundary::InvalidObject;
use kube::runtime::watcher::Event;
use kube::{Resource, ResourceExt};
use nexus_compile::belongs_to;
use nexus_core::id::TenantKey;
use nexus_crds::{AgentProfile, Mapping, Tenant};

use crate::policy::ReadPolicy;

/// Namespace and name; the namespace is empty for kinds without.
pub(crate) type Key = (String, String);

/// A kind of object, of which each belongs to a tenant, or to none.
pub(crate) trait OfTenant: Resource + Clone {
    /// The tenant that it belongs to, whether there is one or not.
    fn tenant(&self) -> Option<TenantKey>;

    /// Whether another value says the same. Its generation alone does not tell: those of a restored store come again.
    fn says_the_same_as(&self, other: &Self) -> bool;
}

impl OfTenant for Tenant {
    fn tenant(&self) -> Option<TenantKey> {
        nexus_compile::tenant_key(self).ok()
    }

    fn says_the_same_as(&self, other: &Self) -> bool {
        self.spec == other.spec
    }
}

impl OfTenant for AgentProfile {
    fn tenant(&self) -> Option<TenantKey> {
        belongs_to(self, &self.spec.tenant)
    }

    fn says_the_same_as(&self, other: &Self) -> bool {
        self.spec == other.spec
    }
}

impl OfTenant for Mapping {
    fn tenant(&self) -> Option<TenantKey> {
        belongs_to(self, &self.spec.tenant)
    }

    fn says_the_same_as(&self, other: &Self) -> bool {
        self.spec == other.spec
    }
}

impl OfTenant for ReadPolicy {
    fn tenant(&self) -> Option<TenantKey> {
        None
    }

    fn says_the_same_as(&self, other: &Self) -> bool {
        (&self.spec, &self.complaint) == (&other.spec, &other.complaint)
    }
}

/// An object as it stands.
#[derive(Debug, Clone)]
pub(crate) struct Standing<K> {
    /// The last of its values that could be read; none if there was none.
    pub(crate) good: Option<Arc<K>>,
    /// Why the present value cannot be read.
    pub(crate) broken: Option<Broken>,
}

/// A value that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Broken {
    /// `metadata.uid` of the object.
    pub(crate) uid: Option<String>,
    /// `metadata.generation` of the value.
    pub(crate) generation: Option<i64>,
    /// What is wrong with it.
    pub(crate) error: String,
}

/// The objects of one kind.
#[derive(Debug)]
pub(crate) struct Objects<K> {
    standing: BTreeMap<Key, Standing<K>>,
    of_tenant: BTreeMap<TenantKey, BTreeSet<Key>>,
    /// Those of which no value could be read.
    strays: BTreeSet<Key>,
    /// A list that is not complete yet.
    listing: Option<BTreeMap<Key, DeserializeGuard<K>>>,
    listed: bool,
}

impl<K> Default for Objects<K> {
    fn default() -> Self {
        Self {
            standing: BTreeMap::new(),
            of_tenant: BTreeMap::new(),
            strays: BTreeSet::new(),
            listing: None,
            listed: false,
        }
    }
}

/// What an event changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Changed {
    /// Tenants that must be compiled again.
    pub(crate) tenants: BTreeSet<TenantKey>,
    /// Objects whose status must be looked at.
    pub(crate) objects: BTreeSet<Key>,
}

impl<K: OfTenant> Objects<K> {
    /// Whether all of them were read once.
    pub(crate) fn is_complete(&self) -> bool {
        self.listed
    }

    /// Takes in what a watch says.
    pub(crate) fn take(&mut self, event: Event<DeserializeGuard<K>>) -> Changed {
        let mut changed = Changed::default();
        match event {
            Event::Init => self.listing = Some(BTreeMap::new()),
            Event::InitApply(object) => {
                drop(self.listing.get_or_insert_default().insert(key(&object), object))
            }
            Event::InitDone => self.replace(&mut changed),
            Event::Apply(object) => self.put(key(&object), object, &mut changed),
            Event::Delete(object) => self.remove(&key(&object), &mut changed),
        }
        changed
    }

    /// Takes in the answer to a write of ours, unless a later value has come in already.
    pub(crate) fn written(&mut self, object: K) {
        let key = (object.namespace().unwrap_or_default(), object.name_any());
        let Some(standing) = self.standing.get_mut(&key) else { return };
        let Some(good) = standing.good.as_ref().filter(|good| good.uid() == object.uid()) else { return };
        let later = revision(&object) > revision(&**good);
        // Anything else than status is for the watch to tell, which compiles it.
        if later && same(&**good, &object) {
            standing.good = Some(Arc::new(object));
        }
    }

    /// An object.
    pub(crate) fn get(&self, key: &Key) -> Option<&Standing<K>> {
        self.standing.get(key)
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Key, &Standing<K>)> {
        self.standing.iter()
    }

    /// Those of a tenant.
    pub(crate) fn of(&self, tenant: &TenantKey) -> impl Iterator<Item = (&Key, &Standing<K>)> {
        let keys = self.of_tenant.get(tenant).into_iter().flatten();
        keys.filter_map(|key| self.standing.get_key_value(key))
    }

    /// Those of which no value could be read.
    pub(crate) fn strays(&self) -> impl Iterator<Item = (&Key, &Standing<K>)> {
        self.strays.iter().filter_map(|key| self.standing.get_key_value(key))
    }

    /// The tenants that an object belongs to, whether they are there or not.
    pub(crate) fn tenants(&self) -> impl Iterator<Item = &TenantKey> {
        self.of_tenant.keys()
    }

    fn replace(&mut self, changed: &mut Changed) {
        let listed = self.listing.take().unwrap_or_default();
        let gone: Vec<_> = self.standing.keys().filter(|key| !listed.contains_key(*key)).cloned().collect();
        for key in gone {
            self.remove(&key, changed);
        }
        for (key, object) in listed {
            self.put(key, object, changed);
        }
        if !mem::replace(&mut self.listed, true) {
            changed.tenants.extend(self.of_tenant.keys().cloned());
        }
    }

    fn put(&mut self, key: Key, object: DeserializeGuard<K>, changed: &mut Changed) {
        let before = self.standing.remove(&key);
        let old = before.as_ref().and_then(|standing| standing.good.clone());
        let now = match object.0 {
            Ok(object) => Standing { good: Some(Arc::new(object)), broken: None },
            Err(InvalidObject { error, metadata }) => {
                let broken =
                    Some(Broken { uid: metadata.uid.clone(), generation: metadata.generation, error });
                // Another object under the same name has nothing of its forerunner.
                let good = old.clone().filter(|old| old.meta().uid == metadata.uid);
                Standing { good, broken }
            }
        };
        let unchanged = match (&old, &now.good) {
            (Some(old), Some(new)) => same(&**old, &**new),
            (None, None) => true,
            _ => false,
        };
        // What is found of it differs then.
        let unchanged = unchanged && before.is_none_or(|before| before.broken == now.broken);
        if !unchanged {
            self.leave(old.as_deref(), &key, changed);
            if let Some(tenant) = now.good.as_ref().and_then(|good| good.tenant()) {
                self.of_tenant.entry(tenant.clone()).or_default().insert(key.clone());
                changed.tenants.insert(tenant);
            }
        }
        match now.good {
            Some(_) => drop(self.strays.remove(&key)),
            None => drop(self.strays.insert(key.clone())),
        }
        changed.objects.insert(key.clone());
        self.standing.insert(key, now);
    }

    fn remove(&mut self, key: &Key, changed: &mut Changed) {
        let Some(standing) = self.standing.remove(key) else { return };
        self.strays.remove(key);
        self.leave(standing.good.as_deref(), key, changed);
        changed.objects.insert(key.clone());
    }

    /// Takes an object from its tenant.
    fn leave(&mut self, old: Option<&K>, key: &Key, changed: &mut Changed) {
        let Some(tenant) = old.and_then(OfTenant::tenant) else { return };
        if let Some(keys) = self.of_tenant.get_mut(&tenant) {
            keys.remove(key);
            if keys.is_empty() {
                self.of_tenant.remove(&tenant);
            }
        }
        changed.tenants.insert(tenant);
    }
}

fn key<K: Resource>(object: &K) -> Key {
    (object.namespace().unwrap_or_default(), object.name_any())
}

/// Whether two values differ in nothing that is compiled: a status is not.
fn same<K: OfTenant>(a: &K, b: &K) -> bool {
    let (of_a, of_b) = (a.meta(), b.meta());
    let met = of_a.uid == of_b.uid && of_a.generation == of_b.generation && of_a.labels == of_b.labels;
    met && a.says_the_same_as(b)
}

/// The revision of an object; of two values of one object the later has the higher.
fn revision<K: Resource>(object: &K) -> u64 {
    object.resource_version().and_then(|version| version.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
#[path = "objects_tests.rs"]
mod tests;
