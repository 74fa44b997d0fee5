//! A stage whose operators reach the API server over a link that can be cut, kept as a kubelet and a Service keep them: who ended
//! is started again, and pods are led to who leads.

use std::path::Path;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use tokio::process::Child;
use tokio::time::{Duration, Instant, sleep};

use super::Plan;
use super::stage::{PODS, Stage};
use crate::fleet::GATEWAYS;
use crate::ledger::AGENTS;
use crate::link::Link;
use crate::operated::{NAMESPACE, condition};
use crate::site::{LOOK, PATIENCE};
use crate::webhook::TENANTS;

/// The replicas of the first agent's Deployment.
pub(super) const REPLICAS: u32 = 3;

/// How often those who ended are looked for.
const KEEP: Duration = Duration::from_millis(500);

/// The stage.
pub(super) struct Led {
    pub(super) stage: Stage,
    /// Between operators and the API server.
    pub(super) link: Link,
    /// How often an operator ended by itself.
    pub(super) restarts: u32,
    kept: Instant,
    /// To whom pods are led.
    leads: usize,
    /// Whether pods are led to who leads.
    follows: bool,
    changes: u32,
}

impl Led {
    /// So many operators, and pods, all ready; the first operator leads.
    pub(super) async fn set(plan: &Plan, folder: &Path, operators: usize) -> anyhow::Result<Self> {
        let mut stage = Stage::empty(&plan.nexus, folder).await?;
        let cluster = &stage.operated.cluster;
        let link = Link::to(cluster.address()?).await?;
        let kubeconfig = folder.join("kubeconfig-operator");
        cluster.lead(link.port, &cluster.token()?, &kubeconfig)?;
        stage.operated.kubeconfig = kubeconfig;
        stage.begin().await?;
        let mut led =
            Self { stage, link, restarts: 0, kept: Instant::now(), leads: 0, follows: true, changes: 0 };
        for number in 1..operators {
            led.start(number).await?;
        }
        Ok(led)
    }

    /// Starts an operator, and waits until it has read all.
    pub(super) async fn start(&mut self, number: usize) -> anyhow::Result<()> {
        self.stage.start_operator(number)?;
        self.until("an operator has read all", PATIENCE, async |led| {
            let tenants = led.stage.operated.operator_metric(number, "nexus_operator_tenants").await;
            Ok(tenants.ok().flatten() == Some(TENANTS.len() as f64))
        })
        .await?;
        Ok(())
    }

