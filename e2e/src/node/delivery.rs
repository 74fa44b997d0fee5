//! A webhook, through the Service of ingest to an agent in a pod over gRPC and to one outside over a WebSocket.

use tokio::time::Instant;

use super::Scene;
use super::report::Times;

/// Posts one, and waits until both have it.
pub(super) async fn delivery(scene: &mut Scene, times: &mut Times) -> anyhow::Result<()> {
    // The first shows that all is connected; what it takes is the agents' way there.
    let began = Instant::now();
    let title = scene.system.post().await?;
    scene.system.arrives(&title).await?;
    times.add("first webhook with both agents, from when pods were ready", began.elapsed());
    let posted = Instant::now();
    let title = scene.system.post().await?;
    let (inside, outside) = scene.system.arrives(&title).await?;
    times.add("webhook to the log of the agent's pod (gRPC)", inside - posted);
    times.add("webhook to the agent outside (WebSocket)", outside - posted);
    Ok(())
}
