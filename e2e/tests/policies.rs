//! A gateway that watches the NexusPolicies of a real API server: what stops it, what does not release it, and what it does
//! when it cannot see.
//!
//! A process of its own, and one test at a time in it: NexusPolicies have no namespace, and one test takes their definition
//! away. The link between gateway and API server is a program that can be cut or frozen.

#![expect(clippy::unwrap_used, reason = "a failed step is the test's report")]

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use nexus_e2e::cluster::{Cluster, Namespace, repository};
use nexus_e2e::doors::Socket;
use nexus_e2e::fleet::Fleet;
use nexus_e2e::ledger::AGENTS;
use nexus_e2e::link::Link;
use nexus_e2e::program::locate;
use nexus_e2e::webhook::TENANTS;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::{Instant, sleep};
use tokio_tungstenite::tungstenite::Message;

/// The longest that a condition is waited for.
const PATIENCE: Duration = Duration::from_secs(90);

/// What a gateway may do at the API server.
const READER: &str = "nexuspolicy-reader";

/// Held by the test that runs.
static TURN: Mutex<()> = Mutex::const_new(());

/// A port where nobody listens.
const NOWHERE: u16 = 1;

/// Waits until something holds.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < PATIENCE, "waited in vain: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// A gateway, an API server, and the link between them.
struct Site {
    cluster: &'static Cluster,
    /// The name of this test's policy.
    policy: String,
    link: Link,
    fleet: Fleet,
    work: TempDir,
    api: u16,
    _namespace: Namespace,
    _turn: MutexGuard<'static, ()>,
}

impl Site {
    /// A gateway that is not running yet, and a policy that means the first tenant and orders nothing.
    async fn new(test: &str) -> Self {
        let turn = TURN.lock().await;
        let cluster = Cluster::shared().unwrap();
        cluster.install_definitions().unwrap();
        let namespace = cluster.namespace(test).unwrap();
        let token = reader(cluster, &namespace);
        let address = cluster.address().unwrap();
        let link = Link::to(address).await.unwrap();
        let work = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let kubeconfig = work.path().join("kubeconfig");
        cluster.lead(link.port, &token, &kubeconfig).unwrap();
        let mut fleet = Fleet::new(&locate(None).unwrap(), work.path(), "no").await.unwrap();
        fleet.gateways[0].arguments.extend(["--policies", "kubernetes"].map(str::to_owned));
        fleet.gateways[0].environment.push(("KUBECONFIG", kubeconfig));
        let policy = format!("{test}-{:06x}", rand::random_range(0..0x100_0000));
        let site = Self {
            cluster,
            policy,
            link,
            fleet,
            work,
            api: address.port(),
            _namespace: namespace,
            _turn: turn,
        };
        site.create(&json!({}));
        site
    }

    /// Starts the gateway, and waits until it is ready.
    async fn start(&mut self) {
        self.fleet.start_gateway(0).unwrap();
        self.fleet.gateway_ready(0).await.unwrap();
        self.fleet.know_agents().await.unwrap();
    }

    /// Creates the policy.
    fn create(&self, spec: &Value) {
        let mut spec = spec.clone();
        spec["targets"] = json!({"tenants": [{"namespace": TENANTS[0], "name": TENANTS[0]}]});
        let object = json!({
            "apiVersion": "nexus.dev/v1alpha1",
            "kind": "NexusPolicy",
            "metadata": {"name": self.policy},
            "spec": spec,
        });
        let file = self.work.path().join("policy.json");
        std::fs::write(&file, object.to_string()).unwrap();
        self.cluster.kubectl(&["create", "-f", file.to_str().unwrap()]).unwrap();
    }

    fn patch(&self, spec: &Value) {
        let patch = json!({"spec": spec}).to_string();
        self.cluster
            .kubectl(&["patch", "nexuspolicy", &self.policy, "--type", "merge", "-p", &patch])
            .unwrap();
    }

