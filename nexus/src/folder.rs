//! A folder of custom resources and Secrets, read as an API server would take them.
//!
//! It refuses to guess and to forget: what is wrong is named with file, line, column, field and remedy, and
//! the last good value of the object stays in force. It never writes to the folder.
//!
//! The flow, in five lines:
//! 1. [`listing`] reads the files, sorted and bounded;
//! 2. `document` tells a file's documents apart, `tree` parses each, `typed` and `object` give it a type;
//! 3. [`Folder::take`] holds what is good and, where a file is broken, what it gave before;
//! 4. [`Objects::by_tenant`] is what `compile` takes;
//! 5. [`policies`] gives the NexusPolicies what an API server would: uid, generation, and the patches of
//!    `nexus stop` and `nexus release`.

mod document;
pub mod listing;
mod object;
mod objects;
pub mod policies;
pub mod problem;
mod tree;
mod typed;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use listing::{FileContent, Listing};
use object::{Object, ObjectId, Outcome};
pub use objects::{FilePolicy, Objects};
pub use policies::PolicyStore;
pub use problem::{Notice, Position, Problem, ProblemKind};

/// The most documents that are read.
const MAX_DOCUMENTS: usize = 10_000;

/// What one reading of the folder gave.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reading {
    /// The objects in force: good ones, and the last good values of broken ones.
    pub objects: Objects,
    /// What must be mended.
    pub problems: Vec<Problem>,
    /// What is not read and need not be mended.
    pub notices: Vec<Notice>,
    /// Whether anything above differs from the reading before. True the first time.
    pub changed: bool,
}

/// An object in force and where it was defined.
#[derive(Debug, Clone)]
struct Held {
    file: PathBuf,
    line: u64,
    object: Object,
}

/// A folder and the last good value of each of its objects.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    except: Option<PathBuf>,
    held: BTreeMap<ObjectId, Held>,
    /// What the last reading told besides its objects; none before the first.
    told: Option<(Vec<Problem>, Vec<Notice>)>,
}

impl Folder {
    /// A folder that has not been read yet.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            except: None,
            held: BTreeMap::new(),
            told: None,
        }
    }

    /// Leaves a folder below out, such as the one where state is kept.
    #[must_use]
    pub fn without(self, path: &Path) -> Self {
        Self {
            except: path.canonicalize().ok(),
            ..self
        }
    }

    /// Reads the folder.
    pub fn read(&mut self) -> Reading {
        let listing = listing::list(&self.path, self.except.as_deref());
        self.take(listing)
    }

    /// Takes in what the folder holds. Does no I/O.
    pub fn take(&mut self, listing: Listing) -> Reading {
        let before = std::mem::take(&mut self.held);
        let mut pass = Pass::new(&before, listing.problems, listing.notices);
        for file in &listing.files {
            pass.file(file);
        }
        pass.keep_unread(&listing.unread);
        let Pass {
            now,
            problems,
            notices,
            ..
        } = pass;
        let same = before.len() == now.len()
            && before
                .iter()
                .zip(&now)
                .all(|((a, was), (b, is))| a == b && was.object == is.object);
        let told = Some((problems.clone(), notices.clone()));
        let changed = !same || self.told != told;
        let reading = Reading {
            objects: objects(&now),
            problems,
            notices,
            changed,
        };
        (self.held, self.told) = (now, told);
        reading
    }
}

/// One pass over all files.
struct Pass<'a> {
    before: &'a BTreeMap<ObjectId, Held>,
    now: BTreeMap<ObjectId, Held>,
    /// Files of which something could not be read.
    broken: Vec<PathBuf>,
    /// Objects whose document is broken, wherever they were defined before.
    unreadable: Vec<ObjectId>,
    documents: usize,
    problems: Vec<Problem>,
    notices: Vec<Notice>,
}

impl<'a> Pass<'a> {
    fn new(before: &'a BTreeMap<ObjectId, Held>, problems: Vec<Problem>, notices: Vec<Notice>) -> Self {
        let (now, broken, unreadable) = (BTreeMap::new(), Vec::new(), Vec::new());
        Self {
            before,
            now,
            broken,
            unreadable,
            documents: 0,
            problems,
            notices,
        }
    }

