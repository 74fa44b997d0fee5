//! What a control plane of the tests' own is ordered to do, by the pipe that holds it.

use std::io::Write as _;
use std::net::SocketAddr;

use anyhow::{Context as _, ensure};
use tokio::time::{Instant, sleep};

use super::Cluster;
use crate::site::{LOOK, PATIENCE};

impl Cluster {
    /// Keeps a copy of the store of all objects. The API server is away meanwhile.
    ///
    /// # Errors
    /// When the cluster is somebody else's, or does not come back.
    pub async fn back_up(&self) -> anyhow::Result<()> {
        self.order("backup").await
    }

    /// Puts the copy back, as after a disaster: what was written since is gone.
    ///
    /// # Errors
    /// As [`Cluster::back_up`].
    pub async fn restore(&self) -> anyhow::Result<()> {
        self.order("restore").await
    }

    /// Takes the API server away, and leaves the store.
    ///
    /// # Errors
    /// As [`Cluster::back_up`].
    pub async fn stop_api(&self) -> anyhow::Result<()> {
        self.order("stop").await
    }

    /// Starts the API server again.
    ///
    /// # Errors
    /// As [`Cluster::back_up`].
    pub async fn start_api(&self) -> anyhow::Result<()> {
        self.order("start").await
    }

    /// Lets the store forget what has been. The API server has its own memory of that, until it is started again.
    ///
    /// # Errors
    /// As [`Cluster::back_up`].
    pub async fn compact(&self) -> anyhow::Result<()> {
        self.order("compact").await
    }

    /// Where the store listens.
    ///
    /// # Errors
    /// When the cluster is somebody else's.
    pub fn store(&self) -> anyhow::Result<SocketAddr> {
        let address = std::fs::read_to_string(self.kubeconfig.with_file_name("store-address"));
        Ok(address.context("only a control plane of the tests' own tells that")?.trim().parse()?)
    }

    /// Starts a second API server, over a store at this address; where it listens.
    ///
    /// # Errors
    /// As [`Cluster::back_up`].
    pub async fn second(&self, store: SocketAddr) -> anyhow::Result<SocketAddr> {
        self.order(&format!("second {store}")).await?;
        let first = self.address()?;
        Ok((first.ip(), first.port() + 1).into())
    }

    /// The token of the admin.
    ///
    /// # Errors
    /// When the kubeconfig has none.
    pub fn token(&self) -> anyhow::Result<String> {
        self.kubectl(&["config", "view", "--minify", "--raw", "-o", "jsonpath={.users[0].user.token}"])
    }

    async fn order(&self, what: &str) -> anyhow::Result<()> {
        let held = self.control_plane.as_ref().and_then(|held| held.stdin.as_ref());
        let mut held =
            held.context("only a control plane of the tests' own can do that: unset KUBECONFIG")?;
        let name = what.split(' ').next().unwrap_or(what);
        let done = self.kubeconfig.with_file_name(format!("done.{name}"));
        if done.exists() {
            std::fs::remove_file(&done)?;
        }
        writeln!(held, "{what}")?;
        let deadline = Instant::now() + PATIENCE;
        while !done.exists() {
            ensure!(Instant::now() < deadline, "the control plane does not come back after `{what}`");
            sleep(LOOK).await;
        }
        Ok(())
    }
}
