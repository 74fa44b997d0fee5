//! What is published, what the operator has told a pod of it, and what it tells next. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::resource::{Digest, Resource, ResourceName, Role};
use super::{MAX_UPDATE_BYTES, v1};

/// The most removals that one Update has.
const REMOVALS: usize = 10_000;

/// All resources.
#[derive(Debug, Default)]
pub(super) struct Published {
    /// By name.
    pub(super) resources: BTreeMap<ResourceName, Resource>,
    /// Resources of which nobody can tell what they are now: what pods hold of them stays.
    pub(super) withheld: BTreeSet<ResourceName>,
    /// Whether that is all: before it nothing is sent.
    pub(super) complete: bool,
    /// Whether no stream is wanted any more.
    pub(super) closed: bool,
}

/// What one pod was told over one stream.
#[derive(Debug)]
pub(super) struct Told {
    role: Role,
    held: BTreeMap<ResourceName, Digest>,
    refused: BTreeMap<ResourceName, Digest>,
    /// Whether it had a complete Update.
    complete: bool,
}

/// What one Update tells.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) resources: Vec<Resource>,
    pub(super) removed: Vec<ResourceName>,
    pub(super) complete: bool,
}

impl Told {
    /// A pod that holds this already.
    pub(super) fn new(role: Role, mut held: BTreeMap<ResourceName, Digest>) -> Self {
        held.retain(|name, _| role.types().contains(&name.kind));
        Self { role, held, refused: BTreeMap::new(), complete: false }
    }

    /// What the pod holds by its own word.
    pub(super) fn held(&self) -> &BTreeMap<ResourceName, Digest> {
        &self.held
    }

    /// What it must be told next; none while that is nothing.
    pub(super) fn next(&self, published: &Published) -> Option<Batch> {
        if !published.complete {
            return None;
        }
        let mut batch = Batch::default();
        let mut bytes = 0;
        let ours = |name: &ResourceName| self.role.types().contains(&name.kind);
        let missing = published.resources.values().filter(|resource| ours(resource.name()));
        for resource in missing.filter(|resource| !self.stands(resource)) {
            bytes += resource.content().len();
            if bytes > MAX_UPDATE_BYTES && !batch.resources.is_empty() {
                return Some(batch);
            }
            batch.resources.push(resource.clone());
        }
        // Behind all others: a pod must not lose something before it has what comes instead.
        let known = self.held.keys().chain(self.refused.keys().filter(|name| !self.held.contains_key(name)));
        let stays =
            |name: &ResourceName| published.resources.contains_key(name) || published.withheld.contains(name);
        let mut gone = known.filter(|name| !stays(name));
        batch.removed = gone.by_ref().take(REMOVALS).cloned().collect();
        batch.complete = gone.next().is_none();
        let nothing = batch.resources.is_empty() && batch.removed.is_empty();
        (!nothing || !self.complete).then_some(batch)
    }

    /// Whether the pod needs not be told of this version.
    fn stands(&self, resource: &Resource) -> bool {
        let digest = Some(resource.digest());
        match self.refused.get(resource.name()) {
            // It is told even of what it holds when it refuses another version: that refusal is then over.
            Some(refused) => Some(*refused) == digest,
            None => self.held.get(resource.name()).copied() == digest,
        }
    }

    /// The pod has answered.
    pub(super) fn settle(&mut self, batch: Batch, refused: &BTreeMap<ResourceName, Digest>) {
        for resource in batch.resources {
            let (name, digest) = (resource.name().clone(), resource.digest());
            if refused.get(&name) == Some(&digest) {
                self.refused.insert(name, digest);
            } else {
                self.refused.remove(&name);
                self.held.insert(name, digest);
            }
        }
        for name in &batch.removed {
            self.held.remove(name);
            self.refused.remove(name);
        }
        self.complete |= batch.complete;
    }
}

