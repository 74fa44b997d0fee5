//! Normalizers: a verified delivery in, a [`StandardEvent`] and its delivery key out. Pure: the id and the time
//! of receipt are handed in, so that a stored delivery can be normalized again and gives the same event.
//!
//! Whatever JSON a provider sends becomes an event. A field of an unexpected type is an absent field, an
//! unknown kind is [`Kind::Unclassified`]; only what is no JSON at all is refused.

mod bounds;
mod clickup;
mod depth;
mod github;
mod lenient;
mod moment;
mod named;
mod slack;

use std::time::Duration;

use jiff::Timestamp;
use nexus_core::change::ChangeKey;
use nexus_core::event::{
    DataContentType, EventData, FieldChange, Link, Provider, SpecVersion, StandardEvent,
};
use nexus_core::id::{EventId, TenantKey};
use nexus_core::kind::Kind;
use nexus_core::mention::Mentions;
use sha2::{Digest, Sha256};

pub use bounds::{MAX_EVENT, encode};

use crate::delivery::Verified;

/// How long a delivery key is remembered: as long as github.com lets a delivery be sent again. An Enterprise
/// Server does for seven days; what it sends after these is a new event of the same change key.
pub const DEDUPE: Duration = Duration::from_hours(72);

/// The same where a delivery has no identity of its own: two equal bodies may well be two changes, so only
/// what comes again at once is taken for a repetition.
pub const DEDUPE_BY_CONTENT: Duration = Duration::from_secs(60);

/// Longer delivery keys are hashed.
const MAX_KEY: usize = 256;

/// Why a delivery is no event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The body is no JSON.
    #[error("the body is not JSON: it breaks off or goes wrong in line {line}, column {column}")]
    NotJson {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
    },
    /// The body nests deeper than any provider does.
    #[error("the body nests deeper than {} levels", depth::MAX_DEPTH)]
    TooDeep,
    /// The body is not UTF-8, which JSON must be.
    #[error("the body is not UTF-8 text")]
    NotUtf8,
    /// A form without the one field that matters.
    #[error("the body is a form without a field `payload`: set the hook's content type to application/json")]
    NoPayload,
    /// A header without which the event has no meaning.
    #[error("the header {0} is missing or not plain text")]
    Header(&'static str),
}

/// What the edge knows of a delivery.
#[derive(Debug, Clone, Copy)]
pub struct Edge<'a> {
    /// The id that the event gets.
    pub id: EventId,
    /// When it was received.
    pub received: Timestamp,
    /// Whose it is.
    pub tenant: &'a TenantKey,
    /// The source's name.
    pub source: &'a str,
}

/// An event that is ready to be appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Normalized {
    /// The event.
    pub event: StandardEvent,
    /// The source and the provider's delivery identity.
    pub delivery_key: String,
    /// How long the delivery key is remembered.
    pub dedupe_for: Duration,
}

/// What a delivery is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meaning {
    /// Something happened.
    Event(Box<Normalized>),
    /// Slack asks to hear this text back, as proof that the address is ours.
    Challenge(String),
}

/// Finds out what a delivery is.
///
/// # Errors
/// When the body is no JSON or nests without end, or a header is missing without which it has no meaning.
pub fn normalize(delivery: &Verified, edge: &Edge<'_>) -> Result<Meaning, Malformed> {
    let json = delivery.json()?;
    if depth::is_too_deep(&json) {
        return Err(Malformed::TooDeep);
    }
    let event = match delivery.provider() {
        Provider::ClickUp => clickup::normalize(&json, edge)?,
        Provider::Slack => return slack::normalize(&json, edge),
        Provider::GitHub => github::normalize(delivery, &json, edge)?,
    };
    Ok(Meaning::Event(Box::new(event)))
}

/// An event in the making.
struct Draft {
    kind: Kind,
    subject: Option<String>,
    time: Option<Timestamp>,
    /// What the event tells of; none stands for the delivery itself.
    keys: Vec<String>,
    covers: Vec<String>,
    /// Whom the event names, all its parts together.
    mentions: Mentions,
    data: EventData,
}

impl Draft {
    /// A draft of which nothing is known yet but the provider's name for it.
    fn new(provider: Provider, provider_event: &str, kind: Kind) -> Self {
        let change = ChangeKey { keys: Vec::new(), covers: Vec::new(), rank: kind.rank() };
        Self {
            kind,
            subject: None,
            time: None,
            keys: Vec::new(),
            covers: Vec::new(),
            mentions: Mentions::default(),
            data: EventData {
                provider,
                provider_event: bounds::cut(provider_event, bounds::MAX_NAME),
                actor: None,
                title: None,
                text: None,
                url: None,
                mentions: Vec::new(),
                thread_key: String::new(),
                project_key: None,
                labels: Vec::new(),
                links: Vec::new(),
                enriched: true,
                change,
                item: None,
                changes: Vec::new(),
                push: None,
                outcome: None,
                reaction: None,
            },
        }
    }

    fn link(&mut self, rel: &str, href: impl Into<String>) {
        self.data.links.push(Link { rel: rel.to_owned(), href: href.into() });
    }

    /// Tells of a changed field, unless nothing is known of either side.
    fn change(&mut self, field: &str, before: Option<String>, after: Option<String>) {
        if before.is_some() || after.is_some() {
            self.data.changes.push(FieldChange { field: field.to_owned(), before, after });
        }
    }

    fn finish(self, edge: &Edge<'_>, delivery_key: &str, dedupe_for: Duration) -> Normalized {
        let Self { kind, subject, time, mut keys, covers, mentions, mut data } = self;
        data.mentions = mentions.into_vec();
        if keys.is_empty() {
            keys.push(format!("{}:{delivery_key}", data.provider.name()));
        }
        data.change = ChangeKey { keys, covers, rank: kind.rank() };
        if data.thread_key.is_empty() {
            data.thread_key = format!("{}:{}", data.provider.name(), edge.source);
        }
        bounds::bound(&mut data);
        let event = StandardEvent {
            specversion: SpecVersion::V1,
            id: edge.id,
            source: format!("/hooks/{}/{}", edge.tenant, edge.source),
            kind,
            subject,
            time: time.unwrap_or(edge.received),
            datacontenttype: DataContentType::Json,
            tenant: edge.tenant.clone(),
            receivedtime: edge.received,
            data,
        };
        let short = match delivery_key.len() {
            0..=MAX_KEY => delivery_key.to_owned(),
            _ => hash(delivery_key, 64),
        };
        Normalized { event, delivery_key: format!("{}:{short}", edge.source), dedupe_for }
    }
}

/// SHA-256 of a text as hex, cut to so many digits.
fn hash(text: &str, digits: usize) -> String {
    let mut hex = hex::encode(Sha256::digest(text.as_bytes()));
    hex.truncate(digits);
    hex
}
