//! A folder of custom resources and Secrets, read as an API server would take them.
//!
//! It refuses to guess and to forget: what is wrong is named with file, line, column, field and remedy, and
//! the last good value of the object stays in force. It never writes to the folder.
//!
//! What is added or changed counts at once, and so does a stop. What is missing, a file or a document of one,
//! is removed only when the next reading misses it too: editors rename files when they save them, and a file
//! that is half written may end where a document does. Read it at least twice a second.
//!
//! The flow, in five lines:
//! 1. [`listing`] reads the files that may have changed, sorted and bounded;
//! 2. `parsed` keeps each file's documents: `document` tells them apart, `tree` parses, `typed` and `object`
//!    give them a type;
//! 3. [`Folder::take`] puts in force what is good (`pass`) and, where a file is broken, what it gave before;
//! 4. [`Objects::by_tenant`] is what `compile` takes;
//! 5. [`policies`] gives the NexusPolicies what an API server would: uid, generation, and the patches of
//!    `nexus stop` and `nexus release`.

mod document;
pub mod listing;
mod object;
mod objects;
mod parsed;
mod pass;
pub mod policies;
pub mod problem;
mod stamp;
mod tree;
mod typed;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use listing::{Content, Listing};
use nexus_core::clock::Clock;
use object::ObjectId;
pub use objects::{FilePolicy, Objects};
use parsed::Parsed;
use pass::{Held, Pass};
pub use policies::{PolicyError, PolicyStore};
pub use problem::{Notice, Problem};
use stamp::Stamps;

/// The most documents that are read.
const MAX_DOCUMENTS: usize = 100_000;

/// What one reading of the folder gave.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reading {
    /// The objects in force: good ones, and the last good values of broken ones. Two readings share them while
    /// nothing changes.
    pub objects: Arc<Objects>,
    /// What must be mended.
    pub problems: Vec<Problem>,
    /// What is not read and need not be mended.
    pub notices: Vec<Notice>,
    /// Whether anything above differs from the reading before. True the first time.
    pub changed: bool,
}

/// A folder and the last good value of each of its objects.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    except: Option<PathBuf>,
    clock: Clock,
    stamps: Stamps,
    parsed: BTreeMap<PathBuf, Arc<Parsed>>,
    held: BTreeMap<ObjectId, Held>,
    /// Whether the last pass left `held` as it was, so that another one over the same files gives the same.
    settled: bool,
    /// The last listing without its files, and what it gave; none before the first.
    last: Option<(Listing, Reading)>,
}

impl Folder {
    /// A folder that has not been read yet.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            except: None,
            clock: nexus_runtime::clock::system(),
            stamps: Stamps::default(),
            parsed: BTreeMap::new(),
            held: BTreeMap::new(),
            settled: false,
            last: None,
        }
    }

    /// Leaves a folder below out, such as the one where state is kept.
    #[must_use]
    pub fn without(self, path: &Path) -> Self {
        Self { except: path.canonicalize().ok(), ..self }
    }

    /// Reads the folder. Files that did not change are neither opened nor parsed again.
    pub fn read(&mut self) -> Reading {
        let listing = listing::list(&self.path, self.except.as_deref(), self.clock.now(), &mut self.stamps);
        let reading = self.take(listing);
        // What is not kept must be read again.
        self.stamps.retain(|path| self.parsed.contains_key(path));
        reading
    }

    /// Takes in what the folder holds. Does no I/O. What is missing is removed when it is missing for the
    /// second time in a row; all else takes effect at once.
    pub fn take(&mut self, mut listing: Listing) -> Reading {
        let files = self.parse(&mut listing);
        if let Some(reading) = self.idle(&listing, &files) {
            return reading;
        }
        let before = std::mem::take(&mut self.held);
        let mut pass = Pass::new(&before, listing.problems.clone(), listing.notices.clone());
        for (path, file) in &files {
            pass.file(path, file);
        }
        pass.finish(&listing.unread);
        let Pass { now, problems, notices, .. } = pass;
        let same = before.len() == now.len()
            && before.iter().zip(&now).all(|((a, was), (b, is))| a == b && was.says_the_same(is));
        let told = self.last.as_ref().map(|(_, last)| (&last.problems, &last.notices));
        let changed = !same || told != Some((&problems, &notices));
        self.settled = before == now;
        let objects = match &self.last {
            Some((_, last)) if self.settled => Arc::clone(&last.objects),
            _ => Arc::new(pass::objects(&now)),
        };
        let reading = Reading { objects, problems, notices, changed };
        self.held = now;
        self.parsed = files.into_iter().filter(|(_, file)| file.whole).collect();
        self.last = Some((listing, reading.clone()));
        reading
    }

    /// The documents of each file, as they were parsed before if its content is the same.
    fn parse(&self, listing: &mut Listing) -> Vec<(PathBuf, Arc<Parsed>)> {
        let mut files = Vec::new();
        let mut documents = 0;
        for file in std::mem::take(&mut listing.files) {
            let known = self.parsed.get(&file.path);
            let parsed = match file.content {
                Content::Same => known.cloned(),
                Content::Bytes(bytes) => {
                    let known = known.filter(|known| known.is_of(&bytes)).cloned();
                    // One more than there is room for, so that it shows.
                    let room = MAX_DOCUMENTS.saturating_sub(documents) + 1;
                    Some(known.unwrap_or_else(|| Arc::new(Parsed::parse(&file.path, &bytes, room))))
                }
            };
            match parsed {
                Some(parsed) => {
                    documents += parsed.len();
                    files.push((file.path, parsed));
                }
                // Whoever lists says so only of what was read before.
                None => listing.unread.push(file.path),
            }
        }
        files
    }

    /// The last reading, if it can be said without a look that this one is the same.
    fn idle(&self, listing: &Listing, files: &[(PathBuf, Arc<Parsed>)]) -> Option<Reading> {
        let (last_listing, last) = self.last.as_ref()?;
        let idle = self.settled
            && last_listing == listing
            && self.parsed.len() == files.len()
            && files
                .iter()
                .all(|(path, file)| self.parsed.get(path).is_some_and(|kept| Arc::ptr_eq(kept, file)));
        idle.then(|| Reading { changed: false, ..last.clone() })
    }
}

#[cfg(test)]
#[path = "folder/tests.rs"]
mod tests;
