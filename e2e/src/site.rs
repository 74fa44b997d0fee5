//! `nexus dev` over folders of its own.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail, ensure};
use serde_json::Value;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use crate::doors::Doors;
use crate::ledger::AGENTS;
use crate::program::{NO_SETPRIV, mortal};
use crate::webhook::{Provider, SECRET, TENANTS};

/// The longest that any condition is waited for.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// How often a condition is looked at.
pub const LOOK: Duration = Duration::from_millis(10);

/// Where the process works and listens.
#[derive(Debug)]
pub struct Site {
    nexus: PathBuf,
    /// The data folder.
    pub data: PathBuf,
    folder: PathBuf,
    /// Where the process writes its log.
    pub log: PathBuf,
    admin: u16,
    /// Where it is reached.
    pub doors: Arc<Doors>,
}

impl Site {
    /// Writes the folder of custom resources; `data` has to exist.
    pub fn new(nexus: &Path, work: &Path, data: PathBuf) -> anyhow::Result<Self> {
        let folder = work.join("resources");
        write_resources(&folder)?;
        let [ingest, gateway, admin] = free_ports()?;
        let doors = Arc::new(Doors::new(vec![ingest], vec![gateway], data.join("agents"))?);
        let log = work.join("nexus.log");
        Ok(Self { nexus: nexus.to_owned(), data, folder, log, admin, doors })
    }

    /// Starts the process, with more environment, and does not wait.
    pub fn spawn(&self, environment: &[(&'static str, PathBuf)]) -> anyhow::Result<Nexus> {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(&self.log)?;
        let mut command = mortal(&self.nexus, &[], environment);
        command
            .arg("dev")
            .arg(&self.folder)
            .arg("--data")
            .arg(&self.data)
            .args(["--ingest", &self.doors.ingests[0].to_string()])
            .args(["--gateway", &self.doors.gateways[0].to_string()])
            .args(["--admin", &format!("127.0.0.1:{}", self.admin)])
            .env("NEXUS_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        Ok(Nexus(command.spawn().context(NO_SETPRIV)?))
    }

    /// Waits until the process is ready.
    pub async fn ready(&self, nexus: &mut Nexus) -> anyhow::Result<()> {
        ready(&self.doors.http, self.admin, "nexus", &self.log, nexus).await
    }

    /// Runs a verb of the command line that has to succeed.
    pub async fn cli(&self, args: &[&str]) -> anyhow::Result<Value> {
        let admin = format!("127.0.0.1:{}", self.admin);
        let mut command = Command::new(&self.nexus);
        command.args(args).args(["-o", "json", "--admin", &admin]).kill_on_drop(true);
        let output = command.output().await?;
        ensure!(
            output.status.success(),
            "`nexus {}` fails: {}",
            args.join(" "),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// Whether the log knows an event, delivered or not.
    pub async fn knows(&self, event: &str) -> anyhow::Result<bool> {
        let url = format!("http://127.0.0.1:{}/api/v1/events/{event}", self.admin);
        let answer = self.doors.http.get(url).send().await?;
        let status = answer.status();
        ensure!(status.is_success() || status == 404, "asked for {event}: {status} {}", answer.text().await?);
        Ok(status.is_success())
    }

    /// The process's metrics.
    pub async fn metrics(&self) -> anyhow::Result<String> {
        let url = format!("http://127.0.0.1:{}/metrics", self.admin);
        Ok(self.doors.http.get(url).send().await?.error_for_status()?.text().await?)
    }
}

/// Waits until something holds, so long at most; how long that took.
///
/// # Errors
/// When it does not come to hold, or cannot be looked at.
pub async fn until(
    what: &str,
    patience: Duration,
    mut holds: impl AsyncFnMut() -> anyhow::Result<bool>,
) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    while !holds().await? {
        ensure!(begun.elapsed() < patience, "waited {patience:?} in vain: {what}");
        sleep(LOOK * 2).await;
    }
    Ok(begun.elapsed())
}

/// Waits until a process is ready, as its admin port tells.
pub(crate) async fn ready(
    http: &reqwest::Client,
    admin: u16,
    name: &str,
    log: &Path,
    nexus: &mut Nexus,
) -> anyhow::Result<()> {
    let url = format!("http://127.0.0.1:{admin}/readyz");
    let deadline = Instant::now() + PATIENCE;
    loop {
        if http.get(&url).send().await.is_ok_and(|answer| answer.status().is_success()) {
            return Ok(());
        }
        if let Some(status) = nexus.ended()? {
            bail!("{name} does not start over its data: {status}; its log: {}", log.display());
        }
        ensure!(Instant::now() < deadline, "{name} is not ready after {PATIENCE:?}: {}", log.display());
        sleep(LOOK).await;
    }
}

/// The process. Dropping it kills it.
#[derive(Debug)]
pub struct Nexus(pub(crate) Child);

impl Nexus {
    /// kill -9.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        self.0.kill().await.context("cannot kill nexus")
    }

    /// SIGTERM, and its end.
    pub async fn drain(&mut self) -> anyhow::Result<ExitStatus> {
        self.signal(rustix::process::Signal::TERM)?;
        let ended = tokio::time::timeout(PATIENCE, self.0.wait()).await;
        ended.context("nexus does not end when asked")?.context("cannot wait for nexus")
    }

    /// Sends a signal.
    pub fn signal(&self, signal: rustix::process::Signal) -> anyhow::Result<()> {
        let id = self.0.id().and_then(|id| rustix::process::Pid::from_raw(i32::try_from(id).ok()?));
        Ok(rustix::process::kill_process(id.context("nexus has ended")?, signal)?)
    }

    /// Its exit status, if it ended.
    pub fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self.0.try_wait()?)
    }
}

/// Writes the folder of custom resources.
pub fn write_resources(folder: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder)?;
    for tenant in TENANTS {
        std::fs::write(folder.join(format!("{tenant}.yaml")), resources(tenant))?;
    }
    let policy = "apiVersion: nexus.dev/v1alpha1\nkind: NexusPolicy\nmetadata: {name: stop-all}\nspec: {}\n";
    Ok(std::fs::write(folder.join("policy.yaml"), policy)?)
}

