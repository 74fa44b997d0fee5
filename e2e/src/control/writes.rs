//! The operator killed before and after each call that changes something: the end is that of a run without a kill.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Child;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::{Plan, Seen};
use crate::apidoor::{Door, Moment};
use crate::cluster::Cluster;
use crate::operated::condition;
use crate::program::mortal;
use crate::site::{LOOK, PATIENCE};

/// Control planes at work beside each other: most of the time is spent waiting.
const LANES: usize = 3;

/// The fewest calls of a run: credentials, keys, a certificate, statuses, a stop and its release.
const LEAST_CALLS: u64 = 12;

/// How often a point is tried: a run may have fewer calls than the clean one, since writes are merged when they come late.
const TRIES: usize = 6;

/// What stands there in the end, by object.
type End = BTreeMap<String, Value>;

/// How a run ended.
struct Played {
    name: String,
    end: End,
    /// Calls that changed something.
    calls: u64,
    killed: bool,
}

pub(super) async fn play(plan: &Plan, folder: PathBuf) -> anyhow::Result<Seen> {
    let first = Rig::start(plan, &folder)?;
    let clean = first.run("clean".to_owned(), None).await?;
    ensure!(!clean.killed && clean.calls >= LEAST_CALLS, "only {} calls", clean.calls);
    let next = Arc::new(AtomicU64::new(0));
    let mut lanes = JoinSet::new();
    let calls = clean.calls;
    for rig in [Ok(first)].into_iter().chain((1..LANES).map(|_| Rig::start(plan, &folder))) {
        lanes.spawn(lane(rig?, Arc::clone(&next), calls));
    }
    let mut played = Vec::new();
    while let Some(lane) = lanes.join_next().await {
        played.extend(lane??);
    }
    for run in &played {
        ensure!(
            run.end == clean.end,
            "{} ends otherwise: {}, and not {}",
            run.name,
            json!(run.end),
            json!(clean.end)
        );
    }
    let (runs, reached) = (played.len(), played.iter().filter(|run| run.killed).count());
    let figure = format!(
        "all {reached} points before and after {calls} writes, in {runs} runs; all ends are the same"
    );
    Ok(Seen { times: reached, figures: vec![figure] })
}

/// Plays runs with kills, until there are no more points.
async fn lane(rig: Rig, next: Arc<AtomicU64>, calls: u64) -> anyhow::Result<Vec<Played>> {
    let mut played = Vec::new();
    loop {
        let at = next.fetch_add(1, Ordering::Relaxed);
        let (call, moment) = (at / 2 + 1, if at.is_multiple_of(2) { Moment::Before } else { Moment::After });
        if call > calls {
            return Ok(played);
        }
        played.extend(point(&rig, call, moment).await?);
    }
}

/// Plays runs until one is killed at a point.
async fn point(rig: &Rig, call: u64, moment: Moment) -> anyhow::Result<Vec<Played>> {
    let mut played = Vec::new();
    for number in 1..=TRIES {
        let name = format!("kill-{call}-{moment:?}-{number}").to_lowercase();
        let run = rig.run(name.clone(), Some((call, moment))).await.context(name)?;
        let killed = run.killed;
        played.push(run);
        if killed {
            return Ok(played);
        }
    }
    let most = played.iter().map(|run| run.calls).max().unwrap_or_default();
    bail!("{moment:?} call {call} was reached in none of {TRIES} runs, which had {most} calls at most")
}

/// A control plane on which runs are played, each in a namespace of its own.
struct Rig {
    cluster: Cluster,
    folder: TempDir,
    nexus: PathBuf,
}

impl Rig {
    fn start(plan: &Plan, folder: &std::path::Path) -> anyhow::Result<Self> {
        let cluster = Cluster::own()?;
        cluster.install_definitions()?;
        Ok(Self { cluster, folder: tempfile::tempdir_in(folder)?, nexus: plan.nexus.clone() })
    }

