//! Objects that nobody can read: they were stored while the definitions allowed for anything.

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use super::{Ward, current};
use crate::cluster::repository;
use crate::control::stage::Stage;
use crate::fleet::GATEWAYS;
use crate::site::{PATIENCE, until};

const TENANT: &str = "muddle";

/// The kinds, and what each object becomes.
fn muddled() -> [(&'static str, &'static str, Value); 3] {
    [
        ("tenants", "muddle", json!({"sources": "nonsense"})),
        ("agentprofiles", "first", json!({"tenant": TENANT, "maxInFlight": "many"})),
        ("mappings", "first", json!({"tenant": TENANT, "clickupListId": 901, "slackChannelId": {}})),
    ]
}

const POLICY: &str = "muddled";

impl Ward {
    pub(super) async fn muddled(&mut self) -> anyhow::Result<()> {
        self.make_tenant(TENANT)?;
        self.programmed(TENANT).await?;
        let before = self.held(TENANT).await?;
        let mut specs = Vec::new();
        for (kind, name, _) in muddled() {
            specs.push(self.get(TENANT, &format!("{kind}/{name}"))?["spec"].take());
        }
        self.allow_anything().await?;
        for (kind, name, spec) in muddled() {
            self.put(kind, name, &spec).await?;
        }
        let told = until("all say that they cannot be read", PATIENCE, async || self.are_told()).await?;
        let other = self.bystander().await?;
        let calls = self.calls().await?;
        ensure!(self.held(TENANT).await? == before, "pods do not keep what they had");
        self.figures.push(format!(
            "3 objects that cannot be read say so after {told:.1?}, another's change is with all pods after {other:.1?}, \
             {calls} writes in 20 s"
        ));
        self.muddled_policy().await?;

        // The definitions are as they should be again, and the objects are not.
        self.define()?;
        self.begin_anew().await?;
        let other = self.bystander().await?;
        let calls = self.calls().await?;
        ensure!(self.held(TENANT).await? == before, "an operator that begins anew takes away what pods had");
        for ((kind, name, _), spec) in muddled().into_iter().zip(&specs) {
            self.put(kind, name, spec).await?;
        }
        let back = self.programmed(TENANT).await?;
        for (kind, name, _) in muddled() {
            let what = format!("{kind}/{name}");
            until(&what, PATIENCE, async || Ok(current(&self.get(TENANT, &what)?, "Accepted", "True")))
                .await?;
        }
        self.figures.push(format!(
            "with a new operator another's change takes {other:.1?}, {calls} writes in 20 s; mended, all is ready after {back:.1?}"
        ));
        self.stage.check()
    }

    fn are_told(&self) -> anyhow::Result<bool> {
        for (kind, name, _) in muddled() {
            let object = self.get(TENANT, &format!("{kind}/{name}"))?;
            if !(current(&object, "Accepted", "False") && object["status"].to_string().contains("Unreadable"))
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// A policy that nobody can read and that orders no stop stops nobody; one whose `stop` nobody can read stops everybody.
    async fn muddled_policy(&mut self) -> anyhow::Result<()> {
        let policy = |spec: Value| json!({"apiVersion": "nexus.dev/v1alpha1", "kind": "NexusPolicy", "metadata": {"name": POLICY}, "spec": spec});
        let agent = self.stage.admitted(0).await?;
        let cluster = &self.stage.operated.cluster;
        cluster.apply(&policy(json!({"targets": "who"}))).context("a policy that cannot be read")?;
        until("gateways tell of it", PATIENCE, async || {
            Ok(self.stage.operated.fleet.gateways_metric("nexus_stop_unreadable_policies", "").await? >= 2.0)
        })
        .await?;
        drop(self.stage.admitted(1).await?);
        cluster
            .apply(&policy(json!({"stop": "perhaps", "targets": "who"})))
            .context("a stop that cannot be read")?;
        let severs = Stage::severed(agent).await?;
        for gateway in 0..GATEWAYS {
            until("the stop is everywhere", PATIENCE, async || Ok(self.stage.refused(gateway).await.is_ok()))
                .await?;
        }
        let object = cluster.get("", &format!("nexuspolicy/{POLICY}"))?;
        let uid = object["metadata"]["uid"].as_str().unwrap_or_default();
        let engagement = format!("{}-{}", &uid[..8], object["metadata"]["generation"]);
        self.define()?;
        self.put("nexuspolicies", POLICY, &json!({"release": engagement})).await?;
        let again = self.stage.admitted(0).await?;
        drop(again);
        self.allow_anything().await?;
        self.figures.push(format!(
            "a policy that cannot be read stops nobody, one whose stop cannot be read everybody, after {severs:.1?}"
        ));
        Ok(())
    }

    /// Makes the definitions allow for anything, and waits until the API server goes by it.
    async fn allow_anything(&self) -> anyhow::Result<()> {
        let anything = json!([{
            "op": "replace", "path": "/spec/versions/0/schema",
            "value": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
        }])
        .to_string();
        for kind in ["tenants", "agentprofiles", "mappings", "nexuspolicies"] {
            let definition = format!("{kind}.nexus.dev");
            self.stage.operated.cluster.kubectl(&[
                "patch",
                "crd",
                &definition,
                "--type",
                "json",
                "-p",
                &anything,
            ])?;
        }
        Ok(())
    }

    /// Puts the repository's definitions there.
    fn define(&self) -> anyhow::Result<()> {
        let folder = repository().join("config/crd");
        let folder = folder.to_str().context("the repository's path is no UTF-8")?;
        let words =
            ["apply", "--server-side", "--force-conflicts", "--field-manager", "nexus-e2e", "-k", folder];
        self.stage.operated.cluster.kubectl(&words).map(drop)
    }

    /// Replaces what an object says, once the API server takes it.
    async fn put(&self, kind: &str, name: &str, spec: &Value) -> anyhow::Result<()> {
        let patch = json!([{"op": "replace", "path": "/spec", "value": spec}]).to_string();
        let mut refused = String::new();
        let taken = until("it is taken", PATIENCE, async || {
            let words = ["patch", kind, name, "-n", TENANT, "--type", "json", "-p", &patch];
            let answer = self.stage.operated.cluster.kubectl(&words);
            refused = answer.as_ref().err().map(ToString::to_string).unwrap_or_default();
            Ok(answer.is_ok())
        })
        .await;
        taken.map(drop).with_context(|| format!("{kind}/{name} is refused: {refused}"))
    }
}
