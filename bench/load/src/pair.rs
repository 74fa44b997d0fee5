//! Two processes around a Redis of their own: `nexus ingest` and `nexus gateway`, or the two halves of the floor.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use nexus_core::id::{AgentId, TenantKey};
use serde::Serialize;
use tempfile::TempDir;
use tokio::process::Command;
use tokio::task::JoinSet;

use crate::args::{Common, Fsync};
use crate::body::agent_name;
use crate::child::Child;
use crate::folder::{self, CLIENT_SECRET, Credentials, TENANT};
use crate::http::Conn;
use crate::machine;
use crate::redis::Redis;
use crate::server::{Kind, ensure_binary, free_addresses, token};

/// Connections that ask for tokens.
const ASKERS: u32 = 16;

/// Bytes of an event as it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Sizes {
    /// What an agent is sent.
    pub event: u64,
    /// What is kept beside that.
    pub rest: u64,
}

/// The processes. Dropping it ends them and removes their folders.
pub struct Pair {
    kind: Kind,
    ingest_process: Child,
    gateway_process: Child,
    pub redis: Redis,
    /// Where webhooks go.
    pub ingest: SocketAddr,
    /// Where agents connect.
    pub gateway: SocketAddr,
    agents: u32,
    _home: TempDir,
}

impl Pair {
    /// Starts them and waits until they are ready. The floor keeps events of these sizes.
    pub async fn start(kind: Kind, common: &Common, fsync: Fsync, sizes: Sizes) -> anyhow::Result<Self> {
        let home = machine::scratch(common.data.as_ref())?;
        let [redis, ingest, gateway, ingest_admin, gateway_admin] = free_addresses()?;
        let redis = Redis::start(home.path(), redis, fsync).await?;
        let (ingest_command, gateway_command, admins) = match kind {
            Kind::Nexus => {
                ensure_binary(&common.nexus)?;
                let folder = home.path().join("folder");
                fs::create_dir(&folder)?;
                folder::write(&folder, common.agents, Credentials::Given)?;
                let role =
                    |name, listen, admin| role(name, common, home.path(), listen, admin, redis.address);
                (
                    role("ingest", ingest, ingest_admin),
                    role("gateway", gateway, gateway_admin),
                    [ingest_admin, gateway_admin],
                )
            }
            Kind::Floor => {
                let (ingest_command, gateway_command) = floor(ingest, gateway, redis.address, sizes)?;
                (ingest_command, gateway_command, [ingest, gateway])
            }
        };
        // The gateway first: the floor's makes the stream's group.
        let mut gateway_process = Child::start("gateway", gateway_command, home.path())?;
        gateway_process.ready(admins[1]).await?;
        let mut ingest_process = Child::start("ingest", ingest_command, home.path())?;
        ingest_process.ready(admins[0]).await?;
        let agents = common.agents;
        Ok(Self { kind, ingest_process, gateway_process, redis, ingest, gateway, agents, _home: home })
    }

    /// The processes' numbers: ingest, gateway, Redis.
    pub fn pids(&self) -> [u32; 3] {
        [self.ingest_process.pid, self.gateway_process.pid, self.redis.child.pid]
    }

    /// An access token of each agent; the floor asks for none.
    pub async fn tokens(&self) -> anyhow::Result<Vec<String>> {
        if self.kind == Kind::Floor {
            return Ok(vec!["none".to_owned(); self.agents as usize]);
        }
        tokens(self.gateway, self.agents).await
    }

    /// How many bytes Nexus keeps of an event, read from its Redis. Its first event must be there.
    pub async fn sizes(&self) -> anyhow::Result<Sizes> {
        let prefix = format!("nexus:{{{TENANT}/{TENANT}}}");
        let first = format!("{prefix}:e:1");
        let (id, lengths) = (self.redis.field(&first, "i").await?, self.redis.field(&first, "l").await?);
        let (_, json) = lengths.split_once(':').context("Nexus keeps no lengths any more")?;
        // What an agent is sent may be kept packed; head and packed body stand beside it.
        let (kept, event) = json.split_once('/').unwrap_or((json, json));
        let (kept, event): (u64, _) = (kept.parse()?, event.parse()?);
        let payload = self.redis.length(&format!("{prefix}:v:{id}")).await?;
        ensure!(payload > kept, "Nexus keeps no payload of {first} any more");
        Ok(Sizes { event, rest: payload - kept })
    }

