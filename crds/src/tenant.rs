//! Tenant: a team's sources of events, its aliases and its bounds.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::schema::rule;

/// A team whose events Nexus carries: where they come from, which names stand for which agents, and how much is kept.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(group = "nexus.dev", version = "v1alpha1", kind = "Tenant", namespaced)]
#[kube(shortname = "nxt", category = "nexus", status = "TenantStatus", derive = "PartialEq")]
#[kube(
    doc = "A team whose events Nexus carries: where they come from, which names stand for which agents, and how much is kept."
)]
#[kube(
    printcolumn = r#"{"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status", "description": "Whether all of it is in force"}"#
)]
#[kube(
    printcolumn = r#"{"name": "Reason", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].reason", "description": "Why it is ready or not"}"#
)]
#[kube(
    printcolumn = r#"{"name": "Acknowledged", "type": "string", "jsonPath": ".status.acknowledged", "description": "How many pods hold the present configuration, of how many there are"}"#
)]
#[kube(
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp", "description": "Since when it is there"}"#
)]
#[kube(
    printcolumn = r#"{"name": "Message", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].message", "description": "What is wrong and how to mend it", "priority": 1}"#
)]
#[serde(rename_all = "camelCase")]
pub struct TenantSpec {
    /// Where events come from. Names are unique; a source's webhook address is
    /// `/hooks/{namespace}/{tenant}/{source}`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub sources: Vec<Source>,
    /// Names that stand for several agents. No two have one name, whatever its case, or one group of a provider.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    #[schemars(extend("x-kubernetes-validations" = alias_rules()))]
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
#[schemars(extend("x-kubernetes-validations" = [rule(
    "self.provider == oldSelf.provider",
    "the provider of a source cannot change under its name: add a source with a name of its own",
)]))]
pub struct Source {
    /// The source's name, part of its webhook address.
    #[schemars(schema_with = "crate::schema::label")]
    pub name: String,
    /// Who sends: `clickup`, `slack` or `github`. It stays as it is for as long as the source has its name.
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
    #[schemars(schema_with = "crate::schema::object_name")]
    pub name: String,
    /// The key in its data.
    #[schemars(schema_with = "crate::schema::secret_key")]
    pub key: String,
}

/// A name that stands for several agents.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Alias {
    /// The name as people type it, such as `@AI_Squad`; case does not matter.
    #[schemars(schema_with = "crate::schema::mention")]
    pub name: String,
    /// The groups at the providers that mean the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handles: Option<Handles>,
    /// Which of the tenant's agents are meant, by their labels. Empty: all of them.
    #[schemars(schema_with = "crate::schema::selector")]
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
    #[schemars(length(min = 3, max = 110))]
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
    #[schemars(range(min = 1024, max = 1_125_899_906_842_624_u64))]
    pub bytes: Option<u64>,
}

/// What Nexus makes of the Tenant.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TenantStatus {
    /// `Accepted`: what it says is valid. `ResolvedRefs`: what it refers to is there. `Programmed`: every pod holds
    /// exactly this. `Ready`: all of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schema::conditions")]
    pub conditions: Vec<Condition>,
    /// How many pods hold the present configuration, of how many there are, such as `3/3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::count")]
    pub acknowledged: Option<String>,
}

/// No two aliases have one name or one group of a provider.
fn alias_rules() -> Value {
    let name = rule(
        "self.all(a, self.exists_one(b, b.name.lowerAscii() == a.name.lowerAscii()))",
        "two aliases have one name, and case does not matter: give each its own",
    );
    let group = |field: &str, provider: &str| {
        let has = |alias: &str| format!("has({alias}.handles) && has({alias}.handles.{field})");
        rule(
            &format!(
                "self.all(a, !({}) || self.exists_one(b, {} && b.handles.{field}.lowerAscii() == a.handles.{field}.lowerAscii()))",
                has("a"),
                has("b"),
            ),
            &format!("two aliases claim one {provider} (`handles.{field}`): name it once"),
        )
    };
    json!([
        name,
        group("slackUserGroup", "Slack user group"),
        group("clickupGroup", "ClickUp group"),
        group("githubTeam", "GitHub team"),
    ])
}
