//! Normalizers: whatever JSON a provider sends becomes one event, of bounded size, that every reader reads the same.
//!
//! The first line of an input says how the rest is delivered: `github issues`, `slack`, `clickup`; the words `form`
//! and `grow` behind it wrap the body in a form and blow up what stands for a long text.

#![no_main]

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use libfuzzer_sys::{Corpus, fuzz_target};
use nexus_core::event::{EventData, Provider, StandardEvent};
use nexus_core::id::{EventId, TenantKey};
use nexus_core::mention::MAX_MENTIONS;
use nexus_core::secret::Secret;
use nexus_ingest::delivery::{Unverified, Verified};
use nexus_ingest::normalize::{Edge, MAX_EVENT, Malformed, Meaning, Normalized, encode, normalize};
use nexus_ingest::verify::Claim;
use nexus_wire::agent::v1::{ServerFrame, server_frame};
use nexus_wire::event::v1;
use nexus_wire::{frame, protobuf};
use prost::Message;
use serde_json::Value;
use sha2::Sha256;

const SECRET: &str = "a secret of at least thirty-two bytes";
const NOW: i64 = 1_795_503_600;

// The bounds that are documented in ingest::normalize.
const MAX_TITLE: usize = 1 << 10;
const MAX_TEXT: usize = 256 << 10;
const MAX_VALUE: usize = 16 << 10;
const MAX_LIST: usize = 100;
const MAX_MENTION: usize = 255;
const MAX_NAME: usize = 128;
const MAX_WORD: usize = 2048;
/// The deepest nesting.
const MAX_DEPTH: usize = 128;
/// What `~` grows to under `grow`: a sign that takes six bytes in JSON, so often.
const GROWN: usize = 3_000;

struct Delivery {
    provider: Provider,
    headers: HeaderMap,
    body: Bytes,
    /// The JSON within, if the body is text.
    json: Option<String>,
}

impl Delivery {
    fn read(data: &[u8]) -> Option<Self> {
        let end = data.iter().position(|byte| *byte == b'\n')?;
        let head = std::str::from_utf8(&data[..end]).ok()?;
        let mut words = head.split(' ');
        let provider = match words.next()? {
            "clickup" => Provider::ClickUp,
            "slack" => Provider::Slack,
            "github" => Provider::GitHub,
            _ => return None,
        };
        let event = if provider == Provider::GitHub { words.next()? } else { "" };
        let options: Vec<_> = words.collect();
        let mut body = data[end + 1..].to_vec();
        if options.contains(&"grow") {
            body = grow(&body);
        }
        let json = String::from_utf8(body.clone()).ok();
        let mut headers = HeaderMap::new();
        let mut content_type = "application/json";
        if let (true, Some(json)) = (options.contains(&"form"), &json) {
            let escaped: String = json.bytes().map(|byte| format!("%{byte:02x}")).collect();
            body = format!("a=b&payload={escaped}").into_bytes();
            content_type = "application/x-www-form-urlencoded";
        }
        set(&mut headers, "content-type", content_type);
        if provider == Provider::GitHub {
            set(&mut headers, "x-github-event", event);
            set(&mut headers, "x-github-delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958");
        }
        sign(provider, &mut headers, &body);
        Some(Self { provider, headers, body: body.into(), json })
    }

    fn verified(&self) -> Verified {
        let now = Timestamp::from_second(NOW).expect("a time of our days");
        let claim = Claim::read(self.provider, &self.headers, now).expect("it is signed");
        let unverified = Unverified::new(self.headers.clone(), self.body.clone());
        unverified.verify(&claim, &[Secret::new(SECRET)]).expect("it is signed with this secret")
    }
}

fn set(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(HeaderName::from_static(name), value);
    }
}

fn sign(provider: Provider, headers: &mut HeaderMap, body: &[u8]) {
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).expect("HMAC takes keys of any length");
    if provider == Provider::Slack {
        mac.update(format!("v0:{NOW}:").as_bytes());
    }
    mac.update(body);
    let hex = hex::encode(mac.finalize().into_bytes());
    match provider {
        Provider::ClickUp => set(headers, "x-signature", &hex),
        Provider::GitHub => set(headers, "x-hub-signature-256", &format!("sha256={hex}")),
        Provider::Slack => {
            set(headers, "x-slack-signature", &format!("v0={hex}"));
            set(headers, "x-slack-request-timestamp", &NOW.to_string());
        }
    }
}

/// A body within reach of the bounds, from one that is short enough to mutate.
fn grow(body: &[u8]) -> Vec<u8> {
    let mut grown = Vec::new();
    for byte in body {
        if *byte == b'~' && grown.len() < 2 << 20 {
            grown.extend_from_slice("\\u0001".repeat(GROWN).as_bytes());
        } else {
            grown.push(*byte);
        }
    }
    grown
}

fn meaning(delivery: &Delivery) -> Result<Meaning, Malformed> {
    let tenant: TenantKey = "acme/acme".parse().expect("a tenant's key");
    let edge = Edge {
        id: EventId::from_bytes([7; 16]),
        received: Timestamp::from_second(NOW).expect("a time of our days"),
        tenant: &tenant,
        source: delivery.provider.name(),
    };
    normalize(&delivery.verified(), &edge)
}

