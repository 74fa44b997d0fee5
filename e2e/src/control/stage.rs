//! What rows play on: a whole system around a control plane of its own, and what they wait for and look at there.

use std::path::Path;

use anyhow::{Context as _, ensure};
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tokio::process::Child;
use tokio::time::{Duration, Instant, sleep, timeout};

use crate::apidoor::Door;
use crate::doors::Socket;
use crate::fleet::GATEWAYS;
use crate::ledger::AGENTS;
use crate::operated::{Operated, condition};
use crate::site::{PATIENCE, until};
use crate::webhook::{Delivery, Provider, TENANTS, Thread};

/// Ingest and the gateways.
pub(super) const PODS: usize = 1 + GATEWAYS;

/// A system that runs.
#[derive(Debug)]
pub struct Stage {
    /// Its parts.
    pub operated: Operated,
    /// The operators that run; dropping one kills it.
    pub operators: [Option<Child>; 2],
}

impl Stage {
    /// An operator and its pods, all ready.
    pub async fn set(nexus: &Path, folder: &Path) -> anyhow::Result<Self> {
        let mut stage = Self::empty(nexus, folder).await?;
        stage.begin().await?;
        Ok(stage)
    }

    /// The same, with a door between operators and the API server.
    pub async fn behind_a_door(nexus: &Path, folder: &Path) -> anyhow::Result<(Self, Door)> {
        let mut stage = Self::empty(nexus, folder).await?;
        let door = Door::open(&stage.operated.cluster).await?;
        stage.operated.kubeconfig = door.kubeconfig(folder)?;
        stage.begin().await?;
        Ok((stage, door))
    }

    /// Starts an operator and the pods, and waits until all is ready.
    pub async fn begin(&mut self) -> anyhow::Result<()> {
        self.start_operator(0)?;
        self.operated.start_pods().await?;
        self.ready().await?;
        Ok(())
    }

    /// How many pods are with an operator.
    pub async fn pods_of(&self, number: usize) -> anyhow::Result<usize> {
        let config = self.operated.operator_config(number).await?;
        Ok(config["pods"].as_object().map_or(0, serde_json::Map::len))
    }

    /// The control plane with its objects, and nobody yet.
    pub async fn empty(nexus: &Path, folder: &Path) -> anyhow::Result<Self> {
        Ok(Self { operated: Operated::new(nexus, folder).await?, operators: [None, None] })
    }

    /// Starts one of two operators.
    pub fn start_operator(&mut self, number: usize) -> anyhow::Result<()> {
        self.operators[number] = Some(self.operated.start_operator(number)?);
        Ok(())
    }

    /// kill -9. Nobody has to wait until its Lease is over, as it is known to be dead.
    pub async fn kill_operator(&mut self, number: usize) -> anyhow::Result<()> {
        if let Some(mut operator) = self.operators[number].take() {
            operator.kill().await?;
        }
        let lease = ["delete", "lease", "nexus-operator", "-n", crate::operated::NAMESPACE];
        self.operated.cluster.kubectl(&[&lease[..], &["--ignore-not-found"]].concat())?;
        Ok(())
    }

    /// Fails if a process ended by itself.
    pub fn check(&mut self) -> anyhow::Result<()> {
        self.operated.fleet.check()?;
        for (number, operator) in self.operators.iter_mut().enumerate() {
            let ended = operator.as_mut().map_or(Ok(None), Child::try_wait)?;
            let log = self.operated.operator_log(number);
            ensure!(
                ended.is_none(),
                "operator {number} ended by itself: {ended:?}; its log: {}",
                log.display()
            );
        }
        Ok(())
    }

    /// An object of the first tenant.
    pub fn object(&self, what: &str) -> anyhow::Result<Value> {
        self.operated.cluster.get(TENANTS[0], what)
    }

    /// Waits until all pods hold all that is there; how long that took.
    pub async fn ready(&self) -> anyhow::Result<Duration> {
        until("all pods hold the Tenant", PATIENCE, async || {
            let tenant = self.object("tenant/acme")?;
            Ok(condition(&tenant, "Ready") == "True" && tenant["status"]["acknowledged"] == "3/3")
        })
        .await
    }