    /// Waits until something holds; how long that took.
    pub(super) async fn until(
        &mut self,
        what: &str,
        patience: Duration,
        holds: impl AsyncFn(&Self) -> anyhow::Result<bool>,
    ) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        while !holds(self).await? {
            ensure!(begun.elapsed() < patience, "waited {patience:?} in vain: {what}");
            self.keep()?;
            sleep(LOOK * 2).await;
        }
        Ok(begun.elapsed())
    }

    /// Lets time pass.
    pub(super) async fn last(&mut self, long: Duration) -> anyhow::Result<()> {
        let begun = Instant::now();
        while begun.elapsed() < long {
            self.keep()?;
            sleep(LOOK * 10).await;
        }
        Ok(())
    }

    /// Starts operators that ended, leads pods to who leads, and sees that no pod ended.
    pub(super) fn keep(&mut self) -> anyhow::Result<()> {
        if self.kept.elapsed() < KEEP {
            return Ok(());
        }
        self.kept = Instant::now();
        self.stage.operated.fleet.check()?;
        for number in 0..self.stage.operators.len() {
            let operator = self.stage.operators[number].as_mut();
            if operator.map_or(Ok(None), Child::try_wait)?.is_some() {
                self.restarts += 1;
                self.stage.start_operator(number)?;
            }
        }
        if self.follows {
            self.follow();
        }
        Ok(())
    }

    /// Leads pods to who leads.
    fn follow(&mut self) {
        // While the API server is away nobody can tell.
        let lease = self.stage.operated.cluster.get(NAMESPACE, "lease/nexus-operator");
        let holder = lease.unwrap_or_default()["spec"]["holderIdentity"].take();
        let named = |number: &usize| {
            holder.as_str().is_some_and(|holder| holder.starts_with(&format!("operator-{number}")))
        };
        let runs = |number: &usize| self.stage.operators[*number].is_some();
        if let Some(leads) = (0..self.stage.operators.len()).filter(runs).find(named)
            && leads != self.leads
        {
            self.leads = leads;
            self.stage.operated.lead_to(leads);
        }
    }

    /// Leads pods to an operator, whoever leads, and waits until they are there.
    pub(super) async fn pin_pods(&mut self, number: usize) -> anyhow::Result<()> {
        self.follows = false;
        self.stage.operated.lead_to(number);
        self.until("pods are with the operator that they are led to", PATIENCE, async |led| {
            Ok(led.stage.pods_of(number).await? == PODS)
        })
        .await?;
        Ok(())
    }

    /// Changes the first tenant in a way that all pods are told of; the word by which it is known there.
    pub(super) fn change(&mut self) -> anyhow::Result<String> {
        self.changes += 1;
        let word = format!("later-{}", self.changes);
        let key = json!({"name": "webhooks", "key": "key"});
        let alias = json!({"name": format!("@{word}"), "agents": {"matchLabels": {"squad": "later"}}});
        let patch = json!([
            {"op": "add", "path": "/spec/sources/-", "value": {"name": word, "provider": "github", "secretRef": key}},
            {"op": "add", "path": "/spec/aliases", "value": [alias]},
        ]);
        self.patch("tenant/acme", "json", &patch)?;
        Ok(word)
    }

    /// Waits until all pods have a change; how long that took.
    pub(super) async fn reached(&mut self, word: &str, patience: Duration) -> anyhow::Result<Duration> {
        let what = format!("all pods have {word}");
        self.until(&what, patience, async |led| {
            let configs = led.stage.operated.fleet.configs().await?;
            Ok(configs.iter().all(|(_, config)| config["acme/acme"].to_string().contains(word)))
        })
        .await
    }

    pub(super) fn patch(&self, what: &str, kind: &str, patch: &Value) -> anyhow::Result<()> {
        let words = ["patch", what, "-n", TENANTS[0], "--type", kind, "-p", &patch.to_string()];
        self.stage.operated.cluster.kubectl(&words)?;
        Ok(())
    }

    /// Gives the first agent a Deployment.
    pub(super) fn make_deployment(&self) -> anyhow::Result<()> {
        let name = AGENTS[0];
        self.stage.operated.cluster.apply(&json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": TENANTS[0]},
            "spec": {
                "replicas": REPLICAS, "selector": {"matchLabels": {"app": name}},
                "template": {
                    "metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": name, "image": name}]},
                },
            },
        }))?;
        let workload = json!({"spec": {"workloadRef": {"kind": "Deployment", "name": name}}});
        self.patch(&format!("agentprofile/{name}"), "merge", &workload)
    }

    /// Waits until the first agent's Deployment has so many replicas; how long that took.
    pub(super) async fn replicas(&mut self, wanted: u32) -> anyhow::Result<Duration> {
        let what = format!("the agent's Deployment has {wanted} replicas");
        self.until(&what, PATIENCE, async |led| Ok(led.replicas_now()? == wanted)).await
    }

    /// The replicas of the first agent's Deployment.
    pub(super) fn replicas_now(&self) -> anyhow::Result<u32> {
        let deployment = self.stage.object(&format!("deployment/{}", AGENTS[0]))?;
        Ok(deployment["spec"]["replicas"].as_u64().context("no Deployment")?.try_into()?)
    }

    /// Waits until the status says that a stop holds on all gateways; its engagement.
    pub(super) async fn stop_is_told(&mut self) -> anyhow::Result<String> {
        let all = format!("{GATEWAYS}/{GATEWAYS}");
        self.until("the status of the stop", PATIENCE, async |led| {
            let status = led.stage.stop_status()?;
            Ok(status["engagement"].is_string() && status["acknowledged"] == all.as_str())
        })
        .await?;
        Ok(self.stage.stop_status()?["engagement"].as_str().context("it was there")?.to_owned())
    }

    /// Releases the stop by its name, and waits until agents are admitted at all gateways and status says so.
    pub(super) async fn release(&mut self) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        self.until("an engagement to release", PATIENCE, async |led| {
            Ok(led.stage.stop_status()?["engagement"].is_string())
        })
        .await?;
        self.stage.release()?;
        for gateway in 0..GATEWAYS {
            drop(self.stage.admitted(gateway).await?);
        }
        self.until("the status of the release", PATIENCE, async |led| {
            Ok(led.stage.stop_status()?["engagement"].is_null())
        })
        .await?;
        Ok(begun.elapsed())
    }

    /// Nobody is admitted, anywhere, for so long.
    pub(super) async fn stays_stopped(&mut self, long: Duration) -> anyhow::Result<()> {
        let begun = Instant::now();
        loop {
            for gateway in 0..GATEWAYS {
                self.stage.refused(gateway).await?;
            }
            if begun.elapsed() >= long {
                return Ok(());
            }
            self.keep()?;
            sleep(LOOK * 20).await;
        }
    }

    /// Waits until all pods hold the first tenant, by its status.
    pub(super) async fn ready(&mut self) -> anyhow::Result<Duration> {
        self.until("all pods hold the Tenant", PATIENCE, async |led| {
            let tenant = led.stage.object("tenant/acme")?;
            let current =
                tenant["status"]["conditions"][0]["observedGeneration"] == tenant["metadata"]["generation"];
            Ok(current && condition(&tenant, "Ready") == "True" && tenant["status"]["acknowledged"] == "3/3")
        })
        .await
    }
}
