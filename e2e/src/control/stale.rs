//! An API server that is cut off from etcd, and shows what was: whoever is led to it does no harm by that, and comes right.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::led::{Led, REPLICAS};
use super::stage::Stage;
use super::{Plan, Seen};
use crate::ledger::AGENTS;
use crate::link::Link;
use crate::operated::NAMESPACE;
use crate::site::PATIENCE;
use crate::webhook::TENANTS;

/// How long it is watched that nothing is undone.
const HOLDS: Duration = Duration::from_secs(15);

/// How long the cut-off API server may think about an answer.
const ANSWER: &str = "5s";

pub(super) async fn play(plan: &Plan, folder: &Path) -> anyhow::Result<Seen> {
    let mut led = Led::set(plan, folder, 1).await?;
    led.make_deployment()?;
    led.ready().await?;
    let (etcd, second) = second(&mut led, folder).await?;
    let address = led.stage.operated.cluster.address()?;

    // From here on the second shows no stop and a Deployment at work.
    etcd.pass(false, false);
    let fleet = &led.stage.operated.fleet;
    let agent = fleet.doors.session(TENANTS[0], AGENTS[1], 1, 1).await?;
    let ordered = Instant::now();
    led.stage.operated.patch_stop(&json!({"stop": true}))?;
    Stage::severed(agent).await.context("the gateway at the stale API server")?;
    let heard = ordered.elapsed();
    led.stays_stopped(Duration::ZERO).await?;
    led.replicas(0).await?;
    let mut figures = answers(&led, second)?;
    figures.push(format!("the gateway that is led there is stopped by its peer's word after {heard:.1?}"));

    led.link.lead(second.port());
    led.stage.kill_operator(0).await?;
    led.stage.start_operator(0)?;
    let tenants = tenants(&led)?;
    led.stays_stopped(HOLDS).await?;
    unharmed(&led, &tenants).await?;
    let read = led.stage.operated.operator_metric(0, "nexus_operator_tenants").await?.unwrap_or_default();
    figures.push(format!(
        "an operator that begins there has read {read} Tenants after {HOLDS:.0?}, and undid nothing"
    ));

    etcd.pass(true, true);
    let healed = Instant::now();
    led.until("the operator has read all", PATIENCE, async |led| {
        let read = led.stage.operated.operator_metric(0, "nexus_operator_tenants").await?;
        Ok(read == Some(TENANTS.len() as f64))
    })
    .await?;
    let read = healed.elapsed();
    led.stop_is_told().await?;
    led.stays_stopped(HOLDS).await?;
    unharmed(&led, &tenants).await?;
    let released = led.release().await?;
    led.replicas(REPLICAS).await?;
    led.ready().await?;
    figures.push(format!(
        "healed: the operator has read all after {read:.1?}, nothing is undone; released by its name after {released:.1?}"
    ));
    led.link.lead(address.port());
    Ok(Seen { times: 1, figures })
}

/// Starts a second API server behind a link to etcd, and leads the second gateway there.
async fn second(led: &mut Led, folder: &Path) -> anyhow::Result<(Link, SocketAddr)> {
    let cluster = &led.stage.operated.cluster;
    let etcd = Link::to(cluster.store()?).await?;
    let second = cluster.second((Ipv4Addr::LOCALHOST, etcd.port).into()).await?;
    let token = cluster.kubectl(&["create", "token", "nexus-gateway", "-n", NAMESPACE])?;
    let kubeconfig = folder.join("kubeconfig-stale");
    // It differs from the first by its port alone.
    cluster.lead(second.port(), token.trim(), &kubeconfig)?;
    let text = std::fs::read_to_string(&kubeconfig)?;
    let here = format!("https://127.0.0.1:{}", second.port());
    std::fs::write(&kubeconfig, text.replace(&here, &format!("https://{second}")))?;
    let fleet = &mut led.stage.operated.fleet;
    fleet.gateways[1].kill().await?;
    fleet.gateways[1].environment.retain(|(name, _)| *name != "KUBECONFIG");
    fleet.gateways[1].environment.push(("KUBECONFIG", kubeconfig));
    fleet.start_gateway(1)?;
    fleet.gateway_ready(1).await?;
    Ok((etcd, second))
}

/// What the API server that is cut off says, as an admin would ask it.
fn answers(led: &Led, second: SocketAddr) -> anyhow::Result<Vec<String>> {
    let server = format!("https://{second}");
    let mut figures = Vec::new();
    for (how, query) in [("as new as the store", ""), ("as it has it", "?resourceVersion=0")] {
        let path = format!("/apis/nexus.dev/v1alpha1/nexuspolicies{query}");
        let words = ["--server", &server, "--request-timeout", ANSWER, "get", "--raw", &path];
        let said = match led.stage.operated.cluster.kubectl(&words) {
            Ok(list) => {
                let list: Value = serde_json::from_str(&list)?;
                ensure!(list["items"][0]["spec"]["stop"].is_null(), "it is not stale: {list}");
                "no stop, which is stale".to_owned()
            }
            Err(error) => {
                let error = format!("{error:#}");
                error.rsplit_once("`: ").map_or(error.as_str(), |(_, error)| error).to_owned()
            }
        };
        figures.push(format!("asked for a list {how}, the stale API server says: {said}"));
    }
    Ok(figures)
}

/// All objects of the first tenant, by kind and name.
fn tenants(led: &Led) -> anyhow::Result<String> {
    let kinds = "tenants,agentprofiles,mappings,secrets,deployments";
    led.stage.operated.cluster.kubectl(&["get", kinds, "-n", TENANTS[0], "-o", "name"])
}

/// Nothing was deleted, scaled up or released, and pods have what they had.
async fn unharmed(led: &Led, tenants_before: &str) -> anyhow::Result<()> {
    ensure!(tenants(led)? == tenants_before, "objects have come or gone");
    ensure!(led.replicas_now()? == 0, "the agent's Deployment was scaled up");
    let policy = led.stage.operated.cluster.get("", "nexuspolicy/stop-all")?;
    ensure!(policy["spec"]["stop"] == true, "{}", policy["spec"]);
    for (name, config) in led.stage.operated.fleet.configs().await? {
        ensure!(
            TENANTS.iter().all(|tenant| config[format!("{tenant}/{tenant}")].is_object()),
            "{name} lost a tenant"
        );
    }
    Ok(())
}
