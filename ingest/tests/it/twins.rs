//! One change told several times: every telling is kept, and one is handed on.

use std::collections::BTreeMap;

use nexus_core::change::ChangeKey;
use nexus_core::event::Provider;
use nexus_core::kind::{Kind, Rank};

use crate::support::{Delivery, World, fixture, now};

/// Hands events to one inbox in order, by the rule that [`ChangeKey`] documents, and says which arrive.
fn handed(events: &[&ChangeKey]) -> Vec<bool> {
    let mut claimed = BTreeMap::<String, Rank>::new();
    let mut arrives = |event: &ChangeKey| {
        let skip = event.coalesced(|key| claimed.get(key).copied());
        if !skip {
            for key in event.claims() {
                let rank = claimed.entry(key.to_owned()).or_insert(event.rank);
                *rank = (*rank).max(event.rank);
            }
        }
        !skip
    };
    events.iter().map(|event| arrives(event)).collect()
}

fn keys(provider: Provider, names: &[&str]) -> Vec<(Kind, ChangeKey)> {
    let event = |name: &&str| {
        let event = fixture(provider, name).normalized().event;
        (event.kind, event.data.change)
    };
    names.iter().map(event).collect()
}

fn in_order(provider: Provider, names: &[&str]) -> Vec<bool> {
    let deliveries: Vec<_> = names.iter().map(|name| fixture(provider, name)).collect();
    accepted(&deliveries)
}

/// Which of some accepted deliveries, each under an id of its own, arrive at one inbox.
fn accepted(deliveries: &[Delivery]) -> Vec<bool> {
    let keys = deliveries.iter().enumerate();
    let keys: Vec<_> = keys.map(|(nth, delivery)| delivery.nth(nth).event.data.change).collect();
    handed(&keys.iter().collect::<Vec<_>>())
}

/// A comment's fixture with another text.
fn comment(name: &str, text: &str) -> Delivery {
    let body = String::from_utf8(fixture(Provider::ClickUp, name).body.to_vec()).unwrap();
    let mut body: serde_json::Value = serde_json::from_str(&body).unwrap();
    body["history_items"][0]["comment"]["text_content"] = text.into();
    Delivery::new(Provider::ClickUp, body.to_string())
}

#[test]
fn a_new_task_is_one_whatever_comes_first() {
    let created = "taskCreated";
    let status = "taskStatusUpdated.at_creation";
    let updated = "taskUpdated.at_creation";
    assert_eq!(in_order(Provider::ClickUp, &[created, status, updated]), [true, false, false]);
    assert_eq!(in_order(Provider::ClickUp, &[updated, created, status]), [true, false, false]);
    // The creation says more than the first status and is never swallowed by it.
    assert_eq!(in_order(Provider::ClickUp, &[status, created, updated]), [true, true, false]);
    for (kind, _) in keys(Provider::ClickUp, &[created, updated]) {
        assert_eq!(kind, Kind::NewWorkItem);
    }
}

#[test]
fn a_change_under_two_names_is_one_and_two_changes_are_two() {
    assert_eq!(in_order(Provider::ClickUp, &["taskStatusUpdated", "taskUpdated.status"]), [true, false]);
    assert_eq!(
        in_order(Provider::ClickUp, &["taskStatusUpdated", "taskStatusUpdated.closed", "taskMoved"]),
        [true, true, true]
    );
}

#[test]
fn a_comment_is_one_and_its_edit_another_though_clickup_repeats_the_id() {
    assert_eq!(
        in_order(Provider::ClickUp, &["taskCommentPosted", "taskUpdated.comment", "taskCommentUpdated"]),
        [true, false, true]
    );
    // Only the post is the birth of a comment: its twin swallows it not, and is no second one.
    assert_eq!(in_order(Provider::ClickUp, &["taskUpdated.comment", "taskCommentPosted"]), [true, true]);
    for (name, kind) in [
        ("taskCommentPosted", Kind::NewComment),
        ("taskUpdated.comment", Kind::CommentEdited),
        ("taskCommentUpdated", Kind::CommentEdited),
    ] {
        let (found, change) = keys(Provider::ClickUp, &[name]).remove(0);
        assert_eq!((found, change.rank), (kind, kind.rank()), "{name}");
    }
}

#[test]
fn an_edit_back_to_an_earlier_text_arrives_and_the_twins_of_edits_do_not() {
    let [posted, updated, edited] = ["taskCommentPosted", "taskUpdated.comment", "taskCommentUpdated"];
    assert_eq!(
        accepted(&[
            comment(posted, "A"),
            comment(updated, "A"),
            comment(edited, "B"),
            comment(updated, "B"),
            comment(edited, "A"),
            comment(updated, "A"),
            comment(edited, "B"),
            comment(updated, "B"),
        ]),
        [true, false, true, false, true, false, true, false]
    );
    // In the worst order an edit is told twice; the post's twin may come as late as it likes.
    assert_eq!(
        accepted(
            &[comment(posted, "A"), comment(updated, "B"), comment(edited, "B"), comment(updated, "A"),]
        ),
        [true, true, true, false]
    );
}

