//! Stops while a part of what they pass by is dead or cut off.

use std::time::Duration;

use anyhow::ensure;
use rand::RngExt as _;
use tokio::time::{Instant, sleep};

use super::Scene;
use super::filter::Filter;
use super::pods;
use super::report::Times;
use super::stops::{self, CLOSED, LAST_BYTE};
use crate::fleet::GATEWAYS;
use crate::sessions::End;
use crate::site::{LOOK, PATIENCE};

/// A moment of a session's end.
type Moment = fn(&End) -> Instant;

/// What is judged of a gateway that is cut off, and of the other.
const AT_EACH: [(&str, Duration, Moment, bool); 4] = [
    ("PATCH to the last byte at the gateway that is cut off", LAST_BYTE, |end| end.last_byte, true),
    ("PATCH to the last close at the gateway that is cut off", CLOSED, |end| end.closed, true),
    ("PATCH to the last byte at the other", LAST_BYTE, |end| end.last_byte, false),
    ("PATCH to the last close at the other", CLOSED, |end| end.closed, false),
];

/// The operators are killed at most so long before or after the PATCH.
const AROUND_MS: u64 = 400;

/// What is promised while no watch tells of a stop: a look and an answer.
const BY_A_LOOK: Duration = Duration::from_secs(3);

/// All operators are killed about when the stop is ordered; the kubelet starts them again.
pub(super) async fn operators_killed(scene: &mut Scene, times: &mut Times) -> anyhow::Result<()> {
    let reading = stops::open(scene).await?;
    let operators = scene.system.operators.ready(2).await?;
    let processes = scene.system.operators.processes(&operators).await?;
    let (before, after) = (Duration::from_millis(AROUND_MS), scene.random.random_range(0..2 * AROUND_MS));
    let kill = async {
        sleep(Duration::from_millis(after)).await;
        processes.into_iter().try_for_each(pods::kill)
    };
    let order = async {
        sleep(before).await;
        stops::order(scene, reading).await
    };
    let (killed, stopped) = tokio::join!(kill, order);
    killed?;
    stopped?.measure_as_ever(times);
    stops::release(scene, times).await
}

/// A packet filter swallows what the gateways' connections to the API server carry. New ones come through.
pub(super) async fn watches_dropped(scene: &mut Scene, times: &mut Times) -> anyhow::Result<()> {
    let reading = stops::open(scene).await?;
    let gateways = scene.system.gateways.ready(GATEWAYS).await?;
    let gateways: Vec<_> = gateways.iter().map(pods::address).collect::<Result<_, _>>()?;
    let filter = Filter::of_open(scene.system.cluster.address()?, &gateways)?;
    // Looks come every 2 s: the order comes at any moment between two.
    sleep(Duration::from_millis(scene.random.random_range(0..2000))).await;
    let stopped = stops::order(scene, reading).await?;
    stopped.measure(times, BY_A_LOOK, BY_A_LOOK);
    let swallowed = filter.swallowed()?;
    ensure!(swallowed > 0, "the packet filter had nothing to swallow");
    times.count("packets of the gateways' watches that were swallowed", swallowed);
    drop(filter);
    stops::release(scene, times).await
}

/// One gateway does not reach the API server any more, but the bus: it stops by the other's word, as soon as ever.
pub(super) async fn gateway_cut(scene: &mut Scene, times: &mut Times, number: usize) -> anyhow::Result<()> {
    let reading = stops::open(scene).await?;
    let door = number % GATEWAYS;
    let cut = scene.system.doors.gateways[door].ip();
    let filter = Filter::of_all(scene.system.cluster.address()?, cut)?;
    blind(scene, door).await?;
    let stopped = stops::order(scene, reading).await?;
    for (name, goal, of, is_cut) in AT_EACH {
        stopped.judge(times, name, goal, of, |end| (end.door == door) == is_cut);
    }
    stopped.measure_as_ever(times);
    drop(filter);
    stops::release(scene, times).await
}

/// Waits until a gateway's looks fail.
async fn blind(scene: &Scene, door: usize) -> anyhow::Result<()> {
    const FAILURES: &str = "nexus_stop_look_failures_total";
    let before = scene.system.metric(door, FAILURES).await?;
    let began = Instant::now();
    while scene.system.metric(door, FAILURES).await? < before + 1.0 {
        ensure!(began.elapsed() < PATIENCE, "a gateway that is cut off still reads policies");
        sleep(LOOK * 10).await;
    }
    Ok(())
}
