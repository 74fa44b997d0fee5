//! Operators, and pods that they configure: roles as processes, at a real API server.

use std::path::Path;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use nexus_e2e::apidoor::Door;
use nexus_e2e::doors::Socket;
use nexus_e2e::ledger::AGENTS;
use nexus_e2e::operated::{NAMESPACE, Operated, condition};
use nexus_e2e::webhook::{Delivery, Provider, TENANTS, Thread};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Child;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::Message;

use super::rig::{self, PATIENCE, nexus};

async fn until(what: &str, holds: impl AsyncFnMut() -> bool) {
    rig::until(what, holds, String::new).await;
}

fn work() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

async fn operated(work: &Path) -> Operated {
    Operated::new(nexus(), work).await.unwrap()
}

/// Opens a session of an agent, which takes one event.
async fn connect(operated: &Operated, tenant: &str, number: usize) -> anyhow::Result<Socket> {
    let doors = &operated.fleet.doors;
    let token = doors.token(tenant, AGENTS[0], number).await?;
    let mut socket = doors.connect(number, &token).await?;
    socket.send(Message::text(json!({"hello": {"credit": 1}}).to_string())).await?;
    let welcome = socket.next().await.ok_or_else(|| anyhow::anyhow!("closed"))??;
    anyhow::ensure!(welcome.to_text()?.contains("welcome"), "{welcome}");
    Ok(socket)
}

async fn post(operated: &Operated, place: u32) {
    let thread = Thread { tenant: 0, provider: Provider::GitHub, number: 1 };
    let delivery = Delivery { thread, place };
    let body = delivery.body("");
    let doors = &operated.fleet.doors;
    let mut request = doors.http.post(doors.hook(&delivery.path(), 0));
    for (name, value) in delivery.headers(&body) {
        request = request.header(name, value);
    }
    let answer = request.body(body).send().await.unwrap();
    assert!(answer.status().is_success(), "{answer:?}");
}

/// The next message of a session.
async fn next(socket: &mut Socket) -> String {
    timeout(PATIENCE, socket.next()).await.unwrap().unwrap().unwrap().to_string()
}

fn object(operated: &Operated, what: &str) -> Value {
    operated.cluster.get(TENANTS[0], what).unwrap()
}

async fn ready(operated: &Operated) {
    until("all of it is ready", async || {
        let tenant = object(operated, "tenant/acme");
        condition(&tenant, "Ready") == "True" && tenant["status"]["acknowledged"] == "3/3"
    })
    .await;
}

