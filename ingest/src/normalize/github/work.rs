//! Issues, pull requests, discussions, their comments and reviews. All of one number share a thread.

use nexus_core::event::Item;
use nexus_core::mention::{MentionKind, Mentions};

use super::body::{Comment, Topic};
use super::{Told, change, first_time, scan};
use crate::normalize::Draft;
use crate::normalize::lenient::Text;

pub(super) fn issue(draft: &mut Draft, told: &Told<'_>) {
    let body = told.body;
    let Some(issue) = body.issue.get().or_else(|| body.sub_issue.get()) else {
        return;
    };
    topic(draft, told, issue, "#");
    whole(draft, told, issue);
    change::of_topic(draft, told, issue);
}

pub(super) fn pull_request(draft: &mut Draft, told: &Told<'_>) {
    let Some(pull_request) = told.body.pull_request.get() else {
        return;
    };
    topic(draft, told, pull_request, "#");
    whole(draft, told, pull_request);
    let head = pull_request.head.get().and_then(|head| head.sha.word());
    if let (Some(url), Some(sha)) = (told.repo_url(), head) {
        draft.link("commit", format!("{url}/commit/{sha}"));
    }
    change::of_topic(draft, told, pull_request);
}

pub(super) fn discussion(draft: &mut Draft, told: &Told<'_>) {
    let Some(discussion) = told.body.discussion.get() else {
        return;
    };
    topic(draft, told, discussion, "/discussions/");
    whole(draft, told, discussion);
    if let Some(url) = told.body.answer.get().and_then(|answer| answer.html_url.owned()) {
        draft.link("answer", url);
    }
    change::of_topic(draft, told, discussion);
}

pub(super) fn comment(draft: &mut Draft, told: &Told<'_>) {
    let body = told.body;
    let parent =
        [&body.issue, &body.pull_request, &body.discussion].into_iter().find_map(|topic| topic.get());
    let comment = body.comment.get();
    match parent {
        Some(parent) => {
            let sign = if told.name == "discussion_comment" { "/discussions/" } else { "#" };
            topic(draft, told, parent, sign);
            below(draft, told, parent);
        }
        None => on_commit(draft, told, comment),
    }
    if let Some(comment) = comment {
        said(draft, comment);
        let times = match told.action {
            "created" => [comment.created_at.word(), comment.updated_at.word()],
            "edited" => [comment.updated_at.word(), None],
            _ => [None, None],
        };
        draft.time = first_time(&times);
        let answered = comment.in_reply_to_id.owned().or_else(|| comment.parent_id.owned());
        if let Some(id) = answered {
            draft.link("reply-to", id);
        }
        if told.action != "deleted" {
            mention(draft, comment.body.text());
        }
    }
    change::edited(draft, told, |_| None);
}

pub(super) fn review(draft: &mut Draft, told: &Told<'_>) {
    let body = told.body;
    if let Some(pull_request) = body.pull_request.get() {
        topic(draft, told, pull_request, "#");
        below(draft, told, pull_request);
    }
    let in_thread = || body.thread.get()?.comments.iter().next();
    let review = body.review.get();
    if let Some(comment) = review.or_else(in_thread) {
        said(draft, comment);
        draft.time = match told.action {
            "submitted" => first_time(&[comment.submitted_at.word()]),
            _ => first_time(&[comment.updated_at.word()]),
        };
        if matches!(told.action, "submitted" | "edited") {
            mention(draft, comment.body.text());
        }
    }
    draft.data.outcome = match review {
        Some(review) => review.state.word().map(str::to_lowercase),
        None => Some(told.action.to_owned()).filter(|action| !action.is_empty()),
    };
    change::edited(draft, told, |_| None);
}

/// A comment's own text and page, in place of its subject's.
fn said(draft: &mut Draft, comment: &Comment<'_>) {
    draft.data.text = comment.body.text().map(str::to_owned);
    if let Some(url) = comment.html_url.owned() {
        draft.data.url = Some(url);
    }
}

