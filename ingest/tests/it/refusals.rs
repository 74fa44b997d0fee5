//! Everything that is not taken, with the status that says so.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, StatusCode};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use nexus_core::event::Provider;
use nexus_core::snapshot::Storage;
use nexus_ingest::{IngestConfig, IngestSettings};

use crate::support::{Answer, Delivery, SECRET, World, config, fixture, now, tenant};

const PROVIDERS: [Provider; 3] = [Provider::ClickUp, Provider::Slack, Provider::GitHub];

fn sample(provider: Provider) -> Delivery {
    fixture(
        provider,
        match provider {
            Provider::ClickUp => "taskCreated",
            Provider::Slack => "message",
            Provider::GitHub => "issues.opened",
        },
    )
}

fn signature(provider: Provider) -> &'static str {
    match provider {
        Provider::ClickUp => "x-signature",
        Provider::Slack => "x-slack-signature",
        Provider::GitHub => "x-hub-signature-256",
    }
}

/// Checks the status, that the answer says why, and that it says neither a secret nor a signature.
fn refused(answer: &Answer, status: StatusCode, error: &str) {
    assert_eq!(answer.status, status, "{answer:?}");
    let json = answer.json();
    assert_eq!(json["error"], error, "{answer:?}");
    assert!(json["message"].as_str().unwrap().len() > 10, "{answer:?}");
    let text = String::from_utf8_lossy(&answer.body);
    assert!(!text.contains(SECRET) && !text.contains("sha256=") && !text.contains("v0="), "{text}");
    let hex_run = text.split(|c: char| !c.is_ascii_hexdigit()).map(str::len).max();
    assert!(hex_run < Some(32), "{text}");
}

async fn nothing_kept(world: &World) {
    assert_eq!(world.bus.depth(&tenant()).await.unwrap().appended, 0);
    assert_eq!(world.ingest.bytes_in_flight(), 0);
}

#[tokio::test]
async fn signatures_that_are_missing_wrong_or_stale_are_403() {
    let world = World::new();
    for provider in PROVIDERS {
        let name = signature(provider);
        let answer = world.post(&sample(provider).without(name)).await;
        refused(&answer, StatusCode::FORBIDDEN, "signature_missing");
        let answer = world.post(&sample(provider).with(name, "nonsense")).await;
        refused(&answer, StatusCode::FORBIDDEN, "signature_missing");
        let mut wrong = sample(provider);
        wrong.sign("another secret", now());
        refused(&world.post(&wrong).await, StatusCode::FORBIDDEN, "signature_mismatch");
        let mut altered = sample(provider);
        altered.body = [&altered.body[..], b" "].concat().into();
        refused(&world.post(&altered).await, StatusCode::FORBIDDEN, "signature_mismatch");
    }
    for seconds in [301, -301] {
        let mut stale = sample(Provider::Slack);
        stale.sign(SECRET, now() + jiff::SignedDuration::from_secs(seconds));
        refused(&world.post(&stale).await, StatusCode::FORBIDDEN, "signature_stale");
    }
    nothing_kept(&world).await;
}

#[tokio::test]
async fn both_secrets_of_a_rotation_are_taken_and_an_unknown_one_is_our_own_fault() {
    let world = World::new();
    let storage = Storage::default();
    world.config.send_replace(Arc::new(config(storage, &["new secret", SECRET])));
    for provider in PROVIDERS {
        assert_eq!(world.post(&sample(provider)).await.status, StatusCode::OK);
        let mut new = sample(provider);
        new.sign("new secret", now());
        assert!(world.post(&new).await.is_duplicate());
    }
    for none in [&[] as &[_], &[""]] {
        world.config.send_replace(Arc::new(config(storage, none)));
        for provider in PROVIDERS {
            let answer = world.post(&sample(provider)).await;
            refused(&answer, StatusCode::SERVICE_UNAVAILABLE, "no_secret");
            assert!(answer.headers.contains_key("retry-after"));
        }
    }
}

