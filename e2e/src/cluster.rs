//! A Kubernetes API server for tests: a control plane of their own, or the cluster that `KUBECONFIG` names.
//!
//! The control plane is started once in a process and ends with it, however it ends: the script that holds it waits on a
//! pipe of which this process has the other end. Any number of processes can do so beside each other. Each test takes a
//! [`Namespace`] of its own, whose objects are shown when the test fails.

mod orders;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context as _, bail, ensure};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use rand::RngExt as _;
use serde_json::Value;
use serde_json::json;

/// Who applies things for tests.
const FIELD_MANAGER: &str = "nexus-e2e";

/// All kinds of Nexus's own.
const KINDS: &str = "tenants,mappings,agentprofiles,nexuspolicies";

/// An API server, and the kubectl that goes with it.
#[derive(Debug)]
pub struct Cluster {
    kubeconfig: PathBuf,
    kubectl: PathBuf,
    /// Holds the control plane; none where the cluster is somebody else's.
    control_plane: Option<Child>,
    definitions: OnceLock<Result<(), String>>,
}

impl Cluster {
    /// The cluster of this process: the one that `KUBECONFIG` names, else a control plane that is started now.
    ///
    /// # Errors
    /// When it cannot be started; says what is missing and what installs it.
    pub fn shared() -> anyhow::Result<&'static Self> {
        static SHARED: OnceLock<Result<Cluster, String>> = OnceLock::new();
        let shared = SHARED.get_or_init(|| Self::find().map_err(|error| format!("{error:#}")));
        shared.as_ref().map_err(|error| anyhow::anyhow!("no cluster for this test: {error}"))
    }

    fn find() -> anyhow::Result<Self> {
        let kubectl = programs()?.join("kubectl");
        let definitions = OnceLock::new();
        if let Some(kubeconfig) = std::env::var_os("KUBECONFIG").filter(|path| !path.is_empty()) {
            return Ok(Self { kubeconfig: kubeconfig.into(), kubectl, control_plane: None, definitions });
        }
        let (control_plane, kubeconfig) = start(&["--control-plane-only"])?;
        Ok(Self { kubeconfig, kubectl, control_plane: Some(control_plane), definitions })
    }

    /// A control plane of its own, for tests that would see what others do.
    ///
    /// # Errors
    /// When it cannot be started; says what is missing and what installs it.
    pub fn own() -> anyhow::Result<Self> {
        Self::held(&["--control-plane-only"])
    }

    /// A node of its own, with pods, Services and DNS, which needs root. There is one at a time.
    ///
    /// # Errors
    /// As [`Cluster::own`].
    pub fn node() -> anyhow::Result<Self> {
        Self::held(&[])
    }

    fn held(words: &[&str]) -> anyhow::Result<Self> {
        let kubectl = programs()?.join("kubectl");
        let (control_plane, kubeconfig) = start(words)?;
        Ok(Self { kubeconfig, kubectl, control_plane: Some(control_plane), definitions: OnceLock::new() })
    }

    /// The file by which it is reached, as the admin.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// The kubectl that goes with it.
    #[must_use]
    pub fn kubectl_path(&self) -> &Path {
        &self.kubectl
    }

    /// A client, as the admin. A test makes its own: connections end with the runtime that made them.
    ///
    /// # Errors
    /// When the kubeconfig cannot be used.
    pub async fn client(&self) -> anyhow::Result<Client> {
        let kubeconfig = Kubeconfig::read_from(&self.kubeconfig)?;
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        Ok(Client::try_from(config)?)
    }

    /// Where the API server listens.
    ///
    /// # Errors
    /// When the kubeconfig does not say so, or its host has no address.
    pub fn address(&self) -> anyhow::Result<SocketAddr> {
        let url = self.url()?;
        let (host, port) = host_and_port(&url)?;
        let mut addresses =
            (host, port).to_socket_addrs().with_context(|| format!("{url} has no address"))?;
        addresses.next().with_context(|| format!("{url} has no address"))
    }

    fn url(&self) -> anyhow::Result<String> {
        let columns = "jsonpath={.clusters[0].cluster.server}";
        self.kubectl(&["config", "view", "--minify", "-o", columns])
    }

    /// Writes a kubeconfig by which the bearer of a token reaches the API server through a port of this machine.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn lead(&self, port: u16, token: &str, kubeconfig: &Path) -> anyhow::Result<()> {
        let columns = "jsonpath={.clusters[0].cluster.certificate-authority-data}";
        let authority = self.kubectl(&["config", "view", "--minify", "--raw", "--flatten", "-o", columns])?;
        let url = self.url()?;
        let written = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "led",
            "contexts": [{"name": "led", "context": {"cluster": "led", "user": "led"}}],
            "users": [{"name": "led", "user": {"token": token}}],
            "clusters": [{"name": "led", "cluster": {
                "server": format!("https://127.0.0.1:{port}"),
                "certificate-authority-data": authority,
                "tls-server-name": host_and_port(&url)?.0,
            }}],
        });
        Ok(std::fs::write(kubeconfig, written.to_string())?)
    }

    /// Runs kubectl and gives what it prints.
    ///
    /// # Errors
    /// When it fails; holds what it says.
    pub fn kubectl(&self, arguments: &[&str]) -> anyhow::Result<String> {
        Ok(self.kubectl_on(arguments, "")?.0)
    }

    /// Runs kubectl on an input, and gives what it prints and what it says besides, such as warnings of the API server.
    ///
    /// # Errors
    /// When it fails; holds what it says.
    pub fn kubectl_on(&self, arguments: &[&str], input: &str) -> anyhow::Result<(String, String)> {
        let mut kubectl = Command::new(&self.kubectl)
            .env("KUBECONFIG", &self.kubeconfig)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot run {}", self.kubectl.display()))?;
        let mut pipe = kubectl.stdin.take().context("a pipe without an end")?;
        // It reads all of its input before it says anything; one that ended before says why.
        let _ = pipe.write_all(input.as_bytes());
        drop(pipe);
        let output = kubectl.wait_with_output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "`kubectl {}`: {}", arguments.join(" "), said.trim());
        Ok((String::from_utf8_lossy(&output.stdout).into_owned(), said))
    }

    /// An object as it is; null if it is not there.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub fn get(&self, namespace: &str, what: &str) -> anyhow::Result<Value> {
        let text = self.kubectl(&["get", what, "-n", namespace, "-o", "json", "--ignore-not-found"])?;
        Ok(if text.trim().is_empty() { Value::Null } else { serde_json::from_str(&text)? })
    }

    /// Applies an object, or a list of them, as a reconciler would that takes them from a repository.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub fn apply(&self, object: &Value) -> anyhow::Result<()> {
        let file = tempfile::NamedTempFile::new()?;
        std::fs::write(file.path(), object.to_string())?;
        let path = file.path().to_str().context("a path that is no UTF-8")?;
        self.kubectl(&["apply", "--server-side", "--field-manager", "git", "-f", path])?;
        Ok(())
    }

    /// Puts the repository's definitions of custom resources there, once, and waits until they are served.
    ///
    /// # Errors
    /// When they are refused, or when the cluster has definitions that are not of these tests.
    pub fn install_definitions(&self) -> anyhow::Result<()> {
        let installed = self.definitions.get_or_init(|| self.install().map_err(|error| format!("{error:#}")));
        installed.as_ref().map_err(|error| anyhow::anyhow!("{error}")).copied()
    }

    fn install(&self) -> anyhow::Result<()> {
        let columns = "jsonpath={range .items[?(@.spec.group==\"nexus.dev\")]}{.metadata.managedFields[*].manager}{\" \"}{end}";
        let managers = self.kubectl(&["get", "crd", "--show-managed-fields", "-o", columns])?;
        // The API server itself writes their status.
        let strange = |manager: &&str| ![FIELD_MANAGER, "kube-apiserver"].contains(manager);
        if let Some(manager) = managers.split_whitespace().find(strange) {
            bail!(
                "the cluster that KUBECONFIG names has Nexus's definitions from `{manager}`, and tests would change \
                 them: name a cluster without Nexus, or none"
            );
        }
        let folder = repository().join("config/crd");
        let folder = folder.to_str().context("the repository's path is no UTF-8")?;
        let applied = self.kubectl(&[
            "apply",
            "--server-side",
            "--field-manager",
            FIELD_MANAGER,
            "-o",
            "name",
            "-k",
            folder,
        ])?;
        let mut wait = vec!["wait", "--for=condition=Established", "--timeout=30s"];
        wait.extend(applied.lines());
        self.kubectl(&wait)?;
        Ok(())
    }

    /// Makes a namespace for one test.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub fn namespace(&'static self, test: &str) -> anyhow::Result<Namespace> {
        let name = format!("e2e-{test}-{:06x}", rand::rng().random_range(0..0x100_0000));
        self.kubectl(&["create", "namespace", &name])?;
        Ok(Namespace { cluster: self, name })
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Statics are not dropped: there the end of the process closes the pipe.
        if let Some(held) = &mut self.control_plane {
            drop(held.stdin.take());
            let _ = held.wait();
        }
    }
}

