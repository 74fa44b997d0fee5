//! The node's pods.

use std::net::IpAddr;
use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::api::{Api, ListParams, LogParams};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Command;
use tokio::time::{Instant, sleep};

use crate::site::{LOOK, PATIENCE};

/// Pods of one label.
#[derive(Clone)]
pub(super) struct Pods {
    api: Api<Pod>,
    selector: String,
    /// Where their runtime listens.
    runtime: PathBuf,
}

impl Pods {
    /// Those of a namespace that have the label.
    pub(super) fn new(client: &Client, namespace: &str, selector: &str, runtime: PathBuf) -> Self {
        Self { api: Api::namespaced(client.clone(), namespace), selector: selector.to_owned(), runtime }
    }

    /// All that there are, in the order of their names.
    pub(super) async fn list(&self) -> anyhow::Result<Vec<Pod>> {
        let mut pods = self.api.list(&ListParams::default().labels(&self.selector)).await?.items;
        pods.sort_by_key(name);
        Ok(pods)
    }

    /// Waits until there are so many, all ready, and gives them.
    pub(super) async fn ready(&self, wanted: usize) -> anyhow::Result<Vec<Pod>> {
        let began = Instant::now();
        loop {
            let pods = self.list().await?;
            let ready = pods.iter().filter(|pod| is_ready(pod)).count();
            if pods.len() == wanted && ready == wanted {
                return Ok(pods);
            }
            let (all, selector) = (pods.len(), &self.selector);
            ensure!(
                began.elapsed() < PATIENCE,
                "of {all} pods of {selector} {ready} are ready, not {wanted}"
            );
            sleep(LOOK * 5).await;
        }
    }

    /// Waits until there is none, not even one that ends; the moment when there was none.
    pub(super) async fn gone(&self) -> anyhow::Result<Instant> {
        let began = Instant::now();
        loop {
            let left = self.list().await?.len();
            if left == 0 {
                return Ok(Instant::now());
            }
            ensure!(began.elapsed() < PATIENCE, "{left} pods of {} do not go", self.selector);
            sleep(LOOK * 5).await;
        }
    }

    /// Whether the log of one of them has these words.
    pub(super) async fn say(&self, words: &str) -> anyhow::Result<bool> {
        for pod in self.list().await? {
            // One that has only just come has no log yet.
            let log = self.api.logs(&name(&pod), &LogParams::default()).await.unwrap_or_default();
            if log.contains(words) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// kill -9 of the processes of these pods, all at once.
    pub(super) async fn kill(&self, pods: &[Pod]) -> anyhow::Result<()> {
        let processes = self.processes(pods).await?;
        processes.into_iter().try_for_each(kill)
    }

    /// Their processes, as this machine numbers them.
    pub(super) async fn processes(&self, pods: &[Pod]) -> anyhow::Result<Vec<Pid>> {
        let mut ctr = Command::new("ctr");
        ctr.arg("-a").arg(&self.runtime).args(["-n", "k8s.io", "tasks", "ls"]);
        let output = ctr.output().await.context("cannot run ctr")?;
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        let process = |pod: &Pod| {
            let id = container(pod)?;
            let line = told.lines().find(|line| line.starts_with(id))?;
            Pid::from_raw(line.split_whitespace().nth(1)?.parse().ok()?)
        };
        pods.iter().map(|pod| process(pod).with_context(|| format!("{} has no process", name(pod)))).collect()
    }
}

/// kill -9.
pub(super) fn kill(process: Pid) -> anyhow::Result<()> {
    Ok(kill_process(process, Signal::KILL)?)
}

/// The name of a pod.
pub(super) fn name(pod: &Pod) -> String {
    pod.metadata.name.clone().unwrap_or_default()
}

/// Its address.
pub(super) fn address(pod: &Pod) -> anyhow::Result<IpAddr> {
    let address = pod.status.as_ref().and_then(|status| status.pod_ip.as_ref());
    Ok(address.with_context(|| format!("{} has no address", name(pod)))?.parse()?)
}

/// How often its container was started again.
pub(super) fn restarts(pod: &Pod) -> i32 {
    let containers = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
    containers.and_then(|containers| containers.first()).map_or(0, |container| container.restart_count)
}

fn container(pod: &Pod) -> Option<&str> {
    let containers = pod.status.as_ref()?.container_statuses.as_ref()?;
    containers.first()?.container_id.as_ref()?.strip_prefix("containerd://")
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    let mut conditions = conditions.into_iter().flatten();
    pod.metadata.deletion_timestamp.is_none()
        && conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True")
}
