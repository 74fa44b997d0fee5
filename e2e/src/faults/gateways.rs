//! Faults of gateways and agents.

use std::time::Duration;

use anyhow::ensure;
use tokio::time::{Instant, sleep};

use super::report::Row;
use super::scene::{Scene, folder};
use super::window::Window;
use super::{Fault, Plan};
use crate::agents::{Order, is_slow};
use crate::crowd::Crowd;
use crate::fleet::{Fleet, GATEWAYS};
use crate::load::Rate;
use crate::site::PATIENCE;

/// Sessions that are drained away.
const DRAINED: usize = 5000;

/// What is promised of a drain: sessions are told to come back over so many seconds, or over what so many a second need.
const SPREAD_SECONDS: (usize, usize) = (5, 120);
const RECONNECTS_PER_SECOND: usize = 200;

/// Agents do not read for so long, so often: longer than a gateway waits for them.
const STALLED: Duration = Duration::from_secs(15);
const STALLS: u32 = 6;

/// Texts of which an agent's credit is more than its socket's buffers take, and how many of them come at most in a second.
const LONG_TEXT: usize = 150_000;
const LONG_TEXTS: u32 = 30;

/// The most that neighbours of stalled agents may wait, of what they waited before.
const STALLED_MOST: f64 = 1.1;

/// How long a gateway is cut off: longer than it takes to be given up for dead.
const CUT: Duration = Duration::from_secs(12);

/// After so long one that is cut off hands out nothing any more.
const SILENT: Duration = Duration::from_secs(7);

/// kill -9, of one and the other in turn.
pub(super) async fn kills(scene: &mut Scene, times: u32) -> anyhow::Result<()> {
    for number in (0..GATEWAYS).cycle().take(times as usize) {
        scene.under_way().await?;
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
        is_no_storm(DRAINED, peak)?;
    }
    Ok(())
}

/// Fails if more came back within one second than twice what they were told to.
fn is_no_storm(sessions: usize, peak: usize) -> anyhow::Result<()> {
    let seconds = (sessions / RECONNECTS_PER_SECOND).clamp(SPREAD_SECONDS.0, SPREAD_SECONDS.1);
    let most = 2 * sessions.div_ceil(seconds);
    ensure!(peak <= most, "{peak} of {sessions} sessions came back within one second, more than {most}");
    Ok(())
}

/// Agents that do not read, beside others that do.
pub(super) async fn stalled(plan: &Plan, fault: Fault) -> anyhow::Result<Row> {
    let fleet = Fleet::new(&plan.nexus, &folder(plan, fault), "always").await?;
    let rate = Rate { per_second: plan.rate.per_second.min(LONG_TEXTS), bytes: LONG_TEXT };
    let mut scene = Scene::over(plan, fault, fleet, rate).await?;
    let played = stall(&mut scene).await;
    Ok(scene.end(played).await)
}

async fn stall(scene: &mut Scene) -> anyhow::Result<()> {
    let (mut before, mut during) = (Window::default(), Window::default());
    let mut back = Duration::ZERO;
    let too_slow = async |scene: &Scene| {
        scene.fleet.gateways_metric("nexus_session_ends_total", "reason=\"too_slow\"").await
    };
    let ended = too_slow(scene).await?;
    // In turn, so that what else the machine does weighs on both alike.
    for _ in 0..STALLS {
        before.join(scene.watch(STALLED).await?);
        scene.agents.order(is_slow, Order::Pause);
        scene.times += 1;
        during.join(scene.watch(STALLED).await?);
        scene.agents.order(is_slow, Order::Work);
        back = back.max(scene.settle().await?);
    }
    let ended = too_slow(scene).await? - ended;
    scene.note(format!(
        "p99 of the others {:.1} ms before and {:.1} ms while one agent of each tenant did not read, {} and {} deliveries \
         to them; {ended} sessions were ended for not reading; what waited was delivered {:.1} s after they read again \
         at most",
        before.p99_ms(),
        during.p99_ms(),
        before.times.latencies.len(),
        during.times.latencies.len(),
        back.as_secs_f64()
    ));
    ensure!(ended > 0.0, "the buffers of no socket were ever full");
    during.is_spared(&mut before, STALLED_MOST)
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
        scene.last(SILENT).await?;
        let at_silence = scene.ledger.receipts_at(0);
        scene.last(CUT - SILENT).await?;
        let late = scene.ledger.receipts_at(0) - at_silence;
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
        ensure!(late == 0, "{what}: it handed out {late} events more than {SILENT:?} after it was cut off");
        ensure!(meanwhile > 0, "{what}: the other handed out nothing");
        two_live(scene).await?;
    }
    Ok(())
}

/// Waits until the second gateway knows both to live.
async fn two_live(scene: &Scene) -> anyhow::Result<()> {
    let both = async {
        while scene.fleet.gateways[1].gauge(&scene.fleet.doors.http, "nexus_gateways").await? != Some(2.0) {
            sleep(Duration::from_millis(100)).await;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(PATIENCE, both).await?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_at_once_is_a_storm() {
        assert!(is_no_storm(5000, 400).is_ok());
        assert!(is_no_storm(5000, 401).is_err());
        // Of few, each second of the shortest spread gets more than its part of 200.
        assert!(is_no_storm(500, 200).is_ok() && is_no_storm(500, 500).is_err());
    }
}
