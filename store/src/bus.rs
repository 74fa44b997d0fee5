//! The bus: append with dedupe, route with fencing, inboxes with leases, dead letters and replay.
//!
//! One contract for every backend; `store/tests/contract` is its text. At-least-once; the order within a thread
//! is the order of append; a Nack delays that event only; payloads are stored once and inboxes hold ids.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use nexus_core::change::ChangeKey;
use nexus_core::id::{EventId, InboxId, SessionId, TenantKey};
use nexus_core::kind::Kind;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub(crate) mod bell;
mod calls;
mod dead;
pub mod fleet;
mod offer;
pub(crate) mod offers;

pub use self::bell::{Ended, InboxWatch, Look, Rest};
pub use self::offer::{HandedOver, Offer};

/// How many partitions a tenant has. Events of one thread are in one partition.
pub const PARTITIONS: u16 = 8;

/// After this many attempts an event is parked as a dead letter.
pub const MAX_ATTEMPTS: u32 = 5;

/// [`Bus::unrouted`] gives no more bytes of events than this in a call, unless one event is larger.
pub const MAX_UNROUTED_BYTES: usize = 8 << 20;

/// The partition of a thread. It must never change: events of a thread would overtake each other.
#[must_use]
pub fn partition_of(thread_key: &str) -> u16 {
    Thread::of(thread_key).partition()
}

/// A thread, as a bus knows it: a hash of its key. Two that have the same one wait for each other, and lose nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Thread(pub(crate) u64);

impl Thread {
    pub(crate) fn of(thread_key: &str) -> Self {
        // FNV-1a.
        Self(thread_key.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        }))
    }

    pub(crate) fn partition(self) -> u16 {
        // The better mixed upper half is folded in.
        let folded = (self.0 ^ (self.0 >> 32)) % u64::from(PARTITIONS);
        u16::try_from(folded).unwrap_or_default()
    }
}

/// Says what was attempted.
pub(crate) fn cannot<E>(doing: &'static str) -> impl FnOnce(E) -> BusError
where
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    move |source| BusError::Storage { doing, source: Arc::from(source.into()) }
}

/// About how many places of events a pull passes over at most, because another session holds an earlier event of their
/// thread. Redis looks at them in portions, and ends with the one that reaches it.
pub(crate) const MOST_PASSED_OVER: usize = 512;

/// Place of an event in its tenant's order of append; from 1.
pub type Seq = u64;

/// What ingest appends.
#[derive(Debug, Clone)]
pub struct Append {
    /// The event's id.
    pub id: EventId,
    /// Source and the provider's delivery identity; a second append under it within `dedupe_for` is dropped.
    pub delivery_key: String,
    /// How long the delivery key is remembered.
    pub dedupe_for: Duration,
    /// The thread, which chooses the partition.
    pub thread_key: String,
    /// The kind.
    pub kind: Kind,
    /// The source's name.
    pub source: String,
    /// A line for lists of events.
    pub title: Option<String>,
    /// When it was received.
    pub received: Timestamp,
    /// The changes that it tells of.
    pub change: ChangeKey,
    /// The StandardEvent as JSON.
    pub event: Bytes,
    /// The raw delivery as it came, kept for replay.
    pub raw: Raw,
    /// Bytes that may wait unacknowledged for the tenant.
    pub quota_bytes: u64,
}

/// A delivery as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Raw {
    /// Headers that matter to its meaning, such as `x-github-event`; never a signature.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
}

/// What became of an append. The answer comes once it is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Appended {
    /// It is the tenant's event of this place.
    Stored(Seq),
    /// Its delivery key is known: the event that came under it.
    Duplicate(EventId),
}

/// A fencing token: routing under an older one is refused.
pub type Epoch = u64;

/// An event that waits to be routed.
#[derive(Debug, Clone)]
pub struct Unrouted {
    /// Its place.
    pub seq: Seq,
    /// Its id.
    pub id: EventId,
    /// The StandardEvent as JSON.
    pub event: Bytes,
}

/// The first of what there is. Reads like the list of it.
#[derive(Debug, Clone)]
pub struct Part<T> {
    /// What was asked for, in order.
    pub items: Vec<T>,
    /// Whether there may be more: false only if there was nothing more to give at that moment.
    pub more: bool,
}

impl<T> Default for Part<T> {
    fn default() -> Self {
        Self { items: Vec::new(), more: false }
    }
}

