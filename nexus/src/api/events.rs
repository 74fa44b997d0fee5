//! Lists of events.

use jiff::Timestamp;
use nexus_core::event::StandardEvent;
use nexus_core::id::{EventId, TenantKey};
use nexus_core::kind::Kind;
use nexus_core::snapshot::GatewaySnapshot;
use nexus_store::bus::Seq;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The most events of one page.
pub const MAX_PAGE: usize = 1000;

/// The most events of one page that carries them whole.
pub const MAX_FULL_PAGE: usize = 100;

/// One tenant of which there are events: `GET /api/v1/tenants`, by name.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TenantLog {
    /// The tenant.
    pub tenant: TenantKey,
    /// Place of its newest event; places are given from 1, in the order of receipt.
    pub newest: Seq,
}

/// A page of `GET /api/v1/tenants/{namespace}/{tenant}/events`: newest first, or in the order of receipt where `after` is given.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EventsPage {
    /// The events.
    pub events: Vec<EventLine>,
    /// What `before`, or `after` where that was given, must be for the next page; none behind the last one. A page
    /// may be empty and still have a next one, as each looks at a bounded number of events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Seq>,
    /// Places of events that cannot be read: damaged, or written by a later version.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unreadable: Vec<Seq>,
}

/// One event of a list.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EventLine {
    /// Its tenant.
    pub tenant: TenantKey,
    /// Its place among the tenant's events.
    pub seq: Seq,
    /// Its id.
    pub id: EventId,
    /// Its kind.
    pub kind: Kind,
    /// Its source.
    pub source: String,
    /// A line for people.
    pub title: Option<String>,
    /// When it was received.
    pub received: Timestamp,
    /// Whether it was routed.
    pub routed: bool,
    /// How many bytes it takes, and counts against the quota while it waits or is parked.
    pub bytes: u64,
    /// The event itself, where `full=true` asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<Box<StandardEvent>>,
}

/// The rules by which events are routed now: `GET /api/v1/routing`. Without credentials.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Routing {
    /// The rules of each tenant, by its name.
    #[schemars(with = "Vec<serde_json::Map<String, serde_json::Value>>")]
    pub tenants: Vec<GatewaySnapshot>,
}
