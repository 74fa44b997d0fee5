//! etcd is restored from a backup of before a stop: the stop holds, somebody is told, and operators see what stands there now.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::led::{Led, REPLICAS};
use super::stage::Stage;
use super::{Plan, Seen};
use crate::fleet::GATEWAYS;
use crate::operated::condition;
use crate::site::PATIENCE;
use crate::webhook::TENANTS;

/// So many revisions the restored store is behind: its own writers need minutes for as many.
const BEHIND: usize = 600;

/// The longest that a change made after the restore may take until it is with all pods.
const CHANGE: Duration = Duration::from_secs(60);

/// How long it is watched that nothing is released.
const HOLDS: Duration = Duration::from_secs(10);

/// How operators learn of the restore.
#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    /// Their connections break.
    Noticed,
    /// Their connections are dead without a word.
    Unnoticed,
    /// They begin after it, and have never seen the stop.
    Anew,
}

pub(super) async fn play(plan: &Plan, folder: &Path) -> anyhow::Result<Seen> {
    let mut led = Led::set(plan, folder, 2).await?;
    led.make_deployment()?;
    led.ready().await?;
    led.stage.operated.cluster.back_up().await?;
    led.ready().await?;
    let mut figures = vec![lost(&mut led).await?];
    let alone = led.restarts;
    figures.extend(restored(&mut led, How::Noticed).await?);
    figures.push(begun_anew(&mut led).await?);
    figures.push(given_back(&mut led).await?);
    for how in [How::Unnoticed, How::Anew] {
        lost(&mut led).await?;
        figures.extend(restored(&mut led, how).await?);
        figures.push(given_back(&mut led).await?);
    }
    figures.push(format!(
        "operators that led ended {} times by themselves, and were started again",
        led.restarts - alone
    ));
    Ok(Seen { times: 3, figures })
}

/// What happens between the backup and the restore: an agent comes, objects change, and all is stopped.
async fn lost(led: &mut Led) -> anyhow::Result<String> {
    led.stage.operated.cluster.apply(&json!({
        "apiVersion": "nexus.dev/v1alpha1", "kind": "AgentProfile",
        "metadata": {"name": "latecomer", "namespace": TENANTS[0]}, "spec": {"tenant": TENANTS[0]},
    }))?;
    led.until("gateways know the latecomer", PATIENCE, async |led| {
        latecomers(led).await.map(|known| known == GATEWAYS)
    })
    .await?;
    write_on(led, BEHIND).await?;
    let agent = led.stage.admitted(0).await?;
    // Generations come again after a restore: a name that was left there would be that of the stop to come.
    led.stage.operated.patch_stop(&json!({"stop": true, "release": null}))?;
    Stage::severed(agent).await?;
    led.replicas(0).await?;
    led.stop_is_told().await?;
    led.stays_stopped(Duration::ZERO).await?;
    Ok(format!("{BEHIND} revisions, an agent and a stop are lost with the store"))
}

