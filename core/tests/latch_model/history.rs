//! What people do to the policies, and what is true because of it.

use std::collections::BTreeSet;

use nexus_core::stop::Policy;

use super::world::{Name, OTHER, Object, State, Whom};

/// What somebody does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Edit {
    /// Orders a stop, renews it, or changes whom it means.
    Stop(Whom),
    /// Takes `stop` back, and releases what is engaged by its name.
    Release,
    /// Takes `stop` back, and releases nothing.
    Withdraw,
    /// Takes `stop` back, and names the generation before the engagement's.
    Misname,
    /// Writes the name of this generation (0) or of one to come into `release`, and leaves `stop`.
    Arm(u64),
    /// Empties `release`.
    TakeOut,
    Delete,
    /// Makes the object anew: without anything; with `release` as it was; or with `stop`.
    Create(Manifest),
    /// Puts back what stood at an earlier moment.
    Restore(usize),
    /// Names the engagement in the policy of another name.
    ReleaseElsewhere,
    /// Orders a stop of the tenant by the policy of another name.
    StopElsewhere,
    /// Changes Ann's labels.
    Relabel,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manifest {
    Empty,
    Armed,
    Stopping,
}

/// A history, and what is true of it because of what people did, not of what a latch would make of it.
#[derive(Debug, Clone)]
pub(crate) struct History {
    pub(crate) edits: Vec<Edit>,
    /// The different states that it went through.
    pub(crate) states: Vec<State>,
    /// The full lists of these states.
    pub(crate) lists: Vec<Vec<Policy>>,
    /// Which of them is the last.
    pub(crate) last: usize,
    /// All stops that were ordered.
    pub(crate) orders: BTreeSet<Name>,
    /// What is engaged and not released: the latest order of each object.
    engaged: Vec<Name>,
    /// What was named by a `release` that somebody wrote while it was engaged.
    pub(crate) named: BTreeSet<Name>,
    objects: usize,
    /// The `release` of the object that stood last.
    manifest: Option<Name>,
}

impl History {
    /// One object that orders nothing yet.
    pub(crate) fn new() -> Self {
        let state = State { object: Some(Object::new(0)), other: None, relabelled: false };
        let mut history = Self {
            edits: Vec::new(),
            states: Vec::new(),
            lists: Vec::new(),
            last: 0,
            orders: BTreeSet::new(),
            engaged: Vec::new(),
            named: BTreeSet::new(),
            objects: 1,
            manifest: None,
        };
        history.stand(state);
        history
    }

    /// All histories of up to so many of these edits.
    pub(crate) fn all(edits: &[Edit], most: usize) -> Vec<Self> {
        let mut all = vec![Self::new()];
        let mut from = 0;
        for _ in 0..most {
            let grown: Vec<_> = all[from..]
                .iter()
                .flat_map(|history| edits.iter().filter_map(|edit| history.then(*edit)))
                .collect();
            from = all.len();
            all.extend(grown);
        }
        all
    }

    /// Whether nobody wrote a name before it was engaged.
    pub(crate) fn is_unarmed(&self) -> bool {
        !self.edits.iter().any(|edit| matches!(edit, Edit::Arm(_)))
    }

    /// Whether the last edit releases all that was ever ordered, by a name that every pod must take, whatever it missed.
    pub(crate) fn ends_released(&self) -> bool {
        let odd = |edit: &Edit| matches!(edit, Edit::Arm(_) | Edit::Restore(_));
        let Some(object) = self.states[self.last].object else { return false };
        let Some(name) = object.release.filter(|_| self.edits.last() == Some(&Edit::Release)) else {
            return false;
        };
        let of_it = |order: &Name| if object.uid == name.0 { order.0 == name.0 } else { *order == name };
        self.engaged.is_empty() && !self.edits.iter().any(odd) && self.orders.iter().all(of_it)
    }

    /// This history and another edit, unless that does nothing.
    fn then(&self, edit: Edit) -> Option<Self> {
        let mut next = self.clone();
        let mut state = self.states[self.last];
        match edit {
            Edit::Restore(at) => state.object = Some(self.states.get(at)?.object?),
            Edit::Delete => state.object = None,
            Edit::Create(manifest) => state.object = Some(next.create(manifest)?),
            Edit::Relabel => state.relabelled = true,
            Edit::ReleaseElsewhere => {
                let release = Some(*self.engaged.last()?);
                state.other.get_or_insert(Object { release, ..Object::new(OTHER) });
            }
            Edit::StopElsewhere => {
                state.other.get_or_insert(Object { stop: true, whom: Whom::Lab, ..Object::new(OTHER) });
            }
            Edit::Stop(_) | Edit::Release | Edit::Withdraw | Edit::Misname | Edit::Arm(_) | Edit::TakeOut => {
                state.object = Some(next.edit(state.object?, edit)?);
            }
        }
        if state == self.states[self.last] {
            return None;
        }
        next.edits.push(edit);
        next.stand(state);
        Some(next)
    }

    /// The object after a change of its spec.
    fn edit(&mut self, object: Object, edit: Edit) -> Option<Object> {
        let mut edited = Object { generation: object.generation + 1, ..object };
        match edit {
            Edit::Stop(whom) => {
                edited.stop = true;
                edited.whom = whom;
            }
            Edit::Release => {
                let own = self.engaged.iter().position(|name| name.0 == object.uid);
                let name = self.engaged.remove(own.or(self.engaged.len().checked_sub(1))?);
                edited.stop = false;
                edited.release = Some(name);
            }
            Edit::Withdraw if object.stop => edited.stop = false,
            Edit::Misname => {
                let engaged = self.engaged.iter().find(|name| name.0 == object.uid)?;
                edited.stop = false;
                edited.release = Some((object.uid, engaged.1 - 1));
            }
            Edit::Arm(ahead) => edited.release = Some((object.uid, edited.generation + ahead)),
            Edit::TakeOut if object.release.is_some() => edited.release = None,
            _ => return None,
        }
        Some(edited)
    }

    fn create(&mut self, manifest: Manifest) -> Option<Object> {
        let object = Object::new(self.objects);
        self.objects += 1;
        if object.uid == OTHER {
            return None;
        }
        match manifest {
            Manifest::Empty => Some(object),
            Manifest::Armed => Some(Object { release: Some(self.manifest?), ..object }),
            Manifest::Stopping => Some(Object { stop: true, ..object }),
        }
    }

    /// So it stands now.
    fn stand(&mut self, state: State) {
        if let Some(object) = state.object {
            self.manifest = object.release;
        }
        for object in state.objects() {
            if object.stop {
                self.orders.insert(object.name());
                self.engage(object.name());
            } else if let Some((uid, upto)) = object.release {
                self.named.extend((1..=upto).map(|generation| (uid, generation)));
            }
        }
        self.last = self.states.iter().position(|known| *known == state).unwrap_or_else(|| {
            self.states.push(state);
            self.lists.push(state.objects().map(|object| object.policy()).collect());
            self.states.len() - 1
        });
    }

    fn engage(&mut self, order: Name) {
        match self.engaged.iter_mut().find(|name| name.0 == order.0) {
            Some(name) => name.1 = name.1.max(order.1),
            None => self.engaged.push(order),
        }
    }
}