impl<T> std::ops::Deref for Part<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.items
    }
}

impl<T> IntoIterator for Part<T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.items.into_iter()
    }
}

/// What a session was handed. Reads like the list of it.
#[derive(Debug, Clone)]
pub struct Pulled {
    /// The events, in order.
    pub items: Vec<Held>,
    /// What is left in the inbox.
    pub rest: Rest,
}

impl std::ops::Deref for Pulled {
    type Target = [Held];

    fn deref(&self) -> &[Held] {
        &self.items
    }
}

impl IntoIterator for Pulled {
    type Item = Held;
    type IntoIter = std::vec::IntoIter<Held>;

    fn into_iter(self) -> Self::IntoIter {
        self.items.into_iter()
    }
}

/// Whether a route hands out at once to sessions of this process that offered to take what comes; see [`Bus::offer`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandOut {
    /// It does.
    ToOffers,
    /// Everything waits in its inbox.
    Nothing,
}

/// Where an event goes.
#[derive(Debug, Clone)]
pub struct Route {
    /// The event's place.
    pub seq: Seq,
    /// The inboxes it goes to; none if it concerns nobody.
    pub inboxes: Vec<InboxId>,
    /// The decision record as JSON.
    pub decision: Bytes,
}

/// An event that a session holds.
#[derive(Debug, Clone)]
pub struct Held {
    /// The event's id.
    pub id: EventId,
    /// The inbox that it was drawn from.
    pub inbox: InboxId,
    /// From 1; how often it was handed out.
    pub attempt: u32,
    /// Whether it is a replay.
    pub replay: bool,
    /// The StandardEvent as JSON.
    pub event: Bytes,
}

/// What is known of an event.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Its place.
    pub seq: Seq,
    /// Its id.
    pub id: EventId,
    /// Its kind.
    pub kind: Kind,
    /// Its source's name.
    pub source: String,
    /// A line for people.
    pub title: Option<String>,
    /// When it was received.
    pub received: Timestamp,
    /// Whether it was routed.
    pub routed: bool,
    /// How many bytes it takes: event and compressed raw body.
    pub bytes: u64,
}

/// Everything that is kept of an event.
#[derive(Debug, Clone)]
pub struct Record {
    /// What is known of it.
    pub summary: Summary,
    /// The StandardEvent as JSON.
    pub event: Bytes,
    /// The delivery as it came.
    pub raw: Raw,
    /// The decision record as JSON, once routed.
    pub decision: Option<Bytes>,
    /// What became of each copy, by inbox.
    pub copies: Vec<(InboxId, Copy)>,
}

/// What became of an event in one inbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "state")]
pub enum Copy {
    /// It waits, or waits again.
    Waiting {
        /// How often it was handed out.
        attempts: u32,
        /// When it is handed out again after a Nack.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        not_before: Option<Timestamp>,
    },
    /// A session holds it.
    Held {
        /// The session.
        session: SessionId,
        /// From 1.
        attempt: u32,
        /// When it was handed out.
        since: Timestamp,
    },
    /// It was acknowledged.
    Done {
        /// The session that did.
        session: SessionId,
        /// How often it was handed out.
        attempts: u32,
        /// When it was handed out last.
        delivered: Timestamp,
        /// When it was acknowledged.
        acked: Timestamp,
    },
    /// It was left out: another event of the same change had been handed to the inbox.
    Coalesced,
    /// It was parked.
    Dead {
        /// How often it was handed out.
        attempts: u32,
        /// Why.
        reason: String,
    },
    /// It was parked, and given up for good by [`Bus::drop_dead`].
    Dropped {
        /// How often it was handed out.
        attempts: u32,
        /// Why it was parked.
        reason: String,
        /// When it was given up.
        dropped: Timestamp,
    },
}

/// A parked event of an inbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetter {
    /// The event's place.
    pub seq: Seq,
    /// The event.
    pub id: EventId,
    /// How often it was handed out.
    pub attempts: u32,
    /// Why it was parked.
    pub reason: String,
    /// When it was parked.
    pub parked: Timestamp,
    /// How many bytes the event takes: event and compressed raw body.
    pub bytes: u64,
}

/// State of one inbox.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InboxDepth {
    /// Events that wait, delayed ones too.
    pub waiting: u64,
    /// Events that sessions hold.
    pub held: u64,
    /// Parked events.
    pub dead: u64,
    /// When the oldest event that waits was received.
    pub oldest: Option<Timestamp>,
}

