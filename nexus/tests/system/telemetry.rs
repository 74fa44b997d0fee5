//! Traces, logs and metrics of the running program, as a collector, a log file and a scraper see them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Stdio;

use futures_util::{SinkExt as _, StreamExt as _};
use hmac::{Hmac, KeyInit as _, Mac as _};
use nexus_runtime::metrics::{METRICS, Metric, Type};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::process::Command;
use tokio_tungstenite::tungstenite::Message;

use crate::agent::{self, Socket};
use crate::collector::{Collector, Manner, attributes};
use crate::harness::{Nexus, SECRET, Site, until};

/// The text of an event; none of it may leave by telemetry.
const TEXT: &str = "the-cart-is-empty-said-ann";

/// A key in the headers of a webhook, as Slack's proxies have been seen to send them.
const SLACK_TOKEN: &str = "xoxb-1234567890-planted-token";

/// What the collector is to be shown.
const COLLECTOR_KEY: &str = "Basic cGstbGY6c2stbGYtcGxhbnRlZA==";

/// Starts a process that exports to this endpoint; its log lines go to the file.
async fn start(site: &Site, endpoint: &str, more: &[(&str, &str)]) -> (Nexus, PathBuf) {
    let log = site.data.path().join("nexus.log");
    let mut command = site.command(site.folder.path());
    command
        .arg("--log-json")
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        .env(
            "OTEL_EXPORTER_OTLP_HEADERS",
            format!("Authorization={},x-langfuse-ingestion-version=4", COLLECTOR_KEY.replace(' ', "%20")),
        )
        .env("OTEL_BSP_SCHEDULE_DELAY", "50")
        .envs(more.iter().copied())
        .stderr(Stdio::from(std::fs::File::create(&log).unwrap()));
    let nexus = Nexus::from(command.spawn().unwrap());
    site.ready().await;
    (nexus, log)
}

/// Posts a signed issue and gives the event's id.
async fn post(site: &Site, number: u64, headers: &[(&str, &str)]) -> String {
    let body = json!({
        "action": "opened",
        "issue": {"id": number, "number": number, "title": TEXT, "body": TEXT, "state": "open"},
        "repository": {"id": 1, "full_name": "acme/shop"},
        "sender": {"id": 2, "login": "ann", "type": "User"},
    });
    let body = body.to_string();
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(body.as_bytes());
    let mut request = site
        .http
        .post(format!("http://127.0.0.1:{}/hooks/acme/acme/github", site.ingest))
        .header("x-github-event", "issues")
        .header("x-github-delivery", format!("delivery-{number}"))
        .header("x-hub-signature-256", format!("sha256={}", hex::encode(mac.finalize().into_bytes())));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer: Value = request.body(body).send().await.unwrap().json().await.unwrap();
    answer["event"].as_str().unwrap().to_owned()
}

/// An agent's connection that has said Hello, and its token.
async fn connect(site: &Site, agent: &str) -> (Socket, String) {
    let secret = |name| std::fs::read_to_string(site.credentials(agent).join(name)).unwrap();
    let gateway = site.gateway_url();
    let token = agent::token(&site.http, &gateway, &secret("client-id"), &secret("client-secret")).await;
    let token = token.unwrap();
    let mut socket = agent::connect(&gateway, &token).await.unwrap();
    say(&mut socket, json!({"hello": {"credit": 8}})).await;
    (socket, token)
}

async fn say(socket: &mut Socket, frame: Value) {
    socket.send(Message::text(frame.to_string())).await.unwrap();
}

/// The next Deliver.
async fn deliver(socket: &mut Socket) -> Value {
    loop {
        if let Message::Text(text) = socket.next().await.unwrap().unwrap() {
            let frame: Value = serde_json::from_str(&text).unwrap();
            if frame.get("deliver").is_some() {
                return frame["deliver"].clone();
            }
        }
    }
}