#[tokio::test]
async fn what_is_no_json_is_400_and_any_json_is_not() {
    let world = World::new();
    for provider in PROVIDERS {
        let with = |body: &'static [u8]| {
            let mut delivery = sample(provider);
            delivery.body = Bytes::from_static(body);
            delivery.sign(SECRET, now());
            delivery
        };
        // Within what is read, or beside it.
        let deep = |field: &str| format!("{{\"{field}\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        for field in ["issue", "event", "other"] {
            let mut delivery = with(b"");
            delivery.body = Bytes::from(deep(field));
            delivery.sign(SECRET, now());
            refused(&world.post(&delivery).await, StatusCode::BAD_REQUEST, "malformed");
        }
        for body in [b"" as &[u8], b"nonsense", b"{", b"{}{}", b"{\"a\": \"\xff\"}"] {
            refused(&world.post(&with(body)).await, StatusCode::BAD_REQUEST, "malformed");
        }
        let form = with(b"other=1").with("content-type", "application/x-www-form-urlencoded");
        refused(&world.post(&form).await, StatusCode::BAD_REQUEST, "malformed");
        nothing_kept(&world).await;
    }
    for provider in PROVIDERS {
        for (at, body) in ["[]", "1", "null", "\"x\"", "{}", "\u{feff}{}"].into_iter().enumerate() {
            let delivery = match provider {
                Provider::GitHub => Delivery::github("issues", &format!("odd-{at}"), body),
                _ => Delivery::new(provider, body),
            };
            assert_eq!(world.post(&delivery).await.status, StatusCode::OK, "{body}");
        }
    }
}

#[tokio::test]
async fn github_headers_that_give_a_body_its_meaning_must_be_there() {
    let world = World::new();
    for name in ["x-github-event", "x-github-delivery"] {
        for delivery in [
            sample(Provider::GitHub).without(name),
            sample(Provider::GitHub).with(name, ""),
            sample(Provider::GitHub).with(name, &"x".repeat(500)),
        ] {
            refused(&world.post(&delivery).await, StatusCode::BAD_REQUEST, "malformed");
        }
    }
    nothing_kept(&world).await;
}

#[tokio::test]
async fn unknown_addresses_are_404_and_other_methods_405() {
    let world = World::new();
    for path in [
        "/hooks/acme/acme/gitlab",
        "/hooks/acme/other/github",
        "/hooks/other/acme/github",
        "/hooks/acme/acme",
        "/hooks/acme/acme/github/more",
        "/hooks/acme/acme%2F/github",
        "/hooks/%ff/acme/github",
        "/hooks/acme//github",
        "/",
    ] {
        let mut delivery = sample(Provider::GitHub);
        path.clone_into(&mut delivery.path);
        refused(&world.post(&delivery).await, StatusCode::NOT_FOUND, "unknown_source");
    }
    for method in [Method::GET, Method::PUT, Method::DELETE, Method::PATCH, Method::OPTIONS] {
        let mut request = sample(Provider::GitHub).request();
        *request.method_mut() = method;
        let answer = world.send(request).await;
        refused(&answer, StatusCode::METHOD_NOT_ALLOWED, "method");
        assert_eq!(answer.headers["allow"], "POST");
    }
    world.config.send_replace(Arc::new(IngestConfig::default()));
    refused(&world.post(&sample(Provider::GitHub)).await, StatusCode::NOT_FOUND, "unknown_source");
    nothing_kept(&world).await;
}

#[tokio::test]
async fn a_compressed_body_is_415() {
    let world = World::new();
    let answer = world.post(&sample(Provider::GitHub).with("content-encoding", "gzip")).await;
    refused(&answer, StatusCode::UNSUPPORTED_MEDIA_TYPE, "encoding");
    let answer = world.post(&sample(Provider::GitHub).with("content-encoding", "identity")).await;
    assert_eq!(answer.status, StatusCode::OK);
}

#[tokio::test]
async fn a_long_body_is_413_announced_or_not() {
    let settings = IngestSettings { max_body: 1000, ..IngestSettings::default() };
    let world = World::with(settings, Storage::default());
    let delivery = Delivery::github("issues", "long", format!("{{\"a\": \"{}\"}}", "x".repeat(2000)));
    let announced = delivery.clone().with("content-length", "2009");
    refused(&world.post(&announced).await, StatusCode::PAYLOAD_TOO_LARGE, "too_large");
    // Not announced, in pieces of which each is short.
    let mut request = delivery.request();
    let pieces: Vec<_> = delivery.body.chunks(100).map(Bytes::copy_from_slice).collect();
    *request.body_mut() = Body::from_stream(stream::iter(pieces).map(Ok::<_, Infallible>));
    refused(&world.send(request).await, StatusCode::PAYLOAD_TOO_LARGE, "too_large");
    nothing_kept(&world).await;
}

