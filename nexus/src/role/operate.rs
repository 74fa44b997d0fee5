//! The operator as a process: `nexus operator`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use nexus_operator::Operator;
use nexus_runtime::admin::{Admin, guard_browsers};
use nexus_runtime::server::{ServerLimits, serve};
use nexus_runtime::tasks::Tasks;
use nexus_wire::config::{Pod, Publisher, ResourceType};
use serde_json::{Value, json};

use super::ports;
use super::process::Process;

/// How long the API server may take to be connected to.
const CONNECT: Duration = Duration::from_secs(5);

/// How long a connection may say nothing: longer than any watch lives.
const READ: Duration = Duration::from_secs(75);

/// Settings of `nexus operator`.
#[derive(Debug, Clone)]
pub struct OperateSettings {
    /// Where pods connect.
    pub listen: SocketAddr,
    /// The operator's own namespace.
    pub namespace: String,
    /// What this replica is called.
    pub pod: String,
    /// Names of its certificate besides those of its Service.
    pub names: Vec<String>,
    /// Where the admin listens.
    pub admin: SocketAddr,
    /// Whether log lines are JSON.
    pub log_json: bool,
}

/// Runs the operator until Ctrl-C or SIGTERM, then drains.
pub async fn operate(settings: OperateSettings) -> anyhow::Result<()> {
    let process = Process::begin(settings.log_json)?;
    let configs = configs().await?;
    let service = format!("nexus-operator.{}.svc", settings.namespace);
    let names = [service.clone(), format!("{service}.cluster.local"), "localhost".to_owned()];
    let operator = nexus_operator::OperatorSettings {
        listen: settings.listen,
        namespace: settings.namespace,
        // The next process of the same pod is another: what this one had in mind is not its.
        identity: format!("{}-{:08x}", settings.pod, rand::random::<u32>()),
        names: names.into_iter().chain(settings.names).collect(),
    };
    let mut tasks = Tasks::new("nexus operator", process.drain.clone());
    let operator = Operator::bind(configs, process.clock.clone(), operator)
        .await
        .with_context(|| ports::taken("--listen", settings.listen))?;
    let admin = ports::bind("--admin", settings.admin).await?;
    let publisher = operator.publisher();
    let router = Admin {
        readiness: process.readiness.clone(),
        metrics: process.metrics.clone(),
        config: Arc::new(move || shown(&publisher)),
    };
    let router = match settings.admin.ip().is_loopback() {
        true => guard_browsers(router.router()),
        false => router.router(),
    };
    operator.start(&mut tasks, &process.readiness).context("cannot make a client of the cluster")?;
    tasks.start("admin", serve(admin, router, ServerLimits::default(), process.drain.clone()));
    tracing::info!(address = %settings.listen, "pods are taken");
    process.run(tasks, async {}).await
}

/// How to reach the cluster that `KUBECONFIG` names, or the one that this pod is in. By the second each request has a connection of
/// its own.
async fn configs() -> anyhow::Result<[kube::Config; 2]> {
    let config = kube::Config::infer().await;
    let mut config = config.context("there is no cluster here: set KUBECONFIG, or run in a pod")?;
    config.connect_timeout = Some(CONNECT);
    config.read_timeout = Some(READ);
    // Who asks tries again, and tells why.
    config.default_retry = false;
    let mut alone = config.clone();
    alone.headers.push((http::header::CONNECTION, http::HeaderValue::from_static("close")));
    Ok([config, alone])
}

/// What the pods hold; nothing of what is secret, not even its hash.
fn shown(publisher: &Publisher) -> Value {
    let pods = publisher.pods().borrow().clone();
    let pods = pods.iter().map(|(name, pod)| (name.clone(), shown_pod(pod)));
    json!({ "pods": Value::Object(pods.collect()) })
}

fn shown_pod(pod: &Pod) -> Value {
    let held = pod.held.iter().filter(|(name, _)| name.kind != ResourceType::SigningSecrets);
    let held = held.map(|(name, digest)| {
        (format!("{}/{}", name.kind.name(), name.tenant), Value::from(digest.to_string()))
    });
    let refused = pod.refused.iter().map(|(name, refused)| {
        (format!("{}/{}", name.kind.name(), name.tenant), Value::from(refused.reason.clone()))
    });
    json!({
        "role": pod.role.name(),
        "held": Value::Object(held.collect()),
        "refused": Value::Object(refused.collect()),
    })
}