/// What an event is about: title, thread, page, labels and the item itself.
fn topic(draft: &mut Draft, told: &Told<'_>, topic: &Topic<'_>, sign: &str) {
    let data = &mut draft.data;
    if let Some(number) = topic.number.word() {
        let subject = format!("{}{sign}{number}", told.place());
        data.thread_key = format!("github:{subject}");
        draft.subject = Some(subject);
    }
    data.title = topic.title.text().map(str::to_owned);
    data.url = topic.html_url.owned();
    data.labels = topic.labels.iter().filter_map(|label| label.name.owned()).collect();
    let mut assignees: Vec<_> = topic.assignees.iter().filter_map(|person| person.login.owned()).collect();
    if assignees.is_empty() {
        assignees.extend(topic.assignee.get().and_then(|person| person.login.owned()));
    }
    data.item = topic.id.owned().or_else(|| topic.number.owned()).map(|id| Item {
        id,
        number: topic.number.number(),
        state: topic.state.owned(),
        assignees,
    });
}

/// An event about the subject itself: its text is the event's, its time is that of the action.
fn whole(draft: &mut Draft, told: &Told<'_>, topic: &Topic<'_>) {
    draft.data.text = topic.body.text().map(str::to_owned);
    draft.time = match told.action {
        "opened" | "created" => first_time(&[topic.created_at.word()]),
        "closed" => first_time(&[topic.closed_at.word(), topic.updated_at.word()]),
        _ => first_time(&[topic.updated_at.word()]),
    };
    let mentions = &mut draft.mentions;
    // Only a new or changed text names anybody; else each label put on an issue would call the same people.
    if matches!(told.action, "opened" | "created" | "edited") {
        for text in [&topic.title, &topic.body].into_iter().filter_map(Text::text) {
            scan(mentions, text);
        }
    }
    asked(mentions, told);
}

/// Whoever is asked to review or made responsible is meant, as if by name.
fn asked(mentions: &mut Mentions, told: &Told<'_>) {
    let body = told.body;
    let person = match told.action {
        "review_requested" => body.requested_reviewer.get(),
        "assigned" => body.assignee.get(),
        _ => None,
    };
    if let Some(login) = person.and_then(|person| person.login.word()) {
        mentions.push(MentionKind::Name, login, Some(login));
    }
    let team = body.requested_team.get().and_then(|team| team.slug.word());
    if let (Some(slug), "review_requested") = (team, told.action) {
        let owner = told.place().split('/').next().unwrap_or_default();
        let team = format!("{owner}/{slug}");
        mentions.push(MentionKind::Group, &team, Some(&team));
    }
}

/// Links an event about a comment or a review to what it is on.
fn below(draft: &mut Draft, told: &Told<'_>, parent: &Topic<'_>) {
    if let Some(url) = parent.html_url.owned() {
        draft.link("parent", url);
    }
    // A comment on a pull request comes as one on an issue that says so.
    let as_issue = parent.pull_request.get().and_then(|change| change.html_url.owned());
    let itself = || told.body.pull_request.get()?.html_url.owned();
    if let Some(url) = as_issue.or_else(itself) {
        draft.link("pull-request", url);
    }
}

fn on_commit(draft: &mut Draft, told: &Told<'_>, comment: Option<&Comment<'_>>) {
    if let Some(sha) = comment.and_then(|comment| comment.commit_id.word()) {
        let subject = format!("{}@{sha}", told.place());
        draft.data.thread_key = format!("github:{subject}");
        draft.subject = Some(subject);
        if let Some(url) = told.repo_url() {
            draft.link("commit", format!("{url}/commit/{sha}"));
        }
    }
}

fn mention(draft: &mut Draft, text: Option<&str>) {
    scan(&mut draft.mentions, text.unwrap_or_default());
}
