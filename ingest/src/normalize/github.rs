//! GitHub: the event's name is a header, its action is in the body, and one body type fits them all.
//!
//! Change key: the GUID, which is the same for every hook that hears of an event. Delivery key: hook and GUID,
//! so that a redelivery is dropped and a second hook is not. Source: GitHub's webhook events and payloads.

mod body;
mod change;
mod code;
mod kind;
mod work;

use nexus_core::event::{Actor, Provider};
use nexus_core::mention::Mentions;

use self::body::{Body, Comment, Person};
use super::lenient::decode;
use super::{DEDUPE, Draft, Edge, Malformed, Normalized, bounds, moment};
use crate::delivery::Verified;

const EVENT: &str = "x-github-event";
const DELIVERY: &str = "x-github-delivery";
const HOOK: &str = "x-github-hook-id";

pub(super) fn normalize(delivery: &Verified, json: &str, edge: &Edge<'_>) -> Result<Normalized, Malformed> {
    let name = required(delivery, EVENT)?;
    let guid = required(delivery, DELIVERY)?;
    let mut mended = String::new();
    let body: Body<'_> = decode(json, &mut mended)?;
    let told = Told { name, action: body.action.word().unwrap_or_default(), body: &body };
    let provider_event = match told.action {
        "" => name.to_owned(),
        action => format!("{name}.{action}"),
    };
    let mut draft = Draft::new(Provider::GitHub, &provider_event, kind::classify(&told));
    draft.keys.push(format!("github:{guid}"));
    draft.data.project_key = body.repository.get().and_then(|repo| repo.full_name.owned());
    draft.data.actor = actor(&told);
    describe(&mut draft, &told);
    if draft.data.thread_key.is_empty() {
        draft.data.thread_key = format!("github:{}", told.place());
    }
    let key = match delivery.header(HOOK).filter(|hook| plain(hook)) {
        Some(hook) => format!("{hook}:{guid}"),
        // Hooks of GitHub Apps may come without an id; their GUID is still their own within the source.
        None => guid.to_owned(),
    };
    Ok(draft.finish(edge, &key, DEDUPE))
}

/// A delivery's event, action and body.
struct Told<'t> {
    name: &'t str,
    action: &'t str,
    body: &'t Body<'t>,
}

impl<'t> Told<'t> {
    /// The repository as `owner/name`, where the event has one.
    fn repo(&self) -> Option<&'t str> {
        self.body.repository.get()?.full_name.word()
    }

    /// The repository's page.
    fn repo_url(&self) -> Option<&'t str> {
        self.body.repository.get()?.html_url.word()
    }

    /// What an event belongs to that has no thread of its own.
    fn place(&self) -> &'t str {
        let organization = || self.body.organization.get()?.login.word();
        let account = || self.body.installation.get()?.account.get()?.login.word();
        self.repo().or_else(organization).or_else(account).unwrap_or(self.name)
    }
}

/// A header that must be there, be plain and not be endless.
fn required<'d>(delivery: &'d Verified, name: &'static str) -> Result<&'d str, Malformed> {
    delivery.header(name).filter(|value| plain(value)).ok_or(Malformed::Header(name))
}

fn plain(value: &str) -> bool {
    (1..=bounds::MAX_NAME).contains(&value.len()) && value.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Fills in what happened, by what the body is about.
fn describe(draft: &mut Draft, told: &Told<'_>) {
    match told.name {
        "issues" | "sub_issues" | "issue_dependencies" => work::issue(draft, told),
        "pull_request" => work::pull_request(draft, told),
        "issue_comment" | "pull_request_review_comment" | "commit_comment" | "discussion_comment" => {
            work::comment(draft, told);
        }
        "pull_request_review" | "pull_request_review_thread" => work::review(draft, told),
        "discussion" => work::discussion(draft, told),
        "push" => code::push(draft, told),
        "create" | "delete" => code::git_ref(draft, told),
        "release" => code::release(draft, told),
        "workflow_run" | "workflow_job" | "check_run" | "check_suite" => code::run(draft, told),
        "deployment" | "deployment_status" | "deployment_review" | "deployment_protection_rule" => {
            code::deployment(draft, told);
        }
        "status" => code::status(draft, told),
        "merge_group" => code::merge_group(draft, told),
        _ => code::thing(draft, told),
    }
}

/// Who did it: the sender, and where GitHub tells none, whoever the body names.
fn actor(told: &Told<'_>) -> Option<Actor> {
    let body = told.body;
    let made = match told.action {
        // A person may edit what an App wrote in another's name; the App edits under the name it wrote in.
        "edited" if !is_author(body) => None,
        "created" | "submitted" | "edited" => written(body).map(|comment| &comment.by_app),
        "opened" => body.issue.get().map(|issue| &issue.by_app),
        _ => None,
    };
    // An App that writes in a user's name: the sender is a person, yet a program did it.
    let by_app = made.is_some_and(|by_app| by_app.is_some());
    let author = match told.name {
        "push" => body.pusher.get(),
        "release" => body.release.get().and_then(|release| release.author.get()),
        "issues" if told.action == "opened" => body.issue.get().and_then(|issue| issue.user.get()),
        "pull_request" if told.action == "opened" => {
            body.pull_request.get().and_then(|change| change.user.get())
        }
        _ if told.action == "created" => body.comment.get().and_then(|comment| comment.user.get()),
        _ => None,
    };
    let person = body.sender.get().filter(|sender| sender.handle().is_some()).or(author)?;
    let handle = person.handle()?;
    Some(Actor {
        id: person.id.owned().unwrap_or_else(|| handle.to_owned()),
        display: Some(handle.to_owned()),
        is_bot: by_app || person.kind.is("Bot") || handle.ends_with("[bot]"),
    })
}

/// The comment or review that an event is about.
fn written<'b>(body: &'b Body<'b>) -> Option<&'b Comment<'b>> {
    body.comment.get().or_else(|| body.review.get())
}

/// Whether the sender wrote the comment or review, as far as both are told.
fn is_author(body: &Body<'_>) -> bool {
    let author = || written(body)?.user.get()?.handle();
    let sender = body.sender.get().and_then(Person::handle);
    sender.is_none() || author().is_none() || sender == author()
}

/// Adds everybody whom a Markdown text names. GitHub hides HTML comments, and issue templates are full of them.
fn scan(mentions: &mut Mentions, text: &str) {
    let text = bounds::head(text, bounds::MAX_TEXT);
    if !text.contains("<!--") {
        return mentions.scan(text);
    }
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, comment)) = rest.split_once("<!--") {
        shown.push_str(before);
        rest = comment.split_once("-->").map_or("", |(_, after)| after);
    }
    shown.push_str(rest);
    mentions.scan(&shown);
}

/// The first time that is there and can be read.
fn first_time(texts: &[Option<&str>]) -> Option<jiff::Timestamp> {
    texts.iter().copied().flatten().find_map(moment::iso_or_unix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_comments_name_nobody() {
        let names = |text: &str| {
            let mut mentions = Mentions::default();
            scan(&mut mentions, text);
            mentions.into_vec().into_iter().map(|mention| mention.id).collect::<Vec<_>>()
        };
        assert_eq!(names("<!-- cc @nobody --> @coder <!-- @open"), ["coder"]);
        assert_eq!(names("@a <!----> @b"), ["a", "b"]);
    }
}