/// State of a tenant's bus.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Depth {
    /// Events ever appended.
    pub appended: u64,
    /// Events that wait to be routed.
    pub unrouted: u64,
    /// What counts against the tenant's quota: bytes of events that wait to be routed or acknowledged, or of which a
    /// copy is parked. An event counts once, however many copies it has.
    pub pending_bytes: u64,
    /// Bytes of all events that are kept.
    pub stored_bytes: u64,
    /// Parked copies.
    pub dead: u64,
    /// Bytes of events of which a copy is parked; a part of `pending_bytes`.
    pub dead_bytes: u64,
}

/// What a sweep removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[must_use = "a sweep that has more to do is to be called again"]
pub struct Swept {
    /// Events.
    pub events: u64,
    /// Delivery keys and change keys that had expired.
    pub keys: u64,
    /// Whether it ended before it had looked at everything: call again at once, also when nothing was removed.
    pub more: bool,
}

/// Which events of a list are wanted; all of them by default.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Of one of these kinds; of any, if there is none.
    pub kinds: Vec<Kind>,
    /// Of the source of this name.
    pub source: Option<String>,
    /// Received at this time or later.
    pub since: Option<Timestamp>,
    /// Received before this time.
    pub until: Option<Timestamp>,
}

impl Filter {
    /// Whether an event of this kind and source that was received then is wanted.
    #[must_use]
    pub fn wants(&self, kind: Kind, source: &str, received: Timestamp) -> bool {
        (self.kinds.is_empty() || self.kinds.contains(&kind))
            && self.source.as_ref().is_none_or(|wanted| wanted == source)
            && self.since.is_none_or(|since| received >= since)
            && self.until.is_none_or(|until| received < until)
    }
}

/// What to list: a page of events, newest first.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// Only events before this place.
    pub before: Option<Seq>,
    /// Only these.
    pub filter: Filter,
    /// At most so many.
    pub limit: usize,
}

/// A page of a list of events, newest first.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EventPage {
    /// The events; there may be more when these are few, or none.
    pub events: Vec<Summary>,
    /// The `before` to go on with; none when there is no more.
    pub next: Option<Seq>,
    /// Places of events of which no summary can be read, because a later version wrote it or it is damaged. They are
    /// kept, whatever the filter is.
    pub unreadable: Vec<Seq>,
}

/// Why the bus did not do it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BusError {
    /// The tenant has more waiting than it may.
    #[error("tenant {tenant} has {pending} bytes waiting, its quota is {quota}")]
    Quota {
        /// The tenant.
        tenant: TenantKey,
        /// Bytes that wait.
        pending: u64,
        /// Bytes that may.
        quota: u64,
    },
    /// The spool before the bus has no room for more of the tenant.
    #[error("the spool is full; {waiting} bytes of tenant {tenant} wait in it until the bus takes them")]
    Full {
        /// The tenant.
        tenant: TenantKey,
        /// Bytes of it that wait.
        waiting: u64,
    },
    /// Another owner has taken the partition over.
    #[error("partition {partition} of {tenant} has a newer owner (epoch {held}, ours is {ours})")]
    Fenced {
        /// The tenant.
        tenant: TenantKey,
        /// The partition.
        partition: u16,
        /// The newest epoch.
        held: Epoch,
        /// The epoch that was used.
        ours: Epoch,
    },
    /// Nothing durable can be written or read: disk full, device error, corrupt file.
    #[error("the store cannot {doing}")]
    Storage {
        /// What was attempted.
        doing: &'static str,
        /// What the engine says.
        #[source]
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// The bus is shut down.
    #[error("the bus is closed")]
    Closed,
}

impl BusError {
    /// The variant's name, for metric labels.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Quota { .. } => "quota",
            Self::Full { .. } => "full",
            Self::Fenced { .. } => "fenced",
            Self::Storage { .. } => "storage",
            Self::Closed => "closed",
        }
    }
}

/// The bus of all tenants. Cheap to clone.
#[derive(Debug, Clone)]
pub enum Bus {
    /// The embedded log: one process, one folder.
    Embedded(Arc<crate::embedded::EmbeddedLog>),
    /// Redis: many processes.
    Redis(Arc<crate::redis::RedisBus>),
}
