//! What is known of the policies of an API server: its last full list, and what a watch has told since. Pure.
//!
//! Revisions order what comes by two ways. A list that was asked for after revision 7 was known and stands at 6 is of a store
//! that was restored from a backup: nothing that was known before counts any more, but to the latch. So is one in which a
//! policy went back: a restored store is soon written to again, and may have passed what was known by the first look. One
//! that a watch has overtaken while it was on its way is old, and is not looked at.

use std::collections::BTreeMap;

use nexus_core::stop::Policy;

use super::read::Read;

/// A full list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List {
    /// The revision of the store that it shows; none if that is no number.
    pub revision: Option<u64>,
    /// All policies.
    pub policies: Vec<Read>,
}

/// What a watch tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A policy is there and stands so.
    Stands(Box<Read>),
    /// A policy is gone.
    Gone(Box<Read>),
    /// Nothing has happened up to a revision.
    Quiet(Option<u64>),
}

/// What a list is, beside what is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listed {
    /// It says what is known.
    Same,
    /// It says something else, which no watch has told yet.
    News,
    /// It is of a store that was restored.
    WentBack,
    /// It is older than what a watch has told while it was on its way: it says nothing.
    Overtaken,
}

/// What an event is, beside what is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// It says what is known.
    Same,
    /// It says something else.
    News,
    /// It is older than what is known: the watch is of a store that was restored, or no longer follows.
    WentBack,
}

/// What is known.
#[derive(Debug, Default)]
pub struct Known {
    revision: Option<u64>,
    policies: BTreeMap<String, Read>,
}

impl Known {
    /// The latest revision that is known. To be noted before a list is asked for.
    pub fn revision(&self) -> Option<u64> {
        self.revision
    }

    /// All policies, by name.
    pub fn policies(&self) -> Vec<Policy> {
        self.policies.values().map(|read| read.policy.clone()).collect()
    }

    /// What cannot be read, by name.
    pub fn complaints(&self) -> BTreeMap<String, String> {
        let wrong = self.policies.iter().filter_map(|(name, read)| Some((name, read.complaint.as_ref()?)));
        wrong.map(|(name, complaint)| (name.clone(), complaint.clone())).collect()
    }

    /// Takes in a list that was asked for when `asked` was the latest revision.
    pub fn list(&mut self, asked: Option<u64>, list: List) -> Listed {
        let before = |revision| list.revision.zip(revision).is_some_and(|(list, known)| list < known);
        let listed = match () {
            () if before(asked) => Listed::WentBack,
            () if before(self.revision) => return Listed::Overtaken,
            () if list.policies.iter().any(|read| self.knows_later(read)) => Listed::WentBack,
            () if self.says(&list.policies) => Listed::Same,
            () => Listed::News,
        };
        self.revision = list.revision;
        self.policies = list.policies.into_iter().map(|read| (read.policy.name.clone(), read)).collect();
        listed
    }

    /// Whether a policy was known to have been changed after this.
    fn knows_later(&self, read: &Read) -> bool {
        let known = self.policies.get(&read.policy.name);
        known.and_then(|known| known.revision).zip(read.revision).is_some_and(|(known, read)| read < known)
    }

    fn says(&self, policies: &[Read]) -> bool {
        let same = |read: &Read| {
            self.policies.get(&read.policy.name).is_some_and(|known| known.policy == read.policy)
        };
        policies.len() == self.policies.len() && policies.iter().all(same)
    }

    /// Takes in what a watch tells.
    pub fn hear(&mut self, event: Event) -> Heard {
        let revision = match &event {
            Event::Stands(read) | Event::Gone(read) => read.revision,
            Event::Quiet(revision) => *revision,
        };
        if revision.zip(self.revision).is_some_and(|(told, known)| told < known) {
            return Heard::WentBack;
        }
        self.revision = revision.or(self.revision);
        let changed = match event {
            Event::Stands(read) => {
                let policy = read.policy.clone();
                let before = self.policies.insert(policy.name.clone(), *read);
                before.is_none_or(|before| before.policy != policy)
            }
            Event::Gone(read) => self.policies.remove(&read.policy.name).is_some(),
            Event::Quiet(_) => false,
        };
        if changed { Heard::News } else { Heard::Same }
    }

