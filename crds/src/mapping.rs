//! Mapping: a ClickUp list and the Slack channel that mirrors it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A ClickUp list and the Slack channel that mirrors it: a task opens a thread, and what is said there crosses.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(group = "nexus.dev", version = "v1alpha1", kind = "Mapping", namespaced)]
#[kube(shortname = "nxm", category = "nexus", status = "MappingStatus", derive = "PartialEq")]
#[kube(doc = "A ClickUp list and the Slack channel that mirrors it.")]
#[kube(
    printcolumn = r#"{"name": "Tenant", "type": "string", "jsonPath": ".spec.tenant", "description": "Whose mapping it is"}"#
)]
#[kube(
    printcolumn = r#"{"name": "List", "type": "string", "jsonPath": ".spec.clickupListId", "description": "Id of the ClickUp list"}"#
)]
#[kube(
    printcolumn = r#"{"name": "Channel", "type": "string", "jsonPath": ".spec.slackChannelId", "description": "Id of the Slack channel"}"#
)]
#[kube(
    printcolumn = r#"{"name": "Direction", "type": "string", "jsonPath": ".spec.direction", "description": "Which way messages cross"}"#
)]
#[kube(
    printcolumn = r#"{"name": "Accepted", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Accepted\")].status", "description": "Whether it is valid and makes no loop with an older one"}"#
)]
#[kube(
    printcolumn = r#"{"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status", "description": "Whether it is in force: messages cross"}"#
)]
#[kube(
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp", "description": "Since when it is there"}"#
)]
#[kube(
    printcolumn = r#"{"name": "Message", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].message", "description": "What is wrong and how to mend it", "priority": 1}"#
)]
#[serde(rename_all = "camelCase")]
pub struct MappingSpec {
    /// Name of the Tenant, in the same namespace. It cannot change.
    #[schemars(schema_with = "crate::schema::tenant")]
    pub tenant: String,
    /// Id of the ClickUp list, the digits at the end of its address, in quotes.
    #[schemars(schema_with = "crate::schema::clickup_list")]
    pub clickup_list_id: String,
    /// Id of the Slack channel, such as `C024BE91L`; its name would change with a renaming.
    #[schemars(schema_with = "crate::schema::slack_channel")]
    pub slack_channel_id: String,
    /// Which way messages cross: `both` (the default), `toSlack` or `toClickUp`.
    #[serde(default)]
    pub direction: Direction,
    /// What crosses: `messages` (comments and replies), `edits`, `deletions` and `status`. Default: all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4), extend("x-kubernetes-list-type" = "set"))]
    pub crosses: Option<Vec<Crossing>>,
}

/// Which way messages cross.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Direction {
    /// Both ways.
    #[default]
    #[serde(rename = "both")]
    Both,
    /// From ClickUp to Slack.
    #[serde(rename = "toSlack")]
    ToSlack,
    /// From Slack to ClickUp.
    #[serde(rename = "toClickUp")]
    ToClickUp,
}

/// What crosses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Crossing {
    /// Comments and replies.
    Messages,
    /// Changes of what was said.
    Edits,
    /// Withdrawals of what was said.
    Deletions,
    /// Changes of a task's status.
    Status,
}

/// What Nexus makes of the Mapping.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MappingStatus {
    /// `Accepted`: what it says is valid and makes no loop. `ResolvedRefs`: what it refers to is there.
    /// `Programmed`: every pod holds exactly this. `Ready`: all of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schema::conditions")]
    pub conditions: Vec<Condition>,
}
