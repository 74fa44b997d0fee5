//! A control plane with Nexus's definitions, and an operator that can be killed.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use nexus_e2e::cluster::Cluster;
use nexus_e2e::program;
use serde_json::Value;
use tokio::process::Child;

/// How long anything may take to come right.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The program under test.
pub(crate) fn nexus() -> &'static PathBuf {
    static NEXUS: OnceLock<PathBuf> = OnceLock::new();
    NEXUS.get_or_init(|| program::locate(None).unwrap())
}

/// A control plane.
pub(crate) struct Rig {
    pub(crate) cluster: Cluster,
    pub(crate) dir: tempfile::TempDir,
}

impl Rig {
    /// One of its own, with the definitions.
    pub(crate) fn start() -> Self {
        let cluster = Cluster::own().unwrap();
        cluster.install_definitions().unwrap();
        Self { cluster, dir: tempfile::tempdir().unwrap() }
    }

    /// Runs kubectl, which must succeed.
    pub(crate) fn say(&self, words: &[&str]) -> String {
        self.cluster.kubectl(words).unwrap()
    }

    /// An object as it is; null if it is not there.
    pub(crate) fn get(&self, namespace: &str, what: &str) -> Value {
        self.cluster.get(namespace, what).unwrap()
    }

    /// Starts an operator whose own namespace this is.
    pub(crate) fn operator(&self, namespace: &str, kubeconfig: PathBuf) -> Child {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.dir.path().join(format!("operator-{namespace}.log")))
            .unwrap();
        let mut command = program::mortal(nexus(), &[], &[("KUBECONFIG", kubeconfig)]);
        command.args([
            "operator",
            "--namespace",
            namespace,
            "--listen",
            "127.0.0.1:0",
            "--admin",
            "127.0.0.1:0",
        ]);
        command.stdout(Stdio::from(log.try_clone().unwrap())).stderr(Stdio::from(log));
        command.spawn().unwrap()
    }

    /// What the operator of a namespace said.
    pub(crate) fn said(&self, namespace: &str) -> String {
        std::fs::read_to_string(self.dir.path().join(format!("operator-{namespace}.log"))).unwrap_or_default()
    }
}

/// Waits until something holds; `said` is shown where it does not.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool, said: impl Fn() -> String) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < PATIENCE, "waited in vain: {what} {}", said());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
