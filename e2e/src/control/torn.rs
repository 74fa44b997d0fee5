//! Files that pods keep are torn: cut short, with a wrong bit, or never written since the disk is full. A pod that starts over
//! them without any control plane takes an older configuration that is whole, or none and is not ready; and whatever is
//! wrong with the latch file, nobody runs who is stopped.

mod disk;
mod starts;
mod tear;
mod wounds;

use std::path::Path;

use serde_json::{Value, json};

use self::disk::Disks;
use self::starts::{Pod, Starts, unit};
use self::tear::Tear;
use super::stage::Stage;
use super::{Plan, Seen};
use crate::site::{PATIENCE, until};

/// A port where nobody listens.
const NOWHERE: u16 = 1;

/// The last good files, the newest first.
const GENERATIONS: [&str; 3] = ["last-good.json", "last-good.1.json", "last-good.2.json"];

pub(super) async fn play(plan: &Plan, folder: &Path) -> anyhow::Result<Seen> {
    let mut stage = Stage::empty(&plan.nexus, folder).await?;
    let disks = Disks::under(&stage)?;
    for gateway in &mut stage.operated.fleet.gateways {
        // A token that an agent has is good for the whole row.
        gateway.arguments.extend(["--token-lifetime", "24h"].map(str::to_owned));
    }
    stage.start_operator(0)?;
    stage.operated.start_pods().await?;
    stage.ready().await?;
    let starts = Starts::over(&stage).await?;
    let mut seen = Seen { times: 1, figures: disk::full(&mut stage, &disks, &starts).await? };
    let mut tear = Tear::new(stage, starts, plan.seed, plan.settings.wounds);
    tear.make_generations().await?;
    tear.running().await?;
    tear.stopped().await?;
    seen.times += tear.seen.times;
    seen.figures.append(&mut tear.seen.figures);
    Ok(seen)
}

/// What a pod has in force, and the newest of its last good files.
struct Held {
    config: Value,
    newest: Vec<u8>,
}

/// What all pods hold.
async fn held(stage: &mut Stage) -> anyhow::Result<Vec<Held>> {
    let http = stage.operated.fleet.doors.http.clone();
    let mut all = Vec::new();
    for pod in [Pod::Gateway(0), Pod::Gateway(1), Pod::Ingest] {
        let unit = unit(stage, pod);
        // None is there for a moment, when a pod has just become ready.
        let newest = std::fs::read(unit.data.join(GENERATIONS[0])).unwrap_or_default();
        all.push(Held { config: unit.config(&http).await?, newest });
    }
    Ok(all)
}

/// Changes the first Tenant for both roles, and waits until all pods have it in force; how long that took.
async fn change(stage: &mut Stage, number: u32) -> anyhow::Result<std::time::Duration> {
    let before = held(stage).await?;
    let spec = json!({"limits": {"heartbeatSeconds": number}, "quota": {"bytes": (1_u64 << 30) + u64::from(number)}});
    let patch = json!({ "spec": spec }).to_string();
    stage
        .operated
        .cluster
        .kubectl(&["patch", "tenant", "acme", "-n", "acme", "--type", "merge", "-p", &patch])?;
    until("the change is in force", PATIENCE, async || {
        let now = held(stage).await?;
        Ok(now.iter().zip(&before).all(|(now, before)| now.config != before.config))
    })
    .await
}
