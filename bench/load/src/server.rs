//! A server as a child process, over folders of its own: Nexus or the floor.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use anyhow::{Context as _, ensure};
use hyper::Method;
use serde::Serialize;
use tempfile::TempDir;
use tokio::process::Command;

use crate::args::{Common, Transport};
use crate::body::agent_name;
use crate::child::Child;
use crate::folder::{self, Credentials, STRANGER, TENANT};
use crate::http::Conn;
use crate::{load, machine};

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
        let command = match kind {
            Kind::Nexus => nexus(common, home.path(), [ingest, gateway, admin])?,
            Kind::Floor => floor(home.path(), ingest, grpc)?,
        };
        let mut child = Child::start(kind.name(), command, home.path())?;
        child.ready(admin).await?;
        let pid = child.pid;
        Ok(Self { kind, child, pid, ingest, gateway, grpc, admin, agents: common.agents, home })
    }

    /// Where agents connect.
    pub fn gateway(&self, transport: Transport) -> SocketAddr {
        if transport == Transport::Grpc { self.grpc } else { self.gateway }
    }

    /// Fails with the end of its log if the process has ended.
    pub fn alive(&mut self) -> anyhow::Result<()> {
        self.child.alive()
    }

    /// The last lines of its log.
    pub fn log(&self) -> String {
        self.child.log()
    }

    /// Who posts to it.
    pub fn poster(&self, common: &Common) -> anyhow::Result<load::Poster> {
        load::Poster::new(self.ingest, common)
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
        token(conn, id.trim(), secret.trim()).await.with_context(|| format!("no token for {agent}"))
    }

    /// Ends it as kill -9 does, and waits until it is gone.
    pub async fn end(self) -> anyhow::Result<()> {
        self.child.end().await
    }
}

/// Signs in with a client secret.
pub async fn token(conn: &mut Conn, id: &str, secret: &str) -> anyhow::Result<String> {
    let pairs = [("grant_type", "client_credentials"), ("client_id", id), ("client_secret", secret)];
    let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    let headers = [("content-type", "application/x-www-form-urlencoded")];
    let (status, answer) = conn.send(Method::POST, "/oauth/token", &headers, form.into()).await?;
    ensure!(status.is_success(), "{status} {}", String::from_utf8_lossy(&answer));
    let answer: serde_json::Value = serde_json::from_slice(&answer)?;
    Ok(answer["access_token"].as_str().context("an answer without access_token")?.to_owned())
}

/// Fails where there is no such program.
pub fn ensure_binary(nexus: &Path) -> anyhow::Result<()> {
    ensure!(
        nexus.is_file(),
        "{} is not there: `cargo build --release -p nexus`, or name the binary with --nexus",
        nexus.display()
    );
    Ok(())
}

fn nexus(common: &Common, home: &Path, [ingest, gateway, admin]: [SocketAddr; 3]) -> anyhow::Result<Command> {
    ensure_binary(&common.nexus)?;
    let folder = home.join("folder");
    fs::create_dir(&folder)?;
    folder::write(&folder, common.agents, Credentials::Made)?;
    let mut command = Command::new(&common.nexus);
    command.arg("dev").arg(folder).arg("--data").arg(home.join("data"));
    command.args(["--ingest", &ingest.to_string(), "--gateway", &gateway.to_string()]);
    // So that no token expires meanwhile.
    command.args(["--admin", &admin.to_string(), "--token-lifetime", "24h"]);
    Ok(command)
}

fn floor(home: &Path, listen: SocketAddr, grpc: SocketAddr) -> anyhow::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(["floor", "--listen", &listen.to_string(), "--grpc", &grpc.to_string(), "--data"])
        .arg(home.join("data"));
    Ok(command)
}

/// Addresses that are free now; held together, so that they differ.
pub fn free_addresses<const N: usize>() -> anyhow::Result<[SocketAddr; N]> {
    let bind = |_| TcpListener::bind("127.0.0.1:0").context("no free port");
    let listeners: Vec<_> = (0..N).map(bind).collect::<anyhow::Result<_>>()?;
    let addresses: Vec<_> = listeners.iter().map(TcpListener::local_addr).collect::<Result<_, _>>()?;
    addresses.try_into().ok().context("as many addresses as listeners")
}
