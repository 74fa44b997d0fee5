//! A world with one tenant and one source per provider, and deliveries signed as the providers sign them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, Method, Request, StatusCode};
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use http_body_util::BodyExt;
use jiff::Timestamp;
use nexus_core::clock::ManualClock;
use nexus_core::event::Provider;
use nexus_core::id::{EventId, TenantKey};
use nexus_core::secret::Secret;
use nexus_core::snapshot::{IngestSnapshot, Source, Storage};
use nexus_ingest::delivery::{Unverified, Verified};
use nexus_ingest::normalize::{Edge, Malformed, Meaning, Normalized, normalize};
use nexus_ingest::verify::Claim;
use nexus_ingest::{Ingest, IngestConfig, IngestSettings, Intake, TenantSources, router};
use nexus_store::bus::{Bus, Page, Record, Summary};
use sha2::Sha256;
use tempfile::TempDir;
use tokio::sync::watch;
use tower::ServiceExt;

pub(crate) const SECRET: &str = "a secret of at least thirty-two bytes";
pub(crate) const NOW: &str = "2026-11-24T07:00:00Z";

pub(crate) fn tenant() -> TenantKey {
    "acme/acme".parse().unwrap()
}

pub(crate) fn now() -> Timestamp {
    NOW.parse().unwrap()
}

pub(crate) fn hmac(secret: &str, parts: &[&[u8]]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    for part in parts {
        mac.update(part);
    }
    hex::encode(mac.finalize().into_bytes())
}

/// A delivery that a test may spoil before it is sent.
#[derive(Clone)]
pub(crate) struct Delivery {
    pub(crate) provider: Provider,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Delivery {
    /// A delivery of a provider, signed at [`NOW`] and without the provider's other headers.
    pub(crate) fn new(provider: Provider, body: impl Into<Bytes>) -> Self {
        let mut delivery = Self {
            provider,
            path: format!("/hooks/acme/acme/{}", provider.name()),
            headers: HeaderMap::new(),
            body: body.into(),
        };
        delivery.set("content-type", "application/json");
        delivery.sign(SECRET, now());
        delivery
    }

    pub(crate) fn github(event: &str, guid: &str, body: impl Into<Bytes>) -> Self {
        Self::new(Provider::GitHub, body)
            .with("x-github-event", event)
            .with("x-github-delivery", guid)
            .with("x-github-hook-id", "30")
    }

    pub(crate) fn sign(&mut self, secret: &str, at: Timestamp) {
        let body = self.body.clone();
        match self.provider {
            Provider::ClickUp => self.set("x-signature", &hmac(secret, &[&body])),
            Provider::GitHub => {
                self.set("x-hub-signature-256", &format!("sha256={}", hmac(secret, &[&body])));
            }
            Provider::Slack => {
                let ts = at.as_second().to_string();
                let signature = hmac(secret, &[b"v0:", ts.as_bytes(), b":", &body]);
                self.set("x-slack-signature", &format!("v0={signature}"));
                self.set("x-slack-request-timestamp", &ts);
            }
        }
    }

    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.headers.insert(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.set(name, value);
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.headers.remove(name);
        self
    }

    pub(crate) fn request(&self) -> Request<Body> {
        let mut request = Request::new(Body::from(self.body.clone()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.path.parse().unwrap();
        *request.headers_mut() = self.headers.clone();
        request
    }

    pub(crate) fn verified(&self) -> Verified {
        let secrets = [Secret::new(SECRET)];
        let claim = Claim::read(self.provider, &self.headers, now()).unwrap();
        Unverified::new(self.headers.clone(), self.body.clone()).verify(&claim, &secrets).unwrap()
    }

    /// What the normalizer makes of it, without a router and a bus.
    pub(crate) fn meaning(&self) -> Result<Meaning, Malformed> {
        meaning(&self.verified())
    }

    pub(crate) fn normalized(&self) -> Normalized {
        event(self.meaning().unwrap())
    }

    /// The same as the `nth` event that is accepted.
    pub(crate) fn nth(&self, nth: usize) -> Normalized {
        let id = format!("0190163d-8694-739b-aea5-{nth:012x}");
        event(meaning_as(&self.verified(), &id).unwrap())
    }
}

fn event(meaning: Meaning) -> Normalized {
    match meaning {
        Meaning::Event(normalized) => *normalized,
        Meaning::Challenge(_) => panic!("a handshake is no event"),
    }
}

/// What the normalizer makes of a delivery, under a fixed id and time.
pub(crate) fn meaning(verified: &Verified) -> Result<Meaning, Malformed> {
    meaning_as(verified, "0190163d-8694-739b-aea5-966c26f8ad91")
}

/// The same under an id.
fn meaning_as(verified: &Verified, id: &str) -> Result<Meaning, Malformed> {
    let tenant = tenant();
    let edge = Edge {
        id: id.parse().unwrap(),
        received: now(),
        tenant: &tenant,
        source: verified.provider().name(),
    };
    normalize(verified, &edge)
}

/// What was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The id of the event, which must have been answered 200.
    pub(crate) fn event(&self) -> EventId {
        assert_eq!(self.status, StatusCode::OK, "{self:?}");
        self.json()["event"].as_str().unwrap().parse().unwrap()
    }

    pub(crate) fn is_duplicate(&self) -> bool {
        self.json()["duplicate"] == true
    }
}

/// A door, its bus and its clock.
pub(crate) struct World {
    pub(crate) bus: Bus,
    pub(crate) clock: ManualClock,
    pub(crate) config: watch::Sender<Arc<IngestConfig>>,
    pub(crate) ingest: Ingest,
    _folder: TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(IngestSettings::default(), Storage::default())
    }

    pub(crate) fn with(settings: IngestSettings, storage: Storage) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = ManualClock::at(now());
        let bus = Bus::open_embedded(folder.path(), clock.clock()).unwrap();
        let (config, watched) = watch::channel(Arc::new(config(storage, &[SECRET])));
        let ingest = Ingest::new(Intake::Bus(bus.clone()), watched, clock.clock(), settings);
        Self { bus, clock, config, ingest, _folder: folder }
    }

