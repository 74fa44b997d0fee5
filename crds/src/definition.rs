//! From the derived definitions to those that an API server is given.

use std::collections::BTreeMap;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt;

use crate::{AgentProfile, Mapping, NexusPolicy, Tenant};

/// The definitions of all kinds.
#[must_use]
pub fn definitions() -> [CustomResourceDefinition; 4] {
    [
        definition::<Tenant>(),
        definition::<Mapping>(),
        definition::<AgentProfile>(),
        definition::<NexusPolicy>(),
    ]
}

/// What keeps reconcilers from deleting a definition, and every object with it, once it has left their repository or the
/// application that it came by goes.
const KEPT: [(&str, &str); 2] = [
    ("argocd.argoproj.io/sync-options", "Prune=false,Delete=false"),
    ("kustomize.toolkit.fluxcd.io/prune", "disabled"),
];

/// The definition of one kind.
#[must_use]
pub fn definition<K: CustomResourceExt>() -> CustomResourceDefinition {
    let mut definition = K::crd();
    let annotations = definition.metadata.annotations.get_or_insert_with(BTreeMap::new);
    annotations.extend(KEPT.map(|(key, value)| (key.to_owned(), value.to_owned())));
    for version in &mut definition.spec.versions {
        if let Some(schema) =
            version.schema.as_mut().and_then(|validation| validation.open_api_v3_schema.as_mut())
        {
            finish(schema);
        }
    }
    definition
}

/// Makes a schema, and all below it, what an API server takes without a remark.
fn finish(schema: &mut JSONSchemaProps) {
    // A null is then dropped before anything is judged, so that it counts as absent in rules, too.
    schema.nullable = None;
    // Formats of Rust's integers, of which Kubernetes knows none; the bounds say it all.
    if schema.format.as_deref().is_some_and(|format| format.starts_with("uint")) {
        schema.format = Some("int64".to_owned());
    }
    for property in schema.properties.iter_mut().flat_map(|properties| properties.values_mut()) {
        finish(property);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        finish(items);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(any)) = &mut schema.additional_properties {
        finish(any);
    }
}