/// A namespace of one test. When the test fails, what lies in it is shown; then it is deleted.
#[derive(Debug)]
pub struct Namespace {
    cluster: &'static Cluster,
    name: String,
}

impl Namespace {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    #[expect(clippy::print_stderr, reason = "a failed test shows it beside its own report")]
    fn show(&self) {
        for what in [KINDS, "events", "deployments,pods"] {
            match self.cluster.kubectl(&["get", what, "-n", &self.name, "-o", "yaml", "--ignore-not-found"]) {
                Ok(objects) => eprintln!("== {what} of {}:\n{objects}", self.name),
                Err(error) => eprintln!("== {what} of {}: {error:#}", self.name),
            }
        }
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.show();
        }
        let _ = self.cluster.kubectl(&["delete", "namespace", &self.name, "--wait=false"]);
    }
}

/// The parts of an API server's address.
fn host_and_port(url: &str) -> anyhow::Result<(&str, u16)> {
    let authority = url.strip_prefix("https://").with_context(|| format!("{url} is no API server"))?;
    let authority = authority.split('/').next().unwrap_or(authority);
    match authority.rsplit_once(':') {
        Some((host, port)) => Ok((host, port.parse().with_context(|| format!("the port of {url}"))?)),
        None => Ok((authority, 443)),
    }
}

