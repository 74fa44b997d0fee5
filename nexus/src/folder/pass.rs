//! One pass over all files: which object each name stands for.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::MAX_DOCUMENTS;
use super::object::{Object, ObjectId, Outcome};
use super::objects::{FilePolicy, Objects};
use super::parsed::{Documents, Parse, Parsed};
use super::problem::{Fault, Notice, Position, Problem, ProblemKind};

/// An object in force and where it was defined.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Held {
    file: PathBuf,
    line: u64,
    object: Arc<Object>,
    /// Whether the last reading missed it; the next one removes it.
    missed: bool,
    /// Stops that other definitions of this policy order.
    orders: Vec<Order>,
}

/// A stop that is ordered by another definition than the one in force.
#[derive(Debug, Clone, PartialEq)]
struct Order {
    file: PathBuf,
    object: Arc<Object>,
    missed: bool,
}

impl Held {
    /// Whether two say the same, wherever they say it.
    pub(super) fn says_the_same(&self, other: &Self) -> bool {
        let orders =
            |held: &Self| -> Vec<_> { held.orders.iter().map(|one| Arc::clone(&one.object)).collect() };
        self.object == other.object && orders(self) == orders(other)
    }

    /// The stop that it orders itself.
    fn order(&self) -> Option<Order> {
        self.object.orders_stop().then(|| Order {
            file: self.file.clone(),
            object: Arc::clone(&self.object),
            missed: self.missed,
        })
    }

    /// Whether anything of it comes from a file.
    fn gave(&self, file: &Path) -> bool {
        self.file == file || self.orders.iter().any(|order| order.file == file)
    }

    /// This object by itself, there or not.
    fn kept(&self, missed: bool) -> Self {
        Self { missed, orders: Vec::new(), ..self.clone() }
    }
}

/// One pass over all files.
pub(super) struct Pass<'a> {
    before: &'a BTreeMap<ObjectId, Held>,
    pub(super) now: BTreeMap<ObjectId, Held>,
    /// Files of which something could not be read.
    broken: BTreeSet<PathBuf>,
    /// Objects whose document is broken, wherever they were defined before.
    unreadable: BTreeSet<ObjectId>,
    /// Objects of which the last good value stands for a document of the same file that is broken.
    kept: BTreeSet<ObjectId>,
    /// Good definitions that are not in force, as another one has their name.
    duplicates: BTreeSet<(ObjectId, PathBuf)>,
    documents: usize,
    pub(super) problems: Vec<Problem>,
    pub(super) notices: Vec<Notice>,
}

impl<'a> Pass<'a> {
    pub(super) fn new(
        before: &'a BTreeMap<ObjectId, Held>,
        problems: Vec<Problem>,
        notices: Vec<Notice>,
    ) -> Self {
        Self {
            before,
            now: BTreeMap::new(),
            broken: BTreeSet::new(),
            unreadable: BTreeSet::new(),
            kept: BTreeSet::new(),
            duplicates: BTreeSet::new(),
            documents: 0,
            problems,
            notices,
        }
    }

    /// Takes in one file. Files come sorted by path.
    pub(super) fn file(&mut self, path: &Path, file: &Parsed) {
        let documents = match &file.documents {
            Documents::Some(documents) => documents,
            Documents::NoText => {
                let (what, remedy) = ("the file is no UTF-8 text", "save it as UTF-8");
                return self.broken(path, ProblemKind::InvalidYaml, what, remedy);
            }
            Documents::Empty if self.before.values().any(|held| held.gave(path)) => {
                let what = "the file holds no document any more";
                let remedy = "delete it to remove what it defined";
                return self.broken(path, ProblemKind::Empty, what, remedy);
            }
            Documents::Empty => return,
        };
        for document in documents {
            self.documents += 1;
            if self.documents > MAX_DOCUMENTS {
                let what = format!("the folder holds more than {MAX_DOCUMENTS} documents");
                let remedy = "take some out; what it defined stays";
                return self.broken(path, ProblemKind::TooLarge, &what, remedy);
            }
            self.document(path, document);
        }
    }

    fn broken(&mut self, file: &Path, kind: ProblemKind, what: &str, remedy: &str) {
        self.broken.insert(file.to_owned());
        let fault = Fault::new(kind, what, remedy);
        self.problems.push(fault.into_problem(file, 0));
    }

    fn document(&mut self, file: &Path, document: &Parse) {
        let faults = match &document.outcome {
            Outcome::Ignored(what) => {
                self.notices.push(Notice {
                    file: file.to_owned(),
                    line: Some(document.line),
                    what: what.clone(),
                });
                return;
            }
            Outcome::Object(id, object, faults) => {
                self.claim(id, file, document.line, object);
                faults
            }
            Outcome::Broken(id, faults) => {
                self.broken.insert(file.to_owned());
                self.keep(id.as_ref(), file);
                faults
            }
        };
        let faults = faults.iter().cloned();
        self.problems.extend(faults.map(|fault| fault.into_problem(file, document.lines)));
    }

