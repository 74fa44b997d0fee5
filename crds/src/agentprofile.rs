//! AgentProfile: who an agent is and what it wants to hear.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An agent: who it is, what it wants to hear and how much at a time.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(group = "nexus.dev", version = "v1alpha1", kind = "AgentProfile", namespaced)]
#[kube(shortname = "nxa", category = "nexus", derive = "PartialEq")]
#[serde(rename_all = "camelCase")]
pub struct AgentProfileSpec {
    /// Name of the Tenant, in the same namespace.
    #[schemars(length(min = 1, max = 253))]
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
    #[schemars(length(max = 16))]
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
    #[schemars(length(max = 64))]
    pub kinds: Vec<String>,
    /// Names of the Tenant's sources.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
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
    #[schemars(length(max = 256))]
    pub projects: Vec<String>,
    /// Labels or tags, of which the event must have one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
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
    /// Its kind.
    pub kind: WorkloadKind,
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// Kinds of workload that can run an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum WorkloadKind {
    /// apps/v1 Deployment.
    Deployment,
}
