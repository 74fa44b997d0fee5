//! ClickUp, API v2. One change fires several events under one history id, and the history item's `field` says
//! more than the event's name: it is what classifies.
//!
//! Change key: the history id, one per item; of comments their text too. Delivery key: webhook, event and
//! history ids; where an event has no history, the body. What may happen again with the same body, and the edit
//! of a comment, is a change of its own whenever it is accepted. Source: ClickUp's webhooks and task payloads
//! pages.

mod body;
mod comment;
mod field;

use jiff::Timestamp;
use nexus_core::event::{Actor, Item, Provider};
use nexus_core::kind::Kind;

use self::body::{Body, HistoryItem, User};
use super::lenient::decode;
use super::{DEDUPE, DEDUPE_BY_CONTENT, Draft, Edge, Malformed, Normalized, hash, moment};

/// More history items than this in one event are keyed as a whole.
const MAX_KEYS: usize = 256;

/// The event that says of itself that a comment was edited. Beside it comes a `taskUpdated`, as with a post.
const EDITED: &str = "taskCommentUpdated";

/// ClickUp sends the twins of one change within seconds; a later one comes again after a failure.
const TWIN_SECONDS: i64 = 60;

/// Ids longer than this are hashed; ClickUp's have less than forty characters.
const MAX_ID: usize = 64;

pub(super) fn normalize(json: &str, edge: &Edge<'_>) -> Result<Normalized, Malformed> {
    let mut mended = String::new();
    let body: Body<'_> = decode(json, &mut mended)?;
    let name = body.event.word().unwrap_or("unknown");
    let mut draft = Draft::new(Provider::ClickUp, name, classify(name, &body));
    // Ids, not names: whoever has a token may look the rest up.
    draft.data.enriched = false;
    place(&mut draft, &body);
    let items = || body.history_items.iter();
    for item in items() {
        told(&mut draft, item);
    }
    let webhook = body.webhook_id.word().unwrap_or("-");
    let ids: Vec<_> = items().filter_map(|item| identity(item)).collect();
    // A comment may be edited back to what it once said, and ClickUp repeats the ids: it only comes again at
    // once where it is the same edit.
    let again = draft.kind == Kind::CommentEdited || ids.is_empty() && !once(name);
    let dedupe = if again { DEDUPE_BY_CONTENT } else { DEDUPE };
    // An item without an id is known by nothing but the body.
    if ids.is_empty() || ids.len() > MAX_KEYS || ids.len() < items().count() {
        let resource = resource(&body).map_or("-", |(_, id)| id);
        let content = hash(json, 32);
        let key = if again {
            format!("clickup:{name}:{resource}:{}", edge.id)
        } else {
            format!("clickup:{name}:{resource}:{content}")
        };
        keys(&mut draft, &body, vec![key]);
        return Ok(draft.finish(edge, &format!("{webhook}:{name}:{resource}:{content}"), dedupe));
    }
    let mut sorted = ids.clone();
    sorted.sort_unstable();
    let identity = sorted.join(",");
    let first = |item: &HistoryItem<'_>| draft.kind != Kind::NewWorkItem && item.is_first_status();
    let changes = items().zip(ids).map(|(item, id)| match body.task_id.word() {
        // A first status is part of the creation, whichever event tells of it and whichever comes first; as it
        // says less than a creation it swallows none.
        Some(task) if first(item) => created(task),
        _ => format!("clickup:history:{id}"),
    });
    let changes = changes.collect();
    keys(&mut draft, &body, changes);
    if name == EDITED && !with_its_post(draft.time, edge.received) {
        // No earlier text can hold it back; its twin under another name is held back by what it covers.
        draft.covers.append(&mut draft.keys);
        draft.keys.push(format!("clickup:{name}:{}", edge.id));
    }
    Ok(draft.finish(edge, &format!("{webhook}:{name}:{identity}"), dedupe))
}

/// Whether an edit was received so soon after its comment was posted that it may be what ClickUp sends along
/// with a post: then the same text is the same change. Only an edit back within that time goes unheard.
fn with_its_post(posted: Option<Timestamp>, received: Timestamp) -> bool {
    posted.is_some_and(|posted| received.duration_since(posted).as_secs() < TWIN_SECONDS)
}