    /// Fails with the end of a log if one of the processes has ended.
    pub fn alive(&mut self) -> anyhow::Result<()> {
        self.ingest_process.alive()?;
        self.gateway_process.alive()?;
        self.redis.child.alive()
    }

    /// The last lines of all logs.
    pub fn log(&self) -> String {
        [&self.ingest_process, &self.gateway_process, &self.redis.child].map(Child::log).join("\n")
    }

    /// Ends all, and waits until they are gone.
    pub async fn end(self) -> anyhow::Result<()> {
        self.ingest_process.end().await?;
        self.gateway_process.end().await?;
        self.redis.child.end().await
    }
}

/// A gateway and a Redis, without ingest. Dropping it ends them and removes their folders.
pub struct Lone {
    pub process: Child,
    pub redis: Redis,
    /// Where agents connect.
    pub gateway: SocketAddr,
    home: TempDir,
}

impl Lone {
    /// Starts them over a folder of so many agents; says also how long the gateway took until it was ready.
    pub async fn start(common: &Common, sessions: u32) -> anyhow::Result<(Self, Duration)> {
        ensure_binary(&common.nexus)?;
        let home = machine::scratch(common.data.as_ref())?;
        let [redis, gateway, admin] = free_addresses()?;
        let redis = Redis::start(home.path(), redis, Fsync::Always).await?;
        let folder = home.path().join("folder");
        fs::create_dir(&folder)?;
        folder::write(&folder, common.agents, Credentials::Given)?;
        let mut command = role("gateway", common, home.path(), gateway, admin, redis.address);
        // So that no token expires meanwhile.
        command.args(["--token-lifetime", "24h", "--max-sessions", &sessions.to_string()]);
        let begun = Instant::now();
        let mut process = Child::start("gateway", command, home.path())?;
        process.ready(admin).await?;
        Ok((Self { process, redis, gateway, home }, begun.elapsed()))
    }

    /// The folder that the gateway reads.
    pub fn folder(&self) -> PathBuf {
        self.home.path().join("folder")
    }

    /// Ends both, and waits until they are gone.
    pub async fn end(self) -> anyhow::Result<()> {
        self.process.end().await?;
        self.redis.child.end().await
    }
}

/// A role of Nexus as a process.
fn role(
    name: &str,
    common: &Common,
    home: &Path,
    listen: SocketAddr,
    admin: SocketAddr,
    redis: SocketAddr,
) -> Command {
    let mut command = Command::new(&common.nexus);
    command.arg(name).arg(home.join("folder")).arg("--data").arg(home.join(name));
    command.args(["--listen", &listen.to_string(), "--admin", &admin.to_string()]);
    command.args(["--bus", &format!("redis://{redis}")]);
    command
}

fn floor(
    ingest: SocketAddr,
    gateway: SocketAddr,
    redis: SocketAddr,
    sizes: Sizes,
) -> anyhow::Result<(Command, Command)> {
    let this = std::env::current_exe().context("cannot tell where this binary is")?;
    let redis = redis.to_string();
    let half = |name: &str, listen: SocketAddr| {
        let mut command = Command::new(&this);
        command.args([name, "--listen", &listen.to_string(), "--redis", &redis]);
        command
    };
    let mut ingest = half("floor-ingest", ingest);
    ingest.args(["--event-bytes", &sizes.event.to_string(), "--raw-bytes", &sizes.rest.to_string()]);
    Ok((ingest, half("floor-gateway", gateway)))
}

/// An access token of each agent of the generated folder, in order.
pub async fn tokens(gateway: SocketAddr, agents: u32) -> anyhow::Result<Vec<String>> {
    let tenant: TenantKey = format!("{TENANT}/{TENANT}").parse()?;
    let mut workers = JoinSet::new();
    let share = agents.div_ceil(ASKERS).max(1);
    for first in (0..agents).step_by(share as usize) {
        let tenant = tenant.clone();
        workers.spawn(async move {
            let mut conn = Conn::new(gateway);
            let mut tokens = Vec::new();
            for agent in first..agents.min(first + share) {
                let name = agent_name(agent.into());
                let id = AgentId::of(&tenant, &name).to_string();
                let token = token(&mut conn, &id, CLIENT_SECRET).await;
                tokens.push((agent, token.with_context(|| format!("no token for {name}"))?));
            }
            anyhow::Ok(tokens)
        });
    }
    let mut all = Vec::new();
    while let Some(tokens) = workers.join_next().await {
        all.extend(tokens??);
    }
    all.sort_by_key(|(agent, _)| *agent);
    Ok(all.into_iter().map(|(_, token)| token).collect())
}
