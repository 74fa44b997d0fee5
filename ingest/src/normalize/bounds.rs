//! Bounds on what of an event is handed on: a Deliver frame stays below 1 MiB. The raw delivery is kept whole
//! beside the event, so that nothing is lost by a cut.

use bytes::Bytes;
use nexus_core::event::{EventData, StandardEvent};

/// The longest event as JSON, in bytes.
pub const MAX_EVENT: usize = 960 << 10;

/// What an event has beside its text, in bytes; a guess.
const BESIDE_TEXT: usize = 2 << 10;

/// The longest text; GitHub's longest is 65,536 characters of up to four bytes.
pub(super) const MAX_TEXT: usize = 256 << 10;
/// The longest title.
const MAX_TITLE: usize = 1 << 10;
/// The longest value of a changed field.
const MAX_VALUE: usize = 16 << 10;
/// The most labels, links, changes and names of people.
const MAX_LIST: usize = 100;
/// The longest id and name of somebody who is mentioned: with [`MAX_LIST`] of them an event still is short.
const MAX_MENTION: usize = 255;
/// The longest name of an event.
pub(super) const MAX_NAME: usize = 128;

/// The text, or its beginning and an ellipsis if it is longer than so many bytes.
pub(super) fn cut(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    format!("{}…", head(text, max.saturating_sub('…'.len_utf8())))
}

/// The beginning of a text, at most so many bytes long.
pub(super) fn head(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}

/// Cuts what is too long.
pub(super) fn bound(data: &mut EventData) {
    let shorten = |text: &mut Option<String>, max: usize| {
        if let Some(long) = text.as_mut().filter(|text| text.len() > max) {
            *long = cut(long, max);
        }
    };
    shorten(&mut data.title, MAX_TITLE);
    shorten(&mut data.text, MAX_TEXT);
    // A cut id would be another's.
    data.mentions.retain(|mention| mention.id.len() <= MAX_MENTION);
    data.mentions.truncate(MAX_LIST);
    for mention in &mut data.mentions {
        shorten(&mut mention.name, MAX_MENTION);
    }
    data.labels.truncate(MAX_LIST);
    data.links.truncate(MAX_LIST);
    data.changes.truncate(MAX_LIST);
    for change in &mut data.changes {
        shorten(&mut change.before, MAX_VALUE);
        shorten(&mut change.after, MAX_VALUE);
    }
    if let Some(item) = &mut data.item {
        item.assignees.truncate(MAX_LIST);
    }
}

/// The event as JSON, at most [`MAX_EVENT`] bytes long: a longer one loses its changes and most of its text, then
/// all that has no bound of its own. It keeps its mentions, as they say whose event it is.
///
/// # Panics
/// Never: events have string keys only, so their JSON cannot fail.
#[must_use]
pub fn encode(event: &mut StandardEvent) -> Bytes {
    let json = |event: &StandardEvent| {
        // Else it begins with 128 bytes and is copied at each doubling. Some of the text is escaped.
        let text = event.data.text.as_ref().map_or(0, |text| text.len() * 9 / 8);
        let mut bytes = Vec::with_capacity(BESIDE_TEXT + text);
        serde_json::to_writer(&mut bytes, event).expect("events serialize: their map keys are strings");
        bytes
    };
    let mut bytes = json(event);
    if bytes.len() > MAX_EVENT {
        event.data.changes.clear();
        event.data.text = event.data.text.as_deref().map(|text| cut(text, MAX_VALUE));
        bytes = json(event);
    }
    if bytes.len() > MAX_EVENT {
        event.data.text = None;
        event.data.labels.clear();
        event.data.links.clear();
        if let Some(item) = &mut event.data.item {
            item.assignees.clear();
        }
        bytes = json(event);
    }
    bytes.into()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_of_whatever_length_is_short_and_keeps_its_mentions() {
        // The sign takes six bytes in JSON.
        let long = |len: usize| "\u{1}".repeat(len);
        let mention = |id: String, name: String| json!({"kind": "user", "id": id, "name": name});
        let mut mentions: Vec<_> =
            (0..100).map(|n| mention(format!("{n}{}", long(250)), long(2048))).collect();
        mentions.insert(50, mention(long(2048), "an id that is none".into()));
        let mut event: StandardEvent = serde_json::from_value(json!({
            "specversion": "1.0", "id": "0190163d-8694-739b-aea5-966c26f8ad91", "source": "/hooks/a/a/slack",
            "type": "dev.nexus.NewMessage.v1", "time": "2026-11-24T07:00:00Z", "datacontenttype": "application/json",
            "tenant": "a/a", "receivedtime": "2026-11-24T07:00:00Z",
            "data": {
                "provider": "slack", "providerEvent": "message", "threadKey": long(2048), "enriched": true,
                "change": {"keys": ["k"], "rank": "birth"}, "mentions": mentions,
                "title": long(4096), "text": long(1 << 20), "labels": vec![long(2048); 200],
                "links": vec![json!({"rel": "file", "href": long(2048)}); 200],
                "item": {"id": "1", "assignees": vec![long(2048); 200]},
                "changes": vec![json!({"field": "f", "before": long(1 << 15)}); 200],
            },
        }))
        .unwrap();
        bound(&mut event.data);
        assert!(encode(&mut event).len() <= MAX_EVENT);
        assert_eq!(event.data.mentions.len(), 100);
        assert!(event.data.mentions.iter().all(|mention| mention.id.len() < 255));
    }

    #[test]
    fn a_cut_keeps_characters_whole() {
        assert_eq!(cut("short", 5), "short");
        assert_eq!(cut("ééééé", 8), "éé…");
        assert_eq!(cut("aaaa", 3), "…");
    }
}