impl Batch {
    pub(super) fn proto(&self, nonce: u64) -> v1::Update {
        v1::Update {
            nonce,
            resources: self.resources.iter().map(Resource::proto).collect(),
            removed: self.removed.iter().map(ResourceName::proto).collect(),
            complete: self.complete,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::ResourceType;
    use super::*;

    fn resource(tenant: &str, bytes: usize) -> Resource {
        let name = ResourceName { kind: ResourceType::Gateway, tenant: tenant.parse().unwrap() };
        Resource::of(name, &"x".repeat(bytes)).unwrap()
    }

    fn published(resources: &[Resource]) -> Published {
        let resources = resources.iter().map(|resource| (resource.name().clone(), resource.clone()));
        Published { resources: resources.collect(), complete: true, ..Published::default() }
    }

    #[test]
    fn what_is_withheld_stays_where_it_is_held() {
        let (kept, gone) = (resource("a/kept", 1), resource("b/gone", 1));
        let held = [&kept, &gone].map(|one| (one.name().clone(), one.digest()));
        let told = Told::new(Role::Gateway, held.into_iter().collect());
        let withheld = BTreeSet::from([kept.name().clone()]);
        let batch = told.next(&Published { withheld, ..published(&[]) }).unwrap();
        assert_eq!((batch.removed, batch.complete), (vec![gone.name().clone()], true));
    }

    #[test]
    fn an_update_has_a_mebibyte_or_one_resource_and_removals_come_last() {
        let gone = resource("z/gone", 1);
        let mut told = Told::new(Role::Gateway, [(gone.name().clone(), gone.digest())].into_iter().collect());
        let half = MAX_UPDATE_BYTES / 2 - 2;
        let all = published(&[
            resource("a/a", half),
            resource("b/b", half),
            resource("c/c", 3 * MAX_UPDATE_BYTES),
            resource("d/d", 1),
        ]);
        let mut sent = Vec::new();
        while let Some(batch) = told.next(&all) {
            let names: Vec<_> = batch.resources.iter().map(|each| each.name().tenant.to_string()).collect();
            sent.push((names.join(" "), batch.removed.len(), batch.complete));
            told.settle(batch, &BTreeMap::new());
        }
        let sent: Vec<_> =
            sent.iter().map(|(names, removed, last)| (names.as_str(), *removed, *last)).collect();
        assert_eq!(sent, [("a/a b/b", 0, false), ("c/c", 0, false), ("d/d", 1, true)]);
    }

    #[test]
    fn many_removals_take_several_updates() {
        let digest = Digest::of(b"");
        let name = |number| ResourceName {
            kind: ResourceType::Gateway,
            tenant: format!("a/{number}").parse().unwrap(),
        };
        let held = (0..=REMOVALS).map(|number| (name(number), digest)).collect();
        let mut told = Told::new(Role::Gateway, held);
        let first = told.next(&published(&[])).unwrap();
        assert!(first.removed.len() == REMOVALS && !first.complete);
        told.settle(first, &BTreeMap::new());
        let second = told.next(&published(&[])).unwrap();
        assert!(second.removed.len() == 1 && second.complete);
        told.settle(second, &BTreeMap::new());
        assert!(told.next(&published(&[])).is_none());
    }

    #[test]
    fn a_refusal_is_over_when_the_former_version_is_published_again() {
        let (good, bad) = (resource("a/a", 1), resource("a/a", 2));
        let mut told = Told::new(Role::Gateway, [(good.name().clone(), good.digest())].into_iter().collect());
        let batch = told.next(&published(std::slice::from_ref(&bad))).unwrap();
        told.settle(batch, &[(bad.name().clone(), bad.digest())].into());
        assert!(told.next(&published(std::slice::from_ref(&bad))).is_none(), "it is not sent again");
        let batch = told.next(&published(std::slice::from_ref(&good))).unwrap();
        assert_eq!(batch.resources, std::slice::from_ref(&good));
        told.settle(batch, &BTreeMap::new());
        assert!(told.next(&published(&[good])).is_none());
    }
}
