//! A Tenant whose configuration becomes larger than pods take.

use anyhow::ensure;
use serde_json::{Value, json};

use super::{Ward, current};
use crate::site::{PATIENCE, until};

const TENANT: &str = "glut";

/// Agents of which each has about 1.16 MB to say: so many are taken, and one more is too much for the 8 MiB of a resource.
const FIT: usize = 7;

impl Ward {
    pub(super) async fn large(&mut self) -> anyhow::Result<()> {
        self.make_tenant(TENANT)?;
        self.programmed(TENANT).await?;
        (0..FIT).try_for_each(|number| self.stage.operated.cluster.apply(&wordy(number)))?;
        // Each by itself: what the Tenant says is as true of it without them.
        let taken = until("all of them are in force", PATIENCE, async || {
            let ready = |number| {
                Ok(current(&self.get(TENANT, &format!("agentprofile/{}", name(number)))?, "Ready", "True"))
            };
            (0..FIT).map(ready).try_fold(true, |all, one: anyhow::Result<bool>| Ok(all && one?))
        })
        .await?;
        let before = self.held(TENANT).await?;
        self.stage.operated.cluster.apply(&wordy(FIT))?;
        let told = until("it is told that it is too large", PATIENCE, async || {
            let tenant = self.get(TENANT, "tenant/glut")?;
            Ok(current(&tenant, "Programmed", "False") && tenant.to_string().contains("TooLarge"))
        })
        .await?;
        let other = self.bystander().await?;
        let calls = self.calls().await?;
        ensure!(self.held(TENANT).await? == before, "pods do not keep what they had");
        self.figures.push(format!(
            "a tenant of 8 MB is with all pods after {taken:.1?}; one of 9 MB is told to be too large after {told:.1?}, \
             another's change is with all pods after {other:.1?}, {calls} writes in 20 s"
        ));

        self.begin_anew().await?;
        let other = self.bystander().await?;
        ensure!(self.held(TENANT).await? == before, "an operator that begins anew takes away what pods had");
        let profile = format!("agentprofile/{}", name(FIT));
        self.stage.operated.cluster.kubectl(&["delete", &profile, "-n", TENANT])?;
        let back = until("all pods hold what is left", PATIENCE, async || {
            let tenant = self.get(TENANT, "tenant/glut")?;
            Ok(current(&tenant, "Ready", "True") && tenant["status"]["acknowledged"] == "3/3")
        })
        .await?;
        self.figures.push(format!(
            "with a new operator another's change takes {other:.1?}; what is taken back is told after {back:.1?}"
        ));
        self.stage.check()
    }
}

fn name(number: usize) -> String {
    format!("wordy-{number}")
}

/// An agent that has as much to say as its definition allows for, nearly: the store takes 1.5 MB.
fn wordy(number: usize) -> Value {
    let projects: Vec<_> =
        (0..256).map(|project| format!("{number}-{project}-{}", "x".repeat(240))).collect();
    let subscription = json!({"kinds": ["NewComment"], "filters": {"projects": projects}});
    json!({
        "apiVersion": "nexus.dev/v1alpha1", "kind": "AgentProfile",
        "metadata": {"name": name(number), "namespace": TENANT},
        "spec": {"tenant": TENANT, "subscriptions": vec![subscription; 18]},
    })
}