    /// Waits until all pods are with the first operator, and for so long it has written nothing through its door.
    pub(super) async fn calm(&self, door: &Door, long: Duration) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let (mut calls, mut since) = (door.calls(), Instant::now());
        while since.elapsed() < long {
            ensure!(Instant::now() < deadline, "the operator does not come to rest");
            sleep(long / 10).await;
            // A pod comes back to an operator that begins anew in its own time.
            let pods = self.pods_of(0).await.unwrap_or(0);
            if door.calls() != calls || pods < PODS {
                (calls, since) = (door.calls(), Instant::now());
            }
        }
        Ok(())
    }

    /// Makes an agent of the first tenant and waits until all pods hold it; how long that took.
    pub async fn newcomer(&self, name: &str) -> anyhow::Result<Duration> {
        self.operated.cluster.apply(&json!({
            "apiVersion": "nexus.dev/v1alpha1", "kind": "AgentProfile",
            "metadata": {"name": name, "namespace": TENANTS[0]}, "spec": {"tenant": TENANTS[0]},
        }))?;
        until("the newcomer is ready", PATIENCE, async || {
            Ok(condition(&self.object(&format!("agentprofile/{name}"))?, "Ready") == "True")
        })
        .await
    }

    /// The status of `stop-all`.
    pub fn stop_status(&self) -> anyhow::Result<Value> {
        Ok(self.operated.cluster.get("", "nexuspolicy/stop-all")?["status"].take())
    }

    /// Releases the stop that status tells of.
    pub fn release(&self) -> anyhow::Result<()> {
        let status = self.stop_status()?;
        ensure!(status["engagement"].is_string(), "no stop is engaged: {status}");
        self.operated.patch_stop(&json!({"stop": null, "release": status["engagement"]}))
    }

    /// Opens a session of the first tenant's first agent at a gateway.
    pub async fn session(&self, gateway: usize) -> anyhow::Result<Socket> {
        self.operated.fleet.doors.session(TENANTS[0], AGENTS[0], gateway, 1).await
    }

    /// Waits until an agent is admitted at a gateway.
    pub async fn admitted(&self, gateway: usize) -> anyhow::Result<Socket> {
        let mut admitted = None;
        until("an agent is admitted", PATIENCE, async || {
            admitted = self.session(gateway).await.ok();
            Ok(admitted.is_some())
        })
        .await?;
        admitted.context("it was")
    }

    /// Nobody is admitted at a gateway, because of a stop.
    pub async fn refused(&self, gateway: usize) -> anyhow::Result<()> {
        match self.session(gateway).await {
            Ok(_) => anyhow::bail!("gateway {gateway} admits an agent that is stopped"),
            Err(error) => {
                let error = error.to_string();
                ensure!(error.contains("temporarily_unavailable"), "gateway {gateway}: {error}");
                Ok(())
            }
        }
    }

    /// Posts a webhook of the first tenant; its place in its thread tells it from others.
    pub async fn webhook(&self, place: u32) -> anyhow::Result<()> {
        let thread = Thread { tenant: 0, provider: Provider::GitHub, number: 1 };
        let answer = self.operated.fleet.doors.deliver(Delivery { thread, place }, "", 0).await?;
        ensure!(answer.status().is_success(), "the webhook is refused: {answer:?}");
        Ok(())
    }

    /// Reads a session to its end, which a stop brings; how long that took.
    pub async fn severed(mut socket: Socket) -> anyhow::Result<Duration> {
        let begun = tokio::time::Instant::now();
        let closed = async {
            let mut said = String::new();
            while let Some(Ok(message)) = socket.next().await {
                said += &message.to_string();
            }
            ensure!(said.contains("GOODBYE_REASON_STOPPED"), "the session ended otherwise: {said}");
            Ok(begun.elapsed())
        };
        timeout(PATIENCE, closed).await.context("the session stays open")?
    }
}