/// A tenant with its sources and agents.
fn resources(tenant: &str) -> String {
    let key = "secretRef: {name: webhooks, key: key}";
    let source = |provider: Provider| {
        let name = provider.name();
        format!("    - {{name: {name}, provider: {name}, {key}}}\n")
    };
    let sources: String = Provider::ALL.map(source).concat();
    let agent = |name: &str| {
        format!(
            "---\napiVersion: nexus.dev/v1alpha1\nkind: AgentProfile\nmetadata: {{name: {name}, namespace: {tenant}}}\n\
             spec:\n  tenant: {tenant}\n  maxInFlight: 64\n  \
             subscriptions: [{{kinds: [NewComment, NewMessage]}}]\n"
        )
    };
    let agents: String = AGENTS.map(agent).concat();
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: webhooks, namespace: {tenant}}}\n\
         stringData: {{key: {SECRET}}}\n---\napiVersion: nexus.dev/v1alpha1\nkind: Tenant\n\
         metadata: {{name: {tenant}, namespace: {tenant}}}\nspec:\n  sources:\n{sources}{agents}"
    )
}

/// Below what kernels give to outgoing connections, which would take a port between its choice and its use; and below the
/// node ports of Kubernetes.
const PORTS: std::ops::Range<u16> = 20_000..30_000;

/// Ports that are free now; held together, so that they differ.
pub fn free_ports<const N: usize>() -> anyhow::Result<[u16; N]> {
    const ATTEMPTS: usize = 1000;
    let chosen = (0..ATTEMPTS).map(|_| rand::random_range(PORTS));
    let free = chosen.filter_map(|port| Some((port, TcpListener::bind(("127.0.0.1", port)).ok()?)));
    let found: Vec<(u16, TcpListener)> = free.take(N).collect();
    let ports: Vec<u16> = found.iter().map(|(port, _)| *port).collect();
    <[u16; N]>::try_from(ports).map_err(|found| anyhow!("only {} of {N} ports are free", found.len()))
}
