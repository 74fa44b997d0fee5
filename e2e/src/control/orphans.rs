//! Pods start while neither an operator nor an API server answers: they go by what they had last, and by their latch.

use std::path::Path;
use std::time::Duration;

use anyhow::ensure;
use futures_util::StreamExt as _;
use serde_json::json;
use tokio::time::{Instant, timeout};

use super::stage::Stage;
use super::{Plan, Seen};
use crate::fleet::GATEWAYS;
use crate::site::PATIENCE;

/// The longest that a pod may take to be ready by what it had last.
const READY: Duration = Duration::from_secs(2);

/// A port where nobody listens.
const NOWHERE: u16 = 1;

pub(super) async fn play(plan: &Plan, folder: &Path) -> anyhow::Result<Seen> {
    let mut stage = Stage::set(&plan.nexus, folder).await?;
    let running = restart(&mut stage).await?;
    let mut agent = stage.admitted(0).await?;
    stage.webhook(1).await?;
    let told = timeout(PATIENCE, agent.next()).await?;
    ensure!(matches!(&told, Some(Ok(message)) if message.to_string().contains("deliver")), "{told:?}");

    // Once more, while stopped.
    stage.operated.link.lead(stage.operated.cluster.address()?.port());
    stage.operated.patch_stop(&json!({"stop": true}))?;
    Stage::severed(agent).await?;
    let stopped = restart(&mut stage).await?;
    for gateway in 0..GATEWAYS {
        stage.refused(gateway).await?;
    }
    Ok(Seen {
        times: 2,
        figures: vec![
            format!("3 pods ready after {running:.1?}, and an event is delivered"),
            format!("while stopped after {stopped:.1?}, and nobody is admitted"),
        ],
    })
}

/// Kills operator and pods, cuts them off, and starts the pods; how long until they are ready.
async fn restart(stage: &mut Stage) -> anyhow::Result<Duration> {
    stage.kill_operator(0).await?;
    stage.operated.link.lead(NOWHERE);
    let fleet = &mut stage.operated.fleet;
    for gateway in &mut fleet.gateways {
        gateway.kill().await?;
    }
    fleet.ingest.kill().await?;
    let begun = Instant::now();
    fleet.start().await?;
    let ready = begun.elapsed();
    ensure!(ready <= READY, "the pods were ready after {ready:.1?}, and not within {READY:?}");
    Ok(ready)
}
