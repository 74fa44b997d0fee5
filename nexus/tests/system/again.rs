//! Dead letters and replay, from the command line to the agent.

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::agent::{Socket, connect};
use crate::harness::{PATIENCE, Site, until};

/// An agent that does what it is told.
struct Hand(Socket);

impl Hand {
    async fn connect(site: &Site) -> Self {
        let token = String::from_utf8(site.cli(&["token", "coder"]).await.stdout).unwrap();
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
    let mut hand = Hand::connect(&site).await;
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
    let mut hand = Hand::connect(&site).await;
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
