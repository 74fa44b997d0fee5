//! Objects that compile to more than a pod takes, and objects that nobody can read, as another version's definition or a
//! broken store may leave them: they say what is wrong, pods keep what they had of them, and they are nobody else's matter.

mod large;
mod muddled;

use std::path::Path;
use std::time::Duration;

use anyhow::ensure;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::stage::Stage;
use super::{Plan, Seen};
use crate::apidoor::Door;
use crate::fleet::GATEWAYS;
use crate::operated::condition;
use crate::site::{PATIENCE, until};
use crate::webhook::TENANTS;

/// How long calls are counted, after so long in which all is told, and how many of them there may be: a write that fails is
/// tried again, ever later.
const COUNTED: Duration = Duration::from_secs(20);
const SETTLING: Duration = Duration::from_secs(5);
const MOST_CALLS: u64 = 12;

pub(super) async fn play(plan: &Plan, folder: &Path) -> anyhow::Result<Seen> {
    let (stage, door) = Stage::behind_a_door(&plan.nexus, folder).await?;
    let mut ward = Ward { stage, door, changes: 0, figures: Vec::new() };
    ward.large().await?;
    ward.muddled().await?;
    ward.stage.check()?;
    Ok(Seen { times: 2, figures: ward.figures })
}

/// A system with something wrong in it.
struct Ward {
    stage: Stage,
    door: Door,
    /// Changes of the bystander so far.
    changes: u32,
    figures: Vec<String>,
}

impl Ward {
    /// An object of a tenant in a namespace of its name.
    fn get(&self, tenant: &str, what: &str) -> anyhow::Result<Value> {
        self.stage.operated.cluster.get(tenant, what)
    }

    /// Makes a Tenant in a namespace of its name, with an agent.
    fn make_tenant(&self, name: &str) -> anyhow::Result<()> {
        let cluster = &self.stage.operated.cluster;
        cluster.kubectl(&["create", "namespace", name])?;
        let object = |kind: &str, object: &str, spec: Value| {
            json!({
                "apiVersion": "nexus.dev/v1alpha1", "kind": kind,
                "metadata": {"name": object, "namespace": name}, "spec": spec,
            })
        };
        cluster.apply(&json!({"apiVersion": "v1", "kind": "List", "items": [
            object("Tenant", name, json!({"limits": {"heartbeatSeconds": 31}})),
            object("AgentProfile", "first", json!({"tenant": name})),
            object("Mapping", "first", json!({"tenant": name, "clickupListId": "901", "slackChannelId": "C024BE91L"})),
        ]}))
    }

    /// Waits until what stands in a Tenant is with all pods, and told; how long that took.
    async fn programmed(&self, tenant: &str) -> anyhow::Result<Duration> {
        until(&format!("all pods hold {tenant}"), PATIENCE, async || {
            let object = self.get(tenant, &format!("tenant/{tenant}"))?;
            Ok(current(&object, "Ready", "True") && object["status"]["acknowledged"] == "3/3")
        })
        .await
    }

    /// A change of another tenant; how long until all pods hold it.
    async fn bystander(&mut self) -> anyhow::Result<Duration> {
        self.changes += 1;
        let patch = json!({"spec": {"limits": {"heartbeatSeconds": 30 + self.changes}}}).to_string();
        let tenant = TENANTS[1];
        let words = ["patch", "tenant", tenant, "-n", tenant, "--type", "merge", "-p", &patch];
        self.stage.operated.cluster.kubectl(&words)?;
        self.programmed(tenant).await
    }

    /// What gateways have in force of a tenant.
    async fn held(&self, tenant: &str) -> anyhow::Result<Vec<Value>> {
        let fleet = &self.stage.operated.fleet;
        let mut held = Vec::new();
        for gateway in &fleet.gateways {
            held.push(gateway.config(&fleet.doors.http).await?[format!("{tenant}/{tenant}")].take());
        }
        ensure!(held.iter().all(|held| !held.is_null()), "a gateway holds nothing of {tenant}");
        Ok(held)
    }

    /// What the operator writes when all is told.
    async fn calls(&self) -> anyhow::Result<u64> {
        sleep(SETTLING).await;
        self.door.arm(None);
        sleep(COUNTED).await;
        let calls = self.door.calls();
        ensure!(calls <= MOST_CALLS, "{calls} writes in {COUNTED:?} in which nothing came");
        Ok(calls)
    }

    /// Neither an operator nor a gateway that begins anew takes away what others hold.
    async fn begin_anew(&mut self) -> anyhow::Result<()> {
        self.stage.kill_operator(0).await?;
        self.stage.start_operator(0)?;
        let fleet = &mut self.stage.operated.fleet;
        fleet.gateways[GATEWAYS - 1].kill().await?;
        fleet.start_gateway(GATEWAYS - 1)?;
        fleet.gateway_ready(GATEWAYS - 1).await
    }
}

/// Whether a condition says so of what stands there now.
fn current(object: &Value, kind: &str, status: &str) -> bool {
    let conditions = object["status"]["conditions"].as_array().into_iter().flatten();
    let mut found = conditions.filter(|condition| condition["type"] == kind);
    condition(object, kind) == status
        && found.all(|condition| condition["observedGeneration"] == object["metadata"]["generation"])
}
