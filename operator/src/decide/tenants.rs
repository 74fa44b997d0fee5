//! The status of a tenant's objects, and the credentials that its agents lack.

use std::collections::{BTreeSet, HashMap};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use nexus_compile::{ObjectConditions, ObjectKind, credential_secret};
use nexus_core::id::{AgentId, TenantKey};
use nexus_crds::AgentProfile;
use nexus_wire::config::{Pod, Publisher};

use super::{ANSWER, Decider, Moment};
use crate::engine::Observed;
use crate::objects::Key;
use crate::scale::Record;
use crate::status::{self, Programmed};
use crate::write::{Note, Target, Write, about};

/// The tenants of which two reports of a pod differ.
pub(super) fn changed(
    old: Option<&Pod>,
    new: Option<&Pod>,
    agents: &HashMap<AgentId, TenantKey>,
) -> BTreeSet<TenantKey> {
    let mut tenants = BTreeSet::new();
    for (one, other) in [(old, new), (new, old)] {
        let Some(one) = one else { continue };
        let held = one
            .held
            .iter()
            .filter(|(name, digest)| other.is_none_or(|other| other.held.get(name) != Some(digest)));
        tenants.extend(held.map(|(name, _)| name.tenant.clone()));
        let refused = one
            .refused
            .iter()
            .filter(|(name, refused)| other.is_none_or(|other| other.refused.get(name) != Some(refused)));
        tenants.extend(refused.map(|(name, _)| name.tenant.clone()));
        let present = one.presence.iter().filter(|(agent, presence)| {
            other.is_none_or(|other| other.presence.get(agent) != Some(presence))
        });
        tenants.extend(present.filter_map(|(agent, _)| agents.get(agent).cloned()));
    }
    tenants
}

impl Decider {
    /// Decides for all objects of a tenant. True if it must be done again.
    pub(super) fn decide_tenant(
        &mut self,
        publisher: &Publisher,
        tenant: &TenantKey,
        moment: &Moment,
        writes: &mut Vec<Write>,
    ) -> bool {
        let programmed = self.programmed(publisher, tenant, moment);
        let mut again = programmed == Programmed::Underway;
        for object in self.engine.judged(tenant).to_vec() {
            again |= self.decide_object(tenant, &object, &programmed, moment, writes);
        }
        again
    }

    fn programmed(&self, publisher: &Publisher, tenant: &TenantKey, moment: &Moment) -> Programmed {
        if let Some((reason, why)) = self.unpublished.get(tenant) {
            return Programmed::Unpublished { reason, why: why.clone() };
        }
        if self.engine.compiled(tenant).is_none() {
            let why = "There is no such Tenant.".to_owned();
            return Programmed::Unpublished { reason: "TenantNotFound", why };
        }
        let published = self.published.get(tenant);
        let fresh = published.is_some_and(|since| moment.now.saturating_duration_since(*since) < ANSWER);
        let fresh = fresh || self.awaits_pods(moment.now);
        status::programmed(tenant, |name| publisher.digest(name), &self.existing, &self.pods, fresh)
    }

    fn decide_object(
        &mut self,
        tenant: &TenantKey,
        object: &ObjectConditions,
        programmed: &Programmed,
        moment: &Moment,
        writes: &mut Vec<Write>,
    ) -> bool {
        let key = (object.namespace.clone(), object.name.clone());
        let target = match object.kind {
            ObjectKind::Tenant => Target::Tenant(key.clone()),
            ObjectKind::AgentProfile => Target::Profile(key.clone()),
            ObjectKind::Mapping => Target::Mapping(key.clone()),
        };
        if self.engine.broken(&target).is_some() {
            return self.unreadable(object, moment, writes);
        }
        match object.kind {
            ObjectKind::Tenant => {
                let standing = self.engine.tenants.get(&key).and_then(|standing| standing.good.clone());
                let Some(standing) = standing else { return false };
                let present = standing.status.as_ref();
                let status = status::tenant(object, programmed, present, moment.time);
                if present == Some(&status) {
                    return false;
                }
                let before = present.map_or(&[][..], |status| &status.conditions);
                let notes = notes(before, &status.conditions, || about(&*standing));
                !self.begin(Write::Tenant(key, status, notes), moment, writes)
            }
            ObjectKind::Mapping => {
                let standing = self.engine.mappings.get(&key).and_then(|standing| standing.good.clone());
                let Some(standing) = standing else { return false };
                let present = standing.status.as_ref();
                let status = status::mapping(object, &unmirrored(programmed), present, moment.time);
                if present == Some(&status) {
                    return false;
                }
                let before = present.map_or(&[][..], |status| &status.conditions);
                let notes = notes(before, &status.conditions, || about(&*standing));
                !self.begin(Write::Mapping(key, status, notes), moment, writes)
            }
            ObjectKind::AgentProfile => self.decide_agent(tenant, object, key, programmed, moment, writes),
        }
    }

