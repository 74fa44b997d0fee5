//! A tenant over its quota beside one that is served.

use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::RETRY_AFTER;

use crate::agent::Agents;
use crate::harness::{Site, tenant_yaml, until};

/// Room for a few events.
const QUOTA: u64 = 8_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_tenant_over_its_quota_is_refused_and_only_until_its_agents_caught_up() {
    let site = Site::new(&["coder"]);
    site.write("tenant.yaml", &format!("{}  quota: {{bytes: {QUOTA}}}\n", tenant_yaml("acme")));
    site.write("other.yaml", &tenant_yaml("other"));
    let _nexus = site.start().await;
    let mut accepted = Vec::new();
    let refused = loop {
        let number = accepted.len() as u64 + 1;
        assert!(number * 200 < QUOTA, "an event takes more than 200 bytes");
        let answer = site.post_issue_to("acme/acme", number).await.unwrap();
        if answer.status() != StatusCode::OK {
            break answer;
        }
        accepted
            .push(answer.json::<serde_json::Value>().await.unwrap()["event"].as_str().unwrap().to_owned());
    };
    assert!(!accepted.is_empty(), "there is room for an event");
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    let after: u64 = refused.headers()[RETRY_AFTER].to_str().unwrap().parse().unwrap();
    assert!(Duration::from_secs(after) > Duration::ZERO);
    assert!(refused.text().await.unwrap().contains("quota"));
    // The other tenant is served, also after more refusals.
    for number in 1..=20 {
        let [full, other] = [("acme/acme", 1_000 + number), ("acme/other", number)]
            .map(|(tenant, number)| site.post_issue_to(tenant, number));
        let (full, other) = tokio::join!(full, other);
        let full = full.unwrap();
        assert_eq!(full.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(full.headers().contains_key(RETRY_AFTER));
        assert_eq!(other.unwrap().status(), StatusCode::OK);
    }
    let status = site.status().await;
    let tenant = |name: &str| {
        let tenants = status["tenants"].as_array().unwrap().iter();
        tenants.clone().find(|tenant| tenant["tenant"] == name).unwrap()
    };
    assert_eq!(tenant("acme/acme")["events"], accepted.len());
    assert_eq!(tenant("acme/acme")["quotaBytes"], QUOTA);
    assert_eq!(tenant("acme/other")["events"], 20);

    // What was accepted was kept, and what was refused can be sent again.
    let agents = Agents::start(&site, "coder", 1, 8);
    until("all is delivered", || async {
        agents.read(|memory| accepted.iter().all(|id| memory.delivered.contains_key(id)).then_some(()))
    })
    .await;
    until("there is room again", || async {
        let answer = site.post_issue_to("acme/acme", 1_001).await.unwrap();
        (answer.status() == StatusCode::OK).then_some(())
    })
    .await;
}
