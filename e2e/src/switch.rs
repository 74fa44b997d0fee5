//! The stop switch of a cluster, and a Deployment that a stop scales to zero.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use futures_util::StreamExt as _;
use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams, WatchEvent, WatchParams};
use kube::core::GroupVersionKind;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use crate::site::PATIENCE;

/// The switch, with a Deployment of an agent.
#[derive(Debug, Clone)]
pub struct Switch {
    policies: Api<DynamicObject>,
    deployments: Api<DynamicObject>,
    deployment: &'static str,
}

impl Switch {
    /// The switch of a cluster, and a Deployment there.
    #[must_use]
    pub fn new(client: &Client, namespace: &str, deployment: &'static str) -> Self {
        let kind = |group, version, kind| ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        let policies = kind("nexus.dev", "v1alpha1", "NexusPolicy");
        let deployments = kind("apps", "v1", "Deployment");
        Self {
            policies: Api::all_with(client.clone(), &policies),
            deployments: Api::namespaced_with(client.clone(), namespace, &deployments),
            deployment,
        }
    }

    /// Orders a stop: the PATCH that `kubectl patch` makes. A `release` that stands there still names an earlier one.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub async fn stop(&self) -> anyhow::Result<()> {
        self.patch(&json!({"stop": true})).await
    }

    async fn patch(&self, spec: &Value) -> anyhow::Result<()> {
        let patch = Patch::Merge(json!({ "spec": spec }));
        self.policies.patch("stop-all", &PatchParams::default(), &patch).await?;
        Ok(())
    }

    /// Waits until both gateways have stopped and told so; gives what status tells then.
    ///
    /// # Errors
    /// When status never tells it.
    pub async fn engaged(&self) -> anyhow::Result<Value> {
        let told = |status: &Value| {
            status["engagement"].is_string()
                && status["acknowledged"] == "2/2"
                && status["lastByteMilliseconds"].is_u64()
        };
        self.told(told).await
    }

    /// Releases a stop by the name that status tells, and waits until both gateways have done so.
    ///
    /// # Errors
    /// When the API server refuses it, or status never tells it.
    pub async fn release(&self, status: &Value) -> anyhow::Result<()> {
        self.patch(&json!({"stop": null, "release": status["engagement"]})).await?;
        self.told(|status| status["engagement"].is_null() && status["acknowledged"] == "2/2").await?;
        Ok(())
    }

    /// Waits until status counts at least so many closed connections; the moment when it did.
    ///
    /// # Errors
    /// When it never does.
    pub async fn severed(&self, least: u64) -> anyhow::Result<Instant> {
        self.told(|status| status["socketsSevered"].as_u64().is_some_and(|severed| severed >= least)).await?;
        Ok(Instant::now())
    }

    async fn told(&self, which: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
        let began = Instant::now();
        loop {
            let status = self.policies.get("stop-all").await?.data["status"].clone();
            if which(&status) {
                return Ok(status);
            }
            ensure!(began.elapsed() < PATIENCE, "status stays {status}");
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until the Deployment is ordered to have so many replicas; the moment when it was. A watch tells it, since to ask time and
    /// again would hold up what is measured.
    ///
    /// # Errors
    /// When it never is.
    pub async fn replicas(&self, wanted: u64) -> anyhow::Result<Instant> {
        let ordered = timeout(PATIENCE, self.ordered(wanted)).await;
        ordered.with_context(|| format!("the Deployment does not come to {wanted} replicas"))?
    }

    async fn ordered(&self, wanted: u64) -> anyhow::Result<Instant> {
        let params = WatchParams::default().fields(&format!("metadata.name={}", self.deployment));
        loop {
            // It begins with the Deployment as it is.
            let mut told = self.deployments.watch(&params, "0").await?.boxed();
            while let Some(event) = told.next().await {
                match event? {
                    WatchEvent::Added(object) | WatchEvent::Modified(object)
                        if object.data["spec"]["replicas"] == wanted =>
                    {
                        return Ok(Instant::now());
                    }
                    _ => {}
                }
            }
        }
    }
}
