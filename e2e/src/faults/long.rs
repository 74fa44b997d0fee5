//! What lasts, and what is large.

use std::time::Duration;

use anyhow::ensure;
use tokio::time::{Instant, sleep};

use super::scene::Scene;
use crate::crowd::Crowd;
use crate::fleet::GATEWAYS;
use crate::ledger::Times;
use crate::site::PATIENCE;

/// How long the time before an outage is measured.
const BEFORE: Duration = Duration::from_secs(20);

/// Redis is away for so many seconds.
pub(super) async fn outage(scene: &mut Scene, seconds: u64) -> anyhow::Result<()> {
    let long = Duration::from_secs(seconds);
    scene.settle().await?;
    let accepted = scene.ledger.accepted().len();
    scene.fleet.redis.kill().await?;
    scene.times += 1;
    let begun = Instant::now();
    while begun.elapsed() < long {
        scene.fleet.check()?;
        sleep(Duration::from_millis(100)).await;
    }
    let before = scene.ledger.accepted();
    let refused = scene.ledger.counts().refused;
    let mut answers = scene.ledger.take_times().answers;
    let p99 = Times::quantile(&mut answers, 990);
    scene.fleet.redis.start(&[]).await?;
    let back = Instant::now();
    let arrived = scene.arrived(&before, long.max(PATIENCE)).await?;
    scene.fleet.ingest_shows("nexus_spool_waiting_events", |waiting| waiting < 100.0).await?;
    let drained = back.elapsed();
    scene.note(format!(
        "away {seconds} s: {} accepted, {refused} answers 503, p99 of answers {:.0} ms; all of them delivered {:.1} s after \
         it was back, the spool drained under load after {:.1} s",
        before.len() - accepted,
        p99.as_secs_f64() * 1e3,
        arrived.as_secs_f64(),
        drained.as_secs_f64()
    ));
    ensure!(refused == 0, "{refused} webhooks were answered 503");
    ensure!(drained <= long.max(Duration::from_secs(20)), "draining took longer than the outage");
    Ok(())
}

/// No gateway lives for so many seconds.
pub(super) async fn no_gateways(scene: &mut Scene, seconds: u64) -> anyhow::Result<()> {
    let p99 = |mut times: Times| Times::quantile(&mut times.answers, 990).as_secs_f64() * 1e3;
    scene.ledger.take_times();
    sleep(BEFORE).await;
    let with = p99(scene.ledger.take_times());
    let accepted = scene.ledger.accepted().len();
    for gateway in &mut scene.fleet.gateways {
        gateway.kill().await?;
    }
    scene.times += 1;
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(seconds) {
        scene.fleet.check()?;
        sleep(Duration::from_millis(100)).await;
    }
    let without = p99(scene.ledger.take_times());
    let before = scene.ledger.accepted();
    let refused = scene.ledger.counts().refused;
    for number in 0..GATEWAYS {
        scene.fleet.start_gateway(number)?;
    }
    for number in 0..GATEWAYS {
        scene.fleet.gateway_ready(number).await?;
    }
    let arrived = scene.arrived(&before, PATIENCE * 3).await?;
    scene.note(format!(
        "dead {seconds} s: {} accepted, {refused} answers 503; ingest's p99 {with:.1} ms before and {without:.1} ms \
         meanwhile; all of them delivered {:.1} s after the gateways were back",
        before.len() - accepted,
        arrived.as_secs_f64()
    ));
    Ok(())
}

/// kill -9 of a gateway that has a crowd.
pub(super) async fn takeover(scene: &mut Scene, sessions: usize) -> anyhow::Result<()> {
    let doors = scene.fleet.doors.clone();
    let crowd = Crowd::start(&doors, sessions, 0);
    scene.until("the crowd is there", PATIENCE, |_| crowd.open_at(0) == sessions).await?;
    scene.settle().await?;
    scene.fleet.gateways[0].kill().await?;
    scene.times += 1;
    let (killed, before) = (Instant::now(), scene.ledger.accepted());
    scene.until("the crowd is elsewhere", PATIENCE, |_| crowd.open_at(1) == sessions).await?;
    let served = killed.elapsed();
    let arrived = scene.arrived(&before, PATIENCE).await?;
    let peak = crowd.peak_since(killed);
    scene.note(format!(
        "{sessions} sessions: all served by the other after {:.1} s, {peak} in the fullest second; what was accepted before \
         had arrived after {:.1} s",
        served.as_secs_f64(),
        (served + arrived).as_secs_f64()
    ));
    Ok(())
}
