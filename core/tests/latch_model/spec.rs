//! What the documents promise of a pod, said of what it has taken in: which stops it holds, and whom they bind.
//!
//! It knows objects, generations and people of [`super::world`] alone, and shares no code with the latch.

use super::history::History;
use super::world::{Name, Object, Person, UIDS, Whom, policy_name};

/// What a pod must know.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Spec {
    /// Whether there was ever an answer. Without one everybody is stopped.
    pub(crate) answered: bool,
    /// What is engaged, by object.
    held: [Option<Held>; UIDS.len()],
    /// Up to which generation each object's stops were released here. It counts for words alone.
    released: [u64; UIDS.len()],
}

/// Whom a stop means.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
struct Whoms {
    everybody: bool,
    ai: bool,
    lab: bool,
}

impl Whoms {
    fn add(&mut self, whom: Whom) {
        match whom {
            Whom::Everybody => *self = Self { everybody: true, ..Self::default() },
            _ if self.everybody => {}
            Whom::Ai => self.ai = true,
            Whom::Lab => self.lab = true,
        }
    }

    fn each(self) -> impl Iterator<Item = Whom> {
        let all = [(self.everybody, Whom::Everybody), (self.ai, Whom::Ai), (self.lab, Whom::Lab)];
        all.into_iter().filter(|(meant, _)| *meant).map(|(_, whom)| whom)
    }

    fn mean(self, person: Person) -> bool {
        self.each().any(|whom| person.is_meant(whom))
    }
}

/// A stop of an object that holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Held {
    /// Everybody that it was ever seen to mean, here or by whoever told of it.
    whom: Whoms,
    /// The latest generation at which it was seen to be ordered: it names the engagement.
    pub(crate) generation: u64,
    /// What stood under `release` when that was ordered, and was not gone since: it names nothing.
    stale: Option<Name>,
    /// Agents that were meant while known: they stay meant.
    bound: u8,
    /// Whether it was seen here, and not told by others alone.
    seen: bool,
}

/// What a message did.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Done {
    pub(crate) engaged: Vec<Name>,
    pub(crate) released: Vec<Name>,
}

impl Held {
    /// Whether the strictest that it ever ordered is the strictest that there is.
    pub(crate) fn is_strict(&self) -> bool {
        self.whom.everybody
    }

    pub(crate) fn covers(&self, person: Person) -> bool {
        self.bound & bit(person) != 0 || self.whom.mean(person)
    }

    /// Whether it holds somebody whom the object does not mean as it stands: its targets were edited, or labels.
    fn exceeds(&self, object: &Object, relabelled: bool) -> bool {
        let means = |whom: Whom| object.whom == Whom::Everybody || object.whom == whom;
        let bound = Person::directory(relabelled).into_iter().filter(|person| self.bound & bit(*person) != 0);
        !self.whom.each().all(means) || bound.into_iter().any(|person| !person.is_meant(object.whom))
    }

    /// What others are told of it. Of a stop of everybody nobody need be named.
    pub(crate) fn told(&self) -> Self {
        Self { bound: if self.whom.everybody { 0 } else { self.bound }, seen: true, ..*self }
    }

    /// Up to which generation an object that orders nothing releases it.
    fn released_by(&mut self, uid: usize, object: &Object) -> Option<u64> {
        if object.stop || policy_name(object.uid) != policy_name(uid) {
            return None;
        }
        if self.stale.is_some() && object.release == self.stale {
            return None;
        }
        // An older sight of the same object shows what was before the stop, not that something is gone since. One of the stop's own
        // generation was edited after a restore.
        if object.uid != uid || object.generation >= self.generation {
            self.stale = None;
        }
        let (named, generation) = object.release?;
        let very = generation == self.generation;
        let passed = object.uid == uid && self.generation < generation && generation < object.generation;
        (named == uid && (very || passed)).then_some(generation)
    }
}

impl Spec {
    pub(crate) fn held(&self) -> impl Iterator<Item = (usize, &Held)> {
        self.held.iter().enumerate().filter_map(|(uid, held)| Some((uid, held.as_ref()?)))
    }

