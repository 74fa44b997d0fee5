//! The parts of Slack's bodies that an event is made of.

use serde::{Deserialize, Deserializer};

use crate::normalize::lenient::{Flag, List, Maybe, Read, Text};

/// The outermost object.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Envelope<'a> {
    #[serde(borrow, rename = "type")]
    pub(super) kind: Text<'a>,
    pub(super) challenge: Text<'a>,
    pub(super) team_id: Text<'a>,
    pub(super) context_team_id: Text<'a>,
    pub(super) event_id: Text<'a>,
    /// Seconds since 1970; microseconds in some samples.
    pub(super) event_time: Text<'a>,
    pub(super) authorizations: List<Maybe<Authorization<'a>>>,
    pub(super) minute_rate_limited: Text<'a>,
    pub(super) event: Maybe<Event<'a>>,
}

/// An installation that may see the event.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Authorization<'a> {
    #[serde(borrow)]
    pub(super) user_id: Text<'a>,
    pub(super) is_bot: Flag,
}

/// An event; a message and a message within an event have the same fields.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Event<'a> {
    #[serde(borrow, rename = "type")]
    pub(super) kind: Text<'a>,
    pub(super) subtype: Text<'a>,
    pub(super) user: Named<'a>,
    pub(super) username: Text<'a>,
    pub(super) bot_id: Text<'a>,
    pub(super) app_id: Text<'a>,
    pub(super) bot_profile: Maybe<BotProfile<'a>>,
    pub(super) channel: Named<'a>,
    pub(super) name: Text<'a>,
    pub(super) ts: Text<'a>,
    pub(super) thread_ts: Text<'a>,
    pub(super) event_ts: Text<'a>,
    pub(super) deleted_ts: Text<'a>,
    pub(super) edited: Maybe<Edited<'a>>,
    pub(super) text: Text<'a>,
    pub(super) topic: Text<'a>,
    pub(super) purpose: Text<'a>,
    pub(super) blocks: List<Maybe<Block<'a>>>,
    pub(super) attachments: List<Maybe<Attachment<'a>>>,
    pub(super) files: List<Maybe<File<'a>>>,
    pub(super) message: Maybe<Event<'a>>,
    pub(super) previous_message: Maybe<Event<'a>>,
    pub(super) item: Maybe<Item<'a>>,
    pub(super) reaction: Text<'a>,
}

/// What is known of a bot.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct BotProfile<'a> {
    #[serde(borrow)]
    pub(super) id: Text<'a>,
    pub(super) name: Text<'a>,
}

/// Who edited a message, and when.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Edited<'a> {
    #[serde(borrow)]
    pub(super) user: Text<'a>,
    pub(super) ts: Text<'a>,
}

/// What a reaction is on.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Item<'a> {
    #[serde(borrow)]
    pub(super) channel: Named<'a>,
    pub(super) ts: Text<'a>,
    pub(super) file: Named<'a>,
}

/// A file that hangs on a message.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct File<'a> {
    #[serde(borrow)]
    pub(super) title: Text<'a>,
    pub(super) name: Text<'a>,
    pub(super) permalink: Text<'a>,
    pub(super) url_private: Text<'a>,
}

/// An attachment: a share, an alert, an unfurled link.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Attachment<'a> {
    #[serde(borrow)]
    pub(super) pretext: Text<'a>,
    pub(super) title: Text<'a>,
    pub(super) text: Text<'a>,
    pub(super) fallback: Text<'a>,
    pub(super) fields: List<Maybe<Field<'a>>>,
    pub(super) blocks: List<Maybe<Block<'a>>>,
}

/// A pair in an attachment.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Field<'a> {
    #[serde(borrow)]
    pub(super) title: Text<'a>,
    pub(super) value: Text<'a>,
}

/// A block of a message, or an element of one: both nest, and share their field names.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Block<'a> {
    #[serde(borrow, rename = "type")]
    pub(super) kind: Text<'a>,
    /// An object in blocks, a string in elements.
    pub(super) text: Read<'a, BlockText<'a>>,
    pub(super) title: Read<'a, BlockText<'a>>,
    pub(super) fields: List<Maybe<BlockText<'a>>>,
    pub(super) elements: List<Maybe<Block<'a>>>,
    pub(super) user_id: Text<'a>,
    pub(super) usergroup_id: Text<'a>,
    pub(super) channel_id: Text<'a>,
    pub(super) range: Text<'a>,
    pub(super) url: Text<'a>,
    pub(super) name: Text<'a>,
    pub(super) style: Maybe<Style>,
}

/// A text object.
#[derive(Debug, Default, PartialEq, Eq, Clone, Deserialize)]
#[serde(default)]
pub(super) struct BlockText<'a> {
    #[serde(borrow, rename = "type")]
    pub(super) kind: Text<'a>,
    pub(super) text: Text<'a>,
}

/// How an element looks.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Style {
    pub(super) code: Flag,
}

/// Something that comes as its id or as an object with it.
#[derive(Debug, Default)]
pub(super) struct Named<'a>(Read<'a, IdAndName<'a>>);

#[derive(Debug, Default, PartialEq, Eq, Clone, Deserialize)]
#[serde(default)]
struct IdAndName<'a> {
    #[serde(borrow)]
    id: Text<'a>,
    name: Text<'a>,
}

impl Named<'_> {
    /// The id.
    pub(super) fn id(&self) -> Option<&str> {
        match &self.0 {
            Read::Word(id) => Some(&**id).filter(|id| !id.is_empty() && id.len() <= 255),
            Read::Object(object) => object.id.word(),
            Read::List(_) | Read::Other => None,
        }
    }

    /// The name, where it came as an object.
    pub(super) fn name(&self) -> Option<&str> {
        match &self.0 {
            Read::Object(object) => object.name.word(),
            Read::Word(_) | Read::List(_) | Read::Other => None,
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Named<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Read::deserialize(deserializer).map(Self)
    }
}
