//! A full disk under pods: what comes is in force, and what cannot be written is told.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use serde_json::json;

use super::starts::{Pod, Start, Starts};
use super::{NOWHERE, change, held};
use crate::control::stage::Stage;
use crate::fleet::GATEWAYS;
use crate::mount::Mount;
use crate::site::{PATIENCE, until};

/// The size of a disk in bytes.
const SMALL: u64 = 4 << 20;

/// What tells that the last good configuration was not written.
const FAILURES: &str = "nexus_config_last_good_failures_total";

/// The disks of the first gateway and of ingest. Dropping them unmounts them.
pub(super) struct Disks([Mount; 2]);

impl Disks {
    /// Small ones, under data folders that nobody uses yet.
    pub(super) fn under(stage: &Stage) -> anyhow::Result<Self> {
        let fleet = &stage.operated.fleet;
        let mount = |data: &PathBuf| Mount::new(data.clone(), SMALL);
        Ok(Self([mount(&fleet.gateways[0].data)?, mount(&fleet.ingest.data)?]))
    }

    /// Leaves no room.
    fn fill(&self) -> anyhow::Result<()> {
        for disk in &self.0 {
            let mut file = std::fs::File::create(disk.path().join("filler")).context("cannot fill a disk")?;
            for block in [64 << 10, 4 << 10, 1] {
                while file.write_all(&vec![b'x'; block]).is_ok() {}
            }
        }
        Ok(())
    }

    /// Makes room.
    fn clear(&self) -> anyhow::Result<()> {
        self.0.iter().try_for_each(|disk| {
            std::fs::remove_file(disk.path().join("filler")).context("the disk was not filled")
        })
    }
}

/// A change and a stop come while the disks are full, and the gateway is killed.
pub(super) async fn full(stage: &mut Stage, disks: &Disks, starts: &Starts) -> anyhow::Result<Vec<String>> {
    let mut figures = Vec::new();
    let before = held(stage).await?;
    disks.fill()?;
    let took = change(stage, 40).await?;
    let http = stage.operated.fleet.doors.http.clone();
    let told = until("pods tell that they cannot write", PATIENCE, async || {
        let fleet = &stage.operated.fleet;
        let failures = async |unit: &crate::fleet::Unit| unit.metric(&http, FAILURES, "write").await;
        Ok(failures(&fleet.gateways[0]).await? >= Some(1.0) && failures(&fleet.ingest).await? >= Some(1.0))
    })
    .await?;
    stage.check()?;
    figures.push(format!(
        "disk full: a change is in force after {took:.1?}, and the metric tells {told:.1?} later that it is not written"
    ));

    let agent = stage.admitted(0).await?;
    stage.operated.patch_stop(&json!({"stop": true}))?;
    let severs = Stage::severed(agent).await?;
    for gateway in 0..GATEWAYS {
        stage.refused(gateway).await?;
    }
    stage.check()?;
    let acknowledged = async |stage: &Stage, wanted: &str| {
        until(&format!("{wanted} gateways acknowledge"), PATIENCE, async || {
            Ok(stage.stop_status()?["acknowledged"] == wanted)
        })
        .await
    };
    // One that would not know of the stop any more after a restart does not say that it obeys.
    acknowledged(stage, "1/2").await?;
    figures.push(format!("disk full: a stop severs after {severs:.1?}, and 1/2 acknowledge it"));

    let start = forgotten(stage, starts).await?;
    figures.push(format!("disk full, killed, all else away: the gateway {start}, and admits nobody"));

    disks.clear()?;
    stage.operated.link.lead(stage.operated.cluster.address()?.port());
    back(stage).await?;
    let kept = acknowledged(stage, "2/2").await?;
    let written = until("what came is written", PATIENCE, async || {
        let now = held(stage).await?;
        Ok(now.iter().zip(&before).all(|(now, before)| now.newest != before.newest))
    })
    .await?;
    stage.release()?;
    drop(stage.admitted(0).await?);
    figures.push(format!("room again: 2/2 acknowledge after {kept:.1?}, all is written {written:.1?} later"));
    Ok(figures)
}

/// The gateway that could not write the stop starts, and nobody is there who could tell it.
async fn forgotten(stage: &mut Stage, starts: &Starts) -> anyhow::Result<&'static str> {
    for gateway in &mut stage.operated.fleet.gateways {
        gateway.kill().await?;
    }
    stage.operated.link.lead(NOWHERE);
    stage.operated.fleet.redis.say(&["FLUSHALL"]).await?;
    let start = starts.start(stage, Pod::Gateway(0)).await?;
    let open = starts.is_open(stage, Pod::Gateway(0)).await?;
    ensure!(!open, "a gateway that could not write a stop admits agents once it was killed");
    stage.operated.fleet.gateways[0].kill().await?;
    match start {
        Start::Ready(_) => Ok("is ready"),
        Start::Waits => Ok("waits for a look at the policies"),
        Start::Ended => Ok("ends"),
    }
}

/// Starts both gateways, and waits until they are ready.
async fn back(stage: &mut Stage) -> anyhow::Result<()> {
    for number in 0..GATEWAYS {
        stage.operated.fleet.start_gateway(number)?;
    }
    for number in 0..GATEWAYS {
        stage.operated.fleet.gateway_ready(number).await.context("with room again")?;
    }
    Ok(())
}
