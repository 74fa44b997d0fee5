//! Stops, each of so many sessions, and their release.

use std::time::Duration;

use indicatif::ProgressBar;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Settings, Spread};
use crate::feed::Feed;
use crate::operated::Operated;
use crate::sessions::{End, Transport, latest};
use crate::switch::Switch;
use crate::webhook::{SECRET, TENANTS};

/// The agent whose Deployment a stop scales to zero.
const WORKER: &str = "worker";

/// Where the tenant's GitHub is heard.
const HOOK: &str = "/hooks/acme/acme/github";

/// What stops took.
#[derive(Default)]
struct Times {
    last_byte: Vec<Duration>,
    closed: Vec<Duration>,
    grpc_last_byte: Vec<Duration>,
    grpc_closed: Vec<Duration>,
    scaled: Vec<Duration>,
    drained: Vec<Duration>,
}

/// Orders stops. Gives the figures, and what status told of the last one.
pub(super) async fn measure(
    operated: &Operated,
    settings: &Settings,
    progress: &ProgressBar,
) -> anyhow::Result<(Vec<Spread>, Value)> {
    let (mut times, mut status) = (Times::default(), Value::Null);
    if settings.stops == 0 {
        return Ok((Vec::new(), status));
    }
    operated.cluster.apply(&worker())?;
    let (many, doors) = (settings.many, &operated.fleet.doors);
    let feed = Feed::new(doors, HOOK, SECRET, many.events);
    let switch = Switch::new(&operated.cluster.client().await?, TENANTS[0], WORKER);
    for _ in 0..settings.stops {
        switch.replicas(3).await?;
        let reading = feed.open(many.sessions, many.over_grpc()).await?;
        feed.check()?;
        let sent = Instant::now();
        switch.stop().await?;
        let (ends, scaled) = tokio::join!(reading.ends(), switch.replicas(0));
        let ends = ends?;
        times.keep(&ends, sent);
        times.scaled.push(scaled? - sent);
        status = switch.engaged().await?;
        let (released, drained) = tokio::join!(switch.release(&status), feed.drain());
        released?;
        times.drained.push(drained?);
        progress.inc(1);
    }
    let shown = ["acknowledged", "engagement", "socketsSevered", "lastByteMilliseconds"];
    let status: serde_json::Map<_, _> =
        shown.iter().map(|&key| (key.to_owned(), status[key].clone())).collect();
    Ok((times.spreads(), status.into()))
}

impl Times {
    /// Keeps when the sessions of a stop ended.
    fn keep(&mut self, ends: &[End], sent: Instant) {
        self.last_byte.extend(latest(ends, |end| end.last_byte, sent));
        self.closed.extend(latest(ends, |end| end.closed, sent));
        let grpc = || ends.iter().filter(|end| end.transport == Transport::Grpc);
        self.grpc_last_byte.extend(latest(grpc(), |end| end.last_byte, sent));
        self.grpc_closed.extend(latest(grpc(), |end| end.closed, sent));
    }

    fn spreads(self) -> Vec<Spread> {
        let spreads = [
            Spread::of("stop: PATCH to the last byte of all agents", self.last_byte),
            Spread::of("stop: PATCH to the last close", self.closed),
            Spread::of("stop: PATCH to the last byte over gRPC", self.grpc_last_byte),
            Spread::of("stop: PATCH to the last close over gRPC", self.grpc_closed),
            Spread::of("stop: PATCH to a Deployment at zero", self.scaled),
            Spread::of("stop: release to all queued events with their agents", self.drained),
        ];
        spreads.into_iter().flatten().collect()
    }
}

/// An agent with a Deployment.
fn worker() -> Value {
    let meta = json!({"name": WORKER, "namespace": TENANTS[0]});
    let container = json!({"name": WORKER, "image": WORKER});
    json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "nexus.dev/v1alpha1", "kind": "AgentProfile", "metadata": meta, "spec": {
            "tenant": TENANTS[0], "workloadRef": {"kind": "Deployment", "name": WORKER},
        }},
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": {
            "replicas": 3, "selector": {"matchLabels": {"app": WORKER}},
            "template": {"metadata": {"labels": {"app": WORKER}}, "spec": {"containers": [container]}},
        }},
    ]})
}
