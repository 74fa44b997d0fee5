//! A server as a child process, over folders of its own: Nexus or the floor.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use hyper::Method;
use serde::Serialize;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use crate::args::{Common, Transport};
use crate::body::agent_name;
use crate::folder::{self, STRANGER, TENANT};
use crate::http::Conn;
use crate::{load, machine};

/// The longest that a start may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Nexus,
    Floor,
}

impl Kind {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nexus => "nexus",
            Self::Floor => "floor",
        }
    }
}

/// A server that runs. Dropping it ends the process and removes its folders.
pub struct Server {
    kind: Kind,
    child: Child,
    /// Its process.
    pub pid: u32,
    /// Where webhooks go.
    pub ingest: SocketAddr,
    /// Where agents connect by WebSocket.
    gateway: SocketAddr,
    /// Where agents connect by gRPC: the same place, but for the floor.
    grpc: SocketAddr,
    /// Where the admin asks; the floor answers `/readyz` there only.
    pub admin: SocketAddr,
    agents: u32,
    home: TempDir,
}

impl Server {
    /// Starts it and waits until it is ready.
    pub async fn start(kind: Kind, common: &Common) -> anyhow::Result<Self> {
        let home = machine::scratch(common.data.as_ref())?;
        let [ingest, gateway, admin] = free_addresses()?;
        let [gateway, grpc, admin] =
            if kind == Kind::Nexus { [gateway, gateway, admin] } else { [ingest, gateway, ingest] };
        let log = fs::File::create(log_of(home.path()))?;
        let mut child = match kind {
            Kind::Nexus => nexus(common, home.path(), [ingest, gateway, admin])?,
            Kind::Floor => floor(home.path(), ingest, grpc)?,
        };
        let child = child.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).kill_on_drop(true).spawn();
        let child = child.with_context(|| format!("cannot start {}", kind.name()))?;
        let pid = child.id().context("the process ended at once")?;
        let mut server = Self { kind, child, pid, ingest, gateway, grpc, admin, agents: common.agents, home };
        server.ready().await?;
        Ok(server)
    }

    /// Where agents connect.
    pub fn gateway(&self, transport: Transport) -> SocketAddr {
        if transport == Transport::Grpc { self.grpc } else { self.gateway }
    }

    async fn ready(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut admin = Conn::new(self.admin);
            let answer = admin.send(Method::GET, "/readyz", &[], Bytes::new()).await;
            if answer.is_ok_and(|(status, _)| status.is_success()) {
                return Ok(());
            }
            self.alive()?;
            ensure!(
                Instant::now() < deadline,
                "{} is not ready after {PATIENCE:?}:\n{}",
                self.kind.name(),
                self.log()
            );
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Fails with the end of its log if the process has ended.
    pub fn alive(&mut self) -> anyhow::Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("{} ended with {status}:\n{}", self.kind.name(), self.log());
        }
        Ok(())
    }

    /// The last lines of its log.
    pub fn log(&self) -> String {
        let text = fs::read_to_string(log_of(self.home.path())).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    /// Who posts to it.
    pub fn poster(&self, common: &Common) -> anyhow::Result<load::Poster> {
        load::Poster::new(self.ingest, &format!("/hooks/{TENANT}/{TENANT}/github"), common)
    }

    /// An access token of each agent; the floor asks for none.
    pub async fn tokens(&self) -> anyhow::Result<Vec<String>> {
        let mut tokens = Vec::new();
        let mut conn = Conn::new(self.gateway);
        for agent in 0..u64::from(self.agents) {
            tokens.push(match self.kind {
                Kind::Floor => "none".to_owned(),
                Kind::Nexus => self.token(&mut conn, TENANT, &agent_name(agent)).await?,
            });
        }
        Ok(tokens)
    }

    /// An access token of the agent of another tenant.
    pub async fn stranger(&self) -> anyhow::Result<String> {
        self.token(&mut Conn::new(self.gateway), STRANGER, STRANGER).await
    }

    async fn token(&self, conn: &mut Conn, tenant: &str, agent: &str) -> anyhow::Result<String> {
        let folder = self.home.path().join(format!("data/agents/{tenant}/{agent}-nexus-agent"));
        let secret = |name: &str| {
            let path = folder.join(name);
            fs::read_to_string(&path).with_context(|| format!("no credentials in {}", path.display()))
        };
        let (id, secret) = (secret("client-id")?, secret("client-secret")?);
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "client_credentials");
        form.append_pair("client_id", id.trim()).append_pair("client_secret", secret.trim());
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        let (status, answer) =
            conn.send(Method::POST, "/oauth/token", &headers, form.finish().into()).await?;
        ensure!(status.is_success(), "no token for {agent}: {status} {}", String::from_utf8_lossy(&answer));
        let answer: serde_json::Value = serde_json::from_slice(&answer)?;
        Ok(answer["access_token"].as_str().context("an answer without access_token")?.to_owned())
    }

    /// Ends it as kill -9 does, and waits until it is gone.
    pub async fn end(mut self) -> anyhow::Result<()> {
        self.child.kill().await.context("cannot end the server")
    }
}

fn nexus(common: &Common, home: &Path, [ingest, gateway, admin]: [SocketAddr; 3]) -> anyhow::Result<Command> {
    ensure!(
        common.nexus.is_file(),
        "{} is not there: `cargo build --release -p nexus`, or name the binary with --nexus",
        common.nexus.display()
    );
    let folder = home.join("folder");
    fs::create_dir(&folder)?;
    folder::write(&folder, common.agents)?;
    let mut command = Command::new(&common.nexus);
    command.arg("dev").arg(folder).arg("--data").arg(home.join("data"));
    command.args(["--ingest", &ingest.to_string(), "--gateway", &gateway.to_string()]);
    command.args(["--admin", &admin.to_string()]);
    Ok(command)
}

fn floor(home: &Path, listen: SocketAddr, grpc: SocketAddr) -> anyhow::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(["floor", "--listen", &listen.to_string(), "--grpc", &grpc.to_string(), "--data"])
        .arg(home.join("data"));
    Ok(command)
}

fn log_of(home: &Path) -> PathBuf {
    home.join("log")
}

/// Three addresses that are free now; held together, so that they differ.
fn free_addresses() -> anyhow::Result<[SocketAddr; 3]> {
    let bind = || TcpListener::bind("127.0.0.1:0").context("no free port");
    let listeners = [bind()?, bind()?, bind()?];
    let [a, b, c] = listeners.each_ref().map(TcpListener::local_addr);
    Ok([a?, b?, c?])
}
