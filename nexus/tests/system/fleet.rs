//! Roles as processes: ingest and two gateways around a Redis, kill -9 of a gateway, and what each knows.

use std::collections::HashSet;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use nexus_core::id::AgentId;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::task::JoinSet;

use crate::agent::Agents;
use crate::harness::{Nexus, SECRET, Site, free_ports, until};

pub const AGENT_SECRET: &str = "an-agent-secret-of-at-least-32-characters";
const TOKEN_KEYS: &str = "token-keys";

/// A Redis of this test's own, in a folder of its own. Dropping it ends it.
pub struct Redis {
    port: u16,
    folder: TempDir,
    process: Option<Child>,
}

impl Redis {
    pub fn new() -> Self {
        let [port, ..] = free_ports();
        Self { port, folder: tempfile::tempdir().unwrap(), process: None }
    }

    pub fn start(&mut self) {
        let process = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--port", &self.port.to_string(), "--dir"])
            .arg(self.folder.path())
            .args(["--appendonly", "yes", "--appendfsync", "always", "--save", ""])
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn();
        self.process = Some(process.expect("redis-server is not there; install it with `scripts/test-deps`"));
    }

    /// kill -9.
    pub async fn kill(&mut self) {
        self.process.take().unwrap().kill().await.unwrap();
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Sends a command, and gives its answer as it came.
    pub async fn say(&self, command: &str) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
        stream.write_all(format!("{command}\r\n").as_bytes()).await?;
        // The server answers and then closes.
        stream.shutdown().await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer)
    }
}

/// One folder of objects that several processes read, each with ports and state of its own.
pub struct Fleet {
    pub redis: Redis,
    pub objects: Arc<Site>,
    pub gateways: [Site; 2],
}

/// A folder of objects with one agent, whose secret is given.
pub fn objects() -> Site {
    let objects = Site::new(&["coder"]);
    objects.write(
        "credentials.yaml",
        &format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: coder-nexus-agent, namespace: acme}}\n\
             stringData: {{client-secret: {AGENT_SECRET}}}\n"
        ),
    );
    objects
}

impl Fleet {
    pub fn new() -> Self {
        let objects = Arc::new(objects());
        let gateways = [Site::new(&[]), Site::new(&[])];
        let id = AgentId::of(&"acme/acme".parse().unwrap(), "coder").to_string();
        for gateway in &gateways {
            let credentials = gateway.credentials("coder");
            std::fs::create_dir_all(&credentials).unwrap();
            std::fs::write(credentials.join("client-id"), &id).unwrap();
            std::fs::write(credentials.join("client-secret"), AGENT_SECRET).unwrap();
        }
        let keys = objects.data.path().join(TOKEN_KEYS);
        std::fs::create_dir(&keys).unwrap();
        let pem = nexus_gateway::TokenKeys::generate().to_pem().unwrap();
        std::fs::write(keys.join("token"), pem.expose()).unwrap();
        Self { redis: Redis::new(), objects, gateways }
    }

    fn command(&self, role: &str, folder: &Path, site: &Site, listen: u16) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nexus"));
        command
            .arg(role)
            .arg(folder)
            .args(["--listen", &format!("127.0.0.1:{listen}")])
            .args(["--admin", &format!("127.0.0.1:{}", site.admin)])
            .env("NEXUS_BUS", self.redis.url())
            .env("NEXUS_LOG", "warn")
            .stdout(Stdio::null())
            .kill_on_drop(true);
        command
    }

    fn ingest(&self) -> Nexus {
        let objects = &self.objects;
        let mut command = self.command("ingest", objects.folder.path(), objects, objects.ingest);
        command.arg("--data").arg(self.objects.data.path().join("ingest")).spawn().unwrap().into()
    }

    pub fn gateway(&self, which: usize) -> Nexus {
        self.gateway_over(which, &self.objects)
    }

    /// A gateway that reads these objects.
    pub fn gateway_over(&self, which: usize, objects: &Site) -> Nexus {
        let site = &self.gateways[which];
        let data: &Path = site.data.path();
        let keys = self.objects.data.path().join(TOKEN_KEYS);
        let mut command = self.command("gateway", objects.folder.path(), site, site.gateway);
        command.arg("--data").arg(data).arg("--token-keys").arg(keys).spawn().unwrap().into()
    }
}

pub async fn admin(site: &Site, path: &str) -> Option<String> {
    let answer = site.http.get(format!("http://127.0.0.1:{}{path}", site.admin)).send().await.ok()?;
    answer.text().await.ok()
}

/// Posts issues until so many were accepted.
async fn post(site: &Site, numbers: std::ops::Range<u64>) -> HashSet<String> {
    let mut accepted = HashSet::new();
    for number in numbers {
        accepted.extend(site.post_issue(number).await);
    }
    accepted
}