#[test]
fn what_clickup_sends_along_with_a_post_is_no_second_comment() {
    let just_now = (now().as_millisecond() - 1000).to_string();
    let fresh = |name: &str, text: &str| {
        let body = comment(name, text).body;
        let mut body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        body["history_items"][0]["date"] = just_now.as_str().into();
        Delivery::new(Provider::ClickUp, body.to_string())
    };
    let [posted, updated, edited] = ["taskCommentPosted", "taskUpdated.comment", "taskCommentUpdated"];
    assert_eq!(
        accepted(&[fresh(posted, "A"), fresh(updated, "A"), fresh(edited, "A")]),
        [true, false, false]
    );
    assert_eq!(accepted(&[fresh(posted, "A"), fresh(edited, "B"), fresh(updated, "B")]), [true, true, false]);
}

#[tokio::test]
async fn an_edit_back_to_an_earlier_text_is_no_repeated_delivery() {
    let world = World::new();
    let minute = std::time::Duration::from_secs(61);
    for name in ["taskCommentUpdated", "taskUpdated.comment"] {
        for text in ["A", "B", "A"] {
            assert!(!world.post(&comment(name, text)).await.is_duplicate(), "{name} {text}");
            assert!(world.post(&comment(name, text)).await.is_duplicate(), "{name} {text}");
            world.clock.advance(minute);
        }
    }
    let posted = comment("taskCommentPosted", "A");
    assert!(!world.post(&posted).await.is_duplicate());
    world.clock.advance(minute);
    assert!(world.post(&posted).await.is_duplicate(), "a comment is posted once");
}

#[test]
fn what_may_happen_again_with_the_same_body_is_a_change_each_time() {
    for name in ["folderUpdated", "spaceUpdated", "goalUpdated", "keyResultUpdated", "automation"] {
        assert_eq!(in_order(Provider::ClickUp, &[name, name]), [true, true], "{name}");
    }
    for name in ["folderCreated", "folderDeleted", "taskDeleted", "listUpdated"] {
        assert_eq!(in_order(Provider::ClickUp, &[name, name]), [true, false], "{name}");
    }
}

#[tokio::test]
async fn two_edits_of_a_comment_are_two_deliveries_though_clickup_repeats_the_id() {
    let world = World::new();
    let edit = fixture(Provider::ClickUp, "taskCommentUpdated");
    let text = String::from_utf8(edit.body.to_vec()).unwrap();
    let other = Delivery::new(Provider::ClickUp, text.replace("never mind", "do mind"));
    assert!(!world.post(&edit).await.is_duplicate());
    assert!(!world.post(&other).await.is_duplicate());
    assert!(world.post(&edit).await.is_duplicate());
}

#[test]
fn a_message_and_its_mention_are_one_and_an_edit_with_its_mention_too() {
    assert_eq!(in_order(Provider::Slack, &["message", "app_mention"]), [true, false]);
    assert_eq!(in_order(Provider::Slack, &["app_mention", "message"]), [true, false]);
    assert_eq!(
        in_order(Provider::Slack, &["message", "message.changed", "app_mention.edited"]),
        [true, true, false]
    );
    assert_eq!(
        in_order(
            Provider::Slack,
            &["reaction_added", "reaction_removed", "message.deleted", "message.changed_unfurl"]
        ),
        [true, true, true, true]
    );
}

#[tokio::test]
async fn several_hooks_that_hear_of_one_event_are_several_deliveries_of_one_change() {
    let world = World::new();
    let repository = fixture(Provider::GitHub, "issues.opened");
    let organization = repository.clone().with("x-github-hook-id", "31");
    let app = repository.clone().without("x-github-hook-id");
    let mut keys = Vec::new();
    for delivery in [&repository, &organization, &app] {
        assert!(!world.post(delivery).await.is_duplicate());
        assert!(world.post(delivery).await.is_duplicate());
        keys.push(delivery.normalized().event.data.change);
    }
    assert_eq!(handed(&keys.iter().collect::<Vec<_>>()), [true, false, false]);
}

#[tokio::test]
async fn what_has_no_identity_is_dropped_within_a_minute_only() {
    let world = World::new();
    let updated = fixture(Provider::ClickUp, "folderUpdated");
    let deleted = fixture(Provider::ClickUp, "folderDeleted");
    for delivery in [&updated, &deleted] {
        assert!(!world.post(delivery).await.is_duplicate());
        assert!(world.post(delivery).await.is_duplicate());
    }
    world.clock.advance(std::time::Duration::from_secs(61));
    assert!(!world.post(&updated).await.is_duplicate(), "a folder may change twice the same way");
    assert!(world.post(&deleted).await.is_duplicate(), "a folder is deleted once");
}
