//! An operator, and pods that it configures: roles as processes, at a real API server.

#![expect(clippy::unwrap_used, reason = "a failed step is the test's report")]

use std::path::Path;
use std::time::Duration;

use futures_util::StreamExt as _;
use nexus_e2e::control::Stage;
use nexus_e2e::doors::Socket;
use nexus_e2e::ledger::AGENTS;
use nexus_e2e::operated::{NAMESPACE, condition};
use nexus_e2e::program::locate;
use nexus_e2e::site::{PATIENCE, until};
use nexus_e2e::webhook::{Issue, TENANTS};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{Instant, sleep, timeout};

/// A Secret that only the second tenant's namespace has, and what it holds: no Base64 of it is another text's part.
const THEIRS: &str = "theirs";
const CONTENT: &str = "content-that-only-globex-has";
const CONTENT_BASE64: &str = "Y29udGVudC10aGF0LW9ubHktZ2xvYmV4LWhhcw==";

/// For so long a pod with another's token is looked at.
const LOOKED_AT: Duration = Duration::from_secs(5);

async fn set() -> (TempDir, Stage) {
    let work = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let stage = Stage::set(&locate(None).unwrap(), work.path()).await.unwrap();
    (work, stage)
}

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
    let (_work, stage) = set().await;
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

/// Lets each tenant have a source `here`, whose Secret is there in the second one's namespace alone.
fn name_the_secret(stage: &Stage) {
    let cluster = &stage.operated.cluster;
    let metadata = json!({"name": THEIRS, "namespace": TENANTS[1]});
    let secret =
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"key": CONTENT}});
    cluster.apply(&secret).unwrap();
    let source = json!({"name": "here", "provider": "github", "secretRef": {"name": THEIRS, "key": "key"}});
    let patch = json!([{"op": "add", "path": "/spec/sources/-", "value": source}]).to_string();
    for tenant in TENANTS {
        cluster.kubectl(&["patch", "tenant", tenant, "-n", tenant, "--type", "json", "-p", &patch]).unwrap();
    }
}

