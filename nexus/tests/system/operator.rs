//! Roles that an operator configures: a publisher in this process, `nexus ingest` and `nexus gateway` as processes around it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use nexus::folder::Folder;
use nexus_core::id::{AgentId, TenantKey};
use nexus_runtime::lane::StopLane;
use nexus_wire::config::{
    Identify, Identity, Pod, Publisher, Resource, ResourceName, ResourceType, Role, Unidentified,
};
use tempfile::TempDir;
use tokio::process::Command;
use tokio::task::JoinSet;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use crate::agent::Agents;
use crate::fleet::{AGENT_SECRET, Redis, admin, objects};
use crate::harness::{Nexus, SECRET, Site, free_ports, until};

/// The token of a role is its name.
#[derive(Clone)]
struct Names;

impl Identify for Names {
    async fn identify(&self, token: &str) -> Result<Identity, Unidentified> {
        let role = match token {
            "ingest" => Role::Ingest,
            "gateway" => Role::Gateway,
            _ => return Err(Unidentified::Refused("nobody's".into())),
        };
        Ok(Identity { role, pod: Some(format!("{token}-0")) })
    }
}

/// What the objects of a folder compile to.
fn compiled(folder: &Path) -> (TenantKey, Vec<Resource>) {
    let (groups, _) = Folder::new(folder).read().objects.by_tenant();
    let compiled = nexus_compile::compile(&groups[0], nexus_compile::Previous::default()).unwrap();
    let tenant = compiled.gateway.tenant.clone();
    let name = |kind| ResourceName { kind, tenant: tenant.clone() };
    let resources = vec![
        Resource::of(name(ResourceType::Ingest), &compiled.ingest).unwrap(),
        Resource::of(name(ResourceType::Gateway), &compiled.gateway).unwrap(),
        Resource::signing(tenant.clone(), &compiled.signing).unwrap(),
    ];
    (tenant, resources)
}

struct Operated {
    redis: Redis,
    objects: Site,
    gateway: Site,
    /// Where tokens lie.
    tokens: TempDir,
    /// Where signing secrets lie: in a cluster, memory.
    secrets: TempDir,
    /// Where a gateway keeps what an operator sent: in a cluster, not beside its latch.
    last_good: TempDir,
    operator: u16,
}

impl Operated {
    fn new() -> Self {
        let (objects, gateway) = (objects(), Site::new(&[]));
        let credentials = gateway.credentials("coder");
        std::fs::create_dir_all(&credentials).unwrap();
        let id = AgentId::of(&"acme/acme".parse().unwrap(), "coder").to_string();
        std::fs::write(credentials.join("client-id"), id).unwrap();
        std::fs::write(credentials.join("client-secret"), AGENT_SECRET).unwrap();
        let tokens = tempfile::tempdir().unwrap();
        for role in ["ingest", "gateway"] {
            // As an editor would leave it.
            std::fs::write(tokens.path().join(role), format!("{role}\n")).unwrap();
        }
        let [operator, ..] = free_ports();
        let (secrets, last_good) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        Self { redis: Redis::new(), objects, gateway, tokens, secrets, last_good, operator }
    }

    /// Serves a publisher until the set is dropped.
    fn serve(&self, publisher: &Publisher, tasks: &mut JoinSet<()>) {
        let service = publisher.service(Names);
        let incoming = TcpIncoming::bind(([127, 0, 0, 1], self.operator).into()).unwrap();
        let server = Server::builder().add_service(service);
        tasks.spawn(async move { server.serve_with_incoming(incoming).await.unwrap() });
    }

    fn command(&self, role: &str, site: &Site, listen: u16) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nexus"));
        command
            .arg(role)
            .args(["--operator", &format!("http://127.0.0.1:{}", self.operator)])
            .arg("--operator-token")
            .arg(self.tokens.path().join(role))
            .args(["--pod", &format!("{role}-0")])
            .args(["--listen", &format!("127.0.0.1:{listen}")])
            .args(["--admin", &format!("127.0.0.1:{}", site.admin)])
            .arg("--data")
            .arg(self.data(role))
            .env("NEXUS_BUS", self.redis.url())
            .env("NEXUS_LOG", "warn,nexus_wire=off")
            .env("KUBECONFIG", self.kubeconfig())
            .stdout(Stdio::null())
            .kill_on_drop(true);
        command
    }

    fn data(&self, role: &str) -> PathBuf {
        match role {
            "ingest" => self.objects.data.path().join("ingest"),
            _ => self.gateway.data.path().to_owned(),
        }
    }

    fn ingest(&self) -> Nexus {
        let mut command = self.command("ingest", &self.objects, self.objects.ingest);
        command.arg("--secrets").arg(self.secrets.path()).spawn().unwrap().into()
    }

    fn gateway(&self) -> Nexus {
        let mut command = self.command("gateway", &self.gateway, self.gateway.gateway);
        command.arg("--last-good").arg(self.last_good.path()).spawn().unwrap().into()
    }

    /// A cluster whose API server is away.
    fn kubeconfig(&self) -> PathBuf {
        let path = self.tokens.path().join("kubeconfig");
        let text = "{apiVersion: v1, kind: Config, current-context: away, contexts: [{name: away, context: {cluster: away, \
                    user: away}}], clusters: [{name: away, cluster: {server: \"http://127.0.0.1:1\"}}], users: [{name: away, \
                    user: {}}]}\n";
        std::fs::write(&path, text).unwrap();
        path
    }

    /// A look at the policies of before, for this gateway's API server is away.
    fn may_run(&self) {
        StopLane::open(&self.data("gateway").join("stop-latch.json")).unwrap().observe(&[]).unwrap();
    }
}

