//! A child process that writes its log into a folder of the run.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use hyper::Method;
use tokio::process::Command;
use tokio::time::{Instant, sleep};

use crate::http::Conn;

/// The longest that a start may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A process that runs. Dropping it ends it.
pub struct Child {
    name: &'static str,
    child: tokio::process::Child,
    /// Its number.
    pub pid: u32,
    log: PathBuf,
}

impl Child {
    /// Starts it; what it prints goes into a file of its name there.
    pub fn start(name: &'static str, mut command: Command, home: &Path) -> anyhow::Result<Self> {
        let log = home.join(format!("{name}.log"));
        let file = fs::File::create(&log)?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).kill_on_drop(true);
        let child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        let pid = child.id().with_context(|| format!("{name} ended at once"))?;
        Ok(Self { name, child, pid, log })
    }

    /// Waits until `/readyz` is well.
    pub async fn ready(&mut self, admin: SocketAddr) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut conn = Conn::new(admin);
            let answer = conn.send(Method::GET, "/readyz", &[], Bytes::new()).await;
            if answer.is_ok_and(|(status, _)| status.is_success()) {
                return Ok(());
            }
            self.alive()?;
            let late = Instant::now() >= deadline;
            ensure!(!late, "{} is not ready after {PATIENCE:?}:\n{}", self.name, self.log());
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Fails with the end of its log if the process has ended.
    pub fn alive(&mut self) -> anyhow::Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("{} ended with {status}:\n{}", self.name, self.log());
        }
        Ok(())
    }

    /// The last lines of its log.
    pub fn log(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    /// Ends it as kill -9 does, and waits until it is gone.
    pub async fn end(mut self) -> anyhow::Result<()> {
        self.child.kill().await.with_context(|| format!("cannot end {}", self.name))
    }
}
