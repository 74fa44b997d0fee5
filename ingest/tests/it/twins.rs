//! One change told several times: every telling is kept, and one is handed on.

use std::collections::BTreeMap;

use nexus_core::change::ChangeKey;
use nexus_core::event::Provider;
use nexus_core::kind::{Kind, Rank};

use crate::support::{Delivery, World, fixture};

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
    let keys = keys(provider, names);
    handed(&keys.iter().map(|(_, key)| key).collect::<Vec<_>>())
}

#[test]
fn a_new_task_is_one_whatever_comes_first() {
    let created = "taskCreated";
    let status = "taskStatusUpdated.at_creation";
    let updated = "taskUpdated.at_creation";
    assert_eq!(
        in_order(Provider::ClickUp, &[created, status, updated]),
        [true, false, false]
    );
    assert_eq!(
        in_order(Provider::ClickUp, &[updated, created, status]),
        [true, false, false]
    );
    // The creation says more than the first status and is never swallowed by it.
    assert_eq!(
        in_order(Provider::ClickUp, &[status, created, updated]),
        [true, true, false]
    );
    for (kind, _) in keys(Provider::ClickUp, &[created, updated]) {
        assert_eq!(kind, Kind::NewWorkItem);
    }
}

#[test]
fn a_change_under_two_names_is_one_and_two_changes_are_two() {
    assert_eq!(
        in_order(Provider::ClickUp, &["taskStatusUpdated", "taskUpdated.status"]),
        [true, false]
    );
    assert_eq!(
        in_order(
            Provider::ClickUp,
            &["taskStatusUpdated", "taskStatusUpdated.closed", "taskMoved"]
        ),
        [true, true, true]
    );
}

#[test]
fn a_comment_is_one_and_its_edit_another_though_clickup_repeats_the_id() {
    assert_eq!(
        in_order(
            Provider::ClickUp,
            &[
                "taskCommentPosted",
                "taskUpdated.comment",
                "taskCommentUpdated",
                "taskCommentUpdated"
            ]
        ),
        [true, false, true, false]
    );
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
    assert_eq!(
        in_order(Provider::Slack, &["message", "app_mention"]),
        [true, false]
    );
    assert_eq!(
        in_order(Provider::Slack, &["app_mention", "message"]),
        [true, false]
    );
    assert_eq!(
        in_order(
            Provider::Slack,
            &["message", "message.changed", "app_mention.edited"]
        ),
        [true, true, false]
    );
    assert_eq!(
        in_order(
            Provider::Slack,
            &[
                "reaction_added",
                "reaction_removed",
                "message.deleted",
                "message.changed_unfurl"
            ]
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
    assert!(
        !world.post(&updated).await.is_duplicate(),
        "a folder may change twice the same way"
    );
    assert!(
        world.post(&deleted).await.is_duplicate(),
        "a folder is deleted once"
    );
}