    fn decide_agent(
        &mut self,
        tenant: &TenantKey,
        object: &ObjectConditions,
        key: Key,
        programmed: &Programmed,
        moment: &Moment,
        writes: &mut Vec<Write>,
    ) -> bool {
        let standing = self.engine.profiles.get(&key).and_then(|standing| standing.good.clone());
        let Some(profile) = standing else { return false };
        let again = self.decide_credentials(tenant, &profile, &key, moment, writes);
        let agent = AgentId::of(tenant, &key.1);
        let present = profile.status.as_ref();
        let mut seen = status::seen(agent, &self.pods, self.awaits_gateways(moment.now));
        // Looked at again once they have come, or have not.
        let again = again || seen.awaits;
        seen.stopped = self.stop_of(tenant, &key.1);
        let object = &self.with_workload(object, &profile);
        let mut status = status::agent(object, programmed, seen, present, moment.time);
        if let Some(Record { replicas, by, from }) = self.records.get(&key).cloned() {
            (status.held_replicas, status.held_by, status.held_from) = (replicas, by, from);
        }
        if present == Some(&status) {
            return again;
        }
        let before = present.map_or(&[][..], |status| &status.conditions);
        let notes = notes(before, &status.conditions, || about(&*profile));
        !self.begin(Write::Profile(key, status, notes), moment, writes) || again
    }

    /// Credentials for an agent that has none. True if they are still to be made.
    fn decide_credentials(
        &mut self,
        tenant: &TenantKey,
        profile: &AgentProfile,
        key: &Key,
        moment: &Moment,
        writes: &mut Vec<Write>,
    ) -> bool {
        let secret = (key.0.clone(), credential_secret(&key.1));
        let lacks = self.engine.observed(&secret) == Some(&Observed::Missing);
        // One that is about to go would take its Secret with it.
        if !lacks || profile.metadata.deletion_timestamp.is_some() {
            return false;
        }
        let Some(owner) = owner(profile) else { return false };
        let agent = AgentId::of(tenant, &key.1);
        self.begin(Write::Credentials { profile: key.clone(), owner, agent }, moment, writes);
        true
    }

    /// Objects of which no value could be read, and nobody knows whose they are. True if some are left.
    pub(super) fn decide_strays(&mut self, moment: &Moment, writes: &mut Vec<Write>) -> bool {
        let strays: Vec<_> = self.engine.strays().collect();
        // All of them are asked.
        strays.iter().filter(|object| self.unreadable(object, moment, writes)).count() > 0
    }

    /// Says of an object that it cannot be read, once for each of its generations: what stands in its status is not known,
    /// but for what its last good value had.
    /// True if that is still to be done.
    fn unreadable(&mut self, object: &ObjectConditions, moment: &Moment, writes: &mut Vec<Write>) -> bool {
        let why = "It cannot be read.".to_owned();
        let programmed = Programmed::Unpublished { reason: "Unreadable", why };
        let key = (object.namespace.clone(), object.name.clone());
        let write = match object.kind {
            ObjectKind::Tenant => {
                Write::Tenant(key, status::tenant(object, &programmed, None, moment.time), Vec::new())
            }
            ObjectKind::Mapping => {
                Write::Mapping(key, status::mapping(object, &programmed, None, moment.time), Vec::new())
            }
            ObjectKind::AgentProfile => {
                let good = self.engine.profiles.get(&key).and_then(|standing| standing.good.clone());
                let present = good.as_ref().and_then(|good| good.status.as_ref());
                let seen = status::Seen::default();
                let status = status::agent(object, &programmed, seen, present, moment.time);
                Write::Profile(key, status, Vec::new())
            }
        };
        let target = write.target();
        let Some(broken) = self.engine.broken(&target).cloned() else { return false };
        if self.told.get(&target) == Some(&broken) {
            return false;
        }
        let begun = self.begin(write, moment, writes);
        if begun {
            self.told.insert(target, broken);
        }
        !begun
    }
}

/// A Mapping is checked, and no pod of this version does what it says.
fn unmirrored(programmed: &Programmed) -> Programmed {
    match programmed {
        Programmed::Unpublished { .. } => programmed.clone(),
        _ => {
            let why = "Nothing is mirrored by this version: the Mapping is checked, and waits.".to_owned();
            Programmed::Unpublished { reason: "NotMirrored", why }
        }
    }
}

/// The profile as the owner of a Secret, which goes with it.
fn owner(profile: &AgentProfile) -> Option<k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference> {
    use kube::Resource as _;
    profile.owner_ref(&())
}

/// What to tell of conditions that turned: of what is wrong, and that it is mended.
fn notes(
    before: &[Condition],
    after: &[Condition],
    about: impl Fn() -> k8s_openapi::api::core::v1::ObjectReference,
) -> Vec<Note> {
    let told =
        after.iter().filter(|condition| ["Accepted", "ResolvedRefs"].contains(&condition.type_.as_str()));
    let turned = told.filter(|condition| {
        let old = before.iter().find(|old| old.type_ == condition.type_);
        match old {
            Some(old) => {
                old.status != condition.status
                    || (condition.status == "False" && old.reason != condition.reason)
            }
            // That all is well from the start is no news.
            None => condition.status == "False",
        }
    });
    let note = |condition: &Condition| Note {
        warning: condition.status == "False",
        reason: condition.reason.clone(),
        action: "Compile",
        message: condition.message.clone(),
        about: about(),
    };
    turned.map(note).collect()
}
