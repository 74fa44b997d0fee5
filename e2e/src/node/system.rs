//! What is installed on the node: Nexus, the tenant of the quickstart with an agent in pods, and who speaks with them from here.

use std::fs::File;
use std::io::Read as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use k8s_openapi::api::core::v1::{Secret, Service};
use kube::Client;
use kube::api::{Api, ListParams};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::outside::Outside;
use super::pods::{self, Pods};
use super::report::{Image, Times};
use crate::cluster::{Cluster, repository, script};
use crate::crowd;
use crate::doors::Doors;
use crate::fleet::GATEWAYS;
use crate::operated::NAMESPACE;
use crate::site::{LOOK, PATIENCE};
use crate::switch::Switch;
use crate::webhook::{Issue, TENANTS};

/// The tenant of the quickstart, and its namespace.
const TENANT: &str = TENANTS[0];

/// Where its GitHub is heard.
pub(super) const HOOK: &str = "/hooks/acme/acme/github";

/// The agent that runs in pods, and the one that runs outside.
const INSIDE: &str = "coder";
const OUTSIDE: &str = "reviewer";

/// How many pods it runs in.
pub(super) const REPLICAS: u64 = 2;

/// The image of the agent.
const AGENT: &str = "docker.io/local/agent:1";

/// All of it.
pub(super) struct System {
    /// The agent outside.
    pub(super) outside: Outside,
    pub(super) switch: Switch,
    /// The gateways' pods, each a door of its own.
    pub(super) doors: Arc<Doors>,
    pub(super) gateways: Pods,
    pub(super) operators: Pods,
    /// Those of the agent.
    pub(super) agents: Pods,
    client: Client,
    /// By which GitHub signs.
    pub(super) secret: String,
    nexus: PathBuf,
    /// What it runs in there.
    pub(super) image: Image,
    work: PathBuf,
    posted: u64,
    /// Goes last.
    pub(super) cluster: Cluster,
}

impl System {
    /// Starts a node and installs all of it; keeps how long that took.
    pub(super) async fn install(
        nexus: &Path,
        agent: &Path,
        work: &Path,
        times: &mut Times,
    ) -> anyhow::Result<Self> {
        let began = Instant::now();
        let cluster = Cluster::node()?;
        times.add("node ready", began.elapsed());
        let folder = cluster.kubeconfig().parent().context("a kubeconfig without a folder")?.to_owned();
        let place = |script: &mut Command| run(script.env("NEXUS_CLUSTER_DIR", &folder));
        let began = Instant::now();
        let image = image(nexus)?;
        place(script("install").arg(nexus).args(libraries(image)))?;
        times.add("Nexus installed, all pods ready", began.elapsed());
        place(script("image").arg(AGENT).arg(agent).args(libraries(self::image(agent)?)))?;
        let client = cluster.client().await?;
        let runtime = folder.join("containerd.sock");
        let of = |namespace, label: &str| Pods::new(&client, namespace, label, runtime.clone());
        let role = |name: &str| of(NAMESPACE, &format!("app.kubernetes.io/component={name}"));
        let (gateways, operators) = (role("gateway"), role("operator"));
        let began = Instant::now();
        quickstart(&cluster, nexus)?;
        let agents = of(TENANT, &format!("app={INSIDE}"));
        agents.ready(REPLICAS.try_into()?).await?;
        times.add("quickstart applied, its agent's pods ready", began.elapsed());
        let folder = work.join("agents");
        write_credentials(&client, &folder, 2).await?;
        let ingest = service(&client, "nexus-ingest").await?;
        let doors = gateways.ready(GATEWAYS).await?;
        let doors = doors.iter().map(|pod| Ok((pods::address(pod)?, 8081).into()));
        let doors = Doors::at(vec![ingest], doors.collect::<anyhow::Result<_>>()?, folder.clone())?;
        let front = Doors::at(vec![ingest], vec![service(&client, "nexus-gateway").await?], folder)?;
        let secret = Api::<Secret>::namespaced(client.clone(), TENANT).get("webhooks").await?;
        let secret = secret.data.unwrap_or_default().remove("github").context("a key `github`")?;
        Ok(Self {
            outside: Outside::start(Arc::new(front), TENANT, OUTSIDE),
            switch: Switch::new(&client, TENANT, INSIDE),
            doors: Arc::new(doors),
            gateways,
            operators,
            agents,
            client,
            secret: String::from_utf8(secret.0)?,
            nexus: nexus.to_owned(),
            image,
            work: work.to_owned(),
            posted: 0,
            cluster,
        })
    }

