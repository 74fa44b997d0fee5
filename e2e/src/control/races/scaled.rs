//! Somebody scales up while a stop scales to zero.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::ensure;
use k8s_openapi::api::apps::v1::Deployment;
use kube::ResourceExt as _;
use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::stop::{Stop, Stopped};
use super::{Races, STOPPED, TENANTS, WATCHED};
use crate::ledger::AGENTS;
use crate::site::{PATIENCE, until};

/// What the Deployment has at first, and what the other writer makes of it, one after the other.
const REPLICAS: i64 = 2;
const MOST: i64 = 9;

/// The annotation with the replicas that a stop took.
const HELD: &str = "nexus.dev/held-replicas";

/// How often, and for how long after the stop.
const EVERY: Duration = Duration::from_millis(50);
const GOES_ON: Duration = Duration::from_secs(3);

/// What stands there of the replicas.
#[derive(Debug, PartialEq, Eq)]
struct Standing {
    replicas: Option<i64>,
    annotation: Option<i64>,
    record: Option<i64>,
}

impl Races {
    /// A Deployment of the first agent.
    pub(super) fn make_deployment(&self) -> anyhow::Result<()> {
        let (namespace, name) = (TENANTS[STOPPED], AGENTS[0]);
        let cluster = &self.stage.operated.cluster;
        cluster.apply(&json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": namespace},
            "spec": {
                "replicas": REPLICAS, "selector": {"matchLabels": {"app": name}},
                "template": {
                    "metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": name, "image": name}]},
                },
            },
        }))?;
        let patch = json!({"spec": {"workloadRef": {"kind": "Deployment", "name": name}}}).to_string();
        let profile = format!("agentprofile/{name}");
        cluster.kubectl(&["patch", &profile, "-n", namespace, "--type", "merge", "-p", &patch])?;
        Ok(())
    }

    fn standing(&self) -> anyhow::Result<Standing> {
        let deployment = self.stage.object(&format!("deployment/{}", AGENTS[0]))?;
        let profile = self.stage.object(&format!("agentprofile/{}", AGENTS[0]))?;
        let annotation = &deployment["metadata"]["annotations"][HELD];
        Ok(Standing {
            replicas: deployment["spec"]["replicas"].as_i64(),
            annotation: annotation.as_str().and_then(|text| text.parse().ok()),
            record: profile["status"]["heldReplicas"].as_i64(),
        })
    }

    /// Another writer raises the replicas again and again, before the stop and after.
    pub(super) async fn scale_up(&mut self, stop: Stop) -> anyhow::Result<Stopped> {
        let (client, after) = (self.client.clone(), stop.after);
        let (writes, stopped) = tokio::join!(raise(client, after + GOES_ON), stop.come());
        let ((writes, annotations), stopped) = (writes?, stopped?);
        let zero = until("the Deployment is at zero", PATIENCE, async || {
            let Standing { replicas, annotation, record } = self.standing()?;
            Ok(replicas == Some(0) && annotation.is_some() && annotation == record)
        })
        .await?;
        let held = self.standing()?;
        let recorded = held.record.unwrap_or_default();
        ensure!((REPLICAS..=MOST).contains(&recorded), "a number is recorded that nobody wrote: {held:?}");
        // The first number that was taken counts, whoever writes after it.
        ensure!(
            annotations.iter().all(|held| *held == recorded),
            "{annotations:?} were recorded one after the other, and {recorded} in the end"
        );
        sleep(WATCHED).await;
        let later = self.standing()?;
        ensure!(later == held, "it was {held:?}, and is {later:?}");
        self.recorded = recorded;
        Ok(stopped.noting(format!("zero {zero:.1?} after the last of {writes} writes, {recorded} recorded")))
    }

    /// After the release the replicas are what was recorded; then they are made what they were at first.
    pub(super) async fn scaled_back(&self) -> anyhow::Result<()> {
        let back = until("the replicas are back", PATIENCE, async || {
            let Standing { replicas, annotation, record } = self.standing()?;
            Ok(replicas == Some(self.recorded) && annotation.is_none() && record.is_none())
        });
        back.await?;
        let patch = json!({"spec": {"replicas": REPLICAS}}).to_string();
        let deployment = format!("deployment/{}", AGENTS[0]);
        let words = ["patch", &deployment, "-n", TENANTS[STOPPED], "--type", "merge", "-p", &patch];
        self.stage.operated.cluster.kubectl(&words)?;
        Ok(())
    }
}

/// Writes for so long; how often, and which numbers it finds recorded.
async fn raise(client: kube::Client, long: Duration) -> anyhow::Result<(usize, BTreeSet<i64>)> {
    let deployments: Api<Deployment> = Api::namespaced(client, TENANTS[STOPPED]);
    let (begun, mut writes, mut found) = (Instant::now(), 0, BTreeSet::new());
    for replicas in (REPLICAS + 1..=MOST).cycle() {
        if begun.elapsed() >= long {
            break;
        }
        let patch: Value = json!({"spec": {"replicas": replicas}});
        let written = deployments.patch(AGENTS[0], &PatchParams::default(), &Patch::Merge(&patch)).await?;
        found.extend(written.annotations().get(HELD).and_then(|text| text.parse::<i64>().ok()));
        writes += 1;
        sleep(EVERY).await;
    }
    Ok((writes, found))
}