    fn operator(&self, namespace: &str, kubeconfig: PathBuf) -> anyhow::Result<Child> {
        let log = self.folder.path().join(format!("operator-{namespace}.log"));
        let log = std::fs::File::options().create(true).append(true).open(log)?;
        let mut command = mortal(&self.nexus, &[], &[("KUBECONFIG", kubeconfig)]);
        command.args(["operator", "--namespace", namespace]);
        command.args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
        command.stdout(Stdio::from(log.try_clone()?)).stderr(Stdio::from(log));
        command.spawn().context("cannot start an operator")
    }

    async fn run(&self, name: String, call: Option<(u64, Moment)>) -> anyhow::Result<Played> {
        self.cluster.kubectl(&["create", "namespace", &name])?;
        let door = Door::open(&self.cluster).await?;
        door.arm(call);
        let kubeconfig = door.kubeconfig(self.folder.path())?;
        let operator = self.operator(&name, kubeconfig.clone())?;
        let mut run = Run { rig: self, door, kubeconfig, operator, killed: false, namespace: name };
        run.play().await?;
        let (end, calls) = (run.end()?, run.door.calls());
        run.clear().await?;
        Ok(Played { name: run.namespace, end, calls, killed: run.killed })
    }
}

/// One run: objects come, a stop is ordered and released, and the operator is killed at one call.
struct Run<'r> {
    rig: &'r Rig,
    door: Door,
    kubeconfig: PathBuf,
    namespace: String,
    operator: Child,
    killed: bool,
}

impl Run<'_> {
    /// An object as it is; null if it is not there.
    fn get(&self, what: &str) -> anyhow::Result<Value> {
        self.rig.cluster.get(&self.namespace, what)
    }

    fn policy(&self) -> anyhow::Result<Value> {
        self.get(&format!("nexuspolicy/{}", self.namespace))
    }

    fn patch(&self, spec: &Value) -> anyhow::Result<()> {
        let (policy, patch) =
            (format!("nexuspolicy/{}", self.namespace), json!({ "spec": spec }).to_string());
        self.rig.cluster.kubectl(&["patch", &policy, "--type", "merge", "-p", &patch])?;
        Ok(())
    }

    /// Kills the operator once it is where it was waited for, and starts another.
    async fn strike(&mut self) -> anyhow::Result<()> {
        if self.killed || !self.door.struck() {
            let ended = self.operator.try_wait()?;
            ensure!(ended.is_none(), "the operator of {} ended by itself", self.namespace);
            return Ok(());
        }
        self.operator.kill().await?;
        self.killed = true;
        self.door.arm(None);
        // It is known to be dead, so nobody has to wait until its Lease is over.
        let lease = ["delete", "lease", "nexus-operator", "-n", &self.namespace, "--ignore-not-found"];
        self.rig.cluster.kubectl(&lease)?;
        self.operator = self.rig.operator(&self.namespace, self.kubeconfig.clone())?;
        Ok(())
    }

    async fn until(&mut self, what: &str, holds: fn(&Run<'_>) -> anyhow::Result<bool>) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.strike().await?;
            if holds(self)? {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "waited in vain: {what}");
            sleep(LOOK * 5).await;
        }
    }

    /// The whole story.
    async fn play(&mut self) -> anyhow::Result<()> {
        self.rig.cluster.apply(&objects(&self.namespace))?;
        self.until("credentials and conditions", |run| {
            for what in ["tenant/acme", "agentprofile/coder", "mapping/one"] {
                if condition(&run.get(what)?, "Accepted") != "True" {
                    return Ok(false);
                }
            }
            for what in ["secret/coder-nexus-agent", "secret/nexus-token-keys", "configmap/nexus-operator-ca"]
            {
                if run.get(what)?.is_null() {
                    return Ok(false);
                }
            }
            Ok(!run.policy()?["status"].is_null())
        })
        .await?;
        self.patch(&json!({"stop": true}))?;
        self.until("the scaling to zero", |run| {
            Ok(run.get("deployment/coder")?["spec"]["replicas"] == 0
                && run.policy()?["status"]["engagement"].is_string())
        })
        .await?;
        self.patch(&json!({"stop": null, "release": self.policy()?["status"]["engagement"]}))?;
        self.until("the return of the replicas", |run| {
            let deployment = run.get("deployment/coder")?;
            Ok(deployment["spec"]["replicas"] == 3
                && deployment["metadata"]["annotations"]["nexus.dev/held-replicas"].is_null()
                && run.get("agentprofile/coder")?["status"]["heldReplicas"].is_null()
                && run.policy()?["status"]["engagement"].is_null())
        })
        .await
    }

    /// What stands there in the end, without times, random content and whatever names the run.
    fn end(&self) -> anyhow::Result<End> {
        let mut end = End::new();
        let policy = format!("nexuspolicy/{}", self.namespace);
        for what in ["tenant/acme", "agentprofile/coder", "mapping/one", "deployment/coder", &policy] {
            let object = self.get(what)?;
            let mut parts = match what {
                "deployment/coder" => json!({"replicas": object["spec"]["replicas"]}),
                _ => json!({"spec": object["spec"], "status": object["status"]}),
            };
            strip(&mut parts);
            end.insert(what.to_owned(), parts);
        }
        for secret in ["secret/coder-nexus-agent", "secret/nexus-operator-tls", "secret/nexus-token-keys"] {
            let data = self.get(secret)?["data"].take();
            let keys = data.as_object().with_context(|| format!("{secret} has no data"))?;
            end.insert(secret.to_owned(), keys.keys().cloned().collect());
        }
        let text = serde_json::to_string(&end)?.replace(&self.namespace, "NS");
        Ok(serde_json::from_str(&text)?)
    }

    async fn clear(&mut self) -> anyhow::Result<()> {
        self.operator.kill().await?;
        let namespace = &self.namespace;
        self.rig.cluster.kubectl(&["delete", "nexuspolicy", namespace])?;
        self.rig.cluster.kubectl(&["delete", "namespace", namespace, "--wait=false"])?;
        let kinds = "tenants,agentprofiles,mappings";
        self.rig.cluster.kubectl(&["delete", kinds, "--all", "-n", namespace, "--wait=false"])?;
        Ok(())
    }
}

