//! The parts of ClickUp's bodies that an event is made of.

use serde::Deserialize;

use crate::normalize::lenient::{Flag, List, Maybe, Read, Text};

/// A body.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Body<'a> {
    #[serde(borrow)]
    pub(super) event: Text<'a>,
    pub(super) webhook_id: Text<'a>,
    pub(super) task_id: Text<'a>,
    pub(super) list_id: Text<'a>,
    pub(super) folder_id: Text<'a>,
    pub(super) space_id: Text<'a>,
    pub(super) goal_id: Text<'a>,
    pub(super) key_result_id: Text<'a>,
    pub(super) history_items: List<Maybe<HistoryItem<'a>>>,
}

/// One change.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct HistoryItem<'a> {
    /// Digits; a UUID on lists.
    #[serde(borrow)]
    pub(super) id: Text<'a>,
    /// Milliseconds since 1970, as text.
    pub(super) date: Text<'a>,
    pub(super) field: Text<'a>,
    /// The List; of a moved task the one that it went to.
    pub(super) parent_id: Text<'a>,
    pub(super) user: Maybe<User<'a>>,
    pub(super) before: Side<'a>,
    pub(super) after: Side<'a>,
    pub(super) comment: CommentShape<'a>,
    pub(super) custom_field: Maybe<Value<'a>>,
}

impl HistoryItem<'_> {
    /// Whether the change is the first status of a new task: it replaces one that never was.
    pub(super) fn is_first_status(&self) -> bool {
        let none = |value: &Value<'_>| value.kind.is("removed") && value.status.word().is_none();
        self.field.is("status") && matches!(&self.before.0, Read::Object(value) if none(value))
    }

    /// Whether the change is a comment.
    pub(super) fn is_comment(&self) -> bool {
        self.field.is("comment")
    }
}

/// A person; -1 is ClickUp itself.
#[derive(Debug, Default, Clone, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct User<'a> {
    #[serde(borrow)]
    pub(super) id: Text<'a>,
    pub(super) username: Text<'a>,
    pub(super) email: Text<'a>,
    pub(super) name: Text<'a>,
}

impl User<'_> {
    /// A name to show.
    pub(super) fn name(&self) -> Option<&str> {
        [&self.username, &self.name, &self.email].into_iter().find_map(Text::word)
    }
}

/// A value before or after, in as many shapes as there are fields.
#[derive(Debug, Default)]
pub(super) struct Side<'a>(pub(super) Read<'a, Value<'a>>);

impl Side<'_> {
    /// Whether the value is a status that ends a task.
    pub(super) fn is_finished(&self) -> bool {
        matches!(&self.0, Read::Object(value) if value.kind.is("closed") || value.kind.is("done"))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Side<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Read::deserialize(deserializer).map(Self)
    }
}

/// A status, a priority, a tag, a person, a list, a span of time.
#[derive(Debug, Default, Clone, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Value<'a> {
    #[serde(borrow)]
    pub(super) id: Text<'a>,
    pub(super) name: Text<'a>,
    pub(super) status: Text<'a>,
    #[serde(rename = "type")]
    pub(super) kind: Text<'a>,
    pub(super) priority: Text<'a>,
    pub(super) username: Text<'a>,
    pub(super) email: Text<'a>,
    pub(super) time: Text<'a>,
    pub(super) value: Text<'a>,
}

/// A comment: an object, or in older captures the bare array of its blocks.
#[derive(Debug, Default)]
pub(super) struct CommentShape<'a>(pub(super) Read<'a, Comment<'a>>);

impl<'a> CommentShape<'a> {
    /// Who wrote it.
    pub(super) fn author(&self) -> Option<&User<'a>> {
        match &self.0 {
            Read::Object(comment) => comment.user.get(),
            Read::List(_) | Read::Word(_) | Read::Other => None,
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for CommentShape<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Read::deserialize(deserializer).map(Self)
    }
}

/// A comment, or a piece of one: where a comment came as a bare array, its pieces stand in its place.
#[derive(Debug, Default, Clone, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Comment<'a> {
    #[serde(borrow)]
    pub(super) id: Text<'a>,
    pub(super) comment: List<Maybe<Comment<'a>>>,
    pub(super) text_content: Text<'a>,
    pub(super) user: Maybe<User<'a>>,
    // Of a piece.
    pub(super) text: Text<'a>,
    #[serde(rename = "type")]
    pub(super) kind: Text<'a>,
    pub(super) group: Maybe<User<'a>>,
    pub(super) user_group: Maybe<User<'a>>,
    pub(super) attributes: Maybe<Attributes>,
}

/// How a piece looks.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Attributes {
    pub(super) code: Flag,
}
