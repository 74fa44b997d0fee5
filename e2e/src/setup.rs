//! What every proof is told, and how it begins.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use rand::RngExt as _;
use tempfile::TempDir;

use crate::program;

/// The form of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// A table.
    Table,
    /// JSON.
    Json,
}

/// What every proof is told.
#[derive(Debug, Clone, Args)]
pub struct Setup {
    /// Repeats the choices of an earlier run: moments, what is lost, which webhooks
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// The program under test [default: built from this repository, as this program was]
    #[arg(long, value_name = "PATH")]
    pub nexus: Option<PathBuf>,
    /// Folder on a real disk to work in
    #[arg(long, default_value = "/var/tmp", value_name = "DIR")]
    pub dir: PathBuf,
    /// `table` for people, `json` for machines
    #[arg(short, long, default_value = "table", value_enum)]
    pub output: Output,
}

/// What a proof begins with.
pub(crate) struct Begun {
    pub(crate) nexus: PathBuf,
    pub(crate) seed: u64,
    pub(crate) work: TempDir,
}

impl Setup {
    /// Finds the program, chooses a seed, and makes a folder whose name begins so.
    pub(crate) fn begin(&self, prefix: &str) -> anyhow::Result<Begun> {
        let work = tempfile::Builder::new().prefix(prefix).tempdir_in(&self.dir);
        Ok(Begun {
            nexus: program::locate(self.nexus.as_deref())?,
            seed: self.seed.unwrap_or_else(|| rand::rng().random()),
            work: work.with_context(|| {
                format!("cannot work in {}; name another folder by --dir", self.dir.display())
            })?,
        })
    }
}
