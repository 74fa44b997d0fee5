//! The admin API: what the server writes and the command line reads, in one place.
//!
//! Everything is JSON under `/api/v1` of the admin address.

mod again;
mod events;

use std::path::PathBuf;

use jiff::Timestamp;
use nexus_core::event::StandardEvent;
use nexus_core::id::{InboxId, TenantKey};
use nexus_core::route::Decision;
use nexus_core::stop::{Alarm, EngagementName};
use nexus_store::bus;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::again::{
    DeadAnswer, DeadLine, DeadPage, DeadRequest, MAX_BATCH, ReplayAnswer, ReplayRequest, ReplayTarget,
};
pub use self::events::{EventLine, EventsPage, MAX_FULL_PAGE, MAX_PAGE, Routing, TenantLog};

/// The policy that the stop switch turns unless another is named.
pub const STOP_ALL: &str = "stop-all";

/// How things are: `GET /api/v1/status`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Version of the program.
    pub version: String,
    /// The folder that is served.
    pub folder: PathBuf,
    /// Where state is kept.
    pub data: PathBuf,
    /// Base URL of webhooks.
    pub ingest: String,
    /// Base URL of the gateway.
    pub gateway: String,
    /// The tenants.
    pub tenants: Vec<TenantStatus>,
    /// The stops that hold; empty when all may run.
    pub stops: Vec<Stop>,
    /// Whether anything is known of the stop policies; without it nothing runs.
    pub stop_known: bool,
    /// What an admin must look at.
    pub alarms: Vec<Alarm>,
    /// What is wrong in the folder.
    pub problems: Vec<String>,
}

/// A stop that holds.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Stop {
    /// Its name, as a release must give it.
    pub engagement: EngagementName,
    /// Its policy.
    pub policy: String,
    /// Why.
    pub reason: Option<String>,
    /// Whether it means everybody.
    pub everybody: bool,
    /// How many agents it has bound.
    pub agents: usize,
}

impl Stop {
    /// The command that releases it.
    #[must_use]
    pub fn release_command(&self) -> String {
        let policy =
            if self.policy == STOP_ALL { String::new() } else { format!(" --policy {}", self.policy) };
        format!("nexus release {}{policy}", self.engagement)
    }
}

/// One tenant.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TenantStatus {
    /// The tenant.
    pub tenant: TenantKey,
    /// Webhook addresses by source.
    pub sources: Vec<SourceStatus>,
    /// The agents.
    pub agents: Vec<AgentStatus>,
    /// Events ever appended.
    pub events: u64,
    /// Events that wait to be routed.
    pub unrouted: u64,
    /// What counts against the quota: bytes of events that wait or are parked.
    pub pending_bytes: u64,
    /// Bytes of events that are parked, a part of `pendingBytes`.
    pub parked_bytes: u64,
    /// How many bytes may wait or be parked; beyond them webhooks of this tenant are answered 503.
    pub quota_bytes: u64,
    /// Parked copies of events, in inboxes of agents that are gone, too.
    pub parked: u64,
    /// The aliases.
    pub aliases: Vec<AliasStatus>,
    /// What is wrong with its objects: conditions that are not True.
    pub conditions: Vec<String>,
}

/// One source.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SourceStatus {
    /// Its name.
    pub name: String,
    /// Who sends.
    pub provider: String,
    /// Where to.
    pub url: String,
}

/// One alias.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AliasStatus {
    /// Its name, without `@`.
    pub name: String,
    /// Names of the agents that it stands for.
    pub members: Vec<String>,
    /// The inbox that its members share; none where each of them gets what names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shared: Option<SharedStatus>,
}

/// A shared inbox.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SharedStatus {
    /// Its id.
    pub inbox: InboxId,
    /// Events that wait in it.
    pub waiting: u64,
    /// Events that sessions hold.
    pub held: u64,
    /// Events that were parked.
    pub dead: u64,
    /// Receipt of the oldest event that waits.
    pub oldest: Option<Timestamp>,
}

/// One agent.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentStatus {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: String,
    /// Open sessions.
    pub sessions: usize,
    /// Events that wait in its inbox.
    pub waiting: u64,
    /// Events that its sessions hold.
    pub held: u64,
    /// Events that were parked.
    pub dead: u64,
    /// Receipt of the oldest event that waits.
    pub oldest: Option<Timestamp>,
    /// Whether a stop holds it.
    pub stopped: bool,
}

/// Everything about one event: `GET /api/v1/events/{id}`.
#[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EventStory {
    /// The event.
    pub event: StandardEvent,
    /// Why it went where it went; none until it is routed.
    pub decision: Option<Decision>,
    /// What became of each copy.
    pub copies: Vec<CopyStory>,
}

impl EventStory {
    /// Whether the event was routed and nothing of it waits any more.
    #[must_use]
    pub fn is_over(&self) -> bool {
        let open = |copy: &CopyStory| matches!(copy.copy, bus::Copy::Waiting { .. } | bus::Copy::Held { .. });
        self.decision.is_some() && !self.copies.iter().any(open)
    }
}

/// What became of one copy.
#[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CopyStory {
    /// The inbox.
    pub inbox: InboxId,
    /// Whose it is: an agent's name or `@alias`; none if neither the rules in force nor the decision know it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// What became of it.
    #[serde(flatten)]
    pub copy: bus::Copy,
}

/// `POST /api/v1/policies/{name}/stop`.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct StopRequest {
    /// Why.
    pub reason: Option<String>,
}

/// `POST /api/v1/policies/{name}/release`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct ReleaseRequest {
    /// The engagement to release.
    pub engagement: String,
}

/// What a stop or release did.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StopAnswer {
    /// The stops that hold now.
    pub stops: Vec<Stop>,
    /// Sessions that are still open.
    pub sessions: usize,
}

/// An error of the API.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct ApiError {
    /// What is wrong and how to mend it.
    pub message: String,
}
