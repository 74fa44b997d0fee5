//! The stop switch of the whole program.

use std::time::Instant;

use serde_json::Value;
use tokio_tungstenite::tungstenite;

use crate::agent::{Agents, connect, token};
use crate::harness::{Site, agent_yaml, until};

const SESSIONS: usize = 200;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_severs_everybody_and_holds_against_everything_but_a_named_release() {
    let site = Site::new(&["coder"]);
    let nexus = site.start().await;
    let agents = Agents::start(&site, "coder", SESSIONS, 4);
    until("all are connected", || async { (online(&site.status().await) == SESSIONS as u64).then_some(()) })
        .await;
    let early = fresh_token(&site).await.unwrap();
    for number in 1..=50 {
        site.post_issue(number).await.unwrap();
    }

    let asked = Instant::now();
    let answer =
        site.http.post(policy_url(&site, "stop")).json(&serde_json::json!({"reason": "drill"})).send();
    let answer: Value = answer.await.unwrap().json().await.unwrap();
    let answered = Instant::now();
    let engagement = answer["stops"][0]["engagement"].as_str().unwrap().to_owned();
    until("all are severed", || async { (online(&site.status().await) == 0).then_some(()) }).await;
    let last = agents.read(|memory| memory.last_frame).unwrap();
    println!(
        "{SESSIONS} sessions: answered after {:?}, last frame read {:?} after the request was sent",
        answered - asked,
        last.saturating_duration_since(asked)
    );
    agents.read(|memory| assert_eq!(memory.goodbyes, vec!["GOODBYE_REASON_STOPPED"; SESSIONS]));

    // Webhooks are still accepted and wait; neither a new token nor an old one opens anything.
    let delivered = agents.read(|memory| memory.delivered.len());
    let late = site.post_issue(1000).await.unwrap();
    refuses_all(&site, &early).await;

    // Not by kill -9, not by deletion of the policy, not by both.
    nexus.kill().await;
    let nexus = site.start().await;
    refuses_all(&site, &early).await;
    site.remove("policy.yaml");
    // What is added with the deletion, and counts as late as a deletion does, shows that it was seen.
    site.write("tester.yaml", &agent_yaml("tester"));
    until("the folder is read", || async { (agents_of(&site.status().await) == 2).then_some(()) }).await;
    site.remove("tester.yaml");
    until("the folder is read again", || async { (agents_of(&site.status().await) == 1).then_some(()) })
        .await;
    refuses_all(&site, &early).await;
    nexus.kill().await;
    let _nexus = site.start().await;
    refuses_all(&site, &early).await;

    // Not without the name, not with another.
    let refused = site.cli(&["release"]).await;
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains(&engagement));
    assert!(!site.cli(&["release", "ffffffff-1"]).await.status.success());
    refuses_all(&site, &early).await;
    assert_eq!(
        agents.read(|memory| memory.delivered.len()),
        delivered,
        "nothing was delivered while stopped"
    );

    // With it the queue flows.
    let released = site.cli(&["release", &engagement]).await;
    assert!(released.status.success(), "{}", String::from_utf8_lossy(&released.stderr));
    until("the queue flows", || async {
        agents.read(|memory| {
            (memory.delivered.contains_key(&late) && memory.delivered.len() == 51).then_some(())
        })
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_of_the_file_stops_and_releases() {
    let site = Site::new(&["coder"]);
    let _nexus = site.start().await;
    let agents = Agents::start(&site, "coder", 1, 4);
    until("the agent is connected", || async { (online(&site.status().await) == 1).then_some(()) }).await;
    let policy = |spec: &str| {
        format!(
            "apiVersion: nexus.dev/v1alpha1\nkind: NexusPolicy\nmetadata: {{name: stop-all}}\nspec: {spec}\n"
        )
    };
    site.write("policy.yaml", &policy("{stop: true, reason: edited}"));
    let status = until("the stop is engaged", || async {
        let status = site.status().await;
        (!status["stops"].as_array().unwrap().is_empty()).then_some(status)
    })
    .await;
    until("the agent is severed", || async { (online(&site.status().await) == 0).then_some(()) }).await;
    let engagement = status["stops"][0]["engagement"].as_str().unwrap();
    // The command cannot release what the file still orders.
    let refused = site.cli(&["release", engagement]).await;
    assert!(String::from_utf8_lossy(&refused.stderr).contains("policy.yaml"));
    // Taking `stop` back without a release raises an alarm and releases nothing.
    site.write("policy.yaml", &policy("{}"));
    until("the alarm is raised", || async {
        (!site.status().await["alarms"].as_array().unwrap().is_empty()).then_some(())
    })
    .await;
    site.write("policy.yaml", &policy(&format!("{{release: {engagement}}}")));
    until("the agent is back", || async { agents.read(|memory| (memory.sessions >= 2).then_some(())) }).await;
}

fn online(status: &Value) -> u64 {
    status["tenants"][0]["agents"][0]["sessions"].as_u64().unwrap_or_default()
}

fn policy_url(site: &Site, verb: &str) -> String {
    format!("http://127.0.0.1:{}/api/v1/policies/stop-all/{verb}", site.admin)
}

fn agents_of(status: &Value) -> usize {
    status["tenants"][0]["agents"].as_array().map_or(0, Vec::len)
}

async fn fresh_token(site: &Site) -> Result<String, String> {
    let credentials = site.credentials("coder");
    let secret = |name| std::fs::read_to_string(credentials.join(name)).unwrap();
    token(&site.http, &site.gateway_url(), &secret("client-id"), &secret("client-secret")).await
}

async fn refuses_all(site: &Site, early: &str) {
    let refused = fresh_token(site).await.unwrap_err();
    assert!(refused.contains("temporarily_unavailable"), "{refused}");
    match connect(&site.gateway_url(), early).await {
        Err(tungstenite::Error::Http(answer)) => assert_eq!(answer.status(), 503),
        other => panic!("a connection is refused with 503, not {other:?}"),
    }
}
