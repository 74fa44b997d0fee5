//! Faults of gateways and agents.

use std::time::Duration;

use anyhow::ensure;
use tokio::time::{Instant, sleep};

use super::scene::Scene;
use crate::crowd::Crowd;
use crate::fleet::GATEWAYS;
use crate::ledger::Times;
use crate::site::PATIENCE;

/// A kill comes so long after events flow at most.
const LATEST_MS: u64 = 1500;

/// Sessions that are drained away.
const DRAINED: usize = 1000;

/// How long agents do not read.
const STALLED: Duration = Duration::from_secs(15);

/// How long a gateway is cut off: longer than it takes to be given up for dead.
const CUT: Duration = Duration::from_secs(12);

/// kill -9, of one and the other in turn.
pub(super) async fn kills(scene: &mut Scene, times: u32) -> anyhow::Result<()> {
    for number in (0..GATEWAYS).cycle().take(times as usize) {
        scene.flow().await?;
        scene.moment(LATEST_MS).await;
        scene.fleet.gateways[number].kill().await?;
        scene.times += 1;
        let before = scene.ledger.accepted();
        scene.fleet.start_gateway(number)?;
        scene.arrived(&before, PATIENCE).await?;
        scene.fleet.gateway_ready(number).await?;
    }
    Ok(())
}

/// SIGTERM, one after the other, with many sessions.
pub(super) async fn drain(scene: &mut Scene) -> anyhow::Result<()> {
    let doors = scene.fleet.doors.clone();
    let crowd = Crowd::start(&doors, DRAINED, 0);
    for number in 0..GATEWAYS {
        let all = |_: &Scene| crowd.open_at(number) == DRAINED;
        scene.until("the crowd is at the gateway", PATIENCE, all).await?;
        let begun = Instant::now();
        scene.fleet.gateways[number].drain().await?;
        let drained = begun.elapsed();
        scene.times += 1;
        // The others take them before this one is back.
        let next = (number + 1) % GATEWAYS;
        scene.until("the crowd is at the other one", PATIENCE, |_| crowd.open_at(next) == DRAINED).await?;
        let (back, peak) = (begun.elapsed(), crowd.peak_since(begun));
        scene.fleet.start_gateway(number)?;
        scene.fleet.gateway_ready(number).await?;
        scene.settle().await?;
        scene.note(format!(
            "{DRAINED} sessions drained in {:.1} s, all elsewhere after {:.1} s, {peak} in the fullest second",
            drained.as_secs_f64(),
            back.as_secs_f64()
        ));
    }
    Ok(())
}

/// Agents that do not read, beside others that do.
pub(super) async fn stalled(scene: &mut Scene) -> anyhow::Result<()> {
    let p99 = |mut times: Times| Times::quantile(&mut times.latencies, 990);
    scene.ledger.take_times();
    sleep(STALLED).await;
    let before = p99(scene.ledger.take_times());
    scene.agents.pause_slow(true);
    scene.times += 1;
    sleep(STALLED).await;
    let during = p99(scene.ledger.take_times());
    scene.agents.pause_slow(false);
    let back = scene.settle().await?;
    scene.ledger.watch_pauses();
    scene.note(format!(
        "p99 of the others {:.1} ms before and {:.1} ms while one agent of each tenant did not read; what waited was \
         delivered {:.1} s after it read again",
        before.as_secs_f64() * 1e3,
        during.as_secs_f64() * 1e3,
        back.as_secs_f64()
    ));
    Ok(())
}

/// A packet filter between one gateway and Redis: what it says is lost, what it hears, and both.
pub(super) async fn partition(scene: &mut Scene) -> anyhow::Result<()> {
    for (there, back, what) in [
        (false, true, "what it says is lost"),
        (true, false, "what it would hear is lost"),
        (false, false, "both are lost"),
    ] {
        scene.flow().await?;
        scene.fleet.gateways[0].link.pass(there, back);
        scene.times += 1;
        let received = scene.ledger.counts().received;
        sleep(CUT).await;
        let meanwhile = scene.ledger.counts().received - received;
        let living = scene.fleet.gateways[1].gauge(&scene.fleet.doors.http, "nexus_gateways").await?;
        let before = scene.ledger.accepted();
        scene.fleet.gateways[0].link.pass(true, true);
        let healed = scene.arrived(&before, PATIENCE).await?;
        scene.note(format!(
            "{what}: {meanwhile} deliveries by the other in {CUT:?}, which knew {} to live; all delivered {:.1} s after \
             it healed",
            living.unwrap_or_default(),
            healed.as_secs_f64()
        ));
        ensure!(living == Some(1.0), "{what}: the gateway was not given up for dead");
        let both = async {
            while scene.fleet.gateways[1].gauge(&scene.fleet.doors.http, "nexus_gateways").await? != Some(2.0)
            {
                sleep(Duration::from_millis(100)).await;
            }
            anyhow::Ok(())
        };
        tokio::time::timeout(PATIENCE, both).await??;
    }
    Ok(())
}
