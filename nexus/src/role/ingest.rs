//! The ingest of a process: run on the port that was taken for it, and again whenever it has ended.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use nexus_core::clock::Clock;
use nexus_ingest::{Ingest, IngestConfig, IngestSettings, Intake};
use nexus_runtime::Drain;
use nexus_runtime::readiness::Readiness;
use nexus_runtime::server::{ServerLimits, serve};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::ports;
use super::supervise::supervise;

/// Ingest, and what outlives its restarts.
pub struct IngestRole {
    /// Where accepted events go.
    pub intake: Intake,
    /// What it is configured with.
    pub config: watch::Receiver<Arc<IngestConfig>>,
    /// The time.
    pub clock: Clock,
    /// The flag that chooses the address.
    pub flag: &'static str,
}

impl IngestRole {
    /// Serves on a port that was taken, and again whenever it ended, until drained.
    pub async fn run(
        self: Arc<Self>,
        listener: TcpListener,
        readiness: Readiness,
        drain: Drain,
    ) -> anyhow::Result<()> {
        let address = listener.local_addr().context("the port for webhooks has no address")?;
        let (mut first, draining) = (Some(listener), drain.clone());
        supervise("ingest", readiness, drain, move || {
            let (role, listener, drain) = (Arc::clone(&self), first.take(), draining.clone());
            async move { role.serve(listener, address, drain).await }
        })
        .await
    }

    async fn serve(
        &self,
        listener: Option<TcpListener>,
        address: SocketAddr,
        drain: Drain,
    ) -> anyhow::Result<()> {
        let listener = match listener {
            Some(listener) => listener,
            None => ports::bind(self.flag, address).await?,
        };
        let (intake, config, clock) = (self.intake.clone(), self.config.clone(), self.clock.clone());
        let router = nexus_ingest::router(Ingest::new(intake, config, clock, IngestSettings::default()));
        serve(listener, router, ServerLimits::default(), drain).await.context("the ingest server failed")
    }
}
