//! Dead letters and replay, from the command line to the agent.

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::agent::{Agents, Socket, connect};
use crate::harness::{PATIENCE, Site, tenant_yaml, until};

/// An agent that does what it is told.
struct Hand(Socket);

impl Hand {
    async fn connect(site: &Site, agent: &str) -> Self {
        let token = String::from_utf8(site.cli(&["token", agent]).await.stdout).unwrap();
        let mut hand = Self(connect(&site.gateway_url(), token.trim()).await.unwrap());
        hand.send(json!({"hello": {"credit": 32}})).await;
        hand.frame("welcome").await;
        hand
    }

    async fn send(&mut self, frame: Value) {
        self.0.send(Message::text(frame.to_string())).await.unwrap();
    }

    /// The next frame of this name.
    async fn frame(&mut self, name: &str) -> Value {
        loop {
            let next = tokio::time::timeout(PATIENCE, self.0.next()).await.expect(name);
            if let Message::Text(text) = next.unwrap().unwrap() {
                let frame: Value = serde_json::from_str(&text).unwrap();
                if !frame[name].is_null() {
                    return frame[name].clone();
                }
            }
        }
    }

    /// Refuses an event until it is parked; its first attempt is `first`.
    async fn refuse(&mut self, id: &str) {
        for attempt in 1..=5 {
            let deliver = self.frame("deliver").await;
            assert_eq!((&deliver["event"]["id"], &deliver["attempt"]), (&json!(id), &json!(attempt)));
            self.send(json!({"nack": {"eventId": id, "reason": "I cannot read it"}})).await;
        }
    }
}