    /// Adds the agents of a crowd to the tenant, and a Mapping for the eye.
    pub(super) async fn add_crowd(&self) -> anyhow::Result<()> {
        let folder = self.work.join("tenant");
        std::fs::create_dir_all(&folder)?;
        for file in ["tenant.yaml", "agents.yaml", "policy.yaml"] {
            std::fs::copy(repository().join("examples/quickstart").join(file), folder.join(file))?;
        }
        let profiles: String =
            (0..crowd::AGENTS).map(|number| crowd::profile(TENANT, &crowd::name(number))).collect();
        let mapping = format!(
            "---\napiVersion: nexus.dev/v1alpha1\nkind: Mapping\nmetadata: {{name: shop, namespace: {TENANT}}}\n\
             spec: {{tenant: {TENANT}, clickupListId: \"901\", slackChannelId: C024BE91L}}\n"
        );
        std::fs::write(folder.join("crowd.yaml"), profiles + &mapping)?;
        apply(&self.cluster, &self.nexus, &folder)?;
        write_credentials(&self.client, &self.doors.agents, crowd::AGENTS + 2).await
    }

    /// Posts a new GitHub issue for both agents, signed, to the Service of ingest. Gives its title, which is no other's.
    pub(super) async fn post(&mut self) -> anyhow::Result<String> {
        self.posted += 1;
        let number = self.posted;
        let title = format!("Issue {number} of {:08x}", rand::random::<u32>());
        let issue = Issue { action: "opened", number, title: &title };
        let answer = self.doors.tell(HOOK, &self.secret, issue, 0).await?;
        let status = answer.status();
        ensure!(status.is_success(), "a webhook is answered {status}: {}", answer.text().await?);
        Ok(title)
    }

    /// Waits until the agent in pods has an event, and the one outside; the moments.
    pub(super) async fn arrives(&self, title: &str) -> anyhow::Result<(Instant, Instant)> {
        let began = Instant::now();
        let (mut inside, mut outside) = (None, None);
        loop {
            if inside.is_none() && self.agents.say(title).await? {
                inside = Some(Instant::now());
            }
            outside = outside.or_else(|| self.outside.heard(title));
            if let (Some(inside), Some(outside)) = (inside, outside) {
                return Ok((inside, outside));
            }
            ensure!(
                began.elapsed() < PATIENCE,
                "`{title}` does not arrive; in a pod: {}, outside: {}",
                inside.is_some(),
                outside.is_some()
            );
            sleep(LOOK * 5).await;
        }
    }

    /// An access token of one of the crowd.
    pub(super) async fn token(&self) -> anyhow::Result<String> {
        self.doors.token(TENANT, &crowd::name(0), 0).await
    }

    /// A metric of the gateway behind a door: the sum over its labels.
    pub(super) async fn metric(&self, door: usize, name: &str) -> anyhow::Result<f64> {
        let url = format!("http://{}:9090/metrics", self.doors.gateways[door].ip());
        let metrics = self.doors.http.get(url).timeout(Duration::from_secs(2)).send().await?.text().await?;
        Ok(crate::fleet::sum(&metrics, name, "").unwrap_or_default())
    }

    /// What `kubectl get` shows of each kind.
    pub(super) fn show(&self) -> anyhow::Result<String> {
        let of_tenant = ["-n", TENANT];
        let questions: [&[&str]; 5] = [
            &["nexuspolicies"],
            &["tenants", "-A"],
            &["agentprofiles", INSIDE, OUTSIDE, "crowd-0", of_tenant[0], of_tenant[1]],
            &["mappings", "-A"],
            &["deployments,pods", of_tenant[0], of_tenant[1]],
        ];
        let mut shown = String::new();
        for question in questions {
            let (said, besides) = self.cluster.kubectl_on(&[&["get"], question].concat(), "")?;
            shown += &format!("$ kubectl get {}\n{said}{besides}\n", question.join(" "));
        }
        Ok(shown)
    }

    /// Writes what helps to find out what went wrong.
    pub(super) fn dump(&self, folder: &Path) -> anyhow::Result<()> {
        std::fs::create_dir_all(folder)?;
        let of_nexus = "app.kubernetes.io/name=nexus";
        let questions: [(&str, &[&str]); 4] = [
            ("pods", &["get", "pods", "-A", "-o", "wide"]),
            ("events", &["get", "events", "-A"]),
            ("policies", &["get", "nexuspolicies", "-o", "yaml"]),
            ("logs", &["logs", "-n", NAMESPACE, "-l", of_nexus, "--prefix", "--tail=2000"]),
        ];
        for (name, question) in questions {
            let told = self.cluster.kubectl(question).unwrap_or_else(|error| format!("{error:#}"));
            std::fs::write(folder.join(name), told)?;
        }
        Ok(())
    }
}

