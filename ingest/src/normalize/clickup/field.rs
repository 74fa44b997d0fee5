//! Changed fields, before and after as text that people can read.

use jiff::Timestamp;
use nexus_core::kind::Kind;
use nexus_core::mention::MentionKind;
use serde::Deserialize;

use super::body::{HistoryItem, Side, Value};
use super::comment::{first, scan};
use crate::normalize::Draft;
use crate::normalize::lenient::{List, Maybe, Read, Text};

pub(super) fn told(draft: &mut Draft, item: &HistoryItem<'_>) {
    let Some(field) = item.field.word() else { return };
    if field == "task_creation" {
        return;
    }
    let before = shown(field, &item.before);
    let after = shown(field, &item.after);
    match field {
        "status" => {
            if let Some(item) = &mut draft.data.item {
                item.state.clone_from(&after);
            }
        }
        "name" => draft.data.title.clone_from(&after),
        "content" => {
            draft.data.text.clone_from(&after);
            scan(after.as_deref().unwrap_or_default(), &mut draft.mentions);
        }
        "tag" => draft.data.labels.extend(labels(&item.after)),
        "assignee_add" => assigned(draft, &item.after),
        _ => {}
    }
    // A new task's first values are no changes.
    if draft.kind == Kind::NewWorkItem {
        return;
    }
    // A removed person stands in `before` mostly, in `after` in some captures; it is gone in both.
    let (before, after) = match field {
        "assignee_rem" | "group_assignee_rem" => (before.or(after), None),
        _ => (before, after),
    };
    match item.custom_field.get().and_then(|custom| custom.name.word()) {
        Some(name) => draft.change(&format!("{field}/{name}"), before, after),
        None => draft.change(field, before, after),
    }
}

/// Whoever is made responsible is meant, as if by name.
fn assigned(draft: &mut Draft, side: &Side<'_>) {
    if let Read::Object(user) = &side.0
        && let Some(id) = user.id.word()
    {
        let name = user.username.word().or_else(|| user.name.word());
        draft.mentions.push(MentionKind::User, id, name);
    }
}

/// A value as text.
fn shown(field: &str, side: &Side<'_>) -> Option<String> {
    match &side.0 {
        Read::Other => None,
        Read::Word(word) => Some(word_shown(field, word)).filter(|word| !word.is_empty()),
        Read::Object(value) => value_shown(field, value),
        Read::List(values) => {
            let names: Vec<_> = values.iter().filter_map(|value| value_shown(field, value)).collect();
            Some(names.join(", ")).filter(|names| !names.is_empty())
        }
    }
}

fn word_shown(field: &str, word: &str) -> String {
    match field {
        "content" => rich_text(word).unwrap_or_else(|| word.to_owned()),
        // A moment in UTC, also where only its day counts: which day that is depends on the reader's zone.
        "due_date" | "start_date" | "date_closed" | "date_done" => word
            .parse()
            .ok()
            .and_then(|millis| Timestamp::from_millisecond(millis).ok())
            .map_or_else(|| word.to_owned(), |time| time.to_string()),
        "time_estimate" | "time_spent" => word.parse().map_or_else(|_| word.to_owned(), span),
        _ => word.to_owned(),
    }
}

fn value_shown(field: &str, value: &Value<'_>) -> Option<String> {
    if let ("time_spent" | "time_estimate", Some(time)) = (field, value.time.word()) {
        return Some(word_shown(field, time));
    }
    first(&[
        &value.status,
        &value.priority,
        &value.username,
        &value.name,
        &value.email,
        &value.value,
        &value.id,
    ])
    .map(str::to_owned)
}

fn labels(side: &Side<'_>) -> Vec<String> {
    let name = |tag: &Value<'_>| tag.name.owned();
    match &side.0 {
        Read::List(tags) => tags.iter().filter_map(name).collect(),
        Read::Object(tag) => name(tag).into_iter().collect(),
        Read::Word(_) | Read::Other => Vec::new(),
    }
}

/// Milliseconds as hours, minutes and seconds.
fn span(millis: u64) -> String {
    let seconds = millis / 1000;
    let parts = [(seconds / 3600, "h"), (seconds / 60 % 60, "m"), (seconds % 60, "s")];
    let shown: Vec<_> = parts
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, unit)| format!("{count}{unit}"))
        .collect();
    if shown.is_empty() { "0s".to_owned() } else { shown.join(" ") }
}

/// The plain text of a rich text, which is JSON in a string.
fn rich_text(json: &str) -> Option<String> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Delta<'a> {
        #[serde(borrow)]
        ops: List<Maybe<Op<'a>>>,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Op<'a> {
        #[serde(borrow)]
        insert: Text<'a>,
    }
    let delta = serde_json::from_str::<Maybe<Delta<'_>>>(json).ok()?;
    let text: String = delta.get()?.ops.iter().filter_map(|op| op.insert.text()).collect();
    Some(text.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_read_well() {
        assert_eq!(word_shown("time_estimate", "5400000"), "1h 30m");
        assert_eq!(word_shown("time_spent", "0"), "0s");
        assert_eq!(word_shown("due_date", "1643608800000"), "2022-01-31T06:00:00Z");
        assert_eq!(word_shown("due_date", "soon"), "soon");
        assert_eq!(
            word_shown("content", r#"{"ops":[{"insert":"Hello "},{"insert":{"x":1}},{"insert":"you\n"}]}"#),
            "Hello you"
        );
        assert_eq!(word_shown("content", "plain"), "plain");
    }
}
