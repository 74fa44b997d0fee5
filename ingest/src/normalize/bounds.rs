//! Bounds on what of an event is handed on: a Deliver frame stays below 1 MiB. The raw delivery is kept whole
//! beside the event, so that nothing is lost by a cut.

use bytes::Bytes;
use nexus_core::event::{EventData, StandardEvent};

/// The longest event as JSON, in bytes.
pub const MAX_EVENT: usize = 960 << 10;

/// The longest text; GitHub's longest is 65,536 characters of up to four bytes.
const MAX_TEXT: usize = 256 << 10;
/// The longest title.
const MAX_TITLE: usize = 1 << 10;
/// The longest value of a changed field.
const MAX_VALUE: usize = 16 << 10;
/// The most labels, links, changes and names of people.
const MAX_LIST: usize = 100;
/// The longest name of an event.
pub(super) const MAX_NAME: usize = 128;

/// The text, or its beginning and an ellipsis if it is longer than so many bytes.
pub(super) fn cut(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    let mut end = max.saturating_sub('…'.len_utf8());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &text[..end])
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

/// The event as JSON, at most [`MAX_EVENT`] bytes long: a longer one loses its changes, then most of its text.
///
/// # Panics
/// Never: events have string keys only, so their JSON cannot fail.
#[must_use]
pub fn encode(event: &mut StandardEvent) -> Bytes {
    let json = |event: &StandardEvent| {
        serde_json::to_vec(event).expect("events serialize: their map keys are strings")
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
        event.data.mentions.clear();
        bytes = json(event);
    }
    bytes.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_keeps_characters_whole() {
        assert_eq!(cut("short", 5), "short");
        assert_eq!(cut("ééééé", 8), "éé…");
        assert_eq!(cut("aaaa", 3), "…");
    }
}
