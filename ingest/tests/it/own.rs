//! Our own fixtures of ClickUp, Slack and GitHub: answered 200, in the bus exactly once, of the reviewed kind.

use axum::http::StatusCode;
use nexus_core::event::Provider;
use nexus_core::kind::Kind;
use nexus_ingest::normalize::Meaning;

use crate::support::{World, check_table, fixture, fixtures, tenant};

/// Every event that ClickUp's documents name.
const CLICKUP_EVENTS: [&str; 28] = [
    "taskCreated",
    "taskUpdated",
    "taskDeleted",
    "taskPriorityUpdated",
    "taskStatusUpdated",
    "taskAssigneeUpdated",
    "taskDueDateUpdated",
    "taskTagUpdated",
    "taskMoved",
    "taskCommentPosted",
    "taskCommentUpdated",
    "taskTimeEstimateUpdated",
    "taskTimeTrackedUpdated",
    "listCreated",
    "listUpdated",
    "listDeleted",
    "folderCreated",
    "folderUpdated",
    "folderDeleted",
    "spaceCreated",
    "spaceUpdated",
    "spaceDeleted",
    "goalCreated",
    "goalUpdated",
    "goalDeleted",
    "keyResultCreated",
    "keyResultUpdated",
    "keyResultDeleted",
];

#[tokio::test]
async fn every_fixture_is_in_the_bus_exactly_once() {
    for provider in [Provider::ClickUp, Provider::Slack, Provider::GitHub] {
        let world = World::new();
        let mut stored = 0;
        for (name, delivery) in fixtures(provider) {
            let first = world.post(&delivery).await;
            let again = world.post(&delivery).await;
            assert_eq!((first.status, again.status), (StatusCode::OK, StatusCode::OK), "{name}: {first:?}");
            if matches!(delivery.meaning(), Ok(Meaning::Challenge(_))) {
                continue;
            }
            stored += 1;
            assert!(!first.is_duplicate() && again.is_duplicate(), "{name}");
            let record = world.record(first.event()).await;
            assert_eq!(record.raw.body, delivery.body, "{name}");
            assert!(record.raw.headers.iter().all(|(header, _)| !header.contains("signature")), "{name}");
        }
        assert_eq!(world.events().await.len(), stored);
    }
}

#[test]
fn every_fixture_is_of_the_reviewed_kind() {
    for provider in [Provider::ClickUp, Provider::Slack, Provider::GitHub] {
        let mut table = String::from("fixture\tprovider event\tkind\tthread\n");
        for (name, delivery) in fixtures(provider) {
            let line = match delivery.meaning().unwrap() {
                Meaning::Challenge(_) => format!("{name}\t-\thandshake\t-\n"),
                Meaning::Event(normalized) => {
                    let event = normalized.event;
                    let data = event.data;
                    format!("{name}\t{}\t{}\t{}\n", data.provider_event, event.kind, data.thread_key)
                }
            };
            table.push_str(&line);
        }
        let file = match provider {
            Provider::GitHub => "github_own_kinds.tsv".to_owned(),
            other => format!("{}_kinds.tsv", other.name()),
        };
        check_table(&file, &table);
    }
}

#[test]
fn every_clickup_event_has_a_fixture_and_a_kind() {
    let fixtures = fixtures(Provider::ClickUp);
    for event in CLICKUP_EVENTS {
        let of_event = |(name, _): &&(String, _)| name.split('.').next() == Some(event);
        let (name, delivery) =
            fixtures.iter().find(of_event).unwrap_or_else(|| panic!("no fixture of {event}"));
        assert_ne!(delivery.normalized().event.kind, Kind::Unclassified, "{name}");
    }
}

#[test]
fn only_what_was_just_said_names_anybody() {
    for (provider, name) in [
        (Provider::Slack, "message.channel_join"),
        (Provider::Slack, "message.channel_topic"),
        (Provider::Slack, "message.changed_unfurl_of_edited"),
        (Provider::Slack, "message.deleted"),
        (Provider::GitHub, "issues.closed"),
        (Provider::GitHub, "release.released"),
    ] {
        assert_eq!(fixture(provider, name).normalized().event.data.mentions, [], "{name}");
    }
    for (provider, name, who) in [
        (Provider::GitHub, "issues.assigned", "bob"),
        (Provider::ClickUp, "taskAssigneeUpdated", "184"),
        (Provider::Slack, "message.me_message", "S012"),
    ] {
        let mentions = fixture(provider, name).normalized().event.data.mentions;
        assert_eq!(mentions.iter().map(|mention| &*mention.id).collect::<Vec<_>>(), [who], "{name}");
    }
}

#[tokio::test]
async fn slack_hears_its_challenge_and_nothing_is_kept() {
    let world = World::new();
    let answer = world.post(&fixture(Provider::Slack, "url_verification")).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.headers["content-type"], "text/plain; charset=utf-8");
    assert_eq!(answer.body, "3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P");
    assert_eq!(world.bus.depth(&tenant()).await.unwrap().appended, 0);
}

#[tokio::test]
async fn a_form_is_signed_as_it_is_and_read_from_its_payload() {
    let world = World::new();
    let json = String::from_utf8(fixture(Provider::GitHub, "issues.opened").body.to_vec()).unwrap();
    let form = format!("payload={}", form_urlencoded::byte_serialize(json.as_bytes()).collect::<String>());
    let delivery = crate::support::Delivery::github("issues", "form-1", form)
        .with("content-type", "application/x-www-form-urlencoded; charset=utf-8");
    let record = world.record(world.post(&delivery).await.event()).await;
    assert_eq!(record.summary.kind, Kind::NewWorkItem);
    assert_eq!(record.summary.title.as_deref(), Some("Cart is empty"));
    assert_eq!(record.raw.body, delivery.body);
}