    /// Labels the first agent, in the folder.
    fn label(&self, squad: &str) {
        let (agent, tenant) = (AGENTS[0], TENANTS[0]);
        let file = self.work.path().join(format!("resources/{tenant}.yaml"));
        let objects = std::fs::read_to_string(&file).unwrap();
        let before =
            objects.split("---\n").find(|object| object.contains(&format!("{{name: {agent}, "))).unwrap();
        let head = before.lines().find(|line| line.starts_with("metadata:")).unwrap();
        let metadata =
            format!("metadata: {{name: {agent}, namespace: {tenant}, labels: {{squad: {squad}}}}}");
        std::fs::write(&file, objects.replace(head, &metadata)).unwrap();
    }

    /// The name by which the stop that the policy orders now is released.
    fn engagement(&self) -> String {
        let get = |path: &str| {
            let path = format!("jsonpath={{.metadata.{path}}}");
            self.cluster.kubectl(&["get", "nexuspolicy", &self.policy, "-o", &path]).unwrap()
        };
        format!("{}-{}", &get("uid")[..8], get("generation"))
    }

    /// Opens a session of a tenant's agent.
    async fn connect(&self, tenant: &str) -> anyhow::Result<Socket> {
        self.fleet.doors.session(tenant, AGENTS[0], 0, 1).await
    }

    /// Waits until an agent of the tenant is admitted.
    async fn admits(&self, tenant: &str) -> Socket {
        let mut admitted = None;
        until(&format!("{tenant} is admitted"), async || {
            admitted = self.connect(tenant).await.ok();
            admitted.is_some()
        })
        .await;
        admitted.unwrap()
    }

    /// Nobody of these tenants is admitted, and why is that of a stop.
    async fn refuses(&self, tenants: &[&str]) {
        for tenant in tenants {
            let refused = self.connect(tenant).await.unwrap_err().to_string();
            assert!(refused.contains("temporarily_unavailable"), "{refused}");
        }
    }