    /// Forgets all, as there is nothing any more of which there could be a list.
    pub fn forget(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::role::policies::read::read;

    fn policy(name: &str, revision: u64, stop: bool) -> Read {
        let metadata = json!({
            "name": name, "uid": format!("uid-of-{name}"), "generation": 1, "resourceVersion": revision.to_string(),
        });
        read(&json!({"metadata": metadata, "spec": {"stop": stop}}))
    }

    fn list(revision: u64, policies: &[Read]) -> List {
        List { revision: Some(revision), policies: policies.to_vec() }
    }

    fn stands(name: &str, revision: u64, stop: bool) -> Event {
        Event::Stands(Box::new(policy(name, revision, stop)))
    }

    fn stopped(known: &Known) -> Vec<String> {
        known.policies().into_iter().filter(|policy| policy.stop).map(|policy| policy.name).collect()
    }

    /// Two policies at revision 10, neither of which orders a stop.
    fn known() -> Known {
        let mut known = Known::default();
        assert_eq!(known.list(None, list(10, &[policy("a", 4, false), policy("b", 9, false)])), Listed::News);
        known
    }

    #[test]
    fn events_are_merged_into_the_list() {
        let mut known = known();
        assert_eq!(known.hear(stands("a", 11, true)), Heard::News);
        assert_eq!(known.hear(stands("c", 12, true)), Heard::News);
        assert_eq!(stopped(&known), ["a", "c"]);
        assert_eq!(known.policies().len(), 3);
        // A change of its status alone.
        assert_eq!(known.hear(stands("c", 13, true)), Heard::Same);
        assert_eq!(known.hear(Event::Gone(Box::new(policy("a", 14, true)))), Heard::News);
        assert_eq!(known.hear(Event::Gone(Box::new(policy("a", 15, true)))), Heard::Same);
        assert_eq!(known.hear(Event::Quiet(Some(20))), Heard::Same);
        assert_eq!((stopped(&known).join(","), known.revision()), ("c".to_owned(), Some(20)));
        assert_eq!(
            known.list(Some(20), list(20, &[policy("b", 9, false), policy("c", 13, true)])),
            Listed::Same
        );
    }

    #[test]
    fn a_list_that_says_more_than_the_watch_is_news() {
        let mut known = known();
        let after = [policy("a", 11, true), policy("b", 9, false)];
        assert_eq!(known.list(Some(10), list(11, &after)), Listed::News);
        assert_eq!(stopped(&known), ["a"]);
        assert_eq!(known.list(Some(11), list(12, &after)), Listed::Same);
        assert_eq!(known.list(Some(12), list(13, &after[..1])), Listed::News);
    }

    #[test]
    fn a_list_that_the_watch_has_overtaken_says_nothing() {
        let mut known = known();
        let asked = known.revision();
        known.hear(stands("a", 12, true));
        // It was made before the stop: taken, it would undo what was told.
        assert_eq!(
            known.list(asked, list(11, &[policy("a", 4, false), policy("b", 9, false)])),
            Listed::Overtaken
        );
        assert_eq!((stopped(&known), known.revision()), (vec!["a".to_owned()], Some(12)));
    }

    #[test]
    fn a_revision_that_goes_back_is_of_a_restored_store() {
        let mut known = known();
        known.hear(stands("a", 12, true));
        assert_eq!(known.list(Some(12), list(5, &[policy("a", 4, false)])), Listed::WentBack);
        assert_eq!((known.policies().len(), known.revision()), (1, Some(5)));
        // From there on it goes its way.
        assert_eq!(known.hear(stands("a", 6, true)), Heard::News);
        assert_eq!(known.hear(stands("b", 3, false)), Heard::WentBack);
        assert_eq!(known.policies().len(), 1);
    }

    #[test]
    fn so_is_one_that_passed_what_was_known_before_it_was_looked_at() {
        let mut known = known();
        known.hear(stands("a", 12, true));
        assert_eq!(known.list(Some(12), list(40, &[policy("a", 4, false)])), Listed::WentBack);
        assert_eq!((stopped(&known), known.revision()), (vec![], Some(40)));
        assert_eq!(known.list(Some(40), list(41, &[policy("a", 41, true)])), Listed::News);
    }

    #[test]
    fn revisions_that_are_no_numbers_put_nothing_in_order() {
        let mut known = known();
        let strange = List { revision: None, policies: vec![policy("a", 4, true)] };
        assert_eq!(known.list(Some(10), strange), Listed::News);
        let Event::Stands(mut event) = stands("b", 1, true) else { panic!("it is") };
        event.revision = None;
        assert_eq!(known.hear(Event::Stands(event)), Heard::News);
        assert_eq!(stopped(&known), ["a", "b"]);
        known.forget();
        assert!(known.policies().is_empty() && known.revision().is_none());
    }

    #[test]
    fn one_that_cannot_be_read_hides_no_other() {
        let mut known = known();
        let wrong = read(&json!({"metadata": {"name": "w", "uid": "w", "generation": 1}, "spec": 7}));
        known.list(Some(10), list(11, &[policy("a", 11, true), wrong, policy("b", 9, false)]));
        assert_eq!(known.policies().len(), 3);
        assert_eq!(stopped(&known), ["a"]);
        assert_eq!(known.complaints().into_keys().collect::<Vec<_>>(), ["w"]);
    }
}
