//! The operator sleeps longer than its Lease lasts, and wakes: another leads meanwhile, and the first writes nothing more.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Child;
use tokio::time::{Instant, sleep, timeout};

use super::stage::Stage;
use super::{Plan, Seen};
use crate::apidoor::Door;
use crate::operated::NAMESPACE;
use crate::site::{PATIENCE, until};

pub(super) async fn play(plan: &Plan, folder: &Path) -> anyhow::Result<Seen> {
    let mut stage = Stage::empty(&plan.nexus, folder).await?;
    // What the first writes is counted, and what the second writes is not.
    let door = Door::open(&stage.operated.cluster).await?;
    let direct = std::mem::replace(&mut stage.operated.kubeconfig, door.kubeconfig(folder)?);
    stage.start_operator(0)?;
    leads(&stage, 0).await?;
    stage.operated.kubeconfig = direct;
    stage.start_operator(1)?;
    stage.operated.start_pods().await?;
    stage.ready().await?;
    let mut first = stage.operators[0].take().context("it was started")?;
    let wrote = door.calls();
    ensure!(wrote > 0, "the first wrote nothing while it led: the door counts nothing");
    let slept = Instant::now();
    signal(&first, Signal::STOP)?;
    let taken = leads(&stage, 1).await?;
    door.arm(None);
    // Pods are served by the second.
    stage.operated.lead_to(1);
    let told = stage.newcomer("newcomer").await?;
    let sleeps = Duration::from_secs(plan.settings.sleep);
    sleep(sleeps.saturating_sub(slept.elapsed())).await;
    let slept = slept.elapsed();
    signal(&first, Signal::CONT)?;
    let woken = Instant::now();
    let ended = timeout(PATIENCE, first.wait()).await.context("the first goes on")??;
    ensure!(!ended.success(), "it ends as if all were well");
    let ends = woken.elapsed();
    let said = std::fs::read_to_string(stage.operated.operator_log(0))?;
    ensure!(said.contains("lost the Lease"), "it ended for another reason: {said}");
    ensure!(door.calls() == 0, "the first wrote {} times after another led", door.calls());
    stage.check()?;
    ensure!(holder(&stage)?.starts_with("operator-1"), "the second leads no more");
    stage.ready().await?;
    Ok(Seen {
        times: 1,
        figures: vec![
            format!("the second leads after {taken:.1?}, an agent that comes then is known after {told:.1?}"),
            format!(
                "the first wrote {wrote} times while it led, sleeps {slept:.0?}, and ends {ends:.1?} after it woke, without another \
                 write"
            ),
        ],
    })
}

async fn leads(stage: &Stage, number: usize) -> anyhow::Result<Duration> {
    let name = format!("operator-{number}");
    until(&format!("{name} leads"), PATIENCE, async || Ok(holder(stage)?.starts_with(&name))).await
}

fn holder(stage: &Stage) -> anyhow::Result<String> {
    let lease = stage.operated.cluster.get(NAMESPACE, "lease/nexus-operator")?;
    Ok(lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned())
}

fn signal(process: &Child, signal: Signal) -> anyhow::Result<()> {
    let pid = process.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    Ok(kill_process(pid.context("the operator has ended")?, signal)?)
}