#[tokio::test]
async fn a_body_of_25_mib_is_taken() {
    let world = World::new();
    let frame = r#"{"action":"opened","issue":{"number":1,"title":"Long","body":""}}"#;
    let text = "x".repeat((25 << 20) - frame.len());
    let body = frame.replace(r#""body":"""#, &format!(r#""body":"{text}""#));
    let delivery = Delivery::github("issues", "longest", body);
    assert_eq!(delivery.body.len(), 25 << 20);
    let record = world.record(world.post(&delivery).await.event()).await;
    assert_eq!(record.raw.body, delivery.body);
    assert!(record.event.len() < nexus_ingest::normalize::MAX_EVENT);
    assert_eq!(world.ingest.bytes_in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_slow_body_is_408() {
    let world = World::new();
    let delivery = sample(Provider::ClickUp);
    let mut request = delivery.request();
    let beginning = stream::iter([Ok::<_, Infallible>(delivery.body.slice(..10))]);
    *request.body_mut() = Body::from_stream(beginning.chain(stream::pending()));
    let before = tokio::time::Instant::now();
    refused(&world.send(request).await, StatusCode::REQUEST_TIMEOUT, "slow");
    assert_eq!(before.elapsed().as_secs(), 10);
    assert_eq!(world.ingest.bytes_in_flight(), 0);
}

#[tokio::test]
async fn a_body_that_breaks_off_is_400() {
    let world = World::new();
    let delivery = sample(Provider::ClickUp);
    let mut request = delivery.request();
    let pieces = [Ok(delivery.body.slice(..10)), Err(std::io::Error::other("gone"))];
    *request.body_mut() = Body::from_stream(stream::iter(pieces));
    refused(&world.send(request).await, StatusCode::BAD_REQUEST, "broken");
    nothing_kept(&world).await;
}

#[tokio::test]
async fn a_used_up_budget_is_503_and_comes_back() {
    let body = sample(Provider::ClickUp).body.len();
    let settings = IngestSettings {
        budget: body + 10,
        body_deadline: Duration::from_secs(60),
        ..IngestSettings::default()
    };
    let world = World::with(settings, Storage::default());
    let delivery = sample(Provider::ClickUp);
    let mut slow = delivery.request();
    let beginning = stream::iter([Ok::<_, Infallible>(delivery.body.slice(..20))]);
    *slow.body_mut() = Body::from_stream(beginning.chain(stream::pending()));
    let mut held = Box::pin(world.send(slow));
    tokio::select! {
        biased;
        answer = held.as_mut() => panic!("a body that never ends was answered {answer:?}"),
        () = std::future::ready(()) => {}
    }
    assert_eq!(world.ingest.bytes_in_flight(), 20);
    let answer = world.post(&delivery).await;
    refused(&answer, StatusCode::SERVICE_UNAVAILABLE, "budget");
    assert!(answer.headers.contains_key("retry-after"));
    drop(held);
    assert_eq!(world.post(&delivery).await.status, StatusCode::OK);
    assert_eq!(world.ingest.bytes_in_flight(), 0);
}

#[tokio::test]
async fn a_full_quota_is_503() {
    let storage = Storage { quota_bytes: 1, ..Storage::default() };
    let world = World::with(IngestSettings::default(), storage);
    let mut last = world.post(&fixture(Provider::ClickUp, "taskCreated")).await;
    if last.status == StatusCode::OK {
        last = world.post(&fixture(Provider::ClickUp, "taskMoved")).await;
    }
    refused(&last, StatusCode::SERVICE_UNAVAILABLE, "quota");
    assert!(last.headers.contains_key("retry-after"));
}

#[tokio::test]
async fn a_bus_that_cannot_write_is_503() {
    let world = World::new();
    world.bus.close().await;
    for provider in PROVIDERS {
        let answer = world.post(&sample(provider)).await;
        refused(&answer, StatusCode::SERVICE_UNAVAILABLE, "storage");
        assert!(answer.headers.contains_key("retry-after"));
    }
}