/// Waits until a gateway knows so many to live.
async fn gateways_known(site: &Site, count: usize) {
    until(&format!("{count} gateways are known to live"), || async {
        let metrics = admin(site, "/metrics").await?;
        metrics.lines().any(|line| line == format!("nexus_gateways {count}")).then_some(())
    })
    .await;
}

async fn all_came(what: &str, accepted: &HashSet<String>, agents: &[&Agents]) {
    until(what, || async {
        let came =
            |id: &String| agents.iter().any(|agents| agents.read(|memory| memory.delivered.contains_key(id)));
        accepted.iter().all(came).then_some(())
    })
    .await;
}

fn delivered(agents: &Agents) -> usize {
    agents.read(|memory| memory.delivered.len())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_is_killed_leaves_nothing_behind() {
    let mut fleet = Fleet::new();
    fleet.redis.start();
    let _ingest = fleet.ingest();
    let (first, second) = (fleet.gateway(0), fleet.gateway(1));
    fleet.objects.ready().await;
    for gateway in &fleet.gateways {
        gateway.ready().await;
    }

    // Agents on either gateway get events, whichever of them routed.
    let on_first = Agents::start(&fleet.gateways[0], "coder", 1, 4);
    let on_second = Agents::start(&fleet.gateways[1], "coder", 1, 4);
    until("both are connected", || async {
        [&on_first, &on_second].iter().all(|agents| agents.read(|memory| memory.sessions > 0)).then_some(())
    })
    .await;
    let mut accepted = HashSet::new();
    let mut next = 0;
    while delivered(&on_first) == 0 || delivered(&on_second) == 0 {
        accepted.extend(post(&fleet.objects, next..next + 10).await);
        next += 10;
        assert!(next < 5000, "one of the gateways delivers nothing");
    }

    // Killed with events on their way: the other routes and delivers all of them.
    let site = Arc::clone(&fleet.objects);
    let mut load = JoinSet::new();
    load.spawn(async move { post(&site, 10_000..10_300).await });
    let goal = delivered(&on_first) + 10;
    until("events flow", || async { (delivered(&on_first) >= goal).then_some(()) }).await;
    first.kill().await;
    accepted.extend(load.join_next().await.unwrap().unwrap());
    all_came("all events arrive after the kill", &accepted, &[&on_first, &on_second]).await;
    let repeats: u32 = [&on_first, &on_second]
        .iter()
        .map(|agents| agents.read(|m| m.delivered.values().map(|n| n - 1).sum::<u32>()))
        .sum();
    println!(
        "one of two gateways killed: {} accepted, 0 lost, {repeats} came twice to one agent",
        accepted.len()
    );

    // With every gateway dead ingest answers, and the next gateway delivers.
    second.kill().await;
    let while_dead = post(&fleet.objects, 20_000..20_020).await;
    assert_eq!(while_dead.len(), 20);
    let back = fleet.gateway(1);
    all_came("what came while all were dead arrives", &while_dead, &[&on_second]).await;
    gateways_known(&fleet.gateways[1], 1).await;
    assert!(back.terminate().await.success());
}

/// What is routed by the gateway of an agent that waits is handed to it in the same step: no pull reads its inbox.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_waits_gets_an_event_without_a_pull() {
    let mut fleet = Fleet::new();
    fleet.redis.start();
    let (_ingest, _gateway) = (fleet.ingest(), fleet.gateway(0));
    fleet.objects.ready().await;
    fleet.gateways[0].ready().await;
    let agent = Agents::start(&fleet.gateways[0], "coder", 1, 4);
    until("the agent is connected", || async { agent.read(|memory| memory.sessions > 0).then_some(()) })
        .await;
    for number in 0..20 {
        fleet.redis.say("CONFIG RESETSTAT").await.unwrap();
        let accepted = post(&fleet.objects, number..number + 1).await;
        all_came("the event arrives", &accepted, &[&agent]).await;
        let done = fleet.redis.say("INFO commandstats").await.unwrap();
        assert!(done.contains("cmdstat_evalsha:"), "{done}");
        // Only a pull reads an inbox. The first ones may be those of an agent that has just connected.
        if !done.contains("cmdstat_zrange:") {
            return;
        }
    }
    panic!("each of 20 events was pulled");
}