fn objects(namespace: &str) -> Value {
    let meta = |name: &str| json!({"name": name, "namespace": namespace});
    let list = json!([
        {"apiVersion": "v1", "kind": "Secret", "metadata": meta("webhooks"), "stringData": {"github": "s3cr3t"}},
        {"apiVersion": "nexus.dev/v1alpha1", "kind": "Tenant", "metadata": meta("acme"), "spec": {
            "sources": [{"name": "github", "provider": "github", "secretRef": {"name": "webhooks", "key": "github"}}],
        }},
        {"apiVersion": "nexus.dev/v1alpha1", "kind": "AgentProfile", "metadata": meta("coder"), "spec": {
            "tenant": "acme", "workloadRef": {"kind": "Deployment", "name": "coder"},
        }},
        {"apiVersion": "nexus.dev/v1alpha1", "kind": "Mapping", "metadata": meta("one"), "spec": {
            "tenant": "acme", "clickupListId": "901", "slackChannelId": "C024BE91L",
        }},
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta("coder"), "spec": {
            "replicas": 3, "selector": {"matchLabels": {"app": "coder"}},
            "template": {"metadata": {"labels": {"app": "coder"}}, "spec": {"containers": [{"name": "coder", "image": "coder"}]}},
        }},
        {"apiVersion": "nexus.dev/v1alpha1", "kind": "NexusPolicy", "metadata": {"name": namespace}, "spec": {
            "targets": {"tenants": [{"namespace": namespace, "name": "acme"}]},
        }},
    ]);
    json!({"apiVersion": "v1", "kind": "List", "items": list})
}

/// Takes out what differs from run to run.
pub(super) fn strip(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for key in ["lastTransitionTime", "engagedAt", "release"] {
                map.remove(key);
            }
            map.values_mut().for_each(strip);
        }
        Value::Array(list) => list.iter_mut().for_each(strip),
        _ => {}
    }
}
