//! AgentProfile: who an agent is and what it wants to hear.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::CustomResource;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::schema::rule;

/// An agent: who it is, what it wants to hear and how much at a time.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(group = "nexus.dev", version = "v1alpha1", kind = "AgentProfile", namespaced)]
#[kube(shortname = "nxa", category = "nexus", status = "AgentProfileStatus", derive = "PartialEq")]
#[kube(doc = "An agent: who it is, what it wants to hear and how much at a time.")]
#[kube(
    printcolumn = r#"{"name": "Tenant", "type": "string", "jsonPath": ".spec.tenant", "description": "Whose agent it is"}"#
)]
#[kube(
    printcolumn = r#"{"name": "Role", "type": "string", "jsonPath": ".spec.role", "description": "What it does"}"#
)]
#[kube(
    printcolumn = r#"{"name": "Online", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Online\")].status", "description": "Whether it has a session"}"#
)]
#[kube(
    printcolumn = r#"{"name": "Presence", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Online\")].reason", "description": "Connected, NotConnected, or Stopped: a stop holds it"}"#
)]
#[kube(
    printcolumn = r#"{"name": "Seen", "type": "date", "jsonPath": ".status.lastSeen", "description": "When its last session began or ended"}"#
)]
#[kube(
    printcolumn = r#"{"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status", "description": "Whether all that the profile says is in force; says nothing of the agent being online"}"#
)]
#[kube(
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp", "description": "Since when it is there"}"#
)]
#[kube(
    printcolumn = r#"{"name": "Held by", "type": "string", "jsonPath": ".status.heldBy", "description": "The engagement of the stop that scaled its workload to zero; nothing: no stop did", "priority": 1}"#
)]
#[kube(
    printcolumn = r#"{"name": "Owner", "type": "string", "jsonPath": ".spec.owner", "description": "Who answers for it", "priority": 1}"#
)]
#[kube(
    printcolumn = r#"{"name": "Message", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].message", "description": "What is wrong and how to mend it", "priority": 1}"#
)]
#[serde(rename_all = "camelCase")]
pub struct AgentProfileSpec {
    /// Name of the Tenant, in the same namespace. It cannot change.
    #[schemars(schema_with = "crate::schema::tenant")]
    pub tenant: String,
    /// Name for people. Default: the object's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 80))]
    pub display_name: Option<String>,
    /// What it does, in a word or two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 80))]
    pub role: Option<String>,
    /// Who answers for it, such as an address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 254))]
    pub owner: Option<String>,
    /// Names by which it can be mentioned, besides its own, such as `@coder-bot`; case does not matter.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "aliases")]
    pub aliases: Vec<String>,
    /// What it wants to hear without being mentioned. An event that meets one of them is delivered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub subscriptions: Vec<Subscription>,
    /// The most events that one of its sessions may hold unacknowledged. Default 16.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_in_flight: Option<u32>,
    /// The workload that runs it. `nexus dev` runs no workloads and only shows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload_ref: Option<WorkloadRef>,
}

/// Events that an agent wants to hear. Every list that is given must be met; a missing or empty one is met by all.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Subscription {
    /// Kinds of event, such as `NewWorkItem`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schema::event_kinds")]
    pub kinds: Vec<String>,
    /// Names of the Tenant's sources.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schema::labels")]
    pub sources: Vec<String>,
    /// Further requirements.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filters: Option<Filters>,
}

/// Further requirements on events.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Filters {
    /// Lists, channels or repositories: a ClickUp list id, a Slack channel id, `owner/repository`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(min = 1, max = 256)))]
    pub projects: Vec<String>,
    /// Labels or tags, of which the event must have one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 256)))]
    pub labels: Vec<String>,
    /// Whether events that programs caused are wanted: `include` (the default), `exclude` or `only`.
    #[serde(default)]
    pub bots: Bots,
}

/// Whether events that programs caused are wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Bots {
    /// Like any other.
    #[default]
    Include,
    /// Not at all.
    Exclude,
    /// Nothing else.
    Only,
}

/// The workload that runs an agent, in the same namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WorkloadRef {
    /// Its kind: `Deployment`.
    pub kind: WorkloadKind,
    /// Its name.
    #[schemars(schema_with = "crate::schema::object_name")]
    pub name: String,
}

/// Kinds of workload that can run an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum WorkloadKind {
    /// apps/v1 Deployment.
    Deployment,
}

/// What Nexus makes of the profile, and what it knows of the agent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentProfileStatus {
    /// `Accepted`: what it says is valid. `ResolvedRefs`: what it refers to is there. `Programmed`: every pod holds
    /// exactly this. `Ready`: all of these. `Online`: the agent has a session, which counts for nothing in `Ready`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schema::conditions")]
    pub conditions: Vec<Condition>,
    /// When its last session began or ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<Time>,
    /// How many replicas its workload had before a stop scaled it to zero. Gone once they are restored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub held_replicas: Option<u32>,
    /// The engagement by which its workload was scaled to zero. Gone once its replicas are restored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::engagement")]
    pub held_by: Option<String>,
    /// The uid of the Deployment whose replicas they were: they are restored to no other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub held_from: Option<String>,
}

/// Names by which an agent can be mentioned.
fn aliases(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 16,
        "items": {
            "type": "string",
            "minLength": 1,
            "maxLength": 65,
            "x-kubernetes-validations": [rule(
                r"self.matches(r'^@?[^@\s\p{Cc}]([^@\p{Cc}]{0,62}[^@\s\p{Cc}])?$')",
                "nobody could mention this name: write 1 to 64 characters, such as `@coder-bot`",
            )],
        },
    })
}