/// An agent comes, and is known to all pods.
async fn newcomer(operated: &Operated) {
    operated
        .cluster
        .apply(&json!({
            "apiVersion": "nexus.dev/v1alpha1", "kind": "AgentProfile",
            "metadata": {"name": "newcomer", "namespace": "acme"}, "spec": {"tenant": "acme"},
        }))
        .unwrap();
    until("the newcomer is ready", async || {
        condition(&object(operated, "agentprofile/newcomer"), "Ready") == "True"
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn custom_resources_configure_pods_and_status_tells_how_they_stand() {
    let work = work();
    let mut operated = operated(work.path()).await;
    let _operator = operated.start_operator(0).unwrap();
    operated.start_pods().await.unwrap();
    ready(&operated).await;
    let mut agent = connect(&operated, TENANTS[0], 0).await.unwrap();
    post(&operated, 1).await;
    assert!(next(&mut agent).await.contains("deliver"));
    let profile = format!("agentprofile/{}", AGENTS[0]);
    until("it is online", async || condition(&object(&operated, &profile), "Online") == "True").await;

    // What is wrong is told, and what it said before stays in force.
    let tenant = object(&operated, "tenant/acme");
    let wrong =
        json!([{"op": "replace", "path": "/spec/sources/0/secretRef/name", "value": "nowhere"}]).to_string();
    operated
        .cluster
        .kubectl(&["patch", "tenant", "acme", "-n", "acme", "--type", "json", "-p", &wrong])
        .unwrap();
    until("it is told", async || condition(&object(&operated, "tenant/acme"), "ResolvedRefs") == "False")
        .await;
    let right = json!({"spec": tenant["spec"]}).to_string();
    operated
        .cluster
        .kubectl(&["patch", "tenant", "acme", "-n", "acme", "--type", "merge", "-p", &right])
        .unwrap();
    ready(&operated).await;

    // An agent that comes has credentials, and a name that a gateway knows.
    newcomer(&operated).await;
    let secret = object(&operated, "secret/newcomer-nexus-agent");
    assert!(secret["data"]["client-secret"].is_string() && secret["data"]["client-id"].is_string());

    stop_and_release(&operated, agent, &profile).await;
}

async fn stop_and_release(operated: &Operated, mut agent: Socket, profile: &str) {
    operated.patch_stop(&json!({"stop": true, "reason": "drill"})).unwrap();
    let mut said = String::new();
    let closed = async {
        while let Some(Ok(message)) = agent.next().await {
            said += &message.to_string();
        }
    };
    timeout(PATIENCE, closed).await.unwrap();
    assert!(said.contains("GOODBYE_REASON_STOPPED"), "{said}");
    let status = || operated.cluster.get("", "nexuspolicy/stop-all").unwrap()["status"].clone();
    until("the stop is acknowledged", async || {
        let status = status();
        status["acknowledged"] == "2/2"
            && status["socketsSevered"].as_u64() >= Some(1)
            && status["lastByteMilliseconds"].is_u64()
            && status["engagedAt"].is_string()
    })
    .await;
    until("it is offline", async || condition(&object(operated, profile), "Online") == "False").await;
    // A stopped or absent agent is no fault.
    assert_eq!(condition(&object(operated, profile), "Ready"), "True");
    assert!(connect(operated, TENANTS[0], 1).await.is_err());
    let engagement = status()["engagement"].as_str().unwrap().to_owned();
    operated.patch_stop(&json!({"stop": null, "release": engagement})).unwrap();
    until("it is admitted again", async || connect(operated, TENANTS[0], 1).await.is_ok()).await;
    until("the release is told", async || status()["engagement"].is_null()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_need_no_operator_and_an_idle_one_writes_nothing() {
    let work = work();
    let mut operated = operated(work.path()).await;
    let door = Door::open(&operated.cluster).await.unwrap();
    operated.kubeconfig = door.kubeconfig(work.path()).unwrap();
    let mut operator = operated.start_operator(0).unwrap();
    operated.start_pods().await.unwrap();
    ready(&operated).await;
    operator.kill().await.unwrap();
    // What runs goes on, and what starts takes what it had last.
    for number in 0..2 {
        operated.fleet.gateways[number].kill().await.unwrap();
    }
    operated.fleet.ingest.kill().await.unwrap();
    operated.fleet.start().await.unwrap();
    let mut agent = connect(&operated, TENANTS[0], 0).await.unwrap();
    post(&operated, 1).await;
    assert!(next(&mut agent).await.contains("deliver"));
    drop(agent);

    // It is known to be dead.
    operated.cluster.kubectl(&["delete", "lease", "nexus-operator", "-n", NAMESPACE]).unwrap();
    let _operator = operated.start_operator(0).unwrap();
    let revision =
        |operated: &Operated| object(operated, "tenant/acme")["metadata"]["resourceVersion"].clone();
    until("it leads", async || !operated.cluster.get(NAMESPACE, "lease/nexus-operator").unwrap().is_null())
        .await;
    // Pods come back one by one, and agents have gone: wait until all is said.
    sleep(Duration::from_secs(10)).await;
    ready(&operated).await;
    door.arm(None);
    let before = revision(&operated);
    sleep(Duration::from_secs(20)).await;
    assert_eq!((door.calls(), revision(&operated)), (0, before));
}

fn signal(process: &Child, signal: Signal) {
    let pid = Pid::from_raw(process.id().unwrap().try_into().unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_operators_one_writes_and_one_that_slept_ends() {
    let work = work();
    let mut operated = operated(work.path()).await;
    let mut first = operated.start_operator(0).unwrap();
    let holder = |operated: &Operated| {
        let lease = operated.cluster.get(NAMESPACE, "lease/nexus-operator").unwrap();
        lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned()
    };
    until("the first leads", async || holder(&operated).starts_with("operator-0")).await;
    let mut second = operated.start_operator(1).unwrap();
    operated.start_pods().await.unwrap();
    ready(&operated).await;
    signal(&first, Signal::STOP);
    until("the second leads", async || holder(&operated).starts_with("operator-1")).await;
    // Pods are served by the second.
    operated.lead_to(1);
    newcomer(&operated).await;
    signal(&first, Signal::CONT);
    let ended = timeout(PATIENCE, first.wait()).await.expect("it goes on").unwrap();
    assert!(!ended.success());
    let said = std::fs::read_to_string(operated.operator_log(0)).unwrap();
    assert!(said.contains("lost the Lease"), "{said}");
    assert!(second.try_wait().unwrap().is_none() && holder(&operated).starts_with("operator-1"));
    ready(&operated).await;
}