async fn pod(publisher: &Publisher, what: &str, name: &str, is: impl Fn(&Pod) -> bool) {
    let mut pods = publisher.pods();
    let found = pods.wait_for(|pods| pods.get(name).is_some_and(|pod| is(pod)));
    let found = tokio::time::timeout(crate::harness::PATIENCE, found).await;
    assert!(found.is_ok_and(|found| found.is_ok()), "waited for {what}");
}

async fn awaits(site: &Site, what: &str) {
    until(&format!("it waits for {what}"), || async {
        admin(site, "/readyz").await.filter(|text| text.contains(what)).map(drop)
    })
    .await;
}

async fn arrives(what: &str, event: &str, agents: &Agents) {
    until(what, || async { agents.read(|memory| memory.delivered.contains_key(event).then_some(())) }).await;
}

/// All files below a folder, as text.
fn text(folder: &Path) -> String {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files = files.filter(|path| path.is_file());
    files.map(|path| String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_take_their_configuration_from_an_operator_and_start_without_it() {
    let mut operated = Operated::new();
    operated.redis.start();
    operated.may_run();
    let (ingest, gateway) = (operated.ingest(), operated.gateway());
    // Without an operator, and without anything kept, nothing is served.
    awaits(&operated.objects, "a configuration from the operator").await;
    awaits(&operated.objects, "the signing secrets from the operator").await;
    awaits(&operated.gateway, "a configuration from the operator").await;
    assert!(operated.objects.post_issue_to("acme/acme", 0).await.is_err(), "nobody listens");

    let publisher = Publisher::new();
    let (tenant, resources) = compiled(operated.objects.folder.path());
    publisher.publish(&tenant, resources.clone());
    publisher.complete();
    let mut operator = JoinSet::new();
    operated.serve(&publisher, &mut operator);
    operated.objects.ready().await;
    operated.gateway.ready().await;
    let agents = Agents::start(&operated.gateway, "coder", 1, 4);
    let event = operated.objects.post_issue(1).await.unwrap();
    arrives("a webhook reaches the agent", &event, &agents).await;

    // Each holds its cut, and says so.
    let digests = |kinds: &[ResourceType]| -> BTreeMap<_, _> {
        let ours = resources.iter().filter(|resource| kinds.contains(&resource.name().kind));
        ours.map(|resource| (resource.name().clone(), resource.digest())).collect()
    };
    let taken = digests(&[ResourceType::Ingest, ResourceType::SigningSecrets]);
    pod(&publisher, "what ingest holds", "ingest-0", |pod| pod.held == taken && pod.stops.is_none()).await;
    let served = digests(&[ResourceType::Gateway]);
    pod(&publisher, "what gateway holds", "gateway-0", |pod| {
        let online = pod.presence.values().any(|presence| presence.online);
        pod.held == served && online && pod.stops.as_ref().is_some_and(|stops| stops.known)
    })
    .await;
    let shown = admin(&operated.gateway, "/config").await.unwrap();
    assert!(shown.contains("coder") && !shown.contains("github"), "{shown}");

    // A change is in force at once.
    operated.objects.write("other.yaml", &crate::harness::agent_yaml("other"));
    publisher.publish(&tenant, compiled(operated.objects.folder.path()).1);
    until("the change is in force", || async {
        admin(&operated.gateway, "/config").await.filter(|text| text.contains("other")).map(drop)
    })
    .await;

    // Killed, and started without an operator: both go on with what they had.
    let base64 = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, SECRET);
    until("the last good configuration is written", || async {
        text(operated.last_good.path()).contains("other").then_some(())
    })
    .await;
    drop(operator);
    publisher.close();
    ingest.kill().await;
    gateway.kill().await;
    let kept = text(&operated.data("ingest"));
    assert!(kept.contains("acme/acme") && !kept.contains(SECRET) && !kept.contains(&base64));
    assert!(text(operated.secrets.path()).contains(&base64));
    // The latch has its folder for itself.
    assert!(!text(&operated.data("gateway")).contains("acme/acme"));
    let (ingest, gateway) = (operated.ingest(), operated.gateway());
    operated.objects.ready().await;
    operated.gateway.ready().await;
    let event = operated.objects.post_issue(2).await.unwrap();
    arrives("a webhook reaches the agent without an operator", &event, &agents).await;
    assert!(ingest.terminate().await.success());
    assert!(gateway.terminate().await.success());

    // Without the secrets ingest waits for them, and gets them.
    std::fs::remove_file(operated.secrets.path().join("signing-secrets.json")).unwrap();
    let _ingest = operated.ingest();
    awaits(&operated.objects, "the signing secrets from the operator").await;
    let publisher = Publisher::new();
    publisher.publish(&tenant, resources);
    publisher.complete();
    let mut operator = JoinSet::new();
    operated.serve(&publisher, &mut operator);
    operated.objects.ready().await;
    assert!(operated.objects.post_issue(3).await.is_some());
}