/// Applies the quickstart as its README has it, and runs one of its agents.
fn quickstart(cluster: &Cluster, nexus: &Path) -> anyhow::Result<()> {
    cluster.kubectl(&["create", "namespace", TENANT])?;
    apply(cluster, nexus, &repository().join("examples/quickstart"))?;
    cluster.apply(&deployment())
}

/// Applies a folder of objects, and what lets the operator act for them.
fn apply(cluster: &Cluster, nexus: &Path, folder: &Path) -> anyhow::Result<()> {
    let path = folder.to_str().context("a path that is no UTF-8")?;
    let rights = run(Command::new(nexus).args(["rbac", path]))?;
    cluster.kubectl_on(&["apply", "--server-side", "-f", "-"], &rights)?;
    cluster.kubectl(&["apply", "--server-side", "-f", path])?;
    Ok(())
}

/// The agent's Deployment: it has the Secret that the operator makes, and goes to the Service of the gateways.
fn deployment() -> Value {
    let gateway = format!("http://nexus-gateway.{NAMESPACE}:8081");
    let container = json!({
        "name": INSIDE, "image": AGENT, "imagePullPolicy": "IfNotPresent",
        "env": [
            {"name": "NEXUS_GATEWAY", "value": gateway},
            {"name": "NEXUS_CREDENTIALS", "value": "/run/nexus"},
        ],
        "volumeMounts": [{"name": "credentials", "mountPath": "/run/nexus", "readOnly": true}],
    });
    let pod = json!({
        // It has no handler of signals, and nothing to bring to an end.
        "terminationGracePeriodSeconds": 1, "automountServiceAccountToken": false, "containers": [container],
        "volumes": [{"name": "credentials", "secret": {"secretName": format!("{INSIDE}-nexus-agent")}}],
    });
    let labels = json!({"app": INSIDE});
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": INSIDE, "namespace": TENANT},
        "spec": {
            "replicas": REPLICAS, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    })
}

/// Waits until the operator has made so many agents' credentials, and lays them out as Kubernetes mounts them.
async fn write_credentials(client: &Client, folder: &Path, wanted: usize) -> anyhow::Result<()> {
    let api = Api::<Secret>::namespaced(client.clone(), TENANT);
    let began = Instant::now();
    let secrets = loop {
        let mut secrets = api.list(&ListParams::default()).await?.items;
        secrets.retain(|secret| {
            secret.metadata.name.as_ref().is_some_and(|name| name.ends_with("-nexus-agent"))
        });
        if secrets.len() >= wanted {
            break secrets;
        }
        let made = secrets.len();
        ensure!(began.elapsed() < PATIENCE, "the operator has made {made} agents' credentials, not {wanted}");
        sleep(LOOK * 10).await;
    };
    for secret in secrets {
        let folder = folder.join(TENANT).join(secret.metadata.name.unwrap_or_default());
        std::fs::create_dir_all(&folder)?;
        for (key, value) in secret.data.unwrap_or_default() {
            std::fs::write(folder.join(key), value.0)?;
        }
    }
    Ok(())
}

/// The address of a Service of Nexus.
async fn service(client: &Client, name: &str) -> anyhow::Result<SocketAddr> {
    let service = Api::<Service>::namespaced(client.clone(), NAMESPACE).get(name).await?;
    let spec = service.spec.with_context(|| format!("{name} has no spec"))?;
    let port = spec.ports.into_iter().flatten().next().with_context(|| format!("{name} has no port"))?.port;
    let address = spec.cluster_ip.with_context(|| format!("{name} has no address"))?;
    Ok((address.parse::<std::net::IpAddr>()?, port.try_into()?).into())
}

/// What an image of this executable is made of. One that wants a dynamic loader says so at its head, where `scripts/image` looks
/// as well.
fn image(executable: &Path) -> anyhow::Result<Image> {
    let mut head = Vec::new();
    let file = File::open(executable).with_context(|| format!("cannot read {}", executable.display()))?;
    file.take(4096).read_to_end(&mut head)?;
    let wants = |loader: &[u8]| head.windows(loader.len()).any(|bytes| bytes == loader);
    Ok(if wants(b"/ld-linux") || wants(b"/ld-musl") { Image::Dynamic } else { Image::Static })
}

/// What `image` and `install` are told of one.
fn libraries(image: Image) -> Option<&'static str> {
    (image == Image::Dynamic).then_some("--libraries")
}

/// Runs a command that has to succeed; what it prints.
fn run(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} fails: {}", said.trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
