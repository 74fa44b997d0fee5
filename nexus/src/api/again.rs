//! Parked events, and events that are delivered once more.

use jiff::Timestamp;
use nexus_core::id::{EventId, InboxId};
use nexus_core::kind::Kind;
use nexus_store::bus::Seq;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The most events of one request.
pub const MAX_BATCH: usize = 100;

/// A page of `GET /api/v1/tenants/{namespace}/{tenant}/dead`: parked events of one inbox, in the order of receipt.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeadPage {
    /// The events.
    pub events: Vec<DeadLine>,
    /// What `after` must be for the next page; none behind the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Seq>,
}

/// One parked event.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeadLine {
    /// Its place among the tenant's events.
    pub seq: Seq,
    /// Its id.
    pub id: EventId,
    /// Its kind; none if what is kept of it cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// Its source; none if what is kept of it cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// A line for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// How often it was handed out.
    pub attempts: u32,
    /// Why it was parked.
    pub reason: String,
    /// When it was parked.
    pub parked: Timestamp,
    /// How many bytes it takes.
    pub bytes: u64,
}

/// `POST /api/v1/tenants/{namespace}/{tenant}/dead/requeue` and `…/dead/drop`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeadRequest {
    /// The inbox where the events are parked.
    pub inbox: InboxId,
    /// The events, at most 100.
    #[schemars(length(max = 100))]
    pub events: Vec<EventId>,
}

/// What became of them.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeadAnswer {
    /// How many were parked there, and are not any more.
    pub done: usize,
}

/// `POST /api/v1/tenants/{namespace}/{tenant}/replay`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReplayRequest {
    /// The events, at most 100.
    #[schemars(length(max = 100))]
    pub events: Vec<EventId>,
    /// Who gets them: an agent's name, or an alias as `@name`. Without it the rules in force decide.
    #[serde(default)]
    pub target: Option<String>,
    /// Only say what would be done.
    #[serde(default)]
    pub dry_run: bool,
}

/// What was replayed, or would be.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReplayAnswer {
    /// Who gets how many.
    pub targets: Vec<ReplayTarget>,
    /// Copies that wait or are held there already and were left alone.
    pub waiting: usize,
    /// Events that were never routed yet, and will be by themselves.
    pub unrouted: usize,
    /// Events that concern nobody.
    pub nobody: usize,
    /// Events that are not there.
    pub unknown: Vec<EventId>,
}

/// How many events one inbox gets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReplayTarget {
    /// The agent's name, or `@alias` for a shared inbox.
    pub target: String,
    /// How many.
    pub events: usize,
}
