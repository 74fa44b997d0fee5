//! Slack: the Events API over HTTP. Timestamps are ids, never numbers: a float would lose digits.
//!
//! Change key: the message, `slack:{team}:{channel}:{ts}`, so that a message and its app_mention are one.
//! Delivery key: `event_id`, the same on Slack's retries. Source: Slack's Events API and message reference.

mod body;
mod content;
mod message;

use nexus_core::event::{Actor, Provider};
use nexus_core::kind::Kind;

use self::body::{Envelope, Event};
use super::lenient::{Text, decode};
use super::{DEDUPE, DEDUPE_BY_CONTENT, Draft, Edge, Malformed, Meaning, Normalized, hash, moment};

/// Slack's own bot, which forwards mails and reminders.
const SLACKBOT: &str = "USLACKBOT";

pub(super) fn normalize(json: &str, edge: &Edge<'_>) -> Result<Meaning, Malformed> {
    let mut mended = String::new();
    let envelope: Envelope<'_> = decode(json, &mut mended)?;
    let told = Told::new(&envelope, json);
    let event = match (envelope.kind.word(), envelope.challenge.word()) {
        (Some("url_verification"), Some(challenge)) => return Ok(Meaning::Challenge(challenge.to_owned())),
        (Some("app_rate_limited"), _) => rate_limited(&told, edge),
        (Some("event_callback"), _) => callback(&told, edge),
        (other, _) => unknown(&told, other.unwrap_or("unknown"), edge),
    };
    Ok(Meaning::Event(Box::new(event)))
}

/// An envelope, and what all its events share.
struct Told<'t> {
    envelope: &'t Envelope<'t>,
    json: &'t str,
    team: &'t str,
}

impl<'t> Told<'t> {
    fn new(envelope: &'t Envelope<'t>, json: &'t str) -> Self {
        // In a shared channel `team_id` is the workspace of whoever wrote, and would tear a thread apart;
        // `context_team_id` is the workspace that the app listens in.
        let team = envelope.context_team_id.word().or_else(|| envelope.team_id.word());
        Self { envelope, json, team: team.unwrap_or("-") }
    }

    /// The thread of a message.
    fn thread(&self, channel: &str, ts: &str) -> String {
        format!("slack:{}:{channel}:{ts}", self.team)
    }

    /// Whether a user is the bot of the app that listens.
    fn is_own_bot(&self, user: &str) -> bool {
        let mut installs = self.envelope.authorizations.iter();
        installs.any(|install| install.is_bot.yes() && install.user_id.is(user))
    }

    fn finish(&self, draft: Draft, edge: &Edge<'_>) -> Normalized {
        match self.envelope.event_id.word() {
            Some(id) => draft.finish(edge, id, DEDUPE),
            None => draft.finish(edge, &hash(self.json, 32), DEDUPE_BY_CONTENT),
        }
    }
}

fn callback(told: &Told<'_>, edge: &Edge<'_>) -> Normalized {
    let Some(event) = told.envelope.event.get() else {
        return unknown(told, "event_callback", edge);
    };
    let kind = event.kind.word().unwrap_or("unknown");
    let mut draft = match kind {
        "message" | "app_mention" => message::message(told, event, kind),
        "reaction_added" | "reaction_removed" => reaction(told, event, kind),
        _ => setting(told, event, kind),
    };
    let told_time = || told.envelope.event_time.word().and_then(moment::slack);
    draft.time = draft.time.or_else(told_time);
    told.finish(draft, edge)
}

/// Slack holds events back as there are too many; it says so once a minute.
fn rate_limited(told: &Told<'_>, edge: &Edge<'_>) -> Normalized {
    let minute = told.envelope.minute_rate_limited.word();
    let mut draft = Draft::new(Provider::Slack, "app_rate_limited", Kind::SourceLimited);
    draft.data.thread_key = format!("slack:{}", told.team);
    draft.time = minute.and_then(moment::slack);
    match minute {
        Some(minute) => draft.finish(edge, &format!("app_rate_limited:{}:{minute}", told.team), DEDUPE),
        None => told.finish(draft, edge),
    }
}

