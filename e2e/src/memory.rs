//! A bound on the memory of processes.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// Where control groups of memory are, of the first version and of the second, and how each names its bound.
const GROUPS: [(&str, &str); 2] =
    [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")];

/// What is measured of a process where a bound is to be set.
const RESIDENT: &str = "process_resident_memory_bytes";
const VIRTUAL: &str = "process_virtual_memory_bytes";

/// A bound on the memory of processes: of a control group where one can be made, else of each one's address space.
#[derive(Debug)]
pub enum Memory {
    /// A control group, and the file with its bound.
    Group(PathBuf, &'static str),
    /// The address space, once it has a bound.
    Space(Option<u64>),
}

impl Memory {
    /// A bound that is yet to be set; `name` is a name of its own.
    pub fn new(name: &str) -> Self {
        for (root, bound) in GROUPS {
            let group = Path::new(root).join(name);
            if std::fs::create_dir(&group).is_ok() {
                let made = Self::Group(group.clone(), bound);
                if group.join(bound).exists() {
                    return made;
                }
            }
        }
        Self::Space(None)
    }

    /// The metric that tells what a process takes of what this bounds.
    pub fn metric(&self) -> &'static str {
        match self {
            Self::Group(..) => RESIDENT,
            Self::Space(_) => VIRTUAL,
        }
    }

    /// What this bounds, for people.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Group(..) => "memory",
            Self::Space(_) => "address space",
        }
    }

    /// Sets the bound.
    pub fn set(&mut self, bytes: u64) -> anyhow::Result<()> {
        match self {
            Self::Group(group, bound) => {
                let path = group.join(*bound);
                std::fs::write(&path, bytes.to_string())
                    .with_context(|| format!("cannot write {}", path.display()))
            }
            Self::Space(bound) => {
                *bound = Some(bytes);
                Ok(())
            }
        }
    }

    /// The words that start a program within the bound.
    pub fn within(&self) -> Vec<OsString> {
        match self {
            Self::Group(group, _) => {
                let join = "echo $$ > \"$0\" && exec \"$@\"";
                vec!["sh".into(), "-c".into(), join.into(), group.join("cgroup.procs").into()]
            }
            Self::Space(Some(bytes)) => vec!["prlimit".into(), format!("--as={bytes}").into()],
            Self::Space(None) => Vec::new(),
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if let Self::Group(group, _) = self {
            // It stays, empty, if one of its processes is still ending.
            let _ = std::fs::remove_dir(group);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::mortal;

    /// A program that takes 64 MiB of memory, within 32 MiB.
    #[tokio::test]
    async fn a_program_does_not_get_more_than_its_bound() {
        let group = Memory::new(&format!("nexus-e2e-test-{}", std::process::id()));
        for mut memory in [group, Memory::Space(None)] {
            memory.set(32 << 20).unwrap();
            let take = async |mib: u64| {
                let mut command = mortal("dd", &memory.within(), &[]);
                command.args(["if=/dev/zero", "of=/dev/null", "count=1", &format!("bs={mib}M")]);
                command.stderr(std::process::Stdio::null()).status().await.unwrap()
            };
            assert!(take(4).await.success(), "{memory:?}");
            assert!(!take(64).await.success(), "{memory:?}");
        }
    }
}