fn text(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_poison_event_is_parked_requeued_and_given_up() {
    let site = Site::new(&["coder"]);
    let _nexus = site.start().await;
    let mut hand = Hand::connect(&site, "coder").await;
    let id = site.post_issue(1).await.unwrap();
    hand.refuse(&id).await;
    let parked = until("it is parked", || async {
        let parked = site.cli_json(&["dlq", "ls"]).await;
        (!parked.as_array().unwrap().is_empty()).then_some(parked)
    })
    .await;
    assert_eq!(parked[0]["id"], json!(id));
    assert_eq!(parked[0]["reason"], "I cannot read it");
    assert_eq!((&parked[0]["target"], &parked[0]["attempts"]), (&json!("coder"), &json!(5)));
    let status = site.status().await;
    assert_eq!(status["tenants"][0]["parked"], 1, "{status:#}");
    assert!(text(&site.cli(&["dlq", "show", &id]).await).contains("parked after 5 attempts"));
    assert!(text(&site.cli(&["dlq", "ls", "--agent", "codr"]).await).contains("did you mean `coder`?"));

    assert_eq!(site.cli_json(&["dlq", "requeue", &id]).await["done"], 1);
    hand.refuse(&id).await;
    let drop = || async {
        let output = site.cli(&["dlq", "drop", &id, "--yes"]).await;
        output.status.success().then_some(())
    };
    let unconfirmed = until("it is parked again", || async {
        let output = text(&site.cli(&["dlq", "drop", &id]).await);
        output.contains("--yes").then_some(output)
    })
    .await;
    assert!(unconfirmed.contains("no terminal"), "{unconfirmed}");
    until("it is given up", drop).await;
    assert!(text(&site.cli(&["why", &id]).await).contains("given up"));
    assert!(text(&site.cli(&["dlq", "requeue", &id]).await).contains("is not parked"));
    assert_eq!(site.status().await["tenants"][0]["parkedBytes"], 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_is_marked_and_a_dry_run_changes_nothing() {
    let site = Site::new(&["coder"]);
    let _nexus = site.start().await;
    let mut hand = Hand::connect(&site, "coder").await;
    let mut ids = Vec::new();
    for number in 1..=3 {
        let id = site.post_issue(number).await.unwrap();
        let deliver = hand.frame("deliver").await;
        assert_eq!((&deliver["event"]["id"], &deliver["replay"]), (&json!(id), &Value::Null));
        hand.send(json!({"ack": {"eventId": id}})).await;
        ids.push(id);
    }
    until("all are done", || async {
        let story = site.cli_json(&["why", &ids[2]]).await;
        (story["copies"][0]["state"] == "done").then_some(())
    })
    .await;

    let counted = site.cli_json(&["replay", "--kind", "NewWorkItem", "--dry-run"]).await;
    assert_eq!((&counted["events"], &counted["targets"]["acme/acme coder"]), (&json!(3), &json!(3)));
    assert_eq!(site.cli_json(&["why", &ids[0]]).await["copies"][0]["state"], "done");
    assert!(text(&site.cli(&["replay"]).await).contains("say which events"));
    assert!(text(&site.cli(&["replay", "--since", "1h"]).await).contains("--yes"));
    assert!(text(&site.cli(&["replay", &ids[0], "--agent", "codr"]).await).contains("coder"));

    assert_eq!(site.cli_json(&["replay", &ids[1]]).await["targets"]["acme/acme coder"], 1);
    let deliver = hand.frame("deliver").await;
    assert_eq!((&deliver["event"]["id"], &deliver["replay"]), (&json!(ids[1]), &json!(true)));
    // It is held: one more replay leaves it alone, and takes the others.
    let all = site.cli_json(&["replay", "--kind", "NewWorkItem", "--yes"]).await;
    assert_eq!((&all["targets"]["acme/acme coder"], &all["waiting"]), (&json!(2), &json!(1)));
    for id in [&ids[0], &ids[2]] {
        let deliver = hand.frame("deliver").await;
        assert_eq!((&deliver["event"]["id"], &deliver["replay"]), (&json!(id), &json!(true)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_by_filter_goes_through_many_pages() {
    const OLD: u64 = 230;
    let site = Site::new(&["coder"]);
    site.write("other.yaml", &tenant_yaml("other"));
    let _nexus = site.start().await;
    let agents = Agents::start(&site, "coder", 1, 64);
    let post = |tenant, numbers: std::ops::Range<u64>| {
        let site = &site;
        futures_util::stream::iter(numbers).for_each_concurrent(20, move |number| async move {
            assert!(site.post_issue_to(tenant, number).await.unwrap().status().is_success());
        })
    };
    post("acme/acme", 0..OLD).await;
    // Of interest to nobody, and chosen all the same.
    post("acme/other", 0..20).await;
    let first_new = site.post_issue(OLD).await.unwrap();
    post("acme/acme", OLD + 1..OLD + 10).await;
    until("all are done", || async {
        let status = site.status().await;
        let tenants = status["tenants"].as_array().unwrap();
        tenants.iter().all(|one| one["pendingBytes"] == 0 && one["unrouted"] == 0).then_some(())
    })
    .await;
    let received = site.cli_json(&["get", &first_new]).await["receivedtime"].as_str().unwrap().to_owned();

    let none = site.cli_json(&["replay", "--kind", "NewComment"]).await;
    assert_eq!((&none["events"], &none["targets"]), (&json!(0), &json!({})));
    for args in [&["--dry-run"], &["--yes"]] {
        let replay = [&["replay", "--until", &received, "--source", "github"], &args[..]].concat();
        let counted = site.cli_json(&replay).await;
        assert_eq!(counted["targets"], json!({"acme/acme coder": OLD}), "{args:?}");
        assert_eq!((&counted["events"], &counted["nobody"]), (&json!(OLD + 20), &json!(20)), "{args:?}");
    }
    until("the old ones came again", || async {
        agents.read(|memory| {
            (memory.delivered.values().filter(|times| **times == 2).count() as u64 == OLD).then_some(())
        })
    })
    .await;
    assert_eq!(agents.read(|memory| memory.delivered[&first_new]), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_tenant_is_replayed_when_another_one_cannot_be() {
    let site = Site::new(&["coder"]);
    // Each is named behind acme/acme, and so would come after it.
    for tenant in ["kept", "left"] {
        site.write(&format!("{tenant}.yaml"), &tenant_yaml(tenant));
    }
    let _nexus = site.start().await;
    for (number, tenant) in (1..).zip(["acme/acme", "acme/kept", "acme/left"]) {
        assert!(site.post_issue_to(tenant, number).await.unwrap().status().is_success());
    }
    until("all are routed", || async {
        let events = site.cli_json(&["events"]).await;
        events.as_array().unwrap().iter().all(|event| event["routed"] == true).then_some(())
    })
    .await;
    // So that there is something to replay for the coder: no copy of his waits.
    let mut hand = Hand::connect(&site, "coder").await;
    let deliver = hand.frame("deliver").await;
    hand.send(json!({"ack": {"eventId": deliver["event"]["id"]}})).await;
    let id = deliver["event"]["id"].as_str().unwrap();
    let state = || async { site.cli_json(&["why", id]).await["copies"][0]["state"].clone() };
    until("it is done", || async { (state().await == "done").then_some(()) }).await;
    site.remove("left.yaml");
    until("a tenant is gone", || async {
        (site.status().await["tenants"].as_array().unwrap().len() == 2).then_some(())
    })
    .await;

    let refused = site.cli(&["replay", "--since", "1h", "--agent", "coder", "--yes"]).await;
    assert!(!refused.status.success());
    assert!(text(&refused).contains("acme/kept has no agent `coder`"), "{refused:?}");
    assert!(text(&refused).contains("--tenant: acme/acme"), "{refused:?}");
    assert_eq!(state().await, "done", "nothing was replayed");
    let gone = site.cli(&["replay", "--tenant", "acme/left", "--yes"]).await;
    assert!(!gone.status.success() && text(&gone).contains("no longer has acme/left"), "{gone:?}");

    let done = site.cli(&["replay", "--since", "1h", "--yes", "-o", "json"]).await;
    assert!(done.status.success() && text(&done).contains("no longer has acme/left"), "{done:?}");
    let done: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!((&done["events"], &done["copies"], &done["nobody"]), (&json!(2), &json!(1), &json!(1)));
    assert!(done["bytes"].as_u64().unwrap() > 0, "{done}");
    let deliver = hand.frame("deliver").await;
    assert_eq!((&deliver["event"]["id"], &deliver["replay"]), (&json!(id), &json!(true)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_parked_for_an_agent_that_is_gone_is_shown_and_can_be_given_up() {
    let site = Site::new(&["coder", "tester"]);
    let _nexus = site.start().await;
    let (mut coder, mut tester) = (Hand::connect(&site, "coder").await, Hand::connect(&site, "tester").await);
    let id = site.post_issue(1).await.unwrap();
    coder.refuse(&id).await;
    tester.refuse(&id).await;
    let targets = |args: &'static [&'static str]| {
        let site = &site;
        async move {
            let parked = site.cli_json(&[&["dlq", "ls"], args].concat()).await;
            let parked = parked.as_array().unwrap().iter();
            let mut targets: Vec<_> = parked
                .map(|one| (one["target"].as_str().unwrap().to_owned(), one["gone"].as_bool().unwrap()))
                .collect();
            targets.sort_unstable();
            targets
        }
    };
    let (gone, there) = (("coder".to_owned(), true), ("tester".to_owned(), false));
    until("both are parked", || async { (targets(&[]).await.len() == 2).then_some(()) }).await;
    site.remove("coder.yaml");
    until("the one agent is gone", || async { targets(&[]).await.contains(&gone).then_some(()) }).await;
    assert_eq!(targets(&["--tenant", "acme/acme"]).await, [gone.clone(), there.clone()]);
    assert_eq!(targets(&["--agent", "coder"]).await, std::slice::from_ref(&gone));
    assert_eq!(targets(&["--agent", "tester"]).await, [there]);
    assert!(text(&site.cli(&["dlq", "ls"]).await).contains("coder (gone)"));
    assert!(text(&site.cli(&["dlq", "show", &id]).await).contains("parked after 5 attempts"));
    inboxes_come_in_pages(&site).await;

    // Nobody would take what waits for the one that is gone.
    let requeued = site.cli(&["dlq", "requeue", "--all"]).await;
    assert!(requeued.status.success() && text(&requeued).contains("1 wait again"), "{requeued:?}");
    assert!(text(&requeued).contains("coder"), "{requeued:?}");
    assert_eq!(tester.frame("deliver").await["event"]["id"], json!(id));
    for args in [&[id.as_str()][..], &["--all"]] {
        let refused = site.cli(&[&["dlq", "requeue"], args].concat()).await;
        assert!(!refused.status.success(), "{args:?}");
        assert!(text(&refused).contains(&format!("nexus replay {id} --agent")), "{args:?}: {refused:?}");
    }
    assert_eq!(targets(&[]).await, [gone]);
    assert_eq!(site.cli_json(&["dlq", "drop", &id, "--yes"]).await["done"], 1);
    assert_eq!(targets(&[]).await, []);
    assert_eq!(site.status().await["tenants"][0]["parked"], 0);
}

async fn inboxes_come_in_pages(site: &Site) {
    let page = |after: String| async move {
        let url =
            format!("http://127.0.0.1:{}/api/v1/tenants/acme/acme/dead/inboxes?limit=1{after}", site.admin);
        let page: Value = site.http.get(url).send().await.unwrap().json().await.unwrap();
        assert_eq!(page["inboxes"].as_array().unwrap().len(), 1, "{page}");
        page
    };
    let first = page(String::new()).await;
    assert_eq!(first["next"], first["inboxes"][0]["inbox"]);
    let second = page(format!("&after={}", first["next"].as_str().unwrap())).await;
    assert_eq!(second["next"], Value::Null);
    assert_ne!(second["inboxes"][0]["inbox"], first["inboxes"][0]["inbox"]);
}
