//! A gateway that is killed and started again in a stop, while the API server is away.

use std::time::Duration;

use anyhow::{bail, ensure};
use k8s_openapi::api::core::v1::Pod;
use tokio::time::{Instant, sleep, timeout};

use super::Scene;
use super::pods;
use super::report::Times;
use super::stops;
use super::system::System;
use crate::fleet::GATEWAYS;
use crate::sessions::{self, Transport};
use crate::site::{LOOK, PATIENCE};

/// How long agents knock at the gateway before the API server is back, and how often.
const KNOCKING: Duration = Duration::from_secs(5);
const KNOCK: Duration = Duration::from_millis(100);

/// The API server goes away in a stop; a gateway is killed, and the kubelet starts it again: it admits nobody, and goes on to
/// admit nobody when the API server is back, until the release.
pub(super) async fn api_down(scene: &mut Scene, times: &mut Times, number: usize) -> anyhow::Result<()> {
    let token = scene.system.token().await?;
    let reading = stops::open(scene).await?;
    let door = number % GATEWAYS;
    let gateway = scene.system.gateways.ready(GATEWAYS).await?.swap_remove(door);
    stops::order(scene, reading).await?.measure_as_ever(times);
    scene.system.switch.engaged().await?;
    scene.system.cluster.stop_api().await?;
    scene.system.gateways.kill(std::slice::from_ref(&gateway)).await?;
    let began = Instant::now();
    let again = async {
        up(&scene.system, door, &token).await?;
        times.add("gateway killed without an API server, to its first answer", began.elapsed());
        knock(&scene.system, door, &token, KNOCKING).await
    };
    let refused = again.await;
    scene.system.cluster.start_api().await?;
    let refused = refused?;
    told_of_restart(&scene.system, &gateway).await?;
    let more = until_it_looks(&scene.system, door, &token).await?;
    times.count(
        "agents that a gateway which was started again without an API server refused, and admitted none",
        refused,
    );
    times.count("agents that it refused once that was back, and admitted none", more);
    stops::release(scene, times).await
}

/// Waits until the API server knows that the kubelet has started this pod's container again, and has not made a new pod.
async fn told_of_restart(system: &System, before: &Pod) -> anyhow::Result<()> {
    let began = Instant::now();
    loop {
        let pods = system.gateways.list().await?;
        let same = pods.iter().find(|pod| pod.metadata.uid == before.metadata.uid);
        ensure!(same.is_some(), "the gateway's pod is another");
        if same.is_some_and(|pod| pods::restarts(pod) > pods::restarts(before)) {
            return Ok(());
        }
        ensure!(began.elapsed() < PATIENCE, "the gateway was not started again");
        sleep(LOOK * 10).await;
    }
}

/// Waits until a gateway answers.
async fn up(system: &System, door: usize, token: &str) -> anyhow::Result<()> {
    let began = Instant::now();
    while !refuses(system, door, token).await? {
        ensure!(began.elapsed() < PATIENCE, "the gateway is not started again");
        sleep(LOOK).await;
    }
    Ok(())
}

/// Knocks for so long; how often it was refused.
async fn knock(system: &System, door: usize, token: &str, long: Duration) -> anyhow::Result<u64> {
    let (began, mut refused) = (Instant::now(), 0);
    while began.elapsed() < long {
        refused += u64::from(refuses(system, door, token).await?);
        sleep(KNOCK).await;
    }
    Ok(refused)
}

/// Knocks until the gateway has read the policies three times; how often it was refused.
async fn until_it_looks(system: &System, door: usize, token: &str) -> anyhow::Result<u64> {
    const READ: &str = "nexus_stop_read_timestamp_seconds";
    let (began, mut refused, mut read) = (Instant::now(), 0, system.metric(door, READ).await?);
    for _ in 0..3 {
        loop {
            refused += u64::from(refuses(system, door, token).await?);
            let now = system.metric(door, READ).await?;
            if now > read {
                read = now;
                break;
            }
            ensure!(began.elapsed() < PATIENCE, "the gateway does not read policies any more");
            sleep(KNOCK).await;
        }
    }
    Ok(refused)
}

/// Whether a gateway refuses an agent for now; not if it does not answer. One that is admitted is a failure.
async fn refuses(system: &System, door: usize, token: &str) -> anyhow::Result<bool> {
    match timeout(Duration::from_secs(2), sessions::enter(&system.doors, door, token, Transport::WebSocket))
        .await
    {
        Ok(Ok(_)) => bail!("an agent is admitted in a stop"),
        Ok(Err(error)) => Ok(format!("{error:#}").contains("503")),
        Err(_) => Ok(false),
    }
}