    /// Puts an object in force, unless another one has its name already. A stop is in force in any case.
    fn claim(&mut self, id: &ObjectId, file: &Path, line: u64, object: &Arc<Object>) {
        let Some(first) = self.now.get_mut(id) else {
            let held = Held {
                file: file.to_owned(),
                line,
                object: Arc::clone(object),
                missed: false,
                orders: Vec::new(),
            };
            self.now.insert(id.clone(), held);
            return;
        };
        // The last good value that was kept for a broken document may be what this one gave.
        let is_it = first.file == file && (first.line == line || first.object == *object);
        if is_it && self.kept.remove(id) {
            first.line = line;
            first.object = Arc::clone(object);
            return;
        }
        let ObjectId { kind, namespace, name } = id;
        let slash = if namespace.is_empty() { "" } else { "/" };
        let what = format!(
            "{} {namespace}{slash}{name} is defined in {}:{} already, which stays in force",
            kind.name(),
            first.file.display(),
            first.line
        );
        let mut remedy = "take one of them out or rename it".to_owned();
        if object.orders_stop() {
            remedy += " (the stop that this one orders is in force nevertheless)";
            first.orders.push(Order { file: file.to_owned(), object: Arc::clone(object), missed: false });
        }
        self.duplicates.insert((id.clone(), file.to_owned()));
        self.problems.push(Problem {
            kind: ProblemKind::DuplicateObject,
            file: file.to_owned(),
            at: Some(Position { line, column: 1 }),
            path: "metadata.name".to_owned(),
            what,
            remedy,
        });
    }

    /// Keeps the last good value of an object whose document is broken: at once if this file gave it, so that
    /// no later file takes its place; else at the end, if no other file gives it now.
    fn keep(&mut self, id: Option<&ObjectId>, file: &Path) {
        let Some(id) = id else { return };
        match self.before.get(id).filter(|held| held.file == file) {
            Some(held) if !self.now.contains_key(id) => {
                self.now.insert(id.clone(), held.kept(false));
                self.kept.insert(id.clone());
            }
            _ => drop(self.unreadable.insert(id.clone())),
        }
    }

    /// What was given before and nobody gives now is removed if the reading before missed it too. A file that
    /// could not be read whole removes nothing.
    pub(super) fn finish(&mut self, unread: &[PathBuf]) {
        let before = self.before;
        for (id, was) in before {
            let stays = self.unreadable.contains(id) || self.is_uncertain(&was.file, unread);
            if !self.now.contains_key(id) && (stays || !was.missed) {
                self.now.insert(id.clone(), was.kept(!stays));
            }
            for order in was.orders.iter().chain(was.order().as_ref()) {
                self.keep_order(id, was, order, unread);
            }
        }
    }

    /// The same for a stop, if another definition than the one that ordered it is in force now.
    fn keep_order(&mut self, id: &ObjectId, was: &Held, order: &Order, unread: &[PathBuf]) {
        let stays = self.is_uncertain(&order.file, unread);
        let is_given = self.duplicates.contains(&(id.clone(), order.file.clone()));
        let Some(is) = self.now.get_mut(id) else { return };
        let is_own = is.file == was.file && order.file == was.file && Arc::ptr_eq(&order.object, &was.object);
        let moved_up = is.file == order.file && was.file != order.file;
        let is_there = is.object.orders_stop() || is.orders.iter().any(|one| one.file == order.file);
        if !(is_own || is_given || moved_up || is_there) && (stays || !order.missed) {
            is.orders.push(Order { missed: !stays, ..order.clone() });
        }
    }

    /// Whether it cannot be said what a file holds now.
    fn is_uncertain(&self, file: &Path, unread: &[PathBuf]) -> bool {
        self.broken.contains(file) || unread.iter().any(|path| file.starts_with(path))
    }
}

/// The objects in force.
pub(super) fn objects(held: &BTreeMap<ObjectId, Held>) -> Objects {
    let mut objects = Objects::default();
    for (id, held) in held {
        match &*held.object {
            Object::Tenant(tenant) => objects.tenants.push((**tenant).clone()),
            Object::AgentProfile(profile) => objects.profiles.push((**profile).clone()),
            Object::Mapping(mapping) => objects.mappings.push((**mapping).clone()),
            Object::NexusPolicy(policy) => {
                let mut given = FilePolicy { file: held.file.clone(), policy: (**policy).clone() };
                for order in &held.orders {
                    if let Object::NexusPolicy(policy) = &*order.object {
                        given.also_stop(&order.file, &policy.spec);
                    }
                }
                objects.policies.push(given);
            }
            Object::Secret(data) => {
                let of_namespace = objects.secrets.entry(id.namespace.clone()).or_default();
                of_namespace.insert(id.name.clone(), data.clone());
            }
        }
    }
    objects
}
