//! A loss of power, simulated: what a process wrote since its last syncs is kept, lost or torn at random.
//!
//! `powerloss/powerloss.c`, loaded into the process, records every change to the files of one folder, in order
//! ([`log`]). From the state before and the log, [`replay`] makes one of the states that a disk may be in after
//! the power went. [`folder`] reads and writes whole folders.

pub mod folder;
pub mod log;
pub mod power;
pub mod replay;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};

const SOURCE: &str = include_str!("../powerloss/powerloss.c");

/// Which file systems are modelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Model {
    /// Names are durable once their folder is synced, not before, and in any order: all that POSIX promises. The
    /// engine of the log does not hold to that (`docs/adr/0006`).
    Strict,
    /// As ext4 does it: names become durable in order, and the sync of a file commits all names before it.
    Ext4,
}

/// The recorder, compiled.
#[derive(Debug, Clone)]
pub struct Recorder(PathBuf);

impl Recorder {
    /// Compiles the recorder into this folder.
    pub fn compile(folder: &Path) -> anyhow::Result<Self> {
        let (source, library) = (folder.join("powerloss.c"), folder.join("powerloss.so"));
        std::fs::write(&source, SOURCE).with_context(|| format!("cannot write {}", source.display()))?;
        let cc = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
        let output = Command::new(&cc)
            .args(["-O2", "-shared", "-fPIC", "-o"])
            .args([&library, &source])
            .output()
            .with_context(|| {
                format!(
                    "cannot run `{}`: install a C compiler (Debian: apt-get install gcc libc6-dev)",
                    cc.display()
                )
            })?;
        ensure!(
            output.status.success(),
            "{} does not compile: {}",
            source.display(),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(Self(library))
    }

    /// The environment that makes a program record its changes of `data` in `log`.
    pub fn environment(&self, data: &Path, log: &Path) -> [(&'static str, PathBuf); 3] {
        [
            ("LD_PRELOAD", self.0.clone()),
            ("POWERLOSS_DATA", data.to_owned()),
            ("POWERLOSS_LOG", log.to_owned()),
        ]
    }
}