fn unknown(told: &Told<'_>, name: &str, edge: &Edge<'_>) -> Normalized {
    let mut draft = Draft::new(Provider::Slack, name, Kind::Unclassified);
    draft.data.thread_key = format!("slack:{}", told.team);
    told.finish(draft, edge)
}

fn reaction(told: &Told<'_>, event: &Event<'_>, name: &str) -> Draft {
    let (kind, suffix) = match name {
        "reaction_added" => (Kind::ReactionAdded, "added"),
        _ => (Kind::ReactionRemoved, "removed"),
    };
    let mut draft = Draft::new(Provider::Slack, name, kind);
    draft.data.actor = actor(told, event);
    draft.data.reaction = event.reaction.word().map(|name| name.trim_matches(':').to_owned());
    draft.time = event.event_ts.word().and_then(moment::slack);
    let item = event.item.get();
    let channel = item.and_then(|item| item.channel.id());
    let ts = item.and_then(|item| item.ts.word());
    draft.data.project_key = channel.map(str::to_owned);
    let (Some(channel), Some(ts)) = (channel, ts) else {
        draft.data.thread_key = format!("slack:{}", told.team);
        draft.subject = item.and_then(|item| item.file.id()).map(str::to_owned);
        return draft;
    };
    draft.subject = Some(format!("{channel}/{ts}"));
    draft.data.thread_key = told.thread(channel, ts);
    if let (Some(user), Some(reaction), Some(when)) =
        (event.user.id(), event.reaction.word(), event.event_ts.word())
    {
        let message = told.thread(channel, ts);
        draft.keys.push(format!("{message}:reaction:{user}:{reaction}:{when}:{suffix}"));
    }
    draft
}

/// Channels, people and the app itself.
fn setting(told: &Told<'_>, event: &Event<'_>, name: &str) -> Draft {
    let kind = match name {
        "member_joined_channel"
        | "member_left_channel"
        | "team_join"
        | "user_change"
        | "channel_left"
        | "group_left"
        | "subteam_created"
        | "subteam_updated"
        | "subteam_members_changed"
        | "subteam_self_added"
        | "subteam_self_removed" => Kind::MembershipChanged,
        // The app was thrown out: nothing more will come.
        "app_uninstalled" | "tokens_revoked" => Kind::SourceLimited,
        _ if name.starts_with("channel_") || name.starts_with("group_") || name == "team_rename" => {
            Kind::ProjectUpdated
        }
        _ => Kind::Unclassified,
    };
    let mut draft = Draft::new(Provider::Slack, name, kind);
    let channel = event.channel.id();
    draft.data.actor = actor(told, event);
    draft.data.project_key = channel.map(str::to_owned);
    draft.data.title = event.channel.name().or_else(|| event.name.word()).map(str::to_owned);
    draft.data.thread_key = match channel {
        Some(channel) => format!("slack:{}:{channel}", told.team),
        None => format!("slack:{}", told.team),
    };
    draft.subject = channel.or_else(|| event.user.id()).map(str::to_owned);
    draft.time = event.event_ts.word().and_then(moment::slack);
    draft
}

/// Who did it. A program shows by its bot or app id, also where there is no subtype; a subtype may be old.
fn actor(told: &Told<'_>, event: &Event<'_>) -> Option<Actor> {
    let profile = event.bot_profile.get();
    let by_profile = || profile.and_then(|profile| profile.id.word());
    let user = event.user.id();
    let bot = event.bot_id.word().or_else(by_profile).or_else(|| event.app_id.word());
    let id = user.or(bot).or_else(|| event.username.word())?;
    let own_name = event.username.word().or_else(|| profile?.name.word());
    let is_bot = bot.is_some()
        || profile.is_some()
        || event.subtype.is("bot_message")
        || id == SLACKBOT
        || told.is_own_bot(id);
    Some(Actor {
        id: id.to_owned(),
        display: own_name.or_else(|| event.user.name()).map(str::to_owned),
        is_bot,
    })
}

/// The text of a field that is there.
fn present<'t>(text: &'t Text<'_>) -> &'t str {
    text.text().unwrap_or_default()
}