    pub(crate) async fn post(&self, delivery: &Delivery) -> Answer {
        self.send(delivery.request()).await
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = router(self.ingest.clone()).oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        Answer { status: head.status, headers: head.headers, body: body.collect().await.unwrap().to_bytes() }
    }

    pub(crate) async fn events(&self) -> Vec<Summary> {
        let mut all = Vec::new();
        let mut page = Page { limit: 100, ..Page::default() };
        loop {
            let more = self.bus.events(&tenant(), page.clone()).await.unwrap();
            all.extend(more.events);
            let Some(next) = more.next else { return all };
            page.before = Some(next);
        }
    }

    pub(crate) async fn record(&self, id: EventId) -> Record {
        self.bus.event(&tenant(), id).await.unwrap().unwrap()
    }
}

/// A configuration with one source per provider, all with these secrets.
pub(crate) fn config(storage: Storage, secrets: &[&str]) -> IngestConfig {
    let sources = [Provider::ClickUp, Provider::Slack, Provider::GitHub];
    let named = |provider: Provider| (provider.name().to_owned(), Source { provider });
    let snapshot =
        IngestSnapshot { tenant: tenant(), sources: sources.into_iter().map(named).collect(), storage };
    let keys: Vec<_> = secrets.iter().map(|secret| Secret::new(*secret)).collect();
    let secrets = sources.into_iter().map(|provider| (provider.name().to_owned(), keys.clone())).collect();
    let snapshot = Arc::new(snapshot);
    IngestConfig { tenants: BTreeMap::from([(tenant(), TenantSources { snapshot, secrets })]) }
}

/// One of our own fixtures: its name without the ending, and its delivery.
pub(crate) fn fixture(provider: Provider, name: &str) -> Delivery {
    let path = folder().join(provider.name()).join(format!("{name}.json"));
    let body = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    // Providers send compact JSON.
    let value: serde_json::Value = serde_json::from_slice(&body).unwrap();
    deliver(provider, name, value.to_string())
}

/// A delivery of a body that a fixture's name tells the event of.
pub(crate) fn deliver(provider: Provider, name: &str, body: String) -> Delivery {
    match provider {
        Provider::GitHub => {
            let event = name.split('.').next().unwrap();
            Delivery::github(event, &format!("guid-{name}"), body)
        }
        Provider::ClickUp | Provider::Slack => Delivery::new(provider, body),
    }
}

/// All fixtures of a provider, by name.
pub(crate) fn fixtures(provider: Provider) -> Vec<(String, Delivery)> {
    let folder = folder().join(provider.name());
    let mut names: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .map(|name| name.strip_suffix(".json").unwrap().to_owned())
        .collect();
    names.sort_unstable();
    names
        .into_iter()
        .map(|name| {
            let delivery = fixture(provider, &name);
            (name, delivery)
        })
        .collect()
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// Compares a reviewed table with what is the case; `UPDATE_TABLES=1` writes it anew, for review.
pub(crate) fn check_table(file: &str, table: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(file);
    if std::env::var_os("UPDATE_TABLES").is_some() {
        fs::write(&path, table).unwrap();
    }
    let reviewed = fs::read_to_string(&path).unwrap_or_default();
    for (at, (reviewed, now)) in reviewed.lines().zip(table.lines()).enumerate() {
        assert_eq!(reviewed, now, "{file}, line {}: review it, then set UPDATE_TABLES=1", at + 1);
    }
    assert_eq!(reviewed, table, "{file} is stale: review it, then set UPDATE_TABLES=1");
}

/// The webhook bodies that GitHub's own SDK is tested with.
pub(crate) fn github_examples() -> Vec<(String, String, usize, Delivery)> {
    #[derive(serde::Deserialize)]
    struct Event {
        name: String,
        examples: Vec<Box<serde_json::value::RawValue>>,
    }
    let file = payloads();
    let json = fs::read_to_string(&file).unwrap_or_else(|error| {
        panic!(
            "{}: {error}. Run `scripts/test-deps`, which fetches it, or set NEXUS_GITHUB_PAYLOADS to the path of \
             api.github.com/index.json of the package @octokit/webhooks-examples",
            file.display()
        )
    });
    let events: Vec<Event> = serde_json::from_str(&json).unwrap();
    let mut all = Vec::new();
    for event in events {
        for (at, example) in event.examples.iter().enumerate() {
            let body: serde_json::Value = serde_json::from_str(example.get()).unwrap();
            let action = body["action"].as_str().unwrap_or("-").to_owned();
            let guid = format!("{}-{at}", event.name);
            let delivery = Delivery::github(&event.name, &guid, body.to_string());
            all.push((event.name.clone(), action, at, delivery));
        }
    }
    all
}

fn payloads() -> PathBuf {
    if let Some(path) = std::env::var_os("NEXUS_GITHUB_PAYLOADS") {
        return path.into();
    }
    let home = std::env::var_os("HOME").unwrap_or_default();
    Path::new(&home)
        .join(".cache/nexus/payloads/node_modules/@octokit/webhooks-examples/api.github.com/index.json")
}
