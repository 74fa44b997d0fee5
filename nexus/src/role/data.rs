//! The data folder: who uses it, and where what lies.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use nexus_runtime::file;

/// Where credentials of agents lie.
pub const AGENTS: &str = "agents";

/// A data folder that this process uses alone.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    /// Locked while the process lives; the kernel lets go of it at any end.
    _lock: File,
}

impl DataDir {
    /// Makes the folder if need be and locks it.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        // Bodies of webhooks and credentials lie in it: it is its owner's alone. What is accepted is durable only if the
        // names of the folders above it are.
        file::make_folder(path).with_context(|| format!("cannot make the data folder {}", path.display()))?;
        let path = path.canonicalize().with_context(|| format!("cannot use {}", path.display()))?;
        let lock_path = path.join("lock");
        let lock =
            File::create(&lock_path).with_context(|| format!("cannot make {}", lock_path.display()))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path, _lock: lock }),
            Err(TryLockError::WouldBlock) => anyhow::bail!(
                "{} is in use by another nexus; end that one, or give another folder with --data",
                path.display()
            ),
            Err(TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("cannot lock {}", lock_path.display()))
            }
        }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The stop latch.
    pub fn latch(&self) -> PathBuf {
        self.path.join("stop-latch.json")
    }

    /// What is kept of policies.
    pub fn policies(&self) -> PathBuf {
        self.path.join("policies.json")
    }

    /// The bus.
    pub fn bus(&self) -> PathBuf {
        self.path.join("bus")
    }

    /// The spool before the bus.
    pub fn spool(&self) -> PathBuf {
        self.path.join("spool")
    }

    /// The key that signs tokens.
    pub fn token_key(&self) -> PathBuf {
        self.path.join("keys").join("token")
    }

    /// Credentials of agents.
    pub fn agents(&self) -> PathBuf {
        self.path.join(AGENTS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_serves_one_process() {
        let folder = tempfile::tempdir().unwrap();
        let first = DataDir::open(folder.path()).unwrap();
        let error = DataDir::open(folder.path()).unwrap_err();
        assert!(error.to_string().contains("in use by another nexus"), "{error}");
        drop(first);
        DataDir::open(folder.path()).unwrap();
    }
}
