//! The door: one route, and one answer for each thing that can come of a delivery.
//!
//! Cheap refusals come first: who nobody is, what is announced as too long, and whoever shows no signature is
//! refused before a byte of the body is read.

mod answer;
mod body;
mod note;

use std::sync::{Arc, Mutex};

use ::http::{HeaderMap, Method, header};
use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use axum::routing::post;
use jiff::Timestamp;
use nexus_core::clock::Clock;
use nexus_core::event::{Provider, StandardEvent};
use nexus_core::id::{EventId, TenantKey};
use nexus_core::secret::Secret;
use nexus_store::bus::Append;
use nexus_store::spool::Taken;
use tokio::sync::watch;
use uuid::{ContextV7, Uuid};

pub use self::answer::{Accepted, Described, Problem, refusals};
use self::answer::{Answer, LogLimit, Refusal};
use self::note::Note;
use crate::budget::{Budget, Share};
use crate::config::{IngestConfig, IngestSettings};
use crate::delivery::{Unverified, Verified};
use crate::intake::Intake;
use crate::normalize::{self, Edge, Meaning, Normalized};
use crate::verify::Claim;

/// Bodies longer than this are verified and normalized away from the threads that serve connections.
const LARGE: usize = 256 << 10;

/// The longest title of an event without one, in characters.
const MAX_LINE: usize = 120;

/// What the door needs. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Ingest(Arc<Door>);

#[derive(Debug)]
struct Door {
    intake: Intake,
    config: watch::Receiver<Arc<IngestConfig>>,
    clock: Clock,
    settings: IngestSettings,
    budget: Budget,
    /// Counts events of one millisecond, so that ids of one pod sort by acceptance.
    order: Mutex<ContextV7>,
    logged: LogLimit,
}

impl Ingest {
    /// A door to this intake, for the sources that `config` holds at the time of each delivery.
    #[must_use]
    pub fn new(
        intake: Intake,
        config: watch::Receiver<Arc<IngestConfig>>,
        clock: Clock,
        settings: IngestSettings,
    ) -> Self {
        Self(Arc::new(Door {
            intake,
            config,
            clock,
            settings,
            budget: Budget::new(settings.budget),
            order: Mutex::new(ContextV7::new()),
            logged: LogLimit::default(),
        }))
    }

    /// Bytes of bodies that are in flight.
    #[must_use]
    pub fn bytes_in_flight(&self) -> usize {
        self.0.budget.used()
    }
}

/// The routes: `POST /hooks/{namespace}/{tenant}/{source}`. All else is 404, other methods are 405.
pub fn router(ingest: Ingest) -> Router {
    Router::new()
        .route("/hooks/{namespace}/{tenant}/{source}", post(receive).fallback(other_method))
        .fallback(elsewhere)
        .with_state(ingest)
}

async fn elsewhere() -> Response {
    answer::give("none", Err(Refusal::UnknownSource))
}

async fn other_method(method: Method) -> Response {
    answer::give("none", Err(Refusal::Method(method)))
}

async fn receive(
    State(ingest): State<Ingest>,
    path: Result<Path<(String, String, String)>, PathRejection>,
    request: Request,
) -> Response {
    // The configuration must not be borrowed while the body comes in: that would hold up its next change.
    let found = Source::find(&ingest.0.config.borrow(), path);
    match found {
        Ok(source) => {
            let provider = source.provider.name();
            let mut note = Note::begin(&ingest.0.clock, &source, request.headers());
            let result = take(&ingest.0, source, request, &mut note).await;
            if let Err(refusal) = &result
                && ingest.0.logged.may(refusal.label(), ingest.0.clock.now())
            {
                answer::log(&note.tenant, &note.source, refusal);
            }
            note.end(&ingest.0.clock, &result);
            answer::give(provider, result)
        }
        Err(refusal) => answer::give("none", Err(refusal)),
    }
}

/// A source as the configuration has it at the time of the delivery.
struct Source {
    tenant: TenantKey,
    name: String,
    provider: Provider,
    secrets: Vec<Secret>,
    quota_bytes: u64,
}

impl Source {
    fn find(
        config: &IngestConfig,
        path: Result<Path<(String, String, String)>, PathRejection>,
    ) -> Result<Self, Refusal> {
        // A path that is no text names no source.
        let Path((namespace, tenant, name)) = path.map_err(|_| Refusal::UnknownSource)?;
        let tenant = TenantKey::new(&namespace, &tenant).map_err(|_| Refusal::UnknownSource)?;
        let source = config.source(&tenant, &name).ok_or(Refusal::UnknownSource)?;
        Ok(Self {
            provider: source.provider,
            secrets: source.secrets.to_vec(),
            quota_bytes: source.quota_bytes,
            tenant,
            name,
        })
    }
}

