//! `nexus dev` over folders of its own.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use crate::ledger::AGENTS;
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
    ingest: u16,
    gateway: u16,
    admin: u16,
    /// For webhooks, tokens and the admin API.
    pub http: reqwest::Client,
}

impl Site {
    /// Writes the folder of custom resources; `data` has to exist.
    pub fn new(nexus: &Path, work: &Path, data: PathBuf) -> anyhow::Result<Self> {
        let folder = work.join("resources");
        std::fs::create_dir_all(&folder)?;
        for tenant in TENANTS {
            std::fs::write(folder.join(format!("{tenant}.yaml")), resources(tenant))?;
        }
        let policy =
            "apiVersion: nexus.dev/v1alpha1\nkind: NexusPolicy\nmetadata: {name: stop-all}\nspec: {}\n";
        std::fs::write(folder.join("policy.yaml"), policy)?;
        let [ingest, gateway, admin] = free_ports()?;
        // A connection that rests is closed by the server after a while, perhaps just as a request goes out on it.
        let http = reqwest::Client::builder();
        let http = http.timeout(Duration::from_secs(20)).pool_max_idle_per_host(0).build()?;
        let log = work.join("nexus.log");
        Ok(Self { nexus: nexus.to_owned(), data, folder, log, ingest, gateway, admin, http })
    }

    /// Starts the process, with more environment, and does not wait.
    pub fn spawn(&self, environment: &[(&'static str, PathBuf)]) -> anyhow::Result<Nexus> {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(&self.log)?;
        let mut command = Command::new(&self.nexus);
        command
            .arg("dev")
            .arg(&self.folder)
            .arg("--data")
            .arg(&self.data)
            .args(["--ingest", &format!("127.0.0.1:{}", self.ingest)])
            .args(["--gateway", &format!("127.0.0.1:{}", self.gateway)])
            .args(["--admin", &format!("127.0.0.1:{}", self.admin)])
            .env("NEXUS_LOG", "warn")
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true);
        let child = command.spawn().with_context(|| format!("cannot start {}", self.nexus.display()))?;
        Ok(Nexus(child))
    }

    /// Waits until the process is ready.
    pub async fn ready(&self, nexus: &mut Nexus) -> anyhow::Result<()> {
        let url = format!("http://127.0.0.1:{}/readyz", self.admin);
        let deadline = Instant::now() + PATIENCE;
        loop {
            if self.http.get(&url).send().await.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(());
            }
            if let Some(status) = nexus.ended()? {
                bail!("nexus does not start over its data: {status}; its log: {}", self.log.display());
            }
            ensure!(
                Instant::now() < deadline,
                "nexus is not ready after {PATIENCE:?}: {}",
                self.log.display()
            );
            sleep(LOOK).await;
        }
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
        let answer = self.http.get(url).send().await?;
        let status = answer.status();
        ensure!(status.is_success() || status == 404, "asked for {event}: {status} {}", answer.text().await?);
        Ok(status.is_success())
    }

    /// The process's metrics.
    pub async fn metrics(&self) -> anyhow::Result<String> {
        let url = format!("http://127.0.0.1:{}/metrics", self.admin);
        Ok(self.http.get(url).send().await?.error_for_status()?.text().await?)
    }

    /// An address to post to.
    pub fn hook(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.ingest)
    }

    /// An access token of an agent.
    pub async fn token(&self, tenant: &str, agent: &str) -> anyhow::Result<String> {
        let credentials = self.data.join(format!("agents/{tenant}/{agent}-nexus-agent"));
        let read = |name| std::fs::read_to_string(credentials.join(name));
        let (id, secret) = (read("client-id")?, read("client-secret")?);
        let form = [("grant_type", "client_credentials"), ("client_id", &id), ("client_secret", &secret)];
        let url = format!("http://127.0.0.1:{}/oauth/token", self.gateway);
        let answer = self.http.post(url).form(&form).send().await?;
        let status = answer.status();
        let answer: Value = answer.json().await?;
        let token = answer["access_token"].as_str().map(str::to_owned);
        token.with_context(|| format!("no token, but {status}: {}", answer["error"]))
    }

    /// The credentials of an agent, whole.
    pub fn credentials(&self, tenant: &str, agent: &str) -> anyhow::Result<String> {
        let credentials = self.data.join(format!("agents/{tenant}/{agent}-nexus-agent"));
        let read = |name| std::fs::read_to_string(credentials.join(name));
        Ok(format!("{}:{}", read("client-id")?, read("client-secret")?))
    }

    /// Where agents connect.
    pub fn socket(&self) -> String {
        format!("ws://127.0.0.1:{}/v1/connect", self.gateway)
    }
}

/// The process. Dropping it kills it.
#[derive(Debug)]
pub struct Nexus(Child);

impl Nexus {
    /// kill -9.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        self.0.kill().await.context("cannot kill nexus")
    }

    /// Its exit status, if it ended.
    pub fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self.0.try_wait()?)
    }
}

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

/// Three ports that are free now; held together, so that they differ.
fn free_ports() -> anyhow::Result<[u16; 3]> {
    let bind = || TcpListener::bind("127.0.0.1:0");
    let listeners = [bind()?, bind()?, bind()?];
    let mut ports = [0; 3];
    for (port, listener) in ports.iter_mut().zip(&listeners) {
        *port = listener.local_addr()?.port();
    }
    Ok(ports)
}
