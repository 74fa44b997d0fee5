//! What the machine must give: file handles, a real disk.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tempfile::TempDir;

/// What statfs says of a folder in memory.
const TMPFS: i64 = 0x0102_1994;

/// Handles beside those of connections.
const SPARE: u64 = 96;

/// Raises the limit of open files as far as it goes, for this process and its children.
pub fn raise_files(connections: u32) -> anyhow::Result<()> {
    let needed = u64::from(connections) + SPARE;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let hard = maximum.unwrap_or(u64::MAX);
    if current.is_some_and(|current| current < hard) {
        let raised = Rlimit { current: maximum, maximum };
        setrlimit(Resource::Nofile, raised).context("cannot raise the limit of open files")?;
    }
    if hard < needed {
        let raised = Rlimit { current: Some(needed), maximum: Some(needed) };
        setrlimit(Resource::Nofile, raised).with_context(|| {
            format!(
                "{connections} connections need {needed} open files, {hard} are allowed: raise `ulimit -Hn`, or ask for fewer"
            )
        })?;
    }
    Ok(())
}

/// A folder on a disk, removed when dropped.
pub fn scratch(under: Option<&PathBuf>) -> anyhow::Result<TempDir> {
    let home = match under {
        Some(path) => path.clone(),
        None => {
            std::env::current_exe().context("cannot tell where this binary is")?.with_file_name("load-data")
        }
    };
    fs::create_dir_all(&home).with_context(|| format!("cannot make {}", home.display()))?;
    let kind =
        rustix::fs::statfs(&home).with_context(|| format!("cannot look at {}", home.display()))?.f_type;
    ensure!(kind != TMPFS, "{} is in memory: give a folder on a disk with --data", home.display());
    tempfile::Builder::new().prefix("run-").tempdir_in(&home).context("cannot make a folder for a run")
}
