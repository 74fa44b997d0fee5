//! Mappings: whether each is valid, and which would make a loop.
//!
//! No role mirrors yet, so that nothing of a mapping stands in a snapshot; its conditions say what is wrong with it.
//!
//! What counts as a loop: a mapping between a list and a channel that older mappings link already, directly or over
//! others, in whatever direction. A message would come back, or arrive twice. The older wins.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use kube::ResourceExt;
use nexus_core::event::Provider;
use nexus_core::id::TenantKey;
use nexus_core::snapshot::Source;
use nexus_crds::Mapping;
use nexus_crds::mapping::Direction;

use crate::conditions::{Consequence, Findings, ObjectConditions, ObjectKind, Reason};
use crate::{bounds, tenant_missing};

/// The conditions of a tenant's mappings, by name.
pub(crate) fn conditions(
    tenant: &TenantKey,
    mappings: &[Arc<Mapping>],
    sources: &BTreeMap<String, Source>,
) -> Vec<ObjectConditions> {
    let mut links = Links::default();
    let mut judged: Vec<_> = by_age(mappings)
        .into_iter()
        .map(|mapping| {
            let mut findings = Findings::default();
            if judge(mapping, &mut links, &mut findings) {
                check_sources(tenant, mapping, sources, &mut findings);
            } else {
                findings.consequence(Consequence::LeftOut, "the mapping");
            }
            findings.conditions(ObjectKind::Mapping, mapping)
        })
        .collect();
    judged.sort_by(|a, b| a.name.cmp(&b.name));
    judged
}

/// Conditions of a mapping whose tenant is not there.
pub(crate) fn orphan(mapping: &Mapping, known: &BTreeSet<TenantKey>) -> ObjectConditions {
    let findings = tenant_missing(mapping, &mapping.spec.tenant, "the mapping", known);
    findings.conditions(ObjectKind::Mapping, mapping)
}

/// The oldest first; those without a time come last, by name.
fn by_age(mappings: &[Arc<Mapping>]) -> Vec<&Mapping> {
    let mut all: Vec<&Mapping> = mappings.iter().map(|mapping| &**mapping).collect();
    all.sort_by_key(|mapping| {
        let created = mapping.creation_timestamp().map(|time| time.0);
        (created.is_none(), created, mapping.name_any())
    });
    all
}

/// Whether a mapping is valid and makes no loop; then its link counts for younger ones.
fn judge(mapping: &Mapping, links: &mut Links, findings: &mut Findings) -> bool {
    let spec = &mapping.spec;
    let violations = bounds::mapping(spec);
    for violation in &violations {
        findings.refuse(Reason::OutOfBounds, &violation.path, &violation.what, &violation.remedy);
    }
    if !violations.is_empty() {
        return false;
    }
    let (list, channel) =
        (End::List(spec.clickup_list_id.clone()), End::Channel(spec.slack_channel_id.clone()));
    let chain = links.chain(&list, &channel);
    if chain.is_empty() {
        links.add(&mapping.name_any(), list, channel);
        return true;
    }
    findings.refuse(
        Reason::MappingLoop,
        "spec",
        &format!(
            "list `{}` and channel `{}` are linked already, by Mapping {}, so that messages would go round",
            spec.clickup_list_id,
            spec.slack_channel_id,
            chain.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
        ),
        "delete one of them, or map another list or channel",
    );
    false
}

/// Without a source of a provider nothing is heard of what should cross.
fn check_sources(
    tenant: &TenantKey,
    mapping: &Mapping,
    sources: &BTreeMap<String, Source>,
    findings: &mut Findings,
) {
    let heard: &[Provider] = match mapping.spec.direction {
        Direction::Both => &[Provider::ClickUp, Provider::Slack],
        Direction::ToSlack => &[Provider::ClickUp],
        Direction::ToClickUp => &[Provider::Slack],
    };
    for provider in heard {
        if !sources.values().any(|source| source.provider == *provider) {
            let name = provider.name();
            findings.unresolved(
                Reason::SourceNotFound,
                "spec.tenant",
                &format!(
                    "Tenant `{tenant}` has no source of provider {name}, so nothing is heard from there"
                ),
                "add one to the Tenant",
            );
        }
    }
}

/// One end of a link.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    List(String),
    Channel(String),
}

/// What is linked with what, and by which mapping.
#[derive(Debug, Default)]
struct Links(BTreeMap<End, Vec<(End, String)>>);

impl Links {
    fn add(&mut self, mapping: &str, list: End, channel: End) {
        self.0.entry(list.clone()).or_default().push((channel.clone(), mapping.to_owned()));
        self.0.entry(channel).or_default().push((list, mapping.to_owned()));
    }

    /// The mappings by which one end is linked with another; none if they are not.
    fn chain(&self, from: &End, to: &End) -> Vec<&str> {
        let mut came: BTreeMap<&End, (&End, &str)> = BTreeMap::new();
        let mut queue = VecDeque::from([from]);
        while let Some(at) = queue.pop_front() {
            for (next, mapping) in self.0.get(at).into_iter().flatten() {
                if next != from && !came.contains_key(next) {
                    came.insert(next, (at, mapping));
                    queue.push_back(next);
                }
            }
        }
        let mut chain = Vec::new();
        let mut at = to;
        while let Some((before, mapping)) = came.get(at) {
            chain.push(*mapping);
            at = before;
        }
        chain.reverse();
        chain
    }
}