/// Whether the body is JSON; refused it may be for nothing else.
fn refusal(delivery: &Delivery, why: &Malformed) {
    let json = delivery.json.as_deref().map(|json| json.strip_prefix('\u{feff}').unwrap_or(json));
    let is_json = json.is_some_and(|json| serde_json::from_str::<serde::de::IgnoredAny>(json).is_ok());
    match why {
        Malformed::NotUtf8 => assert_eq!(json, None),
        Malformed::NotJson { line, column } => {
            assert!(!is_json);
            let lines = json.unwrap_or_default().split('\n').count();
            assert!((1..=lines).contains(line), "line {line} of {lines}, column {column}");
        }
        Malformed::TooDeep => {
            let opened = json.unwrap_or_default().matches(['{', '[']).count();
            assert!(opened > MAX_DEPTH);
        }
        Malformed::NoPayload => unreachable!("every form has one"),
        Malformed::Header(name) => {
            assert!(!delivery.headers.contains_key(*name) || *name == "x-github-event")
        }
    }
}

fn is_short(text: &Option<String>, max: usize) -> bool {
    text.as_ref().is_none_or(|text| text.len() <= max)
}

fn bounds(data: &EventData) {
    assert!(is_short(&data.title, MAX_TITLE) && is_short(&data.text, MAX_TEXT));
    assert!(data.provider_event.len() <= MAX_NAME);
    assert!(data.mentions.len() <= MAX_MENTIONS);
    for mention in &data.mentions {
        assert!((1..=MAX_MENTION).contains(&mention.id.len()) && is_short(&mention.name, MAX_MENTION));
    }
    assert!(data.labels.len() <= MAX_LIST && data.links.len() <= MAX_LIST && data.changes.len() <= MAX_LIST);
    for change in &data.changes {
        assert!(is_short(&change.before, MAX_VALUE) && is_short(&change.after, MAX_VALUE));
    }
    let texts = [&data.url, &data.project_key, &data.outcome, &data.reaction];
    assert!(texts.into_iter().all(|text| is_short(text, 2 * MAX_WORD)));
    assert!((1..=4 * MAX_WORD).contains(&data.thread_key.len()));
    if let Some(item) = &data.item {
        assert!(item.assignees.len() <= MAX_LIST && item.id.len() <= MAX_WORD);
    }
    let change = &data.change;
    assert!(!change.keys.is_empty() && change.keys.iter().all(|key| !key.is_empty()));
}

/// JSON without what the protobuf mapping leaves out: fields that have their type's default value.
fn told(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let is_default = |value: &Value| {
                matches!(value, Value::Null | Value::Bool(false))
                    || value.as_str() == Some("")
                    || value.as_u64() == Some(0)
                    || value.as_array().is_some_and(Vec::is_empty)
            };
            let told = fields.iter().map(|(key, value)| (key.clone(), told(value)));
            Value::Object(told.filter(|(_, value)| !is_default(value)).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(told).collect()),
        other => other.clone(),
    }
}

/// What agents get of it, over both transports.
fn delivered(json: &[u8]) {
    let message: v1::StandardEvent = serde_json::from_slice(json).expect("an event is its protobuf mapping");
    let event: Value = serde_json::from_slice(json).expect("it is JSON");
    let mapped = serde_json::to_value(&message).expect("an event holds nothing that JSON cannot");
    assert_eq!(told(&mapped), told(&event));
    assert_eq!(v1::StandardEvent::decode(message.encode_to_vec().as_slice()).as_ref(), Ok(&message));

    let delivery =
        frame::Delivery { event: json, attempt: 1, alias: Some("AI_Squad"), replay: true, traceparent: "" };
    let deliver = frame::deliver_json(delivery).expect("JSON is UTF-8");
    assert!(deliver.len() < 1 << 20, "a Deliver frame stays below 1 MiB");
    let of_json: ServerFrame = serde_json::from_str(&deliver).expect("a frame is its protobuf mapping");
    let bytes = protobuf::deliver(delivery).expect("it is an event");
    assert_eq!(ServerFrame::decode(bytes.as_slice()).as_ref(), Ok(&of_json));
    assert!(matches!(of_json.frame, Some(server_frame::Frame::Deliver(_))));
}

fn event(normalized: Normalized, provider: Provider) {
    let Normalized { mut event, delivery_key, dedupe_for } = normalized;
    assert_eq!(event.data.provider, provider);
    assert_eq!(event.source_name(), provider.name());
    assert_eq!(event.data.change.rank, event.kind.rank());
    assert!(!dedupe_for.is_zero());
    assert!(delivery_key.strip_prefix(provider.name()).is_some_and(|key| (2..=257).contains(&key.len())));
    bounds(&event.data);

    let json = encode(&mut event);
    assert!(json.len() <= MAX_EVENT, "{} bytes", json.len());
    let back: StandardEvent = serde_json::from_slice(&json).expect("what was encoded is read");
    assert_eq!(back, event);
    assert_eq!(encode(&mut event), json, "what is short enough stays as it is");
    delivered(&json);
}

fuzz_target!(|data: &[u8]| -> Corpus {
    let Some(delivery) = Delivery::read(data) else { return Corpus::Reject };
    let first = meaning(&delivery);
    assert_eq!(meaning(&delivery), first, "the same delivery is the same event");
    match first {
        Ok(Meaning::Event(normalized)) => event(*normalized, delivery.provider),
        Ok(Meaning::Challenge(text)) => {
            assert_eq!(delivery.provider, Provider::Slack);
            assert!((1..=MAX_WORD).contains(&text.len()));
        }
        Err(why) => refusal(&delivery, &why),
    }
    Corpus::Keep
});
