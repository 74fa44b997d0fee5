//! Stops, each of so many sessions, and their release.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use futures_util::StreamExt as _;
use indicatif::ProgressBar;
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams};
use kube::core::GroupVersionKind;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::{Settings, Spread};
use crate::crowd;
use crate::doors::{Doors, Socket};
use crate::operated::Operated;
use crate::site::PATIENCE;
use crate::webhook::TENANTS;

/// Sessions that are opened at a time.
const OPENING: usize = 32;

/// The agent whose Deployment a stop scales to zero.
const WORKER: &str = "worker";

/// What one session saw of a stop.
struct End {
    last_byte: Instant,
    closed: Instant,
}

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
    let client = operated.cluster.client().await?;
    let policies = ApiResource::from_gvk(&GroupVersionKind::gvk("nexus.dev", "v1alpha1", "NexusPolicy"));
    let policies: Api<DynamicObject> = Api::all_with(client.clone(), &policies);
    let deployments = ApiResource::from_gvk(&GroupVersionKind::gvk("apps", "v1", "Deployment"));
    let deployments: Api<DynamicObject> = Api::namespaced_with(client, TENANTS[0], &deployments);
    for _ in 0..settings.stops {
        let sessions = open(&operated.fleet.doors, settings.sessions).await?;
        replicas(&deployments, 3).await?;
        let ends = watch(sessions);
        let sent = Instant::now();
        patch(&policies, &json!({"stop": true, "release": null})).await?;
        let scaled = async {
            replicas(&deployments, 0).await?;
            anyhow::Ok(Instant::now())
        };
        let (ends, scaled) = tokio::join!(ends, scaled);
        let ends = ends?;
        ensure!(ends.len() == settings.sessions, "{} sessions ended", ends.len());
        times.last_byte.extend(ends.iter().map(|end| end.last_byte - sent).max());
        times.closed.extend(ends.iter().map(|end| end.closed - sent).max());
        times.scaled.push(scaled? - sent);
        status = release(&policies).await?;
        progress.inc(1);
    }
    let spreads = [
        Spread::of("stop: PATCH to the last byte of all agents", times.last_byte),
        Spread::of("stop: PATCH to the last close", times.closed),
        Spread::of("stop: PATCH to a Deployment at zero", times.scaled),
    ];
    Ok((spreads.into_iter().flatten().collect(), status))
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

async fn patch(policies: &Api<DynamicObject>, spec: &Value) -> anyhow::Result<()> {
    let patch = Patch::Merge(json!({ "spec": spec }));
    policies.patch("stop-all", &PatchParams::default(), &patch).await?;
    Ok(())
}

/// Waits until status tells all of the stop, and releases it; what status told.
async fn release(policies: &Api<DynamicObject>) -> anyhow::Result<Value> {
    let told = async |which: fn(&Value) -> bool| -> anyhow::Result<Value> {
        let began = Instant::now();
        loop {
            let status = policies.get("stop-all").await?.data["status"].clone();
            if which(&status) {
                return Ok(status);
            }
            ensure!(began.elapsed() < PATIENCE, "status stays {status}");
            sleep(Duration::from_millis(20)).await;
        }
    };
    let status = told(|status| {
        status["engagement"].is_string()
            && status["acknowledged"] == "2/2"
            && status["lastByteMilliseconds"].is_u64()
    })
    .await?;
    patch(policies, &json!({"stop": null, "release": status["engagement"]})).await?;
    told(|status| status["engagement"].is_null() && status["acknowledged"] == "2/2").await?;
    let shown = ["acknowledged", "engagement", "socketsSevered", "lastByteMilliseconds"];
    Ok(shown
        .iter()
        .map(|&key| (key.to_owned(), status[key].clone()))
        .collect::<serde_json::Map<_, _>>()
        .into())
}

async fn replicas(deployments: &Api<DynamicObject>, wanted: u64) -> anyhow::Result<()> {
    let began = Instant::now();
    while deployments.get(WORKER).await?.data["spec"]["replicas"] != wanted {
        ensure!(began.elapsed() < PATIENCE, "the Deployment does not come to {wanted} replicas");
        sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

/// Opens sessions, at both gateways in turn.
async fn open(doors: &Arc<Doors>, sessions: usize) -> anyhow::Result<Vec<Socket>> {
    let places = Arc::new(Semaphore::new(OPENING));
    let mut opening = JoinSet::new();
    for number in 0..sessions {
        let (doors, places) = (Arc::clone(doors), Arc::clone(&places));
        opening.spawn(async move {
            let _place = places.acquire().await?;
            let began = Instant::now();
            loop {
                match doors.session(TENANTS[0], &crowd::name(number % crowd::AGENTS), number, 1).await {
                    Ok(socket) => return anyhow::Ok(socket),
                    // A gateway may see a release a moment later than the other.
                    Err(error) if began.elapsed() > PATIENCE => return Err(error),
                    Err(_) => sleep(Duration::from_millis(50)).await,
                }
            }
        });
    }
    let mut open = Vec::with_capacity(sessions);
    while let Some(socket) = opening.join_next().await {
        open.push(socket??);
    }
    Ok(open)
}

/// Reads all sessions to their ends.
async fn watch(sessions: Vec<Socket>) -> anyhow::Result<Vec<End>> {
    let mut reading: JoinSet<End> = sessions.into_iter().map(read).collect();
    let all = async {
        let mut ends = Vec::with_capacity(reading.len());
        while let Some(end) = reading.join_next().await {
            ends.push(end?);
        }
        anyhow::Ok(ends)
    };
    timeout(PATIENCE, all).await.context("sessions stay open")?
}

async fn read(mut socket: Socket) -> End {
    let mut last_byte = Instant::now();
    while let Some(Ok(_)) = socket.next().await {
        last_byte = Instant::now();
    }
    End { last_byte, closed: Instant::now() }
}
