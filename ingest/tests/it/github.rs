//! All bodies of GitHub's own examples: answered 200, in the bus exactly once, and of the reviewed kind.

use nexus_core::event::StandardEvent;
use nexus_core::kind::Kind;

use crate::support::{World, check_table, github_examples};

#[tokio::test]
async fn every_example_is_in_the_bus_exactly_once() {
    let world = World::new();
    let examples = github_examples();
    assert_eq!(examples.len(), 329, "the set changed: review the table of kinds");
    let first =
        futures_util::future::join_all(examples.iter().map(|(.., delivery)| world.post(delivery))).await;
    let again =
        futures_util::future::join_all(examples.iter().map(|(.., delivery)| world.post(delivery))).await;
    assert_eq!(world.events().await.len(), examples.len());
    for ((example, first), again) in examples.iter().zip(&first).zip(&again) {
        let (event, action, at, delivery) = example;
        assert!(!first.is_duplicate() && again.is_duplicate(), "{event} {action} {at}");
        assert_eq!(first.event(), again.event());
        let record = world.record(first.event()).await;
        assert_eq!(record.raw.body, delivery.body, "{event} {action} {at}");
        let stored: StandardEvent = serde_json::from_slice(&record.event).unwrap();
        let expected = delivery.normalized().event;
        assert_eq!(stored.data, expected.data, "{event} {action} {at}");
        assert_eq!(record.summary.kind, expected.kind);
    }
}

#[test]
fn every_example_is_of_the_reviewed_kind() {
    let mut table = String::from("event\taction\texample\tkind\n");
    for (event, action, at, delivery) in github_examples() {
        let kind = delivery.normalized().event.kind;
        table.push_str(&format!("{event}\t{action}\t{at}\t{kind}\n"));
        let work = [
            "issue",
            "pull_request",
            "comment",
            "review",
            "push",
            "release",
            "workflow",
            "check",
            "discussion",
            "deployment",
            "status",
            "create",
            "delete",
        ];
        if work.iter().any(|word| event.contains(word)) {
            assert_ne!(kind, Kind::Unclassified, "{event}.{action} is work");
        }
    }
    check_table("github_kinds.tsv", &table);
}

#[test]
fn every_event_about_work_says_who_what_and_where() {
    for (event, action, at, delivery) in github_examples() {
        let data = delivery.normalized().event.data;
        let told = format!("{event}.{action} {at}: {data:#?}");
        if event != "security_advisory" {
            assert!(data.actor.is_some(), "{told}");
        }
        if ["issues", "issue_comment", "pull_request", "pull_request_review", "discussion"].contains(&&*event)
        {
            assert!(data.title.is_some() && data.url.is_some(), "{told}");
            let item = data.item.as_ref().unwrap();
            let number = item.number.unwrap();
            assert!(data.thread_key.ends_with(&format!("{number}")), "{told}");
        }
        if let Some(project) = &data.project_key {
            assert!(data.thread_key.starts_with(&format!("github:{project}")), "{told}");
        }
        assert_eq!(data.change.keys, [format!("github:{event}-{at}")]);
    }
}
