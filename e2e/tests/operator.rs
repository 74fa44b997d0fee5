//! An operator, and pods that it configures: roles as processes, at a real API server.

#![expect(clippy::unwrap_used, reason = "a failed step is the test's report")]

use futures_util::StreamExt as _;
use nexus_e2e::control::Stage;
use nexus_e2e::doors::Socket;
use nexus_e2e::ledger::AGENTS;
use nexus_e2e::operated::condition;
use nexus_e2e::program::locate;
use nexus_e2e::site::{PATIENCE, until};
use serde_json::json;
use tokio::time::timeout;

/// Waits until an object of the first tenant has a condition of this status.
async fn stands(stage: &Stage, what: &str, kind: &str, status: &str) {
    let stands = async || Ok(condition(&stage.object(what)?, kind) == status);
    until(&format!("{what} is {kind}={status}"), PATIENCE, stands).await.unwrap();
}

/// Patches an object of the first tenant.
fn patch(stage: &Stage, what: &str, how: &str, patch: &str) {
    let (kind, name) = what.split_once('/').unwrap();
    stage.operated.cluster.kubectl(&["patch", kind, name, "-n", "acme", "--type", how, "-p", patch]).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn custom_resources_configure_pods_and_status_tells_how_they_stand() {
    let work = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let stage = Stage::set(&locate(None).unwrap(), work.path()).await.unwrap();
    let mut agent = stage.session(0).await.unwrap();
    stage.webhook(1).await.unwrap();
    let told = timeout(PATIENCE, agent.next()).await.unwrap().unwrap().unwrap();
    assert!(told.to_string().contains("deliver"), "{told}");
    let profile = format!("agentprofile/{}", AGENTS[0]);
    stands(&stage, &profile, "Online", "True").await;

    // What is wrong is told, and what it said before stays in force.
    let tenant = stage.object("tenant/acme").unwrap();
    let wrong =
        json!([{"op": "replace", "path": "/spec/sources/0/secretRef/name", "value": "nowhere"}]).to_string();
    patch(&stage, "tenant/acme", "json", &wrong);
    stands(&stage, "tenant/acme", "ResolvedRefs", "False").await;
    patch(&stage, "tenant/acme", "merge", &json!({"spec": tenant["spec"]}).to_string());
    stage.ready().await.unwrap();

    // An agent that comes has credentials, and a name that a gateway knows.
    stage.newcomer("newcomer").await.unwrap();
    let secret = stage.object("secret/newcomer-nexus-agent").unwrap();
    assert!(secret["data"]["client-secret"].is_string() && secret["data"]["client-id"].is_string());

    stop_and_release(&stage, agent, &profile).await;
}

async fn stop_and_release(stage: &Stage, agent: Socket, profile: &str) {
    stage.operated.patch_stop(&json!({"stop": true, "reason": "drill"})).unwrap();
    Stage::severed(agent).await.unwrap();
    let told = async || {
        let status = stage.stop_status()?;
        Ok(status["acknowledged"] == "2/2"
            && status["socketsSevered"].as_u64() >= Some(1)
            && status["lastByteMilliseconds"].is_u64()
            && status["engagedAt"].is_string())
    };
    until("the stop is acknowledged", PATIENCE, told).await.unwrap();
    stands(stage, profile, "Online", "False").await;
    // A stopped or absent agent is no fault.
    assert_eq!(condition(&stage.object(profile).unwrap(), "Ready"), "True");
    stage.refused(1).await.unwrap();
    stage.release().unwrap();
    stage.admitted(1).await.unwrap();
    let released = async || Ok(stage.stop_status()?["engagement"].is_null());
    until("the release is told", PATIENCE, released).await.unwrap();
}