/// The folder of the repository.
#[must_use]
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// A script of `e2e/cluster`.
pub(crate) fn script(name: &str) -> Command {
    Command::new(repository().join("e2e/cluster").join(name))
}

/// The folder with the programs of Kubernetes; a test builds none, as that takes a quarter of an hour.
fn programs() -> anyhow::Result<PathBuf> {
    let output = script("build").arg("--check").output().context("cannot run e2e/cluster/build")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}", said.trim_start_matches("== ").trim());
    Ok(String::from_utf8_lossy(&output.stdout).trim().into())
}

/// Starts a cluster that lives as long as the pipe to it.
fn start(words: &[&str]) -> anyhow::Result<(Child, PathBuf)> {
    let mut held = script("up")
        .args(words)
        .arg("--hold")
        .env_remove("NEXUS_CLUSTER_DIR")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run e2e/cluster/up")?;
    let output = held.stdout.take().context("a pipe without an end")?;
    let mut lines = BufReader::new(output).lines();
    let kubeconfig = lines.find_map(|line| line.ok()?.strip_prefix("KUBECONFIG=").map(PathBuf::from));
    match kubeconfig {
        Some(kubeconfig) => Ok((held, kubeconfig)),
        None => bail!("e2e/cluster/up fails ({}); what it said stands above", held.wait()?),
    }
}