/// What a webhook signed by the second tenant's Secret is answered: the status, and the word for what is wrong.
async fn answer(stage: &Stage, path: &str, number: u64) -> (u16, String) {
    let issue = Issue { action: "opened", number, title: "Cart is empty" };
    let answer = stage.operated.fleet.doors.tell(path, CONTENT, issue, 0).await.unwrap();
    let status = answer.status().as_u16();
    let said: Value = answer.json().await.unwrap();
    (status, said["error"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_that_names_what_another_namespace_has_gets_a_condition_and_never_the_content() {
    let (_work, stage) = set().await;
    name_the_secret(&stage);
    // An agent of another namespace's tenant is nobody's.
    let metadata = json!({"name": "stray", "namespace": TENANTS[0]});
    stage
        .operated
        .cluster
        .apply(&json!({
            "apiVersion": "nexus.dev/v1alpha1", "kind": "AgentProfile", "metadata": metadata,
            "spec": {"tenant": TENANTS[1], "subscriptions": [{"kinds": ["NewWorkItem"]}]},
        }))
        .unwrap();
    stands(&stage, "tenant/acme", "ResolvedRefs", "False").await;
    stands(&stage, "agentprofile/stray", "Ready", "False").await;

    // Whose it is can use it: the content is there, and in force.
    let here = |tenant: &str| format!("/hooks/{tenant}/{tenant}/here");
    until("the second tenant's webhooks are taken", PATIENCE, async || {
        Ok(answer(&stage, &here(TENANTS[1]), 1).await.0 == 200)
    })
    .await
    .unwrap();
    // Who names another's has nothing to check a signature by, or what it had before.
    assert_eq!(answer(&stage, &here(TENANTS[0]), 2).await, (503, "no_secret".to_owned()));
    let own = answer(&stage, "/hooks/acme/acme/github", 3).await;
    assert_eq!(own, (403, "signature_mismatch".to_owned()));
    shows_nothing(&stage).await;
}

/// Neither pods nor the operator show the content, and the first tenant is given nothing of it.
async fn shows_nothing(stage: &Stage) {
    let operated = &stage.operated;
    let mut shown: Vec<(&str, Value)> = operated.fleet.configs().await.unwrap();
    shown.push(("operator", operated.operator_config(0).await.unwrap()));
    shown.push(("the condition", stage.object("tenant/acme").unwrap()));
    for (who, config) in &shown {
        let config = config.to_string();
        assert!(!config.contains(CONTENT) && !config.contains(CONTENT_BASE64), "{who} shows it: {config}");
        assert!(!config.contains("stray"), "{who} has the stray agent: {config}");
    }
    // It is written a moment after it is in force.
    until("the second tenant's secrets are kept", PATIENCE, async || {
        Ok(kept(stage, "globex/globex").contains(CONTENT_BASE64))
    })
    .await
    .unwrap();
    let ours = kept(stage, "acme/acme");
    assert!(!ours.is_empty() && !ours.contains(CONTENT_BASE64), "the first tenant has it: {ours}");
}

/// What ingest keeps of a tenant's signing secrets.
fn kept(stage: &Stage, tenant: &str) -> String {
    let file = std::fs::read(stage.operated.secrets()).unwrap();
    let file: Value = serde_json::from_slice(&file).unwrap();
    let all = file["held"]["resources"].as_array().unwrap().iter();
    all.filter(|each| each["tenant"] == tenant).map(|each| each["content"].to_string()).collect()
}

/// A token of the gateway's account, as a kubelet would mount it into this pod: made for the operator, and bound to the pod.
fn token_of_a_gateway(stage: &Stage, pod: &str) -> String {
    let cluster = &stage.operated.cluster;
    let metadata = json!({"name": pod, "namespace": NAMESPACE});
    let spec =
        json!({"serviceAccountName": "nexus-gateway", "containers": [{"name": "gateway", "image": "nexus"}]});
    let pod_object = json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec});
    cluster.apply(&pod_object).unwrap();
    let bound = ["--bound-object-kind", "Pod", "--bound-object-name", pod];
    let words = ["create", "token", "nexus-gateway", "-n", NAMESPACE, "--audience", "nexus-config"];
    cluster.kubectl(&[&words[..], &bound].concat()).unwrap()
}

/// Starts ingest as if it had never been, with a token; the one that it had.
async fn begin_ingest(stage: &mut Stage, token: &Path) -> String {
    let secrets = stage.operated.secrets();
    let fleet = &mut stage.operated.fleet;
    fleet.ingest.kill().await.unwrap();
    for file in [secrets, fleet.ingest.data.join("last-good.json")] {
        if file.exists() {
            std::fs::remove_file(file).unwrap();
        }
    }
    let words = fleet.ingest.configured_by.as_mut().unwrap();
    let at = words.iter().position(|word| word == "--operator-token").unwrap() + 1;
    let former = std::mem::replace(&mut words[at], token.to_str().unwrap().to_owned());
    fleet.begin_ingest().unwrap();
    former
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_of_one_role_is_given_nothing_of_another() {
    let (work, mut stage) = set().await;
    let token = work.path().join("token-of-a-gateway");
    std::fs::write(&token, token_of_a_gateway(&stage, "gateway-0")).unwrap();
    let own = begin_ingest(&mut stage, &token).await;
    let (fleet, http) = (&stage.operated.fleet, &stage.operated.fleet.doors.http);
    let refused = "nexus_config_stream_failures_total";
    until("a gateway's token is refused to ingest", PATIENCE, async || {
        // It does not listen yet.
        let refused = fleet.ingest.metric(http, refused, "error=\"refused\"").await.unwrap_or_default();
        Ok(refused >= Some(1.0))
    })
    .await
    .unwrap();
    let begun = Instant::now();
    while begun.elapsed() < LOOKED_AT {
        let (ready, awaited) = fleet.ingest.readiness(http).await.unwrap();
        assert!(!ready && awaited.contains("the signing secrets from the operator"), "{awaited}");
        assert_eq!(fleet.ingest.config(http).await.unwrap(), json!({}));
        assert!(!stage.operated.secrets().exists(), "signing secrets were given");
        sleep(Duration::from_millis(100)).await;
    }
    let said = std::fs::read_to_string(work.path().join("ingest.log")).unwrap();
    assert!(said.contains("the token is of gateway, and Hello asks for ingest"), "{said}");
    let foreign = "nexus_config_streams_refused_total";
    assert!(stage.operated.operator_metric(0, foreign).await.unwrap() >= Some(1.0));

    // By the token of its own role it is given all.
    begin_ingest(&mut stage, Path::new(&own)).await;
    until("ingest is ready by its own token", PATIENCE, async || {
        let fleet = &stage.operated.fleet;
        Ok(fleet.ingest.readiness(&fleet.doors.http).await.is_ok_and(|(ready, _)| ready))
    })
    .await
    .unwrap();
    assert!(stage.operated.secrets().exists());
}
