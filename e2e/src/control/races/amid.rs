//! What a stop comes amid, but for scaling.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::stop::{Stop, Stopped};
use super::{Races, TENANTS};
use crate::fleet::GATEWAYS;
use crate::operated::condition;
use crate::site::{PATIENCE, until};

/// What waits in the spool when Redis comes back.
const SPOOLED: f64 = 3000.0;

/// What tells of it.
const WAITING: &str = "nexus_spool_waiting_events";

/// A new operator and a new agent come so long after the earliest moment of the stop.
const AHEAD: Duration = Duration::from_millis(500);

impl Races {
    /// SIGTERM of one gateway, and once it is back of the other.
    pub(super) async fn drain(&mut self, stop: Stop) -> anyhow::Result<Stopped> {
        let fleet = &mut self.stage.operated.fleet;
        let drains = async {
            for number in 0..GATEWAYS {
                fleet.gateways[number].drain().await?;
                fleet.start_gateway(number)?;
                fleet.gateway_ready(number).await?;
            }
            anyhow::Ok(())
        };
        let (drained, stopped) = tokio::join!(drains, stop.come());
        drained?;
        stopped
    }

    /// Redis was killed, and comes back.
    pub(super) async fn replay(&mut self, stop: Stop) -> anyhow::Result<Stopped> {
        let fleet = &mut self.stage.operated.fleet;
        fleet.redis.kill().await?;
        fleet.ingest_shows(WAITING, |waiting| waiting >= SPOOLED).await?;
        let waited = fleet.ingest.gauge(&fleet.doors.http, WAITING).await?.unwrap_or_default();
        fleet.redis.start(&[]).await?;
        // From then on it is moved: webhooks that come go there, too.
        fleet.ingest_shows(WAITING, |waiting| waiting < waited).await?;
        let after = stop.after;
        let waiting = async {
            sleep(after).await;
            fleet.ingest.gauge(&fleet.doors.http, WAITING).await
        };
        let (waiting, stopped) = tokio::join!(waiting, stop.come());
        let waiting = waiting?.unwrap_or_default();
        Ok(stopped?.noting(format!("{waiting} events in the spool at the stop")))
    }

    /// A gateway is killed, and starts.
    pub(super) async fn start(&mut self, stop: Stop, number: usize) -> anyhow::Result<Stopped> {
        let fleet = &mut self.stage.operated.fleet;
        fleet.gateways[number].kill().await?;
        fleet.start_gateway(number)?;
        let (ready, stopped) = tokio::join!(fleet.gateway_ready(number), stop.come());
        ready?;
        stopped
    }

    /// The operator is killed and another begins, and an agent of the tenant comes.
    pub(super) async fn change(&mut self, stop: Stop, round: usize) -> anyhow::Result<Stopped> {
        let name = newcomer(round);
        let profile = json!({
            "apiVersion": "nexus.dev/v1alpha1", "kind": "AgentProfile",
            "metadata": {"name": name, "namespace": TENANTS[0]}, "spec": {"tenant": TENANTS[0]},
        });
        let after = stop.after;
        let stage = &mut self.stage;
        let changes = async {
            sleep(AHEAD).await;
            stage.kill_operator(0).await?;
            stage.operated.cluster.apply(&profile)?;
            stage.start_operator(0)
        };
        let (changed, stopped) = tokio::join!(changes, stop.come());
        changed?;
        let known = until("all pods hold the newcomer", PATIENCE, async || {
            Ok(condition(&self.stage.object(&format!("agentprofile/{name}"))?, "Ready") == "True")
        })
        .await?;
        self.credentials(&name)?;
        for gateway in 0..GATEWAYS {
            let session = self.stage.operated.fleet.doors.session(TENANTS[0], &name, gateway, 1).await;
            let error = session.err().context("an agent that comes amid a stop is admitted")?.to_string();
            ensure!(error.contains("temporarily_unavailable"), "gateway {gateway}: {error}");
        }
        Ok(stopped?.noting(format!("the newcomer known {known:.1?} after a stop at {after:.1?}")))
    }

    /// Puts the credentials that the operator made where agents find theirs.
    fn credentials(&self, name: &str) -> anyhow::Result<()> {
        let client = &self.stage.operated.cluster;
        let folder =
            self.stage.operated.fleet.doors.agents.join(format!("{}/{name}-nexus-agent", TENANTS[0]));
        std::fs::create_dir_all(&folder)?;
        for key in ["client-id", "client-secret"] {
            let secret = format!("secret/{name}-nexus-agent");
            let template = format!("go-template={{{{index .data \"{key}\" | base64decode}}}}");
            let text = client.kubectl(&["get", &secret, "-n", TENANTS[0], "-o", &template])?;
            std::fs::write(folder.join(key), text)?;
        }
        Ok(())
    }

    /// After the release the newcomer is admitted; then it goes.
    pub(super) async fn newcomer_comes(&self, round: usize) -> anyhow::Result<()> {
        let name = newcomer(round);
        let doors = &self.stage.operated.fleet.doors;
        until("the newcomer is admitted", PATIENCE, async || {
            Ok(doors.session(TENANTS[0], &name, round % GATEWAYS, 1).await.is_ok())
        })
        .await?;
        let profile = format!("agentprofile/{name}");
        self.stage.operated.cluster.kubectl(&["delete", &profile, "-n", TENANTS[0]])?;
        until("it is gone", PATIENCE, async || Ok(self.stage.object(&profile)? == Value::Null)).await?;
        Ok(())
    }
}

fn newcomer(round: usize) -> String {
    format!("newcomer-{round}")
}
