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

/// A page of `GET /api/v1/tenants/{namespace}/{tenant}/dead/inboxes`: the inboxes in which an event is parked.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeadInboxes {
    /// The inboxes, in the order of their ids.
    pub inboxes: Vec<DeadInbox>,
    /// What `after` must be for the next page; none behind the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<InboxId>,
}

/// An inbox in which an event is parked.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeadInbox {
    /// Its id.
    pub inbox: InboxId,
    /// Whose it is, or was when the first event that is parked there was routed: an agent's name or `@alias`; none if
    /// that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Whether the rules in force know no such agent or alias, so that nobody takes what waits there.
    pub gone: bool,
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
    /// How many copies that are in all; fewer than `targets` add up to if somebody else replayed the same meanwhile.
    pub copies: usize,
    /// Copies that wait or are held there already and were left alone.
    pub waiting: usize,
    /// Events that were never routed yet, and will be by themselves.
    pub unrouted: usize,
    /// Events that concern nobody.
    pub nobody: usize,
    /// Events that are not there.
    pub unknown: Vec<EventId>,
    /// Events that cannot be read, so that the rules cannot route them: a later version wrote them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unreadable: Vec<EventId>,
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
