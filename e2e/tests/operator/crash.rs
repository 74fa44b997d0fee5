//! The operator killed before and after each call that changes something: the end is that of a run without a kill.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use nexus_e2e::apidoor::{Door, Moment};
use nexus_e2e::operated::condition;
use serde_json::{Value, json};
use tokio::process::Child;

use super::rig::{Rig, until};

/// Control planes at work beside each other: most of the time is spent waiting.
const LANES: usize = 3;

/// One run: objects come, a stop is ordered and released, and the operator is killed at one call.
struct Run<'r> {
    rig: &'r Rig,
    door: Door,
    kubeconfig: PathBuf,
    namespace: String,
    operator: Child,
    killed: bool,
}

impl<'r> Run<'r> {
    async fn begin(rig: &'r Rig, namespace: String, call: Option<(u64, Moment)>) -> Self {
        rig.say(&["create", "namespace", &namespace]);
        let door = Door::open(&rig.cluster).await.unwrap();
        door.arm(call);
        let kubeconfig = door.kubeconfig(rig.dir.path()).unwrap();
        let operator = rig.operator(&namespace, kubeconfig.clone());
        Self { rig, door, kubeconfig, namespace, operator, killed: false }
    }

    /// Kills the operator once it is where it was waited for, and starts another.
    async fn strike(&mut self) {
        if self.killed || !self.door.struck() {
            assert!(self.operator.try_wait().unwrap().is_none(), "{}", self.rig.said(&self.namespace));
            return;
        }
        self.operator.kill().await.unwrap();
        self.killed = true;
        self.door.arm(None);
        // It is known to be dead, so nobody has to wait until its Lease is over.
        self.rig.say(&["delete", "lease", "nexus-operator", "-n", &self.namespace, "--ignore-not-found"]);
        self.operator = self.rig.operator(&self.namespace, self.kubeconfig.clone());
    }

    async fn until(&mut self, what: &str, holds: impl Fn(&Rig, &str) -> bool) {
        let (rig, namespace) = (self.rig, self.namespace.clone());
        let said = format!("{what} in {namespace}");
        let holds = async || {
            self.strike().await;
            holds(rig, &namespace)
        };
        until(&said, holds, || rig.said(&namespace)).await;
    }

