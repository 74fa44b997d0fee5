//! What agents read, as JSON: the same thing reads the same, whoever sent it.

use nexus_core::event::{Provider, StandardEvent};

use crate::support::fixture;

fn event(provider: Provider, name: &str) -> StandardEvent {
    fixture(provider, name).normalized().event
}

macro_rules! golden {
    ($($test:ident: $provider:ident $name:literal,)*) => {
        $(
            #[test]
            fn $test() {
                insta::assert_json_snapshot!(event(Provider::$provider, $name));
            }
        )*
    };
}

golden! {
    new_work_item_from_clickup: ClickUp "taskCreated",
    new_work_item_from_github: GitHub "issues.opened",
    comment_from_clickup: ClickUp "taskCommentPosted",
    comment_from_clickup_as_a_bare_array: ClickUp "taskCommentPosted.array",
    comment_from_github: GitHub "issue_comment.created_on_pull_request",
    move_from_clickup: ClickUp "taskMoved",
    time_from_clickup: ClickUp "taskTimeTrackedUpdated",
    description_from_clickup: ClickUp "taskUpdated.content",
    message_from_slack: Slack "message",
    reply_from_slack: Slack "message.reply",
    blocks_from_slack: Slack "message.blocks_only",
    attachments_from_slack: Slack "message.attachments_only",
    edit_from_slack: Slack "message.changed",
    deletion_from_slack: Slack "message.deleted",
    mail_from_slack: Slack "message.file_share",
    reaction_from_slack: Slack "reaction_added",
    limit_from_slack: Slack "app_rate_limited",
    team_review_from_github: GitHub "pull_request.review_requested_team",
    edit_from_github: GitHub "pull_request.edited_base",
    merge_from_github: GitHub "pull_request.closed_merged",
    push_from_github: GitHub "push.main",
    build_from_github: GitHub "workflow_run.completed",
    release_from_github: GitHub "release.published",
    greeting_from_github: GitHub "ping.repository",
}

#[test]
fn a_new_work_item_has_the_same_fields_from_both() {
    let fields = |provider, name| {
        let json = serde_json::to_value(event(provider, name)).unwrap();
        let mut fields: Vec<_> = json["data"].as_object().unwrap().keys().cloned().collect();
        fields.sort_unstable();
        fields
    };
    let clickup = fields(Provider::ClickUp, "taskCreated");
    let mut github = fields(Provider::GitHub, "issues.opened");
    // ClickUp's webhook carries ids only: what it does not tell is looked up before routing.
    github.retain(|field| !["title", "text", "mentions", "labels"].contains(&field.as_str()));
    assert_eq!(clickup, github);
}
