//! Programs are marked as such, people are not: without that agents would answer each other for ever.

use nexus_core::event::Provider;
use nexus_core::kind::Kind;
use serde_json::{Value, json};

use crate::support::{deliver, fixture};

/// Who is said to have done it, and whether that is a program; after some nodes of the body were set.
fn actor(provider: Provider, name: &str, set: &[(&str, &str, Value)]) -> (String, bool) {
    let delivery = fixture(provider, name);
    let mut body: Value = serde_json::from_slice(&delivery.body).unwrap();
    for (at, key, value) in set {
        body.pointer_mut(at).unwrap()[*key] = value.clone();
    }
    let event = deliver(provider, name, body.to_string()).normalized().event;
    let actor = event.data.actor.unwrap();
    (actor.id, actor.is_bot)
}

fn is_bot(provider: Provider, name: &str, set: &[(&str, &str, Value)]) -> bool {
    actor(provider, name, set).1
}

#[test]
fn slack_programs_show_by_their_marks_with_and_without_subtype() {
    let slack = |name, set: &[(&str, &str, Value)]| is_bot(Provider::Slack, name, set);
    assert!(!slack("message", &[]));
    assert!(slack("message", &[("/event", "bot_id", json!("B1"))]));
    assert!(slack("message", &[("/event", "app_id", json!("A1"))]));
    assert!(slack("message", &[("/event", "bot_profile", json!({"name": "x"}))]));
    assert!(slack("message", &[("/event", "subtype", json!("bot_message"))]));
    assert!(slack("message", &[("/event", "user", json!("UNEXUSBOT"))]), "the app's own bot");
    assert!(slack("message.bot", &[]));
    assert!(slack("message.file_share", &[]), "Slackbot");
    assert!(slack("reaction_added.own_bot", &[]));
    assert!(!slack("reaction_added", &[]));
    assert!(!slack("message.changed", &[]));
    assert!(slack("message.changed", &[("/event/message", "bot_id", json!("B1"))]));
    assert_eq!(actor(Provider::Slack, "message.bot_message", &[]), ("B0OLD".into(), true));
    let deleted = |set: &[(&str, &str, Value)]| is_bot(Provider::Slack, "message.deleted", set);
    assert!(!deleted(&[]));
    assert!(deleted(&[("/event/previous_message", "bot_id", json!("B1"))]));
    assert!(deleted(&[("/event/previous_message", "user", json!("UNEXUSBOT"))]));
    // Another editor than the author, as an admin may be, is whoever did it.
    let edit = json!({"user": "U0ADMIN", "ts": "1700000100.000000"});
    let edited = [("/event/message", "edited", edit), ("/event/message", "bot_id", json!("B1"))];
    assert_eq!(actor(Provider::Slack, "message.changed", &edited), ("U0ADMIN".into(), false));
}

#[test]
fn clickups_own_automations_show_by_their_id() {
    let clickup = |name| actor(Provider::ClickUp, name, &[]);
    assert_eq!(clickup("taskStatusUpdated.automation"), ("-1".into(), true));
    assert_eq!(clickup("taskStatusUpdated"), ("183".into(), false));
    let text = [("/history_items/0/user", "id", json!("-1"))];
    assert!(is_bot(Provider::ClickUp, "taskStatusUpdated", &text));
}

#[test]
fn github_programs_show_by_type_login_or_app() {
    let github = |name, set: &[(&str, &str, Value)]| is_bot(Provider::GitHub, name, set);
    assert!(!github("issues.opened", &[]));
    assert!(github("issues.opened", &[("/sender", "type", json!("Bot"))]));
    assert!(github("issues.opened", &[("/sender", "login", json!("renovate[bot]"))]));
    assert!(github("issues.opened", &[("/issue", "performed_via_github_app", json!({"id": 1}))]));
    assert!(github("issue_comment.created_via_app", &[]));
    // An App edits under the name it wrote in; an edit under another is a person's.
    let edited = |sender: &str| {
        let mut body: Value =
            serde_json::from_slice(&fixture(Provider::GitHub, "issue_comment.created_via_app").body).unwrap();
        body["action"] = json!("edited");
        body["sender"]["login"] = json!(sender);
        let event = deliver(Provider::GitHub, "issue_comment", body.to_string()).normalized().event;
        (event.kind, event.data.actor.unwrap().is_bot)
    };
    let author: Value =
        serde_json::from_slice(&fixture(Provider::GitHub, "issue_comment.created_via_app").body).unwrap();
    let author = author["comment"]["user"]["login"].as_str().unwrap();
    assert_eq!(edited(author), (Kind::CommentEdited, true));
    assert_eq!(edited("somebody-else"), (Kind::CommentEdited, false));
    // A review stands in another field than a comment.
    let reviewed = |action: &str, app: Value| {
        let body = json!({
            "action": action,
            "sender": {"id": 183, "login": "ann", "type": "User"},
            "review": {"id": 1, "user": {"login": "ann"}, "performed_via_github_app": app},
        });
        let delivery = deliver(Provider::GitHub, "pull_request_review", body.to_string());
        delivery.normalized().event.data.actor.unwrap().is_bot
    };
    for action in ["submitted", "edited"] {
        assert!(reviewed(action, json!({"id": 1})) && !reviewed(action, Value::Null));
    }
    assert!(!reviewed("dismissed", json!({"id": 1})));
    // Whoever closes an issue that an App once opened is no App.
    assert!(!github("issues.closed", &[("/issue", "performed_via_github_app", json!({"id": 1}))]));
    let ghost = [("", "sender", Value::Null)];
    assert_eq!(actor(Provider::GitHub, "issues.opened", &ghost), ("183".into(), false));
}
