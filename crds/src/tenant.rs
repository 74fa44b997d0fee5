//! Tenant: a team's sources of events, its aliases and its bounds.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A team whose events Nexus carries: where they come from, which names stand for which agents, and how much is kept.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(group = "nexus.dev", version = "v1alpha1", kind = "Tenant", namespaced)]
#[kube(shortname = "nxt", category = "nexus", derive = "PartialEq")]
#[serde(rename_all = "camelCase")]
pub struct TenantSpec {
    /// Where events come from. Names are unique; a source's webhook address is
    /// `/hooks/{namespace}/{tenant}/{source}`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub sources: Vec<Source>,
    /// Names that stand for several agents.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub aliases: Vec<Alias>,
    /// Limits on the tenant's agents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    /// How long handled events are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<Retention>,
    /// How much may wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<Quota>,
}

/// A source of events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Source {
    /// The source's name, part of its webhook address.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// Who sends.
    pub provider: Provider,
    /// The Secret with the webhook's signing secret, in the Tenant's namespace.
    pub secret_ref: SecretKeyRef,
    /// A second signing secret that is accepted as well while the first is being rotated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_secret_ref: Option<SecretKeyRef>,
}

/// A provider of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// ClickUp, webhooks of API v2.
    ClickUp,
    /// Slack, Events API over HTTP.
    Slack,
    /// GitHub, repository, organization and App webhooks.
    GitHub,
}

/// One key of a Secret in the same namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SecretKeyRef {
    /// The Secret's name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The key in its data.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// A name that stands for several agents.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Alias {
    /// The name as people type it, such as `@AI_Squad`; case does not matter.
    #[schemars(length(min = 2, max = 64), regex(pattern = r"^@[A-Za-z0-9_]([-A-Za-z0-9_]*[A-Za-z0-9_])?$"))]
    pub name: String,
    /// The groups at the providers that mean the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handles: Option<Handles>,
    /// Which of the tenant's agents are meant, by their labels.
    pub agents: LabelSelector,
    /// Whether each of them gets an event (`all`, the default) or any one of them (`any`).
    #[serde(default)]
    pub delivery: Delivery,
}

/// The groups at the providers that an alias stands for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Handles {
    /// Id of a Slack user group, such as `S0614TZR7`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub slack_user_group: Option<String>,
    /// Id of a ClickUp group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub clickup_group: Option<String>,
    /// A GitHub team, `organization/team`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 3, max = 200))]
    pub github_team: Option<String>,
}

/// Who of an alias's agents gets an event.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Delivery {
    /// Each of them.
    #[default]
    All,
    /// Any one of them, whoever is free first.
    Any,
}

/// Limits on the tenant's agents.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// Seconds within which an agent must send a Ping. Default 30.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3600))]
    pub heartbeat_seconds: Option<u32>,
    /// How many Pings it may miss before it counts as offline. Default 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub heartbeat_misses: Option<u32>,
}

/// How long things are kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Retention {
    /// Seconds for which an event is kept after every agent has acknowledged it. Default 604800, a week.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 60, max = 31_536_000))]
    pub events_seconds: Option<u32>,
}

/// How much may wait.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Quota {
    /// Bytes of events that may wait unacknowledged; webhooks beyond them are answered 503. ClickUp and Slack send
    /// those again by themselves, GitHub only when its redelivery is asked for.
    /// Default 1073741824, 1 GiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1024))]
    pub bytes: Option<u64>,
}