    pub(crate) fn holds(&self, uid: usize) -> Option<&Held> {
        self.held[uid].as_ref()
    }

    pub(crate) fn released_upto(&self, uid: usize) -> u64 {
        self.released[uid]
    }

    pub(crate) fn may_run(&self, person: Person) -> bool {
        self.answered && !self.held().any(|(_, held)| held.covers(person))
    }

    /// A sight of a state: all of it, or what stops alone.
    pub(crate) fn see(&mut self, at: usize, stops_alone: bool, history: &History) -> Done {
        let mut done = Done::default();
        self.answered = true;
        for object in history.states[at].objects() {
            if object.stop {
                self.order(&object, &mut done);
            } else if !stops_alone {
                self.release(&object, &mut done);
            }
        }
        self.bind(history.states[at].relabelled);
        done
    }

    fn order(&mut self, object: &Object, done: &mut Done) {
        let held = self.held[object.uid].get_or_insert_with(|| {
            done.engaged.push(object.name());
            Held { whom: Whoms::default(), generation: 0, stale: None, bound: 0, seen: true }
        });
        held.seen = true;
        held.whom.add(object.whom);
        if object.generation > held.generation {
            held.generation = object.generation;
            held.stale = object.release;
        }
    }

    fn release(&mut self, object: &Object, done: &mut Done) {
        for uid in 0..UIDS.len() {
            let Some(held) = &mut self.held[uid] else { continue };
            if let Some(upto) = held.released_by(uid, object) {
                done.released.push((uid, held.generation));
                self.released[uid] = self.released[uid].max(upto);
                self.held[uid] = None;
            }
        }
    }

    /// A word of somebody who holds this. `look` is the list that was seen last, if that is fresh.
    pub(crate) fn hear(&mut self, uid: usize, word: &Held, look: Option<usize>, history: &History) -> Done {
        let mut done = Done::default();
        self.take(uid, word, look, history, &mut done);
        self.bind(look.is_some_and(|at| history.states[at].relabelled));
        done
    }

    fn take(&mut self, uid: usize, word: &Held, look: Option<usize>, history: &History, done: &mut Done) {
        if word.generation <= self.released[uid] {
            return;
        }
        if let Some(held) = &mut self.held[uid] {
            if word.generation > held.generation {
                held.generation = word.generation;
                held.stale = word.stale.or(held.stale);
            }
            word.whom.each().for_each(|whom| held.whom.add(whom));
            held.bound |= word.bound;
            return;
        }
        let mut objects = look.into_iter().flat_map(|at| history.states[at].objects());
        if let Some(upto) = objects.find_map(|object| word.clone().released_by(uid, &object)) {
            self.released[uid] = upto;
            return;
        }
        done.engaged.push((uid, word.generation));
        self.held[uid] = Some(Held { seen: false, ..*word });
    }

    fn bind(&mut self, relabelled: bool) {
        for held in self.held.iter_mut().flatten() {
            for person in Person::directory(relabelled) {
                if held.covers(person) {
                    held.bound |= bit(person);
                }
            }
        }
    }

    /// What a person must be told of after this list: each stop that holds although the list does not order it, or not of all
    /// whom it holds.
    pub(crate) fn alarms(&self, at: usize, history: &History) -> Vec<Name> {
        let odd = |uid: usize, held: &Held| {
            let mut objects = history.states[at].objects();
            let orders = objects.find(|object| policy_name(object.uid) == policy_name(uid) && object.stop);
            !orders.is_some_and(|object| {
                // A word may be of a gateway with objects of its own, and a later one than this look.
                let now = object.uid == uid && object.generation >= held.generation;
                !held.seen || now && !held.exceeds(&object, history.states[at].relabelled)
            })
        };
        self.held().filter(|(uid, held)| odd(*uid, held)).map(|(uid, held)| (uid, held.generation)).collect()
    }
}

fn bit(person: Person) -> u8 {
    match person {
        Person::Ann | Person::AnnRelabelled => 1,
        Person::Newcomer => 2,
        Person::Eve => 4,
    }
}