    fn file(&mut self, file: &FileContent) {
        let path = &file.path;
        let Ok(text) = std::str::from_utf8(&file.bytes) else {
            return self.broken(
                path,
                ProblemKind::InvalidYaml,
                "the file is no UTF-8 text",
                "save it as UTF-8",
            );
        };
        let documents: Vec<_> = if path.extension().is_some_and(|extension| extension == "json") {
            vec![document::Document { lines: 0, text }]
        } else {
            document::split(text).collect()
        };
        // An editor may empty a file just before it writes it.
        if documents.is_empty() || text.trim().is_empty() {
            if self.before.values().any(|held| held.file == *path) {
                let what = "the file holds no document any more";
                self.broken(
                    path,
                    ProblemKind::Empty,
                    what,
                    "delete it to remove what it defined",
                );
            }
            return;
        }
        for document in documents {
            self.documents += 1;
            if self.documents > MAX_DOCUMENTS {
                let what = format!("the folder holds more than {MAX_DOCUMENTS} documents");
                return self.broken(
                    path,
                    ProblemKind::TooLarge,
                    &what,
                    "take some out; what it defined stays",
                );
            }
            self.document(path, document);
        }
    }

    fn broken(&mut self, file: &Path, kind: ProblemKind, what: &str, remedy: &str) {
        self.broken.push(file.to_owned());
        let fault = problem::Fault::new(kind, what, remedy);
        self.problems.push(fault.into_problem(file, 0));
    }

    fn document(&mut self, file: &Path, document: document::Document<'_>) {
        let (outcome, line) = match tree::parse(document.text) {
            Ok(tree) => (object::read(&tree), tree.at.line + document.lines),
            Err(fault) => (Outcome::Broken(None, vec![fault]), document.lines + 1),
        };
        let faults = match outcome {
            Outcome::Ignored(what) => {
                self.notices.push(Notice {
                    file: file.to_owned(),
                    line: Some(line),
                    what,
                });
                return;
            }
            Outcome::Object(id, object, faults) => {
                self.claim(
                    id,
                    Held {
                        file: file.to_owned(),
                        line,
                        object,
                    },
                );
                faults
            }
            Outcome::Broken(id, faults) => {
                self.broken.push(file.to_owned());
                self.keep(id, file);
                faults
            }
        };
        let faults = faults
            .into_iter()
            .map(|fault| fault.into_problem(file, document.lines));
        self.problems.extend(faults);
    }

    /// Puts an object in force, unless another one has its name already.
    fn claim(&mut self, id: ObjectId, held: Held) {
        let Some(first) = self.now.get(&id) else {
            self.now.insert(id, held);
            return;
        };
        let ObjectId {
            kind,
            namespace,
            name,
        } = &id;
        let slash = if namespace.is_empty() { "" } else { "/" };
        let what = format!(
            "{} {namespace}{slash}{name} is defined in {}:{} already, which stays in force",
            kind.name(),
            first.file.display(),
            first.line
        );
        self.problems.push(Problem {
            kind: ProblemKind::DuplicateObject,
            file: held.file,
            at: Some(Position {
                line: held.line,
                column: 1,
            }),
            path: "metadata.name".to_owned(),
            what,
            remedy: "take one of them out or rename it".to_owned(),
        });
    }

    /// Keeps the last good value of an object whose document is broken: at once if this file gave it, so that
    /// no later file takes its place; else at the end, if no other file gives it now.
    fn keep(&mut self, id: Option<ObjectId>, file: &Path) {
        let Some(id) = id else { return };
        match self.before.get(&id).filter(|held| held.file == file) {
            Some(held) if !self.now.contains_key(&id) => drop(self.now.insert(id, held.clone())),
            _ => self.unreadable.push(id),
        }
    }

    /// A file that could not be read whole removes nothing: what it gave before and nobody gives now stays.
    fn keep_unread(&mut self, unread: &[PathBuf]) {
        for (id, held) in self.before {
            let stays = self.broken.contains(&held.file)
                || self.unreadable.contains(id)
                || unread.iter().any(|path| held.file.starts_with(path));
            if stays {
                self.now.entry(id.clone()).or_insert_with(|| held.clone());
            }
        }
    }
}

fn objects(held: &BTreeMap<ObjectId, Held>) -> Objects {
    let mut objects = Objects::default();
    for (id, Held { file, object, .. }) in held {
        match object {
            Object::Tenant(tenant) => objects.tenants.push((**tenant).clone()),
            Object::AgentProfile(profile) => objects.profiles.push((**profile).clone()),
            Object::NexusPolicy(policy) => {
                objects.policies.push(FilePolicy {
                    file: file.clone(),
                    policy: (**policy).clone(),
                });
            }
            Object::Secret(data) => {
                let of_namespace = objects.secrets.entry(id.namespace.clone()).or_default();
                of_namespace.insert(id.name.clone(), data.clone());
            }
        }
    }
    objects
}

#[cfg(test)]
#[path = "folder/tests.rs"]
mod tests;