/// One that stands still is taken for dead, and finds that out when it goes on: it begins again, and nothing that it held
/// is lost or stays with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_stood_still_begins_again() {
    let mut fleet = Fleet::new();
    fleet.redis.start();
    let _ingest = fleet.ingest();
    let (first, _second) = (fleet.gateway(0), fleet.gateway(1));
    fleet.objects.ready().await;
    for gateway in &fleet.gateways {
        gateway.ready().await;
    }
    let on_first = Agents::start(&fleet.gateways[0], "coder", 1, 4);
    until("it is connected", || async { on_first.read(|memory| (memory.sessions > 0).then_some(())) }).await;
    // A gateway is buried only by one that heard it beat.
    gateways_known(&fleet.gateways[1], 2).await;
    let mut accepted = post(&fleet.objects, 0..10).await;
    first.signal("STOP").await;
    // Its agent is on a socket that nobody serves, and its share of the partitions waits for an owner.
    accepted.extend(post(&fleet.objects, 10..40).await);
    gateways_known(&fleet.gateways[1], 1).await;
    let on_second = Agents::start(&fleet.gateways[1], "coder", 1, 4);
    all_came("what it held and was to route arrives elsewhere", &accepted, &[&on_first, &on_second]).await;
    drop(on_second);
    let sessions = on_first.read(|memory| memory.sessions);
    first.signal("CONT").await;
    until("its agent is back", || async {
        on_first.read(|memory| (memory.sessions > sessions).then_some(()))
    })
    .await;
    let later = post(&fleet.objects, 40..60).await;
    all_came("it delivers again", &later, &[&on_first]).await;
    gateways_known(&fleet.gateways[1], 2).await;
    assert!(first.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_role_knows_its_own_cut_and_waits_for_its_bus() {
    let mut fleet = Fleet::new();
    let (ingest, gateway) = (fleet.ingest(), fleet.gateway(0));
    // Without the bus a gateway lives, is not ready, and says why; ingest has its spool.
    let site = &fleet.gateways[0];
    until("it says what it waits for", || async {
        admin(site, "/readyz").await.filter(|text| text.contains("the bus at 127.0.0.1")).map(drop)
    })
    .await;
    assert_eq!(admin(site, "/healthz").await.as_deref(), Some("ok"));
    fleet.objects.ready().await;
    fleet.redis.start();
    fleet.gateways[0].ready().await;

    let digest = nexus_core::secret::Secret::new(AGENT_SECRET).digest().to_hex();
    let taken = admin(&fleet.objects, "/config").await.unwrap();
    let served = admin(&fleet.gateways[0], "/config").await.unwrap();
    for config in [&taken, &served] {
        assert!(!config.contains(SECRET) && !config.contains(AGENT_SECRET) && !config.contains(&digest));
    }
    let [taken, served] = [taken, served].map(|text| serde_json::from_str::<Value>(&text).unwrap());
    assert!(taken.pointer("/acme~1acme/ingest/sources/github").is_some(), "{taken}");
    assert!(taken.pointer("/acme~1acme/gateway").is_none(), "{taken}");
    assert!(served.pointer("/acme~1acme/gateway/agents/coder").is_some(), "{served}");
    assert!(served.pointer("/acme~1acme/ingest").is_none(), "{served}");

    // A drain says goodbye; both end well.
    let agents = Agents::start(&fleet.gateways[0], "coder", 1, 4);
    until("the agent is connected", || async { agents.read(|memory| (memory.sessions > 0).then_some(())) })
        .await;
    assert!(gateway.terminate().await.success());
    let goodbyes = agents.read(|memory| memory.goodbyes.clone());
    assert_eq!(goodbyes.first().map(String::as_str), Some("GOODBYE_REASON_DRAINING"));
    assert!(ingest.terminate().await.success());
}

/// The bus is away when ingest starts, when it is killed, and once more under load: what was accepted arrives.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ingest_needs_no_bus_to_take_webhooks() {
    let mut fleet = Fleet::new();
    let ingest = fleet.ingest();
    fleet.objects.ready().await;
    let mut accepted = post(&fleet.objects, 0..20).await;
    assert_eq!(accepted.len(), 20);
    ingest.kill().await;
    let ingest = fleet.ingest();
    fleet.objects.ready().await;
    spooled(&fleet.objects, 20).await;

    fleet.redis.start();
    let _gateway = fleet.gateway(0);
    fleet.gateways[0].ready().await;
    let agents = Agents::start(&fleet.gateways[0], "coder", 1, 4);
    all_came("what came before the bus arrives", &accepted, &[&agents]).await;
    spooled(&fleet.objects, 0).await;

    fleet.redis.kill().await;
    let away = post(&fleet.objects, 100..120).await;
    assert_eq!(away.len(), 20, "all are accepted while the bus is away");
    fleet.redis.start();
    accepted.extend(away);
    accepted.extend(post(&fleet.objects, 200..220).await);
    all_came("what came while it was away arrives", &accepted, &[&agents]).await;
    spooled(&fleet.objects, 0).await;

    // A clean end leaves what nobody takes, and is quick about it.
    fleet.redis.kill().await;
    let last = post(&fleet.objects, 300..310).await;
    assert!(ingest.terminate().await.success());
    fleet.redis.start();
    let ingest = fleet.ingest();
    all_came("what was left arrives", &last, &[&agents]).await;
    assert!(ingest.terminate().await.success());
}

/// Waits until so many events wait in the spool.
async fn spooled(site: &Site, count: usize) {
    until(&format!("{count} events wait in the spool"), || async {
        let metrics = admin(site, "/metrics").await?;
        metrics.lines().any(|line| line == format!("nexus_spool_waiting_events {count}")).then_some(())
    })
    .await;
}
