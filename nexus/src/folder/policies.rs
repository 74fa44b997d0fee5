//! What an API server gives a NexusPolicy, for a folder: a uid, a generation, and patches.
//!
//! The user's files are never written. `nexus stop` and `nexus release` patch `stop`, `release` and `reason`
//! in an overlay that is kept with the uids in one small file. A policy is there while a file defines it or
//! a patch stands; it keeps its uid that long, and every change of its effective spec raises its generation.
//! A file that is deleted takes its policy's uid with it, unless a stop stands in the overlay: then the
//! policy stays exactly as it is. None of this can release a stop by accident: that is the latch's business.

mod state;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use nexus_core::stop::{EngagementName, Policy};

use super::object::is_object_name;
use super::objects::FilePolicy;
use crate::policy;
use state::{Overlay, Record, State};

/// Why a policy cannot be kept or changed.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// The file with what is kept of policies cannot be read.
    #[error("cannot read the policies kept in {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Its content is damaged.
    #[error(
        "{path}, which keeps the policies' identities, is damaged ({what}); stops that hold are kept elsewhere \
         and stay: remove the file and start again"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// It cannot be written.
    #[error("cannot write the policies to {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A name that no policy can have.
    #[error("`{name}` is no policy name: use lower-case letters, digits, and inner `-` and `.`")]
    Name {
        /// What was given.
        name: String,
    },
    /// A file itself orders the stop, so that no patch can take it back.
    #[error(
        "{file} itself says `stop: true` for policy {policy}, and files are not written here: take `stop` out \
         there, then release again"
    )]
    OrderedByFile {
        /// The file, seen from the folder.
        file: PathBuf,
        /// The policy.
        policy: String,
    },
}

/// The policies of a folder as an API server would show them. Cheap to clone: there are few.
#[derive(Debug, Clone, PartialEq)]
pub struct PolicyStore {
    path: PathBuf,
    state: State,
    /// Which file defines which policy, as of the last reading.
    files: BTreeMap<String, PathBuf>,
    /// Whether the file lags behind, because writing it failed.
    unsaved: bool,
}

impl PolicyStore {
    /// Reads what is kept in the file at `path`; without one, nothing is.
    ///
    /// # Errors
    /// When the file is there but cannot be read or is damaged.
    pub fn open(path: &Path) -> Result<Self, PolicyError> {
        let state = State::read(path)?;
        Ok(Self { path: path.to_owned(), state, files: BTreeMap::new(), unsaved: false })
    }

    /// Takes in the policies of the folder and gives all of them as they stand, by name. Tell the latch first
    /// and call [`PolicyStore::save`] then: a stop must not wait for a disk.
    #[must_use = "the stop latch must see them"]
    pub fn observe(&mut self, policies: &[FilePolicy]) -> Vec<Policy> {
        let before = self.state.clone();
        self.files.clear();
        let mut bases = BTreeMap::new();
        for FilePolicy { file, policy } in policies {
            let name = policy.metadata.name.clone().unwrap_or_default();
            self.files.insert(name.clone(), file.clone());
            bases.insert(name, &policy.spec);
        }
        self.state.policies.retain(|name, record| bases.contains_key(name) || record.outlives_its_file());
        for (name, record) in &mut self.state.policies {
            record.from_file = bases.contains_key(name);
        }
        for (name, base) in bases {
            match self.state.policies.get_mut(&name) {
                Some(record) => record.take_file(base),
                None => drop(self.state.policies.insert(name, Record::of_file(base))),
            }
        }
        self.unsaved |= self.state != before;
        self.current()
    }

    /// All policies as they stand, by name.
    #[must_use]
    pub fn current(&self) -> Vec<Policy> {
        let policies = &self.state.policies;
        policies.iter().map(|(name, record)| to_policy(name, record)).collect()
    }

    /// Writes what changed since it was written last.
    ///
    /// # Errors
    /// When it cannot be written; the next call tries again.
    pub fn save(&mut self) -> Result<(), PolicyError> {
        if self.unsaved {
            self.state.write(&self.path)?;
            self.unsaved = false;
        }
        Ok(())
    }

    /// Patches a policy so that it orders a stop, makes it if there is none, and gives all policies as they
    /// stand. Tell the latch first and call [`PolicyStore::save`] then.
    ///
    /// # Errors
    /// When the name is none.
    pub fn engage(&mut self, name: &str, reason: Option<String>) -> Result<Vec<Policy>, PolicyError> {
        self.patch(name, Overlay { stop: Some(true), release: None, reason })?;
        self.unsaved = true;
        Ok(self.current())
    }

    /// Patches a policy so that it no longer orders a stop and releases this engagement, makes it if there is
    /// none (another object of the name may release by the very name), writes that and gives all policies as
    /// they stand. Whether the engagement holds is for the latch to know.
    ///
    /// # Errors
    /// When the name is none, a file itself orders the stop, or the patch cannot be written: then nothing has
    /// changed, for a release must be kept before it takes effect.
    pub fn release(&mut self, name: &str, engagement: &EngagementName) -> Result<Vec<Policy>, PolicyError> {
        let record = self.state.policies.get(name);
        if record.is_some_and(|record| record.from_file && record.base.stop == Some(true)) {
            // Before the first reading only the fact is known, not which file it is.
            let file = self.files.get(name).cloned().unwrap_or_else(|| PathBuf::from("the folder"));
            return Err(PolicyError::OrderedByFile { file, policy: name.to_owned() });
        }
        let (before, was_unsaved) = (self.state.clone(), self.unsaved);
        self.patch(name, Overlay { stop: None, release: Some(engagement.to_string()), reason: None })?;
        self.unsaved = true;
        if let Err(error) = self.save() {
            (self.state, self.unsaved) = (before, was_unsaved);
            return Err(error);
        }
        Ok(self.current())
    }

    fn patch(&mut self, name: &str, overlay: Overlay) -> Result<(), PolicyError> {
        if !is_object_name(name) {
            return Err(PolicyError::Name { name: name.to_owned() });
        }
        match self.state.policies.get_mut(name) {
            Some(record) => record.patch(overlay),
            None => drop(self.state.policies.insert(name.to_owned(), Record::of_patch(overlay))),
        }
        Ok(())
    }
}

fn to_policy(name: &str, record: &Record) -> Policy {
    policy::of(name, &record.uid.to_string(), record.generation, &record.effective)
}

#[cfg(test)]
#[path = "policies/tests.rs"]
mod tests;
