//! A Redis server as a child process, in a folder of its own on a disk.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use clap::ValueEnum as _;
use tokio::process::Command;
use tokio::time::{Instant, sleep};

use super::{Reply, ask, connect};
use crate::args::Fsync;
use crate::child::Child;

/// The longest that its start may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// A server that runs. Dropping it ends the process.
pub struct Redis {
    pub child: Child,
    pub address: SocketAddr,
}

/// Commands that a server has done, by name, those of scripts among them.
pub type Commands = BTreeMap<String, u64>;

impl Redis {
    /// Starts it as Nexus asks for it, everything else as Redis has it.
    pub async fn start(home: &Path, address: SocketAddr, fsync: Fsync) -> anyhow::Result<Self> {
        let folder = home.join("redis");
        std::fs::create_dir(&folder)?;
        let mut command = Command::new("redis-server");
        command.args(["--bind", &address.ip().to_string(), "--port", &address.port().to_string()]);
        command.arg("--dir").arg(folder).args(["--save", "", "--appendonly", "yes"]);
        let fsync = fsync.to_possible_value().context("a value of --appendfsync")?;
        command.args(["--appendfsync", fsync.get_name(), "--maxmemory-policy", "noeviction"]);
        let child = Child::start("redis-server", command, home)
            .context("install it, for example with `apt-get install redis-server`")?;
        let mut server = Self { child, address };
        server.ready().await?;
        Ok(server)
    }

    async fn ready(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while self.ask(&["PING"]).await.is_err() {
            self.child.alive()?;
            ensure!(Instant::now() < deadline, "redis-server does not answer:\n{}", self.child.log());
            sleep(Duration::from_millis(20)).await;
        }
        let version = self.info("server").await?.remove("redis_version").context("INFO has no version")?;
        let major: u32 = version.split('.').next().unwrap_or_default().parse()?;
        ensure!(major >= 7, "Redis {version} is there, Nexus needs 7.0 or newer");
        Ok(())
    }

    /// The answer to a command.
    pub async fn ask(&self, words: &[&str]) -> anyhow::Result<Reply> {
        ask(&mut connect(self.address).await?, words).await
    }

    /// A section of INFO.
    pub async fn info(&self, section: &str) -> anyhow::Result<BTreeMap<String, String>> {
        let text = self.ask(&["INFO", section]).await?.bytes()?;
        let lines = String::from_utf8_lossy(&text);
        let pairs = lines.lines().filter_map(|line| line.split_once(':'));
        Ok(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    /// Bytes of data in its memory.
    pub async fn used_memory(&self) -> anyhow::Result<f64> {
        let used = self.info("memory").await?.remove("used_memory").context("INFO has no used_memory")?;
        used.parse().context("used_memory is no number")
    }

    /// All commands that it has done so far, but those of INFO.
    pub async fn commands(&self) -> anyhow::Result<Commands> {
        let stats = self.info("commandstats").await?;
        let calls = stats.into_iter().filter_map(|(name, value)| {
            let name = name.strip_prefix("cmdstat_")?.to_owned();
            let calls = value.strip_prefix("calls=")?.split(',').next()?.parse().ok()?;
            (name != "info").then_some((name, calls))
        });
        Ok(calls.collect())
    }

    /// A field as text.
    pub async fn field(&self, key: &str, field: &str) -> anyhow::Result<String> {
        let value = self.ask(&["HGET", key, field]).await?.bytes();
        let value = value.with_context(|| format!("{key} has no field {field}"))?;
        Ok(String::from_utf8(value.into())?)
    }

    /// The length of a text.
    pub async fn length(&self, key: &str) -> anyhow::Result<u64> {
        match self.ask(&["STRLEN", key]).await? {
            Reply::Number(length) => Ok(length.unsigned_abs()),
            other => bail!("Redis answers {other:?} when asked for the length of {key}"),
        }
    }
}