/// What a history item is known by. The edit of a comment repeats the id and the date of the post, so that of
/// comments the text counts too.
fn identity(item: &HistoryItem<'_>) -> Option<String> {
    let id = match item.id.word()? {
        long if long.len() > MAX_ID => hash(long, 32),
        id => id.to_owned(),
    };
    Some(match comment::text(item) {
        Some(text) if item.is_comment() => format!("{id}:{}", hash(&text, 8)),
        _ => id,
    })
}

fn created(task: &str) -> String {
    format!("clickup:task:{task}:created")
}

/// The creation of a task stands for all that comes with it, its first status above all.
fn keys(draft: &mut Draft, body: &Body<'_>, keys: Vec<String>) {
    match body.task_id.word() {
        Some(task) if draft.kind == Kind::NewWorkItem => {
            draft.keys.push(created(task));
            draft.covers = keys;
        }
        _ => draft.keys = keys,
    }
}

/// Whether an event without history can happen only once to its subject.
fn once(name: &str) -> bool {
    name.ends_with("Created") || name.ends_with("Deleted")
}

fn classify(name: &str, body: &Body<'_>) -> Kind {
    let items = || body.history_items.iter();
    match name {
        "taskCreated" => return Kind::NewWorkItem,
        "taskDeleted" => return Kind::WorkItemDeleted,
        _ if name.starts_with("task") => {}
        _ if ["list", "folder", "space", "goal", "keyResult"].iter().any(|noun| name.starts_with(noun)) => {
            return Kind::ProjectUpdated;
        }
        _ => return Kind::Unclassified,
    }
    if items().any(|item| item.field.is("task_creation")) {
        return Kind::NewWorkItem;
    }
    if name == "taskCommentPosted" {
        return Kind::NewComment;
    }
    // A `taskUpdated` of a comment comes with posts and with edits, and does not say with which.
    if name == EDITED || items().any(HistoryItem::is_comment) {
        return Kind::CommentEdited;
    }
    let status = items().filter(|item| item.field.is("status")).last();
    match status.map(|item| (item.before.is_finished(), item.after.is_finished())) {
        Some((false, true)) => Kind::WorkItemClosed,
        Some((true, false)) => Kind::WorkItemReopened,
        // A task event that is newer than this table still is about a task.
        _ => Kind::WorkItemUpdated,
    }
}

/// What the event is about: its thread, its list, its page.
fn place(draft: &mut Draft, body: &Body<'_>) {
    let data = &mut draft.data;
    let list = body.history_items.iter().find_map(|item| item.parent_id.word());
    match resource(body) {
        Some(("task", id)) => {
            data.thread_key = format!("clickup:{id}");
            data.project_key = list.or_else(|| body.list_id.word()).map(str::to_owned);
            data.url = Some(format!("https://app.clickup.com/t/{id}"));
            data.item = Some(Item { id: id.to_owned(), ..Item::default() });
            draft.subject = Some(id.to_owned());
        }
        Some((noun, id)) => {
            data.thread_key = format!("clickup:{noun}:{id}");
            data.project_key = Some(id.to_owned()).filter(|_| noun == "list");
            draft.subject = Some(id.to_owned());
        }
        None => {}
    }
}

/// The one thing that the event names, most specific first.
fn resource<'b>(body: &'b Body<'_>) -> Option<(&'static str, &'b str)> {
    [
        ("task", &body.task_id),
        ("list", &body.list_id),
        ("folder", &body.folder_id),
        ("space", &body.space_id),
        ("key_result", &body.key_result_id),
        ("goal", &body.goal_id),
    ]
    .into_iter()
    .find_map(|(noun, id)| Some((noun, id.word()?)))
}

/// Adds what one history item tells.
fn told(draft: &mut Draft, item: &HistoryItem<'_>) {
    if draft.data.actor.is_none() {
        let author = || item.comment.author();
        draft.data.actor = item.user.get().or_else(author).and_then(actor);
    }
    draft.time = draft.time.or_else(|| moment::iso_or_unix(item.date.word()?));
    if item.is_comment() {
        comment::told(draft, item);
    } else {
        field::told(draft, item);
    }
}

fn actor(user: &User<'_>) -> Option<Actor> {
    let id = user.id.word()?;
    Some(Actor {
        id: id.to_owned(),
        display: user.name().map(str::to_owned),
        // The id under which ClickUp's own automations act.
        is_bot: id == "-1",
    })
}
