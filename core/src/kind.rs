//! The kinds of StandardEvent. On the wire a kind is the CloudEvents type `dev.nexus.<kind>.v1`.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A text that names no kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no event kind")]
pub struct UnknownKind(pub String);

/// How much a kind says of the change it tells of. Of several events of one change an agent is handed the
/// first, and another one only if it says more: so a task's creation is never swallowed by its status event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Rank {
    /// Something changed.
    Update,
    /// Something came to be.
    Birth,
}

macro_rules! kinds {
    ($($(#[doc = $doc:literal])* $name:ident $rank:ident,)*) => {
        /// What happened, in words that are the same for every provider.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        pub enum Kind {
            $($(#[doc = $doc])* $name,)*
        }

        impl Kind {
            /// Every kind, in the order of their declaration.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The kind's name, as subscriptions spell it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }

            /// The CloudEvents `type` attribute.
            #[must_use]
            pub const fn event_type(self) -> &'static str {
                match self { $(Self::$name => concat!("dev.nexus.", stringify!($name), ".v1"),)* }
            }

            /// What the kind means, in a sentence.
            #[must_use]
            pub const fn description(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc,)*).trim_ascii(),)* }
            }

            /// How much this kind says of its change.
            #[must_use]
            pub const fn rank(self) -> Rank {
                match self { $(Self::$name => Rank::$rank,)* }
            }
        }
    };
}

kinds! {
    /// A task or an issue was created.
    NewWorkItem Birth,
    /// A task or an issue changed: title, text, state, people, labels, dates, place.
    WorkItemUpdated Update,
    /// A task or an issue was finished.
    WorkItemClosed Update,
    /// A finished task or issue is open again.
    WorkItemReopened Update,
    /// A task or an issue was deleted or moved out of sight.
    WorkItemDeleted Update,
    /// A comment on a work item, a change or a discussion.
    NewComment Birth,
    /// A comment's text changed.
    CommentEdited Update,
    /// A comment was deleted.
    CommentDeleted Update,
    /// A chat message, also a reply in a thread.
    NewMessage Birth,
    /// A chat message's text changed.
    MessageEdited Update,
    /// A chat message was deleted.
    MessageDeleted Update,
    /// Somebody put a reaction on a message.
    ReactionAdded Birth,
    /// Somebody took a reaction back.
    ReactionRemoved Update,
    /// A review of a change was asked for.
    ReviewRequested Birth,
    /// A review of a change was given.
    ReviewSubmitted Birth,
    /// A review or its threads changed: edited, dismissed, resolved.
    ReviewUpdated Update,
    /// A pull request was opened.
    ChangeProposed Birth,
    /// A pull request changed: commits, title, people, labels, state.
    ChangeUpdated Update,
    /// A pull request was closed without being merged.
    ChangeClosed Update,
    /// A pull request was merged.
    ChangeMerged Birth,
    /// Commits were pushed.
    CodePushed Birth,
    /// A branch or a tag was created.
    RefCreated Birth,
    /// A branch or a tag was deleted.
    RefDeleted Update,
    /// A build, check or deployment was queued or goes on.
    BuildStarted Update,
    /// A build, check or deployment ended; its conclusion says how.
    BuildFinished Birth,
    /// A release was published.
    ReleasePublished Birth,
    /// A release changed in another way.
    ReleaseUpdated Update,
    /// A discussion was started.
    DiscussionOpened Birth,
    /// A discussion changed: answered, labelled, moved.
    DiscussionUpdated Update,
    /// A discussion was closed or deleted.
    DiscussionClosed Update,
    /// A list, folder, space, goal, channel or repository changed.
    ProjectUpdated Update,
    /// People joined or left, or their rights changed.
    MembershipChanged Update,
    /// A provider greeted the hook: GitHub's `ping`.
    SourceConnected Update,
    /// A provider says that it holds events back.
    SourceLimited Update,
    /// An event that Nexus does not know; kept and replayable.
    Unclassified Update,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.iter().copied().find(|kind| kind.name() == text).ok_or_else(|| UnknownKind(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for kind in Kind::ALL {
            assert_eq!(kind.name().parse::<Kind>().unwrap(), *kind);
            assert_eq!(kind.event_type(), format!("dev.nexus.{kind}.v1"));
        }
        assert!("newworkitem".parse::<Kind>().is_err());
    }
}