    /// The whole story, and how it ends.
    async fn play(mut self) -> (BTreeMap<String, Value>, u64, bool) {
        let namespace = self.namespace.clone();
        self.rig.cluster.apply(&objects(&namespace)).unwrap();
        self.until("credentials and conditions", |rig, namespace| {
            let accepted = |what: &str| condition(&rig.get(namespace, what), "Accepted") == "True";
            ["tenant/acme", "agentprofile/coder", "mapping/one"].into_iter().all(accepted)
                && !rig.get(namespace, "secret/coder-nexus-agent").is_null()
                && !rig.get(namespace, "secret/nexus-token-keys").is_null()
                && !rig.get(namespace, "configmap/nexus-operator-ca").is_null()
                && !rig.get(namespace, &format!("nexuspolicy/{namespace}"))["status"].is_null()
        })
        .await;
        let policy = format!("nexuspolicy/{namespace}");
        self.rig.say(&["patch", &policy, "--type", "merge", "-p", r#"{"spec":{"stop":true}}"#]);
        self.until("the scaling to zero", |rig, namespace| {
            rig.get(namespace, "deployment/coder")["spec"]["replicas"] == 0
                && rig.get(namespace, &format!("nexuspolicy/{namespace}"))["status"]["engagement"].is_string()
        })
        .await;
        let engagement =
            self.rig.get(&namespace, &policy)["status"]["engagement"].as_str().unwrap().to_owned();
        let patch = json!({"spec": {"stop": null, "release": engagement}}).to_string();
        self.rig.say(&["patch", &policy, "--type", "merge", "-p", &patch]);
        self.until("the return of the replicas", |rig, namespace| {
            let deployment = rig.get(namespace, "deployment/coder");
            deployment["spec"]["replicas"] == 3
                && deployment["metadata"]["annotations"]["nexus.dev/held-replicas"].is_null()
                && rig.get(namespace, "agentprofile/coder")["status"]["heldReplicas"].is_null()
                && rig.get(namespace, &format!("nexuspolicy/{namespace}"))["status"]["engagement"].is_null()
        })
        .await;
        let end = self.end();
        let calls = self.door.calls();
        self.operator.kill().await.unwrap();
        self.rig.say(&["delete", &policy]);
        self.rig.say(&["delete", "namespace", &namespace, "--wait=false"]);
        self.rig.say(&[
            "delete",
            "tenants,agentprofiles,mappings",
            "--all",
            "-n",
            &namespace,
            "--wait=false",
        ]);
        (end, calls, self.killed)
    }

    /// What stands there in the end, without times, random content and whatever names the run.
    fn end(&self) -> BTreeMap<String, Value> {
        let policy = format!("nexuspolicy/{}", self.namespace);
        let whats = ["tenant/acme", "agentprofile/coder", "mapping/one", "deployment/coder", &policy];
        let mut end: BTreeMap<_, _> = whats
            .map(|what| {
                let object = self.rig.get(&self.namespace, what);
                let mut parts = json!({"spec": object["spec"], "status": object["status"]});
                if what.starts_with("deployment") {
                    parts = json!({"replicas": object["spec"]["replicas"]});
                }
                strip(&mut parts);
                (what.replace(&self.namespace, "NS"), parts)
            })
            .into();
        for secret in ["secret/coder-nexus-agent", "secret/nexus-operator-tls", "secret/nexus-token-keys"] {
            let keys = self.rig.get(&self.namespace, secret)["data"]
                .as_object()
                .unwrap()
                .keys()
                .cloned()
                .collect::<Vec<_>>();
            end.insert(secret.to_owned(), json!(keys));
        }
        let text = serde_json::to_string(&end).unwrap().replace(&self.namespace, "NS");
        serde_json::from_str(&text).unwrap()
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

fn strip(value: &mut Value) {
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

#[test]
fn killed_before_and_after_each_write_it_comes_to_the_same_end() {
    let (next, ends) = (AtomicU64::new(0), std::sync::Mutex::new(Vec::new()));
    let first = Rig::start();
    // The door goes on while kubectl is waited for.
    let runtime =
        || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (clean, calls, killed) =
        runtime().block_on(async { Run::begin(&first, "clean".to_owned(), None).await.play().await });
    assert!(!killed && calls >= 12, "{calls} calls");
    let lane = |rig: &Rig| {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            // Some more than a clean run has: a way with a kill may be longer.
            let (call, moment) = (at / 2 + 1, if at % 2 == 0 { Moment::Before } else { Moment::After });
            if call > calls {
                return;
            }
            let name = format!("kill-{call}-{}", if at % 2 == 0 { "before" } else { "after" });
            let (end, _, killed) = runtime()
                .block_on(async { Run::begin(rig, name.clone(), Some((call, moment))).await.play().await });
            ends.lock().unwrap().push((name, end, killed));
        }
    };
    std::thread::scope(|scope| {
        let others = (1..LANES).map(|_| scope.spawn(|| lane(&Rig::start()))).collect::<Vec<_>>();
        lane(&first);
        others.into_iter().for_each(|other| other.join().unwrap());
    });
    let ends = ends.into_inner().unwrap();
    assert_eq!(ends.len() as u64, 2 * calls);
    for (name, end, _) in &ends {
        assert_eq!(end, &clean, "{name}");
    }
    // Writes are merged when they come late, so that the last points may not be reached.
    let reached = ends.iter().filter(|(.., killed)| *killed).count() as u64;
    assert!(reached >= 2 * calls - 8, "{reached} of {} points", 2 * calls);
    println!("{reached} kills, {calls} calls a run");
}
