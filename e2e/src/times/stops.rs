//! Stops, each of so many sessions, and their release.

use std::time::Duration;

use indicatif::ProgressBar;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Settings, Spread};
use crate::operated::Operated;
use crate::sessions::{self, Reading};
use crate::switch::Switch;
use crate::webhook::TENANTS;

/// The agent whose Deployment a stop scales to zero.
const WORKER: &str = "worker";

/// What one stop took.
#[derive(Default)]
struct Times {
    last_byte: Vec<Duration>,
    closed: Vec<Duration>,
    scaled: Vec<Duration>,
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
    let switch = Switch::new(&operated.cluster.client().await?, TENANTS[0], WORKER);
    for _ in 0..settings.stops {
        let sessions = sessions::open(&operated.fleet.doors, settings.sessions).await?;
        switch.replicas(3).await?;
        let reading = Reading::start(sessions);
        let sent = Instant::now();
        switch.stop().await?;
        let (ends, scaled) = tokio::join!(reading.ends(), switch.replicas(0));
        let ends = ends?;
        times.last_byte.extend(ends.iter().map(|end| end.last_byte - sent).max());
        times.closed.extend(ends.iter().map(|end| end.closed - sent).max());
        times.scaled.push(scaled? - sent);
        status = switch.engaged().await?;
        switch.release(&status).await?;
        progress.inc(1);
    }
    let spreads = [
        Spread::of("stop: PATCH to the last byte of all agents", times.last_byte),
        Spread::of("stop: PATCH to the last close", times.closed),
        Spread::of("stop: PATCH to a Deployment at zero", times.scaled),
    ];
    let shown = ["acknowledged", "engagement", "socketsSevered", "lastByteMilliseconds"];
    let status: serde_json::Map<_, _> =
        shown.iter().map(|&key| (key.to_owned(), status[key].clone())).collect();
    Ok((spreads.into_iter().flatten().collect(), status.into()))
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