/// Restores the store, and sees that all comes right but the stop, which holds.
async fn restored(led: &mut Led, how: How) -> anyhow::Result<Vec<String>> {
    match how {
        How::Noticed => {}
        How::Unnoticed => {
            led.stage.operated.link.freeze();
            led.link.freeze();
        }
        How::Anew => {
            for number in 0..led.stage.operators.len() {
                led.stage.kill_operator(number).await?;
            }
        }
    }
    led.stage.operated.cluster.restore().await?;
    let back = Instant::now();
    let policy = led.stage.operated.cluster.get("", "nexuspolicy/stop-all")?;
    ensure!(policy["spec"]["stop"].is_null(), "the restored store shows the stop: {}", policy["spec"]);
    if how == How::Anew {
        for number in 0..led.stage.operators.len() {
            led.stage.start_operator(number)?;
        }
    }
    let word = led.change()?;
    led.stays_stopped(Duration::ZERO).await?;
    led.reached(&word, CHANGE).await?;
    let changed = back.elapsed();
    led.until("the latecomer is gone", CHANGE, async |led| latecomers(led).await.map(|known| known == 0))
        .await?;
    let gone = back.elapsed();
    led.replicas(0).await?;
    let scaled = back.elapsed();
    led.until("all gateways raise an alarm", PATIENCE, async |led| {
        let fleet = &led.stage.operated.fleet;
        for gateway in &fleet.gateways {
            let alarms = gateway.metric(&fleet.doors.http, "nexus_stop_alarms", "").await?;
            if alarms.unwrap_or_default() < 1.0 {
                return Ok(false);
            }
        }
        Ok(true)
    })
    .await?;
    led.until("the policy's status tells of the alarm", PATIENCE, async |led| {
        let policy = led.stage.operated.cluster.get("", "nexuspolicy/stop-all")?;
        let reason = reason(&policy, "Programmed");
        Ok(condition(&policy, "Programmed") == "False"
            && reason == "Alarm"
            && policy["status"]["engagement"].is_string())
    })
    .await?;
    let told = back.elapsed();
    led.ready().await?;
    led.stays_stopped(HOLDS).await?;
    ensure!(led.replicas_now()? == 0, "the agent's Deployment was scaled up");
    let how = match how {
        How::Noticed => "with connections that break",
        How::Unnoticed => "unnoticed by those connected",
        How::Anew => "while no operator lives",
    };
    Ok(vec![
        format!(
            "restored {how}: a change is with all pods after {changed:.1?}, what was lost is gone after {gone:.1?}"
        ),
        format!(
            "the stop holds; the Deployment is at zero after {scaled:.1?}, the alarm in status after {told:.1?}"
        ),
    ])
}

/// Gateways and operators begin anew, and nothing is released by that.
async fn begun_anew(led: &mut Led) -> anyhow::Result<String> {
    for gateway in 0..GATEWAYS {
        led.stage.operated.fleet.gateways[gateway].kill().await?;
        led.stage.operated.fleet.start_gateway(gateway)?;
        led.stage.operated.fleet.gateway_ready(gateway).await?;
        led.stage.refused(gateway).await?;
    }
    for number in 0..led.stage.operators.len() {
        led.stage.kill_operator(number).await?;
    }
    for number in 0..led.stage.operators.len() {
        led.stage.start_operator(number)?;
    }
    led.stays_stopped(HOLDS).await?;
    led.stop_is_told().await?;
    ensure!(led.replicas_now()? == 0, "operators that began anew scaled the Deployment up");
    Ok("gateways and operators that begin anew release nothing".to_owned())
}

async fn given_back(led: &mut Led) -> anyhow::Result<String> {
    let released = led.release().await?;
    let replicas = led.replicas(REPLICAS).await?;
    led.until("there is no alarm any more", PATIENCE, async |led| {
        Ok(led.stage.operated.fleet.gateways_metric("nexus_stop_alarms", "").await? == 0.0)
    })
    .await?;
    led.ready().await?;
    Ok(format!(
        "released by its name after {released:.1?}, and {REPLICAS} replicas are back {replicas:.1?} later"
    ))
}

/// How many gateways know the agent that came after the backup.
async fn latecomers(led: &Led) -> anyhow::Result<usize> {
    let configs = led.stage.operated.fleet.configs().await?;
    let knows = |config: &Value| config["acme/acme"]["gateway"]["agents"]["latecomer"].is_object();
    Ok(configs.iter().filter(|(_, config)| knows(config)).count())
}

/// Writes so often to the store.
async fn write_on(led: &Led, times: usize) -> anyhow::Result<()> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("", "v1", "ConfigMap"));
    let api: Api<DynamicObject> =
        Api::namespaced_with(led.stage.operated.cluster.client().await?, TENANTS[0], &resource);
    for number in 0..times {
        let object = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "busy"}, "data": {"number": number.to_string()},
        });
        let patch = PatchParams::apply("busy").force();
        api.patch("busy", &patch, &Patch::Apply(&object)).await.context("cannot write")?;
    }
    Ok(())
}

/// The reason of a condition.
fn reason<'a>(object: &'a Value, kind: &str) -> &'a str {
    let conditions = object["status"]["conditions"].as_array().into_iter().flatten();
    let mut found = conditions.filter(|condition| condition["type"] == kind);
    found.next().and_then(|condition| condition["reason"].as_str()).unwrap_or_default()
}
