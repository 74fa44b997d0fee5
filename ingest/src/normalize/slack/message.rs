//! Messages, their edits and deletions.

use std::borrow::Cow;

use nexus_core::event::Provider;
use nexus_core::kind::Kind;
use nexus_core::mention::Mentions;

use super::body::Event;
use super::{Told, actor, content, present};
use crate::normalize::{Draft, hash, moment};

/// At most so many files of a message are linked to.
const MAX_FILE_LINKS: usize = 10;

/// What a message event tells of.
enum What<'e> {
    /// A message was posted.
    Posted,
    /// A message's text changed; the mark tells this edit from others.
    Edited { message: &'e Event<'e>, mark: Cow<'e, str> },
    /// A message was deleted.
    Deleted { message: Option<&'e Event<'e>>, ts: Option<&'e str> },
    /// Something about people or the channel, told as a message.
    Setting(Kind),
    /// A preview was added, a language recognized, a counter moved: nothing that anybody said.
    Nothing,
}

pub(super) fn message(told: &Told<'_>, event: &Event<'_>, name: &str) -> Draft {
    let subtype = event.subtype.word();
    let name = match subtype {
        Some(subtype) => format!("{name}.{subtype}"),
        None => name.to_owned(),
    };
    let new = |kind| Draft::new(Provider::Slack, &name, kind);
    match classify(event, subtype) {
        What::Posted => posted(told, event, new(Kind::NewMessage)),
        What::Edited { message, mark } => edited(told, event, message, &mark, new(Kind::MessageEdited)),
        What::Deleted { message, ts } => deleted(told, event, message, ts, new(Kind::MessageDeleted)),
        What::Setting(kind) => unsaid(told, event, event, new(kind)),
        What::Nothing => {
            let message = event.message.get().unwrap_or(event);
            unsaid(told, event, message, new(Kind::Unclassified))
        }
    }
}

fn classify<'e>(event: &'e Event<'e>, subtype: Option<&str>) -> What<'e> {
    match subtype {
        Some("message_changed") => changed(event),
        Some("message_deleted") => {
            let message = event.previous_message.get();
            let ts = event.deleted_ts.word().or_else(|| message?.ts.word());
            What::Deleted { message, ts }
        }
        // Says again, beside the reply itself, that a thread has one more.
        Some("message_replied") => What::Nothing,
        Some("channel_join" | "channel_leave" | "group_join" | "group_leave" | "bot_add" | "bot_remove") => {
            What::Setting(Kind::MembershipChanged)
        }
        Some(name) if name.starts_with("channel_") || name.starts_with("group_") => {
            What::Setting(Kind::ProjectUpdated)
        }
        Some("thread_broadcast" | "me_message" | "file_share" | "bot_message") => What::Posted,
        Some(_) if content::is_empty(event) => What::Nothing,
        // An edit that adds the app's name comes as an app_mention beside the edit of the message.
        _ => match event.edited.get() {
            Some(edit) if event.kind.is("app_mention") => {
                What::Edited { message: event, mark: mark(edit.ts.word(), event) }
            }
            _ => What::Posted,
        },
    }
}

/// A message_changed also comes for previews of links and for recognized languages. A real edit shows by
/// another `edited` mark, or by another text.
fn changed<'e>(event: &'e Event<'e>) -> What<'e> {
    let Some(message) = event.message.get() else {
        return What::Nothing;
    };
    let former = event.previous_message.get();
    // A deleted parent of a thread stays as a stone: this is how its deletion is told.
    if message.subtype.is("tombstone") {
        let ts = message.ts.word();
        return What::Deleted { message: former.or(Some(message)), ts };
    }
    let edit = message.edited.get();
    let marked = edit.is_some() && edit != former.and_then(|former| former.edited.get());
    let reworded = former.is_some_and(|former| present(&former.text) != present(&message.text));
    if marked || reworded {
        let ts = edit.filter(|_| marked).and_then(|edit| edit.ts.word());
        What::Edited { message, mark: mark(ts, message) }
    } else {
        What::Nothing
    }
}

fn mark<'e>(ts: Option<&'e str>, message: &Event<'_>) -> Cow<'e, str> {
    match ts {
        Some(ts) => Cow::Borrowed(ts),
        None => Cow::Owned(hash(present(&message.text), 8)),
    }
}

fn posted(told: &Told<'_>, event: &Event<'_>, draft: Draft) -> Draft {
    let mut draft = said(told, event, event, draft);
    draft.time = event.ts.word().and_then(moment::slack);
    if let (Some(channel), Some(ts)) = (event.channel.id(), event.ts.word()) {
        draft.keys.push(told.thread(channel, ts));
    }
    draft
}

fn edited(told: &Told<'_>, event: &Event<'_>, message: &Event<'_>, mark: &str, draft: Draft) -> Draft {
    let mut draft = said(told, event, message, draft);
    if let (Some(channel), Some(ts)) = (event.channel.id(), message.ts.word()) {
        draft.keys.push(format!("{}:edited:{mark}", told.thread(channel, ts)));
    }
    let edit = message.edited.get();
    // Whoever edited did it; mostly the author, but an admin may.
    if let Some(editor) = edit.and_then(|edit| edit.user.word()) {
        let author = draft.data.actor.take().filter(|author| author.id == editor);
        draft.data.actor = author.or_else(|| {
            Some(nexus_core::event::Actor {
                id: editor.to_owned(),
                display: None,
                is_bot: told.is_own_bot(editor),
            })
        });
    }
    draft.time = edit.and_then(|edit| edit.ts.word()).and_then(moment::slack);
    if let Some(former) = event.previous_message.get() {
        let text = |event: &Event<'_>| event.text.text().map(str::to_owned);
        draft.change("text", text(former), text(message));
    }
    draft
}

fn deleted(
    told: &Told<'_>,
    event: &Event<'_>,
    message: Option<&Event<'_>>,
    ts: Option<&str>,
    mut draft: Draft,
) -> Draft {
    let Some(channel) = event.channel.id() else {
        draft.data.thread_key = format!("slack:{}", told.team);
        return draft;
    };
    let root = message.and_then(|message| message.thread_ts.word()).or(ts);
    let data = &mut draft.data;
    data.project_key = Some(channel.to_owned());
    data.thread_key = match root {
        Some(root) => told.thread(channel, root),
        None => format!("slack:{}:{channel}", told.team),
    };
    // Who deleted it is not told: mostly the author, and a program's message must show as one's. The stone that
    // stands for a deleted parent is Slack's own. The text is gone on purpose and not handed on.
    data.actor =
        message.filter(|message| !message.subtype.is("tombstone")).and_then(|message| actor(told, message));
    if let Some(ts) = ts {
        draft.subject = Some(format!("{channel}/{ts}"));
        draft.keys.push(format!("{}:deleted", told.thread(channel, ts)));
    }
    draft.time = event.event_ts.word().or_else(|| event.ts.word()).and_then(moment::slack);
    draft
}

/// A message that nobody typed just now calls nobody, whoever stands in its text.
fn unsaid(told: &Told<'_>, event: &Event<'_>, message: &Event<'_>, draft: Draft) -> Draft {
    let mut draft = said(told, event, message, draft);
    draft.mentions = Mentions::default();
    draft
}

/// What a message says, where it stands, and who said it.
fn said(told: &Told<'_>, event: &Event<'_>, message: &Event<'_>, mut draft: Draft) -> Draft {
    draft.data.actor = actor(told, message);
    let content = content::of(message);
    content.mentions(&mut draft.mentions);
    draft.data.text = Some(content.text.into_owned()).filter(|text| !text.is_empty());
    for file in message.files.iter().take(MAX_FILE_LINKS) {
        if let Some(url) = file.permalink.word().or_else(|| file.url_private.word()) {
            draft.link("file", url);
        }
    }
    for (field, value) in [("topic", &message.topic), ("purpose", &message.purpose), ("name", &message.name)]
    {
        if draft.kind == Kind::ProjectUpdated {
            draft.change(field, None, value.owned());
        }
    }
    let channel = event.channel.id().or_else(|| message.channel.id());
    draft.data.project_key = channel.map(str::to_owned);
    draft.time = event.event_ts.word().or_else(|| event.ts.word()).and_then(moment::slack);
    let (Some(channel), Some(ts)) = (channel, message.ts.word()) else {
        draft.data.thread_key = match channel {
            Some(channel) => format!("slack:{}:{channel}", told.team),
            None => format!("slack:{}", told.team),
        };
        return draft;
    };
    draft.subject = Some(format!("{channel}/{ts}"));
    let root = message.thread_ts.word().unwrap_or(ts);
    draft.data.thread_key = told.thread(channel, root);
    if root != ts {
        draft.link("reply-to", format!("{channel}/{root}"));
    }
    draft
}