/// Waits until the agent's inbox is empty.
async fn settled(site: &Site) {
    until("everything is acknowledged", || async {
        let status = site.status().await;
        let agents = status["tenants"][0]["agents"].as_array()?.clone();
        agents.iter().all(|agent| agent["waiting"] == 0 && agent["held"] == 0).then_some(())
    })
    .await;
}

fn trace_of(event: &str) -> String {
    hex::encode(&Sha256::digest(event)[..16])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_is_one_trace_from_the_webhook_to_the_ack() {
    let collector = Collector::start(Manner::Takes).await;
    let site = Site::new(&["coder"]);
    let (nexus, _) = start(&site, &collector.endpoint, &[]).await;
    let (mut socket, _) = connect(&site, "coder").await;
    let theirs = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let event = post(&site, 1, &[("traceparent", theirs)]).await;

    let first = deliver(&mut socket).await;
    say(&mut socket, json!({"nack": {"eventId": event, "reason": TEXT}})).await;
    let second = deliver(&mut socket).await;
    say(&mut socket, json!({"ack": {"eventId": event}})).await;
    settled(&site).await;
    assert_eq!(post(&site, 1, &[]).await, event, "the same delivery again");
    assert!(nexus.terminate().await.success());

    let trace = trace_of(&event);
    let spans = collector.trace(&trace);
    let named = |name: &str| {
        let spans = spans.iter().filter(|span| span.name == name);
        spans.map(|span| (hex::encode(&span.span_id), hex::encode(&span.parent_span_id))).collect::<Vec<_>>()
    };
    let receive = "POST /hooks/{namespace}/{tenant}/{source}";
    let received = named(receive);
    let (root, again): (Vec<_>, Vec<_>) = received.into_iter().partition(|(_, parent)| parent.is_empty());
    let root = root[0].0.clone();
    assert_eq!(again.iter().map(|(_, parent)| parent).collect::<Vec<_>>(), [&root]);
    assert_eq!(named("append acme/acme")[0].1, root);
    let route = &named("route acme/acme")[0];
    assert_eq!(route.1, root);
    let delivers = named("deliver coder");
    assert_eq!(delivers.len(), 2);
    assert!(delivers.iter().all(|(_, parent)| *parent == route.0));
    // The context that the agent was given names the span of that very delivery.
    let span_of = |deliver: &Value| {
        let context = deliver["traceparent"].as_str().unwrap().to_owned();
        let parts: Vec<_> = context.split('-').map(str::to_owned).collect();
        assert_eq!((parts[0].as_str(), parts[1].as_str(), parts[3].as_str()), ("00", trace.as_str(), "01"));
        parts[2].clone()
    };
    assert_eq!(named("nack coder")[0].1, span_of(&first));
    assert_eq!(named("ack coder")[0].1, span_of(&second));
    assert_eq!(delivers.iter().map(|(id, _)| id.clone()).collect::<BTreeSet<_>>(), {
        BTreeSet::from([span_of(&first), span_of(&second)])
    });
    assert_eq!(spans.len(), 8, "and nothing else");
    assert_eq!(spans.iter().map(|span| &span.span_id).collect::<BTreeSet<_>>().len(), 8);

    let root = spans.iter().find(|span| hex::encode(&span.span_id) == root).unwrap();
    assert_eq!(hex::encode(&root.links[0].trace_id), "0af7651916cd43dd8448eb211c80319c");
    let facts = attributes(root);
    let fact = |key| facts.get(key).map(String::as_str);
    assert_eq!(fact("messaging.message.id"), Some(event.as_str()));
    assert_eq!(fact("nexus.kind"), Some("NewWorkItem"));
    assert_eq!(fact("http.response.status_code"), Some("200"));
    let received = collector.received.lock().unwrap();
    assert_eq!(received.headers[0]["authorization"], COLLECTOR_KEY);
    assert_eq!(received.headers[0]["x-langfuse-ingestion-version"], "4");
    let resource = received.requests[0].resource_spans[0].resource.as_ref().unwrap();
    assert!(format!("{resource:?}").contains("\"nexus\""), "{resource:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_fails_or_hangs_changes_nothing_for_agents() {
    for manner in [Manner::Fails, Manner::Hangs] {
        let collector = Collector::start(manner).await;
        let site = Site::new(&["coder"]);
        let small = [("OTEL_BSP_MAX_QUEUE_SIZE", "4"), ("OTEL_EXPORTER_OTLP_TIMEOUT", "60000")];
        let (nexus, log) = start(&site, &collector.endpoint, &small).await;
        let (mut socket, _) = connect(&site, "coder").await;
        for number in 0..30 {
            let event = post(&site, number, &[]).await;
            assert_eq!(deliver(&mut socket).await["event"]["id"], event);
            say(&mut socket, json!({"ack": {"eventId": event}})).await;
            say(&mut socket, json!({"grant": {"credit": 1}})).await;
        }
        settled(&site).await;
        until("the collector was asked", || async { (collector.requests() > 0).then_some(()) }).await;
        until("lost spans are counted", || async {
            scrape(&site).await.contains("nexus_otlp_spans_dropped_total").then_some(())
        })
        .await;
        assert!(nexus.terminate().await.success());
        let log = std::fs::read_to_string(log).unwrap();
        let lines = log.lines().filter(|line| line.contains("cannot export traces")).count();
        assert!(lines <= 1, "{lines} lines");
        assert!(!log.contains(&collector.endpoint), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_recovers_gets_what_it_missed() {
    let collector = Collector::start(Manner::Recovers).await;
    let site = Site::new(&[]);
    let (_nexus, _) = start(&site, &collector.endpoint, &[]).await;
    let event = post(&site, 1, &[]).await;
    until("the spans come again", || async { (collector.requests() > 1).then_some(()) }).await;
    let [first, again] = [0, 1].map(|n| collector.received.lock().unwrap().bodies[n].clone());
    assert_eq!(first, again, "the same batch");
    assert!(!collector.trace(&trace_of(&event)).is_empty());
    assert!(!scrape(&site).await.contains("nexus_otlp_spans_dropped_total{"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_context_goes_with_each_delivery_whatever_is_exported() {
    let collector = Collector::start(Manner::Takes).await;
    let off = [("OTEL_SDK_DISABLED", "true")];
    let none = [("OTEL_TRACES_SAMPLER", "always_off")];
    for (more, flags) in [(&off, "01"), (&none, "00")] {
        let site = Site::new(&["coder"]);
        let (nexus, _) = start(&site, &collector.endpoint, more).await;
        let (mut socket, _) = connect(&site, "coder").await;
        let event = post(&site, 1, &[]).await;
        let context = deliver(&mut socket).await["traceparent"].as_str().unwrap().to_owned();
        assert!(context.starts_with(&format!("00-{}-", trace_of(&event))), "{context}");
        assert!(context.ends_with(&format!("-{flags}")), "{context}");
        assert!(nexus.terminate().await.success());
    }
    assert_eq!(collector.requests(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_is_shown_until_its_tenant_is_gone() {
    let site = Site::new(&["coder"]);
    let _nexus = site.start().await;
    post(&site, 1, &[]).await;
    let gauge = |name: &'static str| {
        let site = &site;
        move || async move { value(&scrape(site).await, &format!("{name}{{tenant=\"acme/acme\"}}")) }
    };
    until("the event is seen to wait", || async {
        (gauge("nexus_inbox_waiting_events")().await == Some(1.0)).then_some(())
    })
    .await;
    assert!(gauge("nexus_bus_pending_bytes")().await.unwrap() > 0.0);
    assert!(gauge("nexus_inbox_oldest_age_seconds")().await.unwrap() > 0.0);
    let text = scrape(&site).await;
    assert_eq!(value(&text, "nexus_stop_known"), Some(1.0));
    let hash = value(&text, "nexus_config_hash").unwrap();
    site.remove("tenant.yaml");
    until("nothing is told of the tenant any more", || async {
        let [waiting, bytes] =
            [gauge("nexus_inbox_waiting_events")().await, gauge("nexus_bus_pending_bytes")().await];
        (waiting == Some(0.0) && bytes == Some(0.0)).then_some(())
    })
    .await;
    assert_ne!(value(&scrape(&site).await, "nexus_config_hash"), Some(hash));
}

/// The value of a series.
fn value(text: &str, series: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_and_no_text_leaves_by_logs_metrics_or_traces() {
    let collector = Collector::start(Manner::Takes).await;
    let site = Site::new(&["coder"]);
    let (nexus, log) = start(&site, &collector.endpoint, &[("NEXUS_LOG", "trace")]).await;
    let client_secret = std::fs::read_to_string(site.credentials("coder").join("client-secret")).unwrap();
    let (mut socket, token) = connect(&site, "coder").await;
    let event = post(&site, 1, &[("authorization", SLACK_TOKEN), ("x-slack-token", SLACK_TOKEN)]).await;
    deliver(&mut socket).await;
    say(&mut socket, json!({"reauth": {"token": token}})).await;
    say(&mut socket, json!({"ack": {"eventId": event}})).await;
    let hook = format!("http://127.0.0.1:{}/hooks/acme/acme/github", site.ingest);
    site.http.post(hook).header("x-hub-signature-256", SLACK_TOKEN).body(SECRET).send().await.unwrap();
    agent::token(&site.http, &site.gateway_url(), "nobody", SLACK_TOKEN).await.unwrap_err();
    settled(&site).await;
    let metrics = scrape(&site).await;
    assert!(nexus.terminate().await.success());

    let log = std::fs::read_to_string(log).unwrap();
    let spans = collector.received.lock().unwrap().bodies.concat();
    let spans = String::from_utf8_lossy(&spans);
    assert!(spans.contains(&event) && metrics.contains("nexus_acks_total"));
    let signature = "sha256=";
    for secret in [SECRET, &client_secret, &token, SLACK_TOKEN, COLLECTOR_KEY, TEXT, signature] {
        for (place, text) in [("logs", log.as_str()), ("metrics", &metrics), ("traces", &spans)] {
            assert!(!text.contains(secret), "`{secret}` stands in {place}");
        }
    }
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for step in ["received", "routed", "delivered", "acked"] {
        let line = lines.iter().find(|line| line["message"] == step && line["event"] == event);
        let line = line.unwrap_or_else(|| panic!("no line `{step}` in {log}"));
        assert_eq!((&line["tenant"], &line["trace_id"]), (&json!("acme/acme"), &json!(trace_of(&event))));
    }
    let acked = lines.iter().find(|line| line["message"] == "acked").unwrap();
    assert!(acked["session"].is_string() && acked["agent"].is_string(), "{acked}");
    assert!(lines.iter().any(|line| line["message"] == "delivery refused"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_are_documented_and_bounded_whatever_strangers_send() {
    let site = Site::new(&["coder"]);
    let _nexus = site.start().await;
    let (mut socket, _) = connect(&site, "coder").await;
    let event = post(&site, 1, &[]).await;
    deliver(&mut socket).await;
    say(&mut socket, json!({"ack": {"eventId": event}})).await;
    settled(&site).await;
    let base = format!("http://127.0.0.1:{}", site.ingest);
    let long = "v".repeat(4000);
    for number in 0..200 {
        let paths =
            [format!("/hooks/acme/acme/s{number}"), format!("/x{number}"), format!("/hooks/t{number}/a/b")];
        for path in paths {
            let request =
                site.http.post(format!("{base}{path}")).header("x-github-event", format!("e{number}"));
            request.header("x-long", &long).send().await.unwrap();
        }
        let forged = site.http.post(format!("{base}/hooks/acme/acme/github"));
        let forged =
            forged.header("x-github-event", format!("e{number}")).header("x-hub-signature-256", &long);
        forged.body(number.to_string()).send().await.unwrap();
        assert!(agent::connect(&site.gateway_url(), &format!("bad{number}")).await.is_err());
        agent::token(&site.http, &site.gateway_url(), &format!("id{number}"), "x").await.unwrap_err();
    }
    until("the depth was looked at after the ack", || async {
        scrape(&site).await.contains("nexus_inbox_waiting_events{tenant=\"acme/acme\"} 0").then_some(())
    })
    .await;
    let text = scrape(&site).await;
    let series = check(&text);
    for name in [
        "nexus_send_to_ack_seconds",
        "nexus_bus_commit_seconds",
        "process_cpu_seconds_total",
        "nexus_config_hash",
    ] {
        assert!(series.contains_key(name), "{name} is missing in {text}");
    }
    let all: usize = series.values().sum();
    assert!(all < 150, "{all} series: {series:#?}");
    assert!(
        text.contains("nexus_ingest_deliveries_total{provider=\"none\",outcome=\"unknown_source\"} 600"),
        "{text}"
    );
}

async fn scrape(site: &Site) -> String {
    let answer = site.http.get(format!("http://127.0.0.1:{}/metrics", site.admin)).send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    answer.text().await.unwrap()
}

/// Checks a scrape against the table of metrics and counts the series of each.
fn check(text: &str) -> BTreeMap<&str, usize> {
    let known: BTreeMap<&str, &Metric> = METRICS.iter().map(|metric| (metric.name, metric)).collect();
    let mut helped = BTreeSet::new();
    let mut series = BTreeMap::<&str, usize>::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some(help) = line.strip_prefix("# HELP ") {
            helped.insert(help.split_once(' ').unwrap().0);
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            let metric = known.get(name).unwrap_or_else(|| panic!("{name} is not in the table"));
            assert!(helped.contains(name), "{name} has no HELP line");
            assert_eq!(metric.kind.name(), kind, "{name}");
        } else {
            let (name, labels) = sample(line);
            let stem = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
            let name = match stem.filter(|stem| known.get(stem).is_some_and(|m| m.kind == Type::Histogram)) {
                Some(stem) => stem,
                None => name,
            };
            let metric = known.get(name).unwrap_or_else(|| panic!("{name} is not in the table"));
            let labels: Vec<_> = labels.into_iter().filter(|label| *label != "le").collect();
            assert_eq!(labels, metric.labels, "{name}");
            if !line.contains("le=\"") {
                *series.entry(name).or_default() += 1;
            }
        }
    }
    series
}

/// The name of a sample, and of its labels. No value of a label of ours holds a quote or a comma.
fn sample(line: &str) -> (&str, Vec<&str>) {
    match line.split_once('{') {
        Some((name, rest)) => {
            let labels = rest.split_once('}').unwrap().0.split(',');
            (name, labels.map(|label| label.split_once('=').unwrap().0).collect())
        }
        None => (line.split(' ').next().unwrap(), Vec::new()),
    }
}

#[tokio::test]
async fn a_wrong_setting_is_told_at_the_start_and_not_shown() {
    let site = Site::new(&[]);
    for (variable, value) in
        [("OTEL_EXPORTER_OTLP_ENDPOINT", "hunter2:4318"), ("OTEL_TRACES_SAMPLER", "hunter2")]
    {
        let mut command = site.command(site.folder.path());
        let output = command.env(variable, value).stderr(Stdio::piped()).output().await.unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && text.contains(variable) && !text.contains("hunter2"), "{text}");
    }
}

/// Of the usual 1,024 files a gateway would be full at a thousand agents.
#[tokio::test]
async fn a_process_takes_as_many_files_as_it_may() {
    let site = Site::new(&[]);
    let command = site.command(site.folder.path());
    let mut bounded = Command::new("prlimit");
    bounded
        .arg("--nofile=256:2048")
        .arg(command.as_std().get_program())
        .args(command.as_std().get_args())
        .stdout(Stdio::null())
        .kill_on_drop(true);
    let _nexus = Nexus::from(bounded.spawn().unwrap());
    site.ready().await;
    until("it may have 2,048 files", || async {
        scrape(&site).await.lines().any(|line| line == "process_max_fds 2048").then_some(())
    })
    .await;
}
