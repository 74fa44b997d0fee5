//! Drives a bus alone: append → route → pull → ack of many events, and tells the CPU time an event costs.
//!
//! `cargo run --release -p nexus-store --example drive [EVENTS] [APPENDERS] [REDIS-URL]`. The embedded log, unless Redis is
//! named; the CPU time of Redis itself is its own `INFO cpu`. Wall time says little on a shared machine.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a tool for those who work on the store")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nexus_core::change::ChangeKey;
use nexus_core::clock::Clock;
use nexus_core::id::{EventId, InboxId, SessionId, TenantKey};
use nexus_core::kind::{Kind, Rank};
use nexus_store::bus::{Append, Bus, HandOut, PARTITIONS, Raw, Route};

/// As the gateway does, in case nobody wakes.
const SAFETY_POLL: Duration = Duration::from_secs(1);

/// Clock ticks a second of `/proc/self/stat`.
const TICKS: f64 = 100.0;

#[expect(clippy::disallowed_methods, reason = "this is where the clock is made")]
fn clock() -> Clock {
    Clock::new(jiff::Timestamp::now)
}

fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<_> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks = |at: usize| fields[at].parse::<f64>().unwrap();
    (ticks(11) + ticks(12)) / TICKS
}

fn event(n: usize) -> Append {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&n.to_be_bytes());
    let now = clock().now();
    Append {
        id: EventId::from_bytes(id),
        delivery_key: format!("github:delivery-{n}"),
        dedupe_for: Duration::from_secs(72 * 3600),
        thread_key: format!("acme/shop#{}", n % 500),
        kind: Kind::NewWorkItem,
        source: "github".into(),
        title: Some(format!("Issue {n}")),
        received: now,
        change: ChangeKey::single(format!("issue:{n}"), Rank::Birth),
        event: format!(r#"{{"id":"{n}","text":"{}"}}"#, "x".repeat(2000)).into(),
        raw: Raw { headers: vec![], body: format!(r#"{{"n":{n},"text":"{}"}}"#, "y".repeat(5000)).into() },
        quota_bytes: 1 << 40,
    }
}

async fn route(bus: Bus, tenant: TenantKey, partition: u16, inbox: InboxId) {
    let mut watch = bus.watch_unrouted(&tenant, partition);
    let epoch = bus.acquire(&tenant, partition).await.unwrap();
    let mut after = 0;
    loop {
        watch.mark_unchanged();
        loop {
            let found = bus.unrouted(&tenant, partition, after, 64).await.unwrap();
            let Some(last) = found.last() else { break };
            after = last.seq;
            let decision = r#"{"version":"1","chosen":[]}"#;
            let routes = found.iter().map(|event| Route {
                seq: event.seq,
                inboxes: vec![inbox],
                decision: decision.into(),
            });
            bus.route(&tenant, partition, epoch, routes.collect(), HandOut::Nothing).await.unwrap();
        }
        match tokio::time::timeout(SAFETY_POLL, watch.changed()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return,
            Err(_) => after = 0,
        }
    }
}

async fn receive(bus: Bus, tenant: TenantKey, inbox: InboxId, total: usize) {
    let session = SessionId::from_bytes([1; 16]);
    let mut watch = bus.watch_inbox(&tenant, inbox);
    let mut acked = 0;
    while acked < total {
        watch.mark_unchanged();
        loop {
            let held = bus.pull(&tenant, inbox, session, 32, 256 << 10).await.unwrap();
            if held.is_empty() {
                break;
            }
            acked += bus.ack(&tenant, session, held.iter().map(|held| held.id).collect()).await.unwrap();
        }
        if acked < total {
            // An end of the wait is a look as well.
            let _ = tokio::time::timeout(SAFETY_POLL, watch.changed()).await;
        }
    }
}

#[tokio::main(worker_threads = 2)]
async fn main() {
    let number = |at, default| std::env::args().nth(at).map_or(default, |arg| arg.parse().unwrap());
    let (total, appenders): (usize, usize) = (number(1, 50_000), number(2, 64));
    let dir = tempfile::tempdir().unwrap();
    let bus = match std::env::args().nth(3) {
        Some(url) => Bus::open_redis(url.parse().unwrap(), clock()).await.unwrap(),
        None => Bus::open_embedded(dir.path(), clock()).unwrap(),
    };
    let tenant: TenantKey = "acme/acme".parse().unwrap();
    let inbox = InboxId::from_bytes([1; 16]);
    let mut tasks = tokio::task::JoinSet::new();
    for partition in 0..PARTITIONS {
        tasks.spawn(route(bus.clone(), tenant.clone(), partition, inbox));
    }
    let (before, started) = (cpu_seconds(), Instant::now());
    let next = Arc::new(AtomicUsize::new(0));
    for _ in 0..appenders {
        let (bus, tenant, next) = (bus.clone(), tenant.clone(), Arc::clone(&next));
        tasks.spawn(async move {
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= total {
                    break;
                }
                bus.append(&tenant, event(n)).await.unwrap();
            }
        });
    }
    receive(bus.clone(), tenant, inbox, total).await;
    let (cpu, wall) = (cpu_seconds() - before, started.elapsed().as_secs_f64());
    let per_event = cpu * 1e6 / total as f64;
    println!(
        "{total} events, {appenders} appenders: {per_event:.1} µs of CPU an event, {:.0}/s",
        total as f64 / wall
    );
    bus.close().await;
}
