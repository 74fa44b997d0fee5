//! NexusPolicy: the stop switch.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The stop switch: while `stop` is true its targets run nothing. A stop holds until `stop` is gone and `release`
/// names the engagement; deleting or re-creating the object releases nothing.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(group = "nexus.dev", version = "v1alpha1", kind = "NexusPolicy")]
#[kube(shortname = "nxp", category = "nexus", derive = "PartialEq")]
#[serde(rename_all = "camelCase")]
pub struct NexusPolicySpec {
    /// Order the stop. There is no default: a manifest that does not speak of it never takes it back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<bool>,
    /// The engagement to release, `<first 8 of the uid>-<generation>` of this object as it was engaged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub release: Option<String>,
    /// Why, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub reason: Option<String>,
    /// Whom it means. None: everybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub targets: Option<Targets>,
    /// What happens to the workloads of stopped agents. Default `scaleToZero`.
    #[serde(default)]
    pub workloads: Workloads,
    /// What happens to mirrored messages while stopped. Default `pause`.
    #[serde(default)]
    pub mirror: Mirror,
}

/// Whom a policy means. Both parts must hold.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Targets {
    /// These tenants. None: all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub tenants: Vec<TenantRef>,
    /// Agents with these labels. None: all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agents: Option<LabelSelector>,
}

/// A tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TenantRef {
    /// Its namespace.
    #[schemars(length(min = 1, max = 63))]
    pub namespace: String,
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// What happens to the workloads of stopped agents.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Workloads {
    /// They are scaled to zero, and back on release.
    #[default]
    ScaleToZero,
    /// They stay as they are.
    Keep,
}

/// What happens to mirrored messages while stopped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Mirror {
    /// They wait.
    #[default]
    Pause,
    /// People's messages go on crossing.
    Run,
}
