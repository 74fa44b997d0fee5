//! The pods that exist, by the EndpointSlices of the Services of ingest and gateway. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt as _;
use kube::runtime::watcher::Event;
use nexus_wire::config::Role;

use crate::status::Existing;

/// The label that says of which Service a slice is.
const SERVICE: &str = "kubernetes.io/service-name";

/// The slices that are watched.
pub(crate) const LABELS: &str = "kubernetes.io/service-name in (nexus-ingest,nexus-gateway)";

/// The slices as they stand.
#[derive(Debug, Default)]
pub(crate) struct Slices {
    standing: BTreeMap<String, EndpointSlice>,
    listing: BTreeMap<String, EndpointSlice>,
}

impl Slices {
    /// Takes in what a watch says.
    pub(crate) fn take(&mut self, event: Event<EndpointSlice>) {
        match event {
            Event::Init => self.listing.clear(),
            Event::InitApply(slice) => drop(self.listing.insert(slice.name_any(), slice)),
            Event::InitDone => self.standing = std::mem::take(&mut self.listing),
            Event::Apply(slice) => drop(self.standing.insert(slice.name_any(), slice)),
            Event::Delete(slice) => drop(self.standing.remove(&slice.name_any())),
        }
    }

    /// The pods, ready or not; one that is about to end counts no more.
    pub(crate) fn existing(&self) -> Existing {
        let mut existing = Existing::new();
        for slice in self.standing.values() {
            let Some(role) = slice.labels().get(SERVICE).and_then(|service| role(service)) else { continue };
            let endpoints = slice.endpoints.iter().flatten();
            let live = endpoints.filter(|endpoint| {
                let conditions = endpoint.conditions.as_ref();
                conditions.and_then(|conditions| conditions.terminating) != Some(true)
            });
            let pods = live.filter_map(|endpoint| {
                endpoint
                    .target_ref
                    .as_ref()
                    .filter(|target| target.kind.as_deref() == Some("Pod"))?
                    .name
                    .clone()
            });
            existing.entry(role).or_default().extend(pods);
        }
        existing
    }
}

fn role(service: &str) -> Option<Role> {
    match service {
        "nexus-ingest" => Some(Role::Ingest),
        "nexus-gateway" => Some(Role::Gateway),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn slice(service: &str, pods: &[(&str, bool)]) -> EndpointSlice {
        let endpoints = pods.iter().map(|(name, terminating)| {
            json!({
                "addresses": ["10.0.0.1"],
                "conditions": {"ready": false, "terminating": terminating},
                "targetRef": {"kind": "Pod", "name": name},
            })
        });
        serde_json::from_value(json!({
            "metadata": {"name": format!("{service}-1"), "labels": {SERVICE: service}},
            "addressType": "IPv4", "ports": [], "endpoints": endpoints.collect::<Vec<_>>(),
        }))
        .unwrap()
    }

    #[test]
    fn pods_exist_from_their_first_slice_until_they_are_about_to_end() {
        let mut slices = Slices::default();
        slices.take(Event::Apply(slice("nexus-ingest", &[("a", false), ("b", true)])));
        slices.take(Event::Apply(slice("nexus-gateway", &[("g", false)])));
        slices.take(Event::Apply(slice("other", &[("x", false)])));
        let pods = |slices: &Slices, role| {
            slices.existing().get(&role).into_iter().flatten().cloned().collect::<Vec<_>>()
        };
        assert_eq!(
            (pods(&slices, Role::Ingest), pods(&slices, Role::Gateway)),
            (vec!["a".into()], vec!["g".into()])
        );
        slices.take(Event::Init);
        assert_eq!(pods(&slices, Role::Gateway), ["g"]);
        slices.take(Event::InitDone);
        assert!(slices.existing().is_empty());
    }
}
