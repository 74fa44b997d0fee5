//! Which kind an event is, by its name, its action and, where these do not say it, its body.
//!
//! An action that is newer than this table falls to the general change of its subject. What concerns neither
//! work nor code (stars, sponsors, the marketplace) is Unclassified: kept and replayable.

use nexus_core::kind::Kind;

use super::Told;

pub(super) fn classify(told: &Told<'_>) -> Kind {
    match told.name {
        "issues" => issue(told.action),
        "sub_issues" | "issue_dependencies" => Kind::WorkItemUpdated,
        "issue_comment" => comment(told.action, on_issue(told)),
        "pull_request_review_comment" => comment(told.action, Kind::ReviewUpdated),
        "commit_comment" => comment(told.action, Kind::CommentEdited),
        "discussion_comment" => comment(told.action, Kind::DiscussionUpdated),
        "pull_request" => pull_request(told),
        "pull_request_review" if told.action == "submitted" => Kind::ReviewSubmitted,
        "pull_request_review" | "pull_request_review_thread" => Kind::ReviewUpdated,
        "push" if told.body.deleted.yes() => Kind::RefDeleted,
        "push" => Kind::CodePushed,
        "create" => Kind::RefCreated,
        "delete" => Kind::RefDeleted,
        "workflow_run" | "workflow_job" | "check_run" | "check_suite" => finished(told.action == "completed"),
        "status" => finished(ended(told.body.state.word())),
        "deployment_status" => {
            let status = told.body.deployment_status.get();
            finished(ended(status.and_then(|status| status.state.word())))
        }
        "page_build" => {
            let build = told.body.build.get();
            finished(ended(build.and_then(|build| build.status.word())))
        }
        "merge_group" => finished(told.action == "destroyed"),
        "deployment" | "deployment_review" | "deployment_protection_rule" | "workflow_dispatch" => {
            Kind::BuildStarted
        }
        "release" | "package" | "registry_package" if told.action == "published" => Kind::ReleasePublished,
        "release" | "package" | "registry_package" => Kind::ReleaseUpdated,
        "discussion" => discussion(told.action),
        "ping" => Kind::SourceConnected,
        // The hook itself was deleted: nothing more will come from it.
        "meta" => Kind::SourceLimited,
        other => setting(other, told.action),
    }
}

fn issue(action: &str) -> Kind {
    match action {
        "opened" => Kind::NewWorkItem,
        "closed" => Kind::WorkItemClosed,
        "reopened" => Kind::WorkItemReopened,
        // A transferred issue is opened anew where it went.
        "deleted" | "transferred" => Kind::WorkItemDeleted,
        _ => Kind::WorkItemUpdated,
    }
}

fn comment(action: &str, otherwise: Kind) -> Kind {
    match action {
        "created" => Kind::NewComment,
        "edited" => Kind::CommentEdited,
        "deleted" => Kind::CommentDeleted,
        _ => otherwise,
    }
}

/// The general change of what an issue comment is on: GitHub's pull requests are issues too.
fn on_issue(told: &Told<'_>) -> Kind {
    match told.body.issue.get() {
        Some(issue) if issue.pull_request.is_some() => Kind::ChangeUpdated,
        _ => Kind::WorkItemUpdated,
    }
}

fn pull_request(told: &Told<'_>) -> Kind {
    match told.action {
        "opened" => Kind::ChangeProposed,
        "closed" => {
            let merged = told.body.pull_request.get().is_some_and(|change| {
                let by_time = change.merged_at.word().is_some();
                change.merged.0.unwrap_or(by_time)
            });
            if merged { Kind::ChangeMerged } else { Kind::ChangeClosed }
        }
        "review_requested" => Kind::ReviewRequested,
        _ => Kind::ChangeUpdated,
    }
}

fn discussion(action: &str) -> Kind {
    match action {
        "created" => Kind::DiscussionOpened,
        "closed" | "deleted" => Kind::DiscussionClosed,
        _ => Kind::DiscussionUpdated,
    }
}

const fn finished(yes: bool) -> Kind {
    if yes { Kind::BuildFinished } else { Kind::BuildStarted }
}

/// Whether a status, a deployment or a build of pages will change no more.
fn ended(state: Option<&str>) -> bool {
    matches!(state, Some("success" | "failure" | "error" | "inactive" | "built" | "errored"))
}

/// Events about a repository, an organization or an installation rather than about work.
fn setting(name: &str, action: &str) -> Kind {
    match name {
        "organization" if action == "renamed" => Kind::ProjectUpdated,
        "deploy_key"
        | "github_app_authorization"
        | "installation"
        | "installation_repositories"
        | "installation_target"
        | "member"
        | "membership"
        | "org_block"
        | "organization"
        | "personal_access_token_request"
        | "team"
        | "team_add" => Kind::MembershipChanged,
        "branch_protection_configuration"
        | "branch_protection_rule"
        | "code_scanning_alert"
        | "custom_property"
        | "custom_property_values"
        | "dependabot_alert"
        | "gollum"
        | "label"
        | "milestone"
        | "project"
        | "project_card"
        | "project_column"
        | "projects_v2"
        | "projects_v2_item"
        | "projects_v2_status_update"
        | "public"
        | "repository"
        | "repository_advisory"
        | "repository_import"
        | "repository_ruleset"
        | "repository_vulnerability_alert"
        | "secret_scanning_alert"
        | "secret_scanning_alert_location"
        | "secret_scanning_scan"
        | "security_and_analysis" => Kind::ProjectUpdated,
        _ => Kind::Unclassified,
    }
}
