//! Operators are cut off while objects change, and the API server has forgotten all of that when they come back: they list what
//! there is, and pods are told of no more than what has changed.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::led::Led;
use super::{Plan, Seen};
use crate::crowd;
use crate::ledger::AGENTS;
use crate::operated::condition;
use crate::site::PATIENCE;
use crate::webhook::TENANTS;

/// A port where nobody listens.
const NOWHERE: u16 = 1;

/// How often each of these agents changes.
const CHANGES: u32 = 10;
const CHANGED: usize = 20;

/// Agents that are neither changed nor go.
const LEFT: std::ops::Range<usize> = CHANGED..crowd::AGENTS - 2;

/// How long nothing more may come after all is right.
const CALM: Duration = Duration::from_secs(10);

/// How operators are cut off.
#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    /// Their connections break, and no others come about.
    Cut,
    /// Their connections are dead without a word: a watch asks in vain for what comes after what it has seen.
    Frozen,
}

pub(super) async fn play(plan: &Plan, folder: &Path) -> anyhow::Result<Seen> {
    let mut led = Led::set(plan, folder, 2).await?;
    let mut figures = round(&mut led, How::Cut, 0, 1).await?;
    led.start(0).await?;
    figures.extend(round(&mut led, How::Frozen, 1, 0).await?);
    figures.push(
        "each gateway was sent 1 update each time, ingest none; no other agent and no tenant ever vanished"
            .to_owned(),
    );
    Ok(Seen { times: 2, figures })
}

/// Pods hear of the operator that does not lead: who leads ends when it is cut off for long, and is ended at once.
async fn round(led: &mut Led, how: How, leads: usize, serves: usize) -> anyhow::Result<Vec<String>> {
    led.pin_pods(serves).await?;
    led.last(CALM).await?;
    let (before, failures) = (updates(led).await?, watch_failures(led, serves).await?);
    match how {
        How::Cut => led.link.lead(NOWHERE),
        How::Frozen => led.link.freeze(),
    }
    let cut = Instant::now();
    led.stage.kill_operator(leads).await?;
    let changes = change(led, how).await?;
    led.stage.operated.cluster.compact().await?;
    led.stage.operated.cluster.stop_api().await?;
    led.stage.operated.cluster.start_api().await?;
    if how == How::Cut {
        led.link.lead(led.stage.operated.cluster.address()?.port());
    }
    let back = Instant::now();
    // No agent and no tenant vanishes meanwhile, but the one that went.
    led.until("gateways have what changed", PATIENCE, async |led| {
        let configs = led.stage.operated.fleet.configs().await?;
        let gateways = configs.iter().filter(|(name, _)| name.starts_with("gateway"));
        let mut done = true;
        for (name, config) in gateways {
            done &= is_right(config, how).with_context(|| (*name).to_owned())?;
        }
        Ok(done)
    })
    .await?;
    let right = back.elapsed();
    let told = settled(led).await?;
    led.last(CALM).await?;
    for (name, count) in updates(led).await? {
        // All that changed is in one resource, which only gateways have.
        let wanted = if name.starts_with("gateway") { 1.0 } else { 0.0 };
        let more = count - before[&name];
        ensure!(more == wanted, "{name} was sent {more} updates, and {wanted} were needed");
    }
    let failed = watch_failures(led, serves).await? - failures;
    ensure!(failed > 0.0, "no watch failed, so nothing was forgotten");
    let how = match how {
        How::Cut => "cut off",
        How::Frozen => "connections dead without a word",
    };
    Ok(vec![format!(
        "{how}, {changes} changes, compacted and forgotten by the API server within {:.1?}: {failed} watches failed, gateways are \
         right after {right:.1?}, status {told:.1?} later",
        back - cut
    )])
}

/// Changes agents of the first tenant again and again, and takes one away; how many changes these were.
async fn change(led: &Led, how: How) -> anyhow::Result<usize> {
    let kind = GroupVersionKind::gvk("nexus.dev", "v1alpha1", "AgentProfile");
    let client = led.stage.operated.cluster.client().await?;
    let api: Api<DynamicObject> = Api::namespaced_with(client, TENANTS[0], &ApiResource::from_gvk(&kind));
    for number in 0..CHANGED {
        for times in 1..=CHANGES {
            let patch = Patch::Merge(json!({"spec": {"displayName": name(how, times)}}));
            api.patch(&crowd::name(number), &PatchParams::default(), &patch).await?;
        }
    }
    api.delete(&gone(how), &DeleteParams::default()).await?;
    Ok(CHANGED * CHANGES as usize + 1)
}

/// What an agent is called after so many changes.
fn name(how: How, times: u32) -> String {
    format!("{}, change {times}", how as u8)
}

/// The agent that goes.
fn gone(how: How) -> String {
    crowd::name(crowd::AGENTS - 1 - how as usize)
}

/// Whether a gateway has all that changed. Fails where it lacks what is there.
fn is_right(config: &Value, how: How) -> anyhow::Result<bool> {
    for tenant in TENANTS {
        let agents = &config[format!("{tenant}/{tenant}")]["gateway"]["agents"];
        for agent in AGENTS {
            ensure!(agents[agent].is_object(), "{agent} of {tenant} has vanished");
        }
    }
    let agents = &config["acme/acme"]["gateway"]["agents"];
    for number in (0..CHANGED).chain(LEFT) {
        ensure!(agents[crowd::name(number)].is_object(), "agent {number} has vanished");
    }
    let last = name(how, CHANGES);
    let changed = (0..CHANGED).all(|number| agents[crowd::name(number)]["displayName"] == last.as_str());
    Ok(changed && agents[gone(how)].is_null())
}

/// Waits until the status of what changed is of its last generation; how long that took.
async fn settled(led: &mut Led) -> anyhow::Result<Duration> {
    led.until("the status of what changed", PATIENCE, async |led| {
        let profile = led.stage.object(&format!("agentprofile/{}", crowd::name(CHANGED - 1)))?;
        let observed = &profile["status"]["conditions"][0]["observedGeneration"];
        Ok(*observed == profile["metadata"]["generation"] && condition(&profile, "Ready") == "True")
    })
    .await
}

/// How many updates each pod has had.
async fn updates(led: &Led) -> anyhow::Result<BTreeMap<String, f64>> {
    let fleet = &led.stage.operated.fleet;
    let mut updates = BTreeMap::new();
    for (number, unit) in fleet.gateways.iter().chain([&fleet.ingest]).enumerate() {
        let name = fleet.configs().await?[number].0.to_owned();
        let count = unit.metric(&fleet.doors.http, "nexus_config_updates_total", "").await?;
        updates.insert(name, count.unwrap_or_default());
    }
    Ok(updates)
}

/// How often watches of an operator failed since it began.
async fn watch_failures(led: &Led, operator: usize) -> anyhow::Result<f64> {
    let failures =
        led.stage.operated.operator_metric(operator, "nexus_operator_watch_failures_total").await?;
    Ok(failures.unwrap_or_default())
}
