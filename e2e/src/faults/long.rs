//! What lasts, and what is large.

use std::time::Duration;

use anyhow::ensure;
use tokio::time::{Instant, sleep};

use super::scene::Scene;
use crate::crowd::Crowd;
use crate::fleet::GATEWAYS;
use crate::site::PATIENCE;

/// How long the time before an outage is measured.
const BEFORE: Duration = Duration::from_secs(20);

/// Sessions of a crowd, and the files that processes need besides.
const CROWD: usize = 10_000;
const OTHER_FILES: u64 = 1000;

/// What has to be accepted of what is posted at the least.
const LEAST: f64 = 0.9;

/// For so many times an outage, and this besides, all that came meanwhile has to be with the agents.
const DELIVERED_TIMES: u32 = 4;

/// A gateway that died is given up after so long, and so many sessions a second are served anew at the least.
const GIVEN_UP: Duration = Duration::from_secs(10);
const SERVED_PER_SECOND: usize = 500;

/// Redis is away for so many seconds.
pub(super) async fn outage(scene: &mut Scene, seconds: u64, rate: u32) -> anyhow::Result<()> {
    let long = Duration::from_secs(seconds);
    scene.settle().await?;
    scene.fleet.redis.kill().await?;
    scene.times += 1;
    let away = scene.watch(long).await;
    let mut away = away?;
    let before = scene.ledger.accepted();
    let refused = scene.ledger.counts().refused;
    scene.fleet.redis.start(&[]).await?;
    let drained = drained(scene, long * 2 + PATIENCE).await?;
    let arrived = scene.arrived(&before, long * DELIVERED_TIMES + PATIENCE).await?;
    scene.note(format!(
        "away {seconds} s: {} accepted, {refused} answers 503, p99 of answers {:.0} ms; all of them were in the bus {:.1} s \
         after it was back, under load, and with their agents after {:.1} s",
        away.accepted,
        away.times.answer_p99().as_secs_f64() * 1e3,
        drained.as_secs_f64(),
        (drained + arrived).as_secs_f64()
    ));
    ensure!(refused == 0, "{refused} webhooks were answered 503");
    let least = LEAST * f64::from(rate) * away.seconds;
    ensure!(
        away.accepted as f64 >= least,
        "{} events were accepted meanwhile, not {least:.0}",
        away.accepted
    );
    ensure!(
        drained <= long.max(Duration::from_secs(20)),
        "draining took longer than the outage: {drained:?}"
    );
    Ok(())
}

/// How old a gauge may be at most, and a little more.
const STALE_SECONDS: f64 = 2.0;

/// Waits until the spool has nothing more that came before now; how long that took. It never empties under load, so its
/// oldest event tells.
async fn drained(scene: &mut Scene, patience: Duration) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    loop {
        let oldest =
            scene.fleet.ingest.gauge(&scene.fleet.doors.http, "nexus_spool_oldest_age_seconds").await?;
        let elapsed = begun.elapsed();
        if oldest.is_some_and(|oldest| oldest + STALE_SECONDS < elapsed.as_secs_f64()) {
            return Ok(elapsed);
        }
        scene.fleet.check()?;
        ensure!(elapsed < patience, "the spool's oldest event is {oldest:?} seconds old after {elapsed:?}");
        sleep(Duration::from_millis(100)).await;
    }
}

/// No gateway lives for so many seconds.
pub(super) async fn no_gateways(scene: &mut Scene, seconds: u64) -> anyhow::Result<()> {
    let mut with = scene.watch(BEFORE).await?;
    for gateway in &mut scene.fleet.gateways {
        gateway.kill().await?;
    }
    scene.times += 1;
    let mut without = scene.watch(Duration::from_secs(seconds)).await?;
    let before = scene.ledger.accepted();
    let refused = scene.ledger.counts().refused;
    for number in 0..GATEWAYS {
        scene.fleet.start_gateway(number)?;
    }
    for number in 0..GATEWAYS {
        scene.fleet.gateway_ready(number).await?;
    }
    let arrived = scene.arrived(&before, PATIENCE * 3).await?;
    let [with_ms, without_ms] =
        [&mut with, &mut without].map(|window| window.times.answer_p99().as_secs_f64() * 1e3);
    scene.note(format!(
        "dead {seconds} s: {} accepted, {refused} answers 503; ingest's p99 {with_ms:.1} ms before and {without_ms:.1} ms \
         meanwhile; all of them delivered {:.1} s after the gateways were back",
        without.accepted,
        arrived.as_secs_f64()
    ));
    ensure!(refused == 0, "{refused} webhooks were answered 503");
    Ok(())
}

/// kill -9 of a gateway that has a crowd: of so many sessions if that was asked for.
pub(super) async fn takeover(scene: &mut Scene, asked: Option<usize>, files: u64) -> anyhow::Result<()> {
    let sessions = asked.unwrap_or_else(|| crowd_within(files));
    if asked.is_none() && sessions < CROWD {
        scene.note(format!("{sessions} sessions instead of {CROWD}: a process may open {files} files"));
    }
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
    let all = killed.elapsed();
    let peak = crowd.peak_since(killed);
    scene.note(format!(
        "{sessions} sessions: all served by the other after {:.1} s, {peak} in the fullest second; what was accepted before \
         had arrived after {:.1} s",
        served.as_secs_f64(),
        (served + arrived).as_secs_f64()
    ));
    let most = GIVEN_UP + Duration::from_secs((sessions / SERVED_PER_SECOND) as u64);
    ensure!(
        all <= most,
        "all were served and had what was accepted before only after {all:?}, not within {most:?}"
    );
    Ok(())
}

/// As large a crowd as fits. The two ends of a session are in different processes, each with so many files.
fn crowd_within(files: u64) -> usize {
    usize::try_from(files.saturating_sub(OTHER_FILES)).unwrap_or(CROWD).min(CROWD)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crowd_is_as_large_as_files_allow_for() {
        assert_eq!(crowd_within(20_000), CROWD);
        assert_eq!(crowd_within(4096), 3096);
        assert_eq!(crowd_within(100), 0);
    }
}