/// Takes one delivery: everything between the head of the request and the answer.
async fn take(door: &Door, source: Source, request: Request, note: &mut Note) -> Result<Answer, Refusal> {
    let (head, body) = request.into_parts();
    if source.secrets.iter().all(|secret| secret.expose().is_empty()) {
        return Err(Refusal::NoSecret);
    }
    plain(&head.headers)?;
    body::announced(&head.headers, door.settings.max_body)?;
    let claim = Claim::read(source.provider, &head.headers, door.clock.now())?;
    let mut share = door.budget.share();
    let body = body::read(body, &door.settings, &mut share).await?;
    note.bytes = body.len();
    let received = door.clock.now();
    let id = door.next_id(received);
    let work = Work { id, received, claim, delivery: Unverified::new(head.headers, body), source, share };
    match work.run().await? {
        Made::Challenge(text) => Ok(Answer::Challenge(text)),
        Made::Append(tenant, append, share) => {
            note.append(&door.clock, append.kind);
            let taken = door.intake.take(&tenant, *append).await;
            note.taken(&door.clock, id, &taken);
            drop(share);
            match taken? {
                Taken::New => Ok(Answer::Stored(id)),
                Taken::Duplicate(first) => Ok(Answer::Duplicate(first)),
            }
        }
    }
}

/// Webhooks are never compressed; what is would have to be unpacked to be verified by nobody knows which rule.
fn plain(headers: &HeaderMap) -> Result<(), Refusal> {
    let encodings = headers.get_all(header::CONTENT_ENCODING).iter();
    let encoded = |value: &::http::HeaderValue| !value.as_bytes().eq_ignore_ascii_case(b"identity");
    if encodings.into_iter().any(encoded) {
        return Err(Refusal::Encoding);
    }
    Ok(())
}

impl Door {
    fn next_id(&self, received: Timestamp) -> EventId {
        let seconds = u64::try_from(received.as_second()).unwrap_or_default();
        let nanos = u32::try_from(received.subsec_nanosecond()).unwrap_or_default();
        Uuid::new_v7(uuid::Timestamp::from_unix(&self.order, seconds, nanos)).into()
    }
}

/// The part of a delivery that only computes.
struct Work {
    id: EventId,
    received: Timestamp,
    claim: Claim,
    delivery: Unverified,
    source: Source,
    share: Share,
}

/// What came of it.
enum Made {
    Challenge(String),
    Append(TenantKey, Box<Append>, Share),
}

impl Work {
    async fn run(self) -> Result<Made, Refusal> {
        if self.delivery.len() <= LARGE {
            return self.compute();
        }
        let compute = tokio::task::spawn_blocking(|| self.compute());
        // It ends by panic only, or with the runtime: nothing is stored, so the sender must try again.
        compute.await.unwrap_or(Err(Refusal::Stopped))
    }

    fn compute(self) -> Result<Made, Refusal> {
        let Self { id, received, claim, delivery, source, share } = self;
        let delivery = delivery.verify(&claim, &source.secrets)?;
        let edge = Edge { id, received, tenant: &source.tenant, source: &source.name };
        match normalize::normalize(&delivery, &edge)? {
            Meaning::Challenge(text) => Ok(Made::Challenge(text)),
            Meaning::Event(normalized) => {
                let append = append(*normalized, &delivery, &source);
                Ok(Made::Append(source.tenant, Box::new(append), share))
            }
        }
    }
}

fn append(normalized: Normalized, delivery: &Verified, source: &Source) -> Append {
    let Normalized { mut event, delivery_key, dedupe_for } = normalized;
    Append {
        id: event.id,
        delivery_key,
        dedupe_for,
        thread_key: event.data.thread_key.clone(),
        kind: event.kind,
        source: source.name.clone(),
        title: line(&event),
        received: event.receivedtime,
        change: event.data.change.clone(),
        event: normalize::encode(&mut event),
        raw: delivery.raw(),
        quota_bytes: source.quota_bytes,
    }
}

/// A line for lists of events: the title, or the first line of the text.
fn line(event: &StandardEvent) -> Option<String> {
    let data = &event.data;
    let text = data.title.as_deref().or(data.text.as_deref())?;
    let line = text.lines().map(str::trim).find(|line| !line.is_empty())?;
    match line.char_indices().nth(MAX_LINE) {
        Some((end, _)) => Some(format!("{}…", &line[..end])),
        None => Some(line.to_owned()),
    }
}
