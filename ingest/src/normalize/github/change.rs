//! What became different, field by field.

use super::Told;
use super::body::Topic;
use crate::normalize::Draft;

/// The changes of an issue, a pull request or a discussion.
pub(super) fn of_topic(draft: &mut Draft, told: &Told<'_>, topic: &Topic<'_>) {
    edited(draft, told, |field| match field {
        "title" => topic.title.text().map(str::to_owned),
        "body" => topic.body.text().map(str::to_owned),
        "base" => topic.base.get()?.git_ref.owned(),
        "category" => topic.category.get()?.name.owned(),
        _ => None,
    });
    let body = told.body;
    let label = || body.label.get()?.name.owned();
    let assignee = || body.assignee.get()?.login.owned();
    let milestone = || body.milestone.get()?.title.owned();
    let issue_type = || body.issue_type.get()?.name.owned();
    let reviewer = || {
        let person = || body.requested_reviewer.get()?.login.owned();
        let team = || body.requested_team.get()?.slug.owned();
        person().or_else(team)
    };
    match told.action {
        "labeled" => draft.change("label", None, label()),
        "unlabeled" => draft.change("label", label(), None),
        "assigned" => draft.change("assignee", None, assignee()),
        "unassigned" => draft.change("assignee", assignee(), None),
        "milestoned" => draft.change("milestone", None, milestone()),
        "demilestoned" => draft.change("milestone", milestone(), None),
        "typed" => draft.change("type", None, issue_type()),
        "untyped" => draft.change("type", issue_type(), None),
        "review_requested" => draft.change("reviewer", None, reviewer()),
        "review_request_removed" => draft.change("reviewer", reviewer(), None),
        "synchronize" => draft.change("head", body.before.owned(), body.after.owned()),
        "closed" => {
            draft.change("state", Some("open".into()), topic.state.owned());
            draft.change("state_reason", None, topic.state_reason.owned());
        }
        "reopened" => draft.change("state", Some("closed".into()), topic.state.owned()),
        "locked" => flip(draft, "locked", true),
        "unlocked" => flip(draft, "locked", false),
        "pinned" => flip(draft, "pinned", true),
        "unpinned" => flip(draft, "pinned", false),
        "ready_for_review" => flip(draft, "draft", false),
        "converted_to_draft" => flip(draft, "draft", true),
        "answered" => flip(draft, "answered", true),
        "unanswered" => flip(draft, "answered", false),
        "auto_merge_enabled" => flip(draft, "auto_merge", true),
        "auto_merge_disabled" => flip(draft, "auto_merge", false),
        "enqueued" => flip(draft, "queued", true),
        "dequeued" => flip(draft, "queued", false),
        _ => {}
    }
}

/// The changes that the body lists itself; `now` knows the values after.
pub(super) fn edited(draft: &mut Draft, told: &Told<'_>, now: impl Fn(&str) -> Option<String>) {
    for (field, changed) in &told.body.changes.0 {
        let Some(changed) = changed.get() else { continue };
        let before = changed.from.text().map(str::to_owned);
        let branch = || changed.git_ref.get()?.from.owned();
        let after = changed.to.text().map(str::to_owned);
        let there = || changed.full_name.owned().or_else(|| changed.html_url.owned());
        let after = after.or_else(there).or_else(|| now(field));
        let field = field.strip_prefix("new_").unwrap_or(field);
        draft.change(field, before.or_else(branch), after);
    }
    if told.action == "edited" && draft.data.changes.iter().any(|change| change.field == "body") {
        let text = draft.data.text.clone();
        for change in draft.data.changes.iter_mut().filter(|change| change.field == "body") {
            change.after = change.after.take().or_else(|| text.clone());
        }
    }
}

fn flip(draft: &mut Draft, field: &str, to: bool) {
    draft.change(field, Some((!to).to_string()), Some(to.to_string()));
}