    /// Waits until the gateway is ready but for a look at the policies.
    async fn waits_for_a_look(&self) {
        until("it waits for nothing but a look", async || {
            let awaited = self.fleet.gateways[0].awaited(&self.fleet.doors.http).await.unwrap_or_default();
            awaited.contains(r#""awaited":["a first look at the NexusPolicies (or a latch file)"]"#)
        })
        .await;
    }

    async fn metric(&self, name: &str, with: &str) -> f64 {
        let gateway = &self.fleet.gateways[0];
        gateway.metric(&self.fleet.doors.http, name, with).await.unwrap().unwrap_or_default()
    }

    async fn measures(&self, name: &str, with: &str, least: f64) {
        until(&format!("{name}{{{with}}} is {least} or more"), async || {
            self.metric(name, with).await >= least
        })
        .await;
    }

    async fn read_at(&self) -> f64 {
        self.metric("nexus_stop_read_timestamp_seconds", "").await
    }

    /// Waits until the gateway has looked once more from now on, and finds the stop still there.
    async fn looks_again_and_refuses(&self) {
        // The look that is under way may have begun before.
        for _ in 0..2 {
            let before = self.read_at().await;
            until("it looks again", async || self.read_at().await > before).await;
        }
        self.refuses(&TENANTS[..1]).await;
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = self.cluster.kubectl(&["delete", "nexuspolicy", &self.policy, "--ignore-not-found"]);
    }
}

/// A token of somebody who may read NexusPolicies, and nothing else.
fn reader(cluster: &Cluster, namespace: &Namespace) -> String {
    let (resource, verbs) = ("--resource=nexuspolicies.nexus.dev", "--verb=list,watch");
    // Where an earlier test left it, it is there.
    let _ = cluster.kubectl(&["create", "clusterrole", READER, verbs, resource]);
    let (name, account) = (namespace.name(), format!("--serviceaccount={}:gateway", namespace.name()));
    cluster.kubectl(&["create", "serviceaccount", "gateway", "-n", name]).unwrap();
    let binding = format!("{READER}-{name}");
    cluster
        .kubectl(&["create", "clusterrolebinding", &binding, &format!("--clusterrole={READER}"), &account])
        .unwrap();
    cluster.kubectl(&["create", "token", "gateway", "-n", name]).unwrap().trim().to_owned()
}

/// Waits until a session is closed for a stop.
async fn severed(mut socket: Socket) {
    let closed = async {
        let mut said = String::new();
        while let Some(Ok(message)) = socket.next().await {
            said += &message.to_string();
        }
        assert!(said.contains("GOODBYE_REASON_STOPPED"), "{said}");
    };
    tokio::time::timeout(PATIENCE, closed).await.expect("the session stays open");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_patch_stops_whom_it_means_and_only_its_name_releases() {
    let mut site = Site::new("patch").await;
    // A stop in the folder counts for nothing, and somebody is told.
    let ignored =
        "apiVersion: nexus.dev/v1alpha1\nkind: NexusPolicy\nmetadata: {name: stop-all}\nspec: {stop: true}\n";
    std::fs::write(site.work.path().join("resources/policy.yaml"), ignored).unwrap();
    site.start().await;
    assert!(site.metric("nexus_config_problems", "").await >= 1.0);
    let (agent, mut bystander) = (site.admits(TENANTS[0]).await, site.admits(TENANTS[1]).await);

    site.patch(&json!({"stop": true, "reason": "drill"}));
    severed(agent).await;
    site.refuses(&TENANTS[..1]).await;
    bystander.send(Message::text(r#"{"ping":{}}"#)).await.unwrap();
    let pong = tokio::time::timeout(PATIENCE, bystander.next()).await.unwrap().unwrap().unwrap();
    assert!(pong.to_text().unwrap().contains("pong"), "{pong}");

    let name = site.engagement();
    site.patch(&json!({"stop": null}));
    site.measures("nexus_stop_alarms", "", 1.0).await;
    site.refuses(&TENANTS[..1]).await;
    site.patch(&json!({"release": "00000000-1"}));
    site.looks_again_and_refuses().await;
    site.patch(&json!({"release": name}));
    site.admits(TENANTS[0]).await;
    until("there is no alarm any more", async || site.metric("nexus_stop_alarms", "").await < 1.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_is_relabelled_out_of_a_stop_stays_stopped_and_raises_an_alarm() {
    let mut site = Site::new("relabel").await;
    site.label("ai");
    site.start().await;
    let agent = site.admits(TENANTS[0]).await;
    site.patch(
        &json!({"stop": true, "targets": {"tenants": null, "agents": {"matchLabels": {"squad": "ai"}}}}),
    );
    severed(agent).await;
    site.admits(TENANTS[1]).await;
    site.looks_again_and_refuses().await;
    assert!(site.metric("nexus_stop_alarms", "").await < 1.0);

    site.label("web");
    site.measures("nexus_stop_alarms", "", 1.0).await;
    site.looks_again_and_refuses().await;
    site.label("ai");
    until("there is no alarm any more", async || site.metric("nexus_stop_alarms", "").await < 1.0).await;

    // To mean others instead is refused.
    let others = json!({"spec": {"targets": {"agents": {"matchLabels": {"squad": "ops"}}}}}).to_string();
    let patch = ["patch", "nexuspolicy", &site.policy, "--type", "merge", "-p", &others];
    let refused = site.cluster.kubectl(&patch).unwrap_err().to_string();
    assert!(refused.contains("its targets can only widen"), "{refused}");
    site.patch(&json!({"stop": null, "release": site.engagement()}));
    site.admits(TENANTS[0]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neither_deletion_nor_a_restart_without_an_api_server_releases() {
    let mut site = Site::new("deletion").await;
    site.start().await;
    let agent = site.admits(TENANTS[0]).await;
    site.patch(&json!({"stop": true}));
    let name = site.engagement();
    severed(agent).await;

    site.cluster.kubectl(&["delete", "nexuspolicy", &site.policy]).unwrap();
    site.measures("nexus_stop_alarms", "", 1.0).await;
    site.looks_again_and_refuses().await;
    site.create(&json!({}));
    site.looks_again_and_refuses().await;

    // It is ready by its latch file alone, and goes by it.
    site.link.lead(NOWHERE);
    site.measures("nexus_stop_look_failures_total", "unreachable", 1.0).await;
    site.fleet.gateways[0].kill().await.unwrap();
    site.start().await;
    site.refuses(&TENANTS[..1]).await;
    site.admits(TENANTS[1]).await;

    // What it sees again is another object, which releases by the very name alone.
    site.link.lead(site.api);
    site.looks_again_and_refuses().await;
    site.patch(&json!({"release": name}));
    site.admits(TENANTS[0]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_that_is_dead_without_a_word_holds_up_no_stop() {
    let mut site = Site::new("frozen").await;
    site.start().await;
    let agent = site.admits(TENANTS[0]).await;
    // Looks last for moments: a connection that lasts is the watch's.
    let lasting = Duration::from_secs(4);
    until("a watch is open", async || site.link.oldest().is_some_and(|age| age > lasting)).await;
    site.link.freeze();
    site.patch(&json!({"stop": true}));
    severed(agent).await;
    // The look that found it began another watch.
    site.measures("nexus_stop_watch_ends_total", "late", 1.0).await;
    site.patch(&json!({"stop": null, "release": site.engagement()}));
    site.admits(TENANTS[0]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_from_before_the_stop_does_not_release_it() {
    let mut site = Site::new("restore").await;
    site.start().await;
    let agent = site.admits(TENANTS[0]).await;
    site.cluster.back_up().await.unwrap();
    site.patch(&json!({"stop": true}));
    severed(agent).await;
    let name = site.engagement();
    site.cluster.restore().await.unwrap();
    site.measures("nexus_stop_watch_ends_total", "went_back", 1.0).await;
    site.measures("nexus_stop_alarms", "", 1.0).await;
    site.looks_again_and_refuses().await;
    // The object knows nothing of it, and names it all the same.
    site.patch(&json!({"release": name}));
    site.admits(TENANTS[0]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_latch_and_without_an_answer_nobody_runs() {
    let mut site = Site::new("blind").await;
    site.start().await;
    drop(site.admits(TENANTS[0]).await);
    site.fleet.gateways[0].kill().await.unwrap();
    std::fs::remove_file(site.fleet.gateways[0].data.join("stop-latch.json")).unwrap();
    site.link.lead(NOWHERE);
    site.fleet.start_gateway(0).unwrap();
    site.waits_for_a_look().await;
    site.refuses(&TENANTS).await;
    site.link.lead(site.api);
    site.fleet.gateway_ready(0).await.unwrap();
    site.admits(TENANTS[0]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_definition_that_is_deleted_releases_nothing_and_is_no_leave_to_run() {
    let mut site = Site::new("definition").await;
    site.start().await;
    let agent = site.admits(TENANTS[0]).await;
    site.patch(&json!({"stop": true}));
    severed(agent).await;
    let name = site.engagement();
    site.cluster.kubectl(&["delete", "crd", "nexuspolicies.nexus.dev"]).unwrap();
    site.measures("nexus_stop_look_failures_total", "undefined", 1.0).await;
    site.measures("nexus_stop_alarms", "", 1.0).await;
    site.refuses(&TENANTS[..1]).await;

    // Who knows nothing yet learns nothing by it.
    site.fleet.gateways[0].kill().await.unwrap();
    let latch = site.fleet.gateways[0].data.join("stop-latch.json");
    let kept = std::fs::read(&latch).unwrap();
    std::fs::remove_file(&latch).unwrap();
    site.fleet.start_gateway(0).unwrap();
    site.waits_for_a_look().await;
    site.measures("nexus_stop_look_failures_total", "undefined", 3.0).await;
    site.refuses(&TENANTS).await;

    site.fleet.gateways[0].kill().await.unwrap();
    std::fs::write(&latch, kept).unwrap();
    define(site.cluster);
    site.create(&json!({"release": name}));
    site.start().await;
    site.admits(TENANTS[0]).await;
}

/// Puts the definition of NexusPolicy back.
fn define(cluster: &Cluster) {
    let file = repository().join("config/crd/nexuspolicies.nexus.dev.yaml");
    let apply = ["apply", "--server-side", "--field-manager", "nexus-e2e", "-f", file.to_str().unwrap()];
    cluster.kubectl(&apply).unwrap();
    let established = ["wait", "--for=condition=Established", "--timeout=30s", "crd/nexuspolicies.nexus.dev"];
    cluster.kubectl(&established).unwrap();
}
