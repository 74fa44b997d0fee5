//! The change key: what happened, whatever hook or event name told of it.
//!
//! It is kept apart from the delivery key, which only tells one sending of an event from another. A
//! delivery key drops a repeated delivery at the door; a change key lets routing hand an agent one event
//! per change when a provider tells of one change in several.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::kind::Rank;

/// The changes that an event tells of.
///
/// An event is *coalesced* for an inbox when every one of [`ChangeKey::keys`] was already handed to it by an
/// event of at least the same [`Rank`]. An event that is handed claims its `keys` and its `covers`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChangeKey {
    /// The changes that the event tells of; never empty.
    pub keys: Vec<String>,
    /// Further changes that are told with it: the first status of a task that was just created.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub covers: Vec<String>,
    /// How much the event says of them.
    pub rank: Rank,
}

impl ChangeKey {
    /// One change that only this event tells of.
    #[must_use]
    pub fn single(key: impl Into<String>, rank: Rank) -> Self {
        Self { keys: vec![key.into()], covers: Vec::new(), rank }
    }

    /// Whether the event may be left out for an inbox, given the rank under which each key was claimed there.
    pub fn coalesced<'k>(&'k self, claimed: impl Fn(&'k str) -> Option<Rank>) -> bool {
        self.keys.iter().all(|key| claimed(key).is_some_and(|rank| rank >= self.rank))
    }

    /// Every key that handing the event claims.
    pub fn claims(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().chain(&self.covers).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Hands events to one inbox in order and says which arrive.
    fn handed(events: &[&ChangeKey]) -> Vec<bool> {
        let mut claimed = BTreeMap::<String, Rank>::new();
        let mut out = Vec::new();
        for event in events {
            let skip = event.coalesced(|key| claimed.get(key).copied());
            if !skip {
                for key in event.claims() {
                    let rank = claimed.entry(key.to_owned()).or_insert(event.rank);
                    *rank = (*rank).max(event.rank);
                }
            }
            out.push(!skip);
        }
        out
    }

    #[test]
    fn a_creation_is_never_swallowed_and_swallows_its_twins() {
        let created = ChangeKey {
            keys: vec!["task:1:created".into()],
            covers: vec!["history:7".into()],
            rank: Rank::Birth,
        };
        let status = ChangeKey::single("history:7", Rank::Update);
        assert_eq!(handed(&[&created, &status]), [true, false]);
        assert_eq!(handed(&[&status, &created]), [true, true]);
        assert_eq!(handed(&[&created, &created]), [true, false]);
    }

    #[test]
    fn an_event_of_several_changes_is_left_out_only_when_all_are_known() {
        let both = ChangeKey { keys: vec!["a".into(), "b".into()], covers: vec![], rank: Rank::Update };
        let one = ChangeKey::single("a", Rank::Update);
        assert_eq!(handed(&[&one, &both]), [true, true]);
        assert_eq!(handed(&[&both, &one]), [true, false]);
    }

    #[test]
    fn the_fuller_event_of_a_change_is_handed_even_when_it_comes_last() {
        let edit = ChangeKey::single("c#hash", Rank::Update);
        let comment = ChangeKey::single("c#hash", Rank::Birth);
        assert_eq!(handed(&[&edit, &comment, &edit]), [true, true, false]);
    }
}
