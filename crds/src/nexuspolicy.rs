//! NexusPolicy: the stop switch.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector, MicroTime};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema::rule;

/// Holds while a stop is in order: whoever it meant, it means still.
const ONLY_WIDENS: &str = "!(has(oldSelf.stop) && oldSelf.stop && has(self.stop) && self.stop) || !has(self.targets) || \
     (has(oldSelf.targets) && \
     (!has(self.targets.tenants) || self.targets.tenants.size() == 0 || \
     (has(oldSelf.targets.tenants) && oldSelf.targets.tenants.size() > 0 && \
     oldSelf.targets.tenants.all(tenant, tenant in self.targets.tenants))) && \
     (!has(self.targets.agents) || \
     (has(oldSelf.targets.agents) && self.targets.agents == oldSelf.targets.agents)))";

/// The stop switch: while `stop` is true its targets run nothing. A stop holds until `stop` is gone and `release`
/// names the engagement; deleting or re-creating the object releases nothing.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(group = "nexus.dev", version = "v1alpha1", kind = "NexusPolicy")]
#[kube(shortname = "nxp", category = "nexus", status = "NexusPolicyStatus", derive = "PartialEq")]
#[kube(doc = "The stop switch: while `stop` is true its targets run nothing.")]
#[kube(
    printcolumn = r#"{"name": "Stop", "type": "boolean", "jsonPath": ".spec.stop", "description": "Whether a stop is in order"}"#
)]
#[kube(
    printcolumn = r#"{"name": "Engagement", "type": "string", "jsonPath": ".status.engagement", "description": "The engagement that holds, which a release has to name"}"#
)]
#[kube(
    printcolumn = r#"{"name": "Acknowledged", "type": "string", "jsonPath": ".status.acknowledged", "description": "How many pods obey it as it stands, of how many there are"}"#
)]
#[kube(
    printcolumn = r#"{"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status", "description": "Whether every pod obeys it as it stands; says nothing of a stop being engaged"}"#
)]
#[kube(
    printcolumn = r#"{"name": "Severed", "type": "integer", "jsonPath": ".status.socketsSevered", "description": "How many connections of agents were closed"}"#
)]
#[kube(
    printcolumn = r#"{"name": "Last byte ms", "type": "integer", "jsonPath": ".status.lastByteMilliseconds", "description": "Milliseconds from engagedAt to the last byte that any agent was sent"}"#
)]
#[kube(
    printcolumn = r#"{"name": "Reason", "type": "string", "jsonPath": ".spec.reason", "description": "Why"}"#
)]
#[kube(
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp", "description": "Since when it is there"}"#
)]
#[kube(
    printcolumn = r#"{"name": "Message", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].message", "description": "Which pods do not obey it, or what an admin must look at", "priority": 1}"#
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [rule(
    ONLY_WIDENS,
    "while `stop` is true its targets can only widen: add tenants or take `targets` out; to narrow it, release the stop first",
)]))]
pub struct NexusPolicySpec {
    /// Order the stop. There is no default: a manifest that does not speak of it never takes it back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<bool>,
    /// The engagement to release, `<first 8 of the uid>-<generation>` of this object as it stands now: `status.engagement` shows
    /// it, and any edit of a stop that is engaged gives it another name. Take `stop` out in the same change. Where the
    /// admission policies are installed that needs the RBAC verb `release` on this policy, which ClusterRole `nexus-release`
    /// has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::engagement")]
    pub release: Option<String>,
    /// Why, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub reason: Option<String>,
    /// Whom it means. None: everybody. While `stop` is true this can only widen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub targets: Option<Targets>,
    /// What happens to the workloads of stopped agents: `scaleToZero` (the default) or `keep`.
    #[serde(default)]
    pub workloads: Workloads,
    /// What happens to mirrored messages while stopped: they wait (`pause`, the default), or people's go on crossing
    /// (`run`).
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
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["namespace", "name"]))]
    pub tenants: Vec<TenantRef>,
    /// Agents with these labels. None: all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::selector")]
    pub agents: Option<LabelSelector>,
}

/// A tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TenantRef {
    /// Its namespace.
    #[schemars(schema_with = "crate::schema::label")]
    pub namespace: String,
    /// Its name.
    #[schemars(schema_with = "crate::schema::object_name")]
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

/// What became of the stop.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NexusPolicyStatus {
    /// `Accepted`: what it says is valid. `Programmed`: every pod obeys exactly this. `Ready`: both. An engaged stop
    /// counts for nothing in them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schema::conditions")]
    pub conditions: Vec<Condition>,
    /// The engagement that holds, which `spec.release` has to name; a moment after an edit it may still be the name before
    /// that, and the refusal of a release tells the present one. None: no stop of this policy holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::engagement")]
    pub engagement: Option<String>,
    /// When the stop was put in force, by the clock of the first pod that did so, to the microsecond.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engaged_at: Option<MicroTime>,
    /// How many pods obey the policy as it stands, of how many there are, such as `3/3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::count")]
    pub acknowledged: Option<String>,
    /// How many connections of agents the engagement closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000_000))]
    pub sockets_severed: Option<u64>,
    /// Milliseconds from `engagedAt` to the last byte that any agent was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000_000))]
    pub last_byte_milliseconds: Option<u64>,
}
