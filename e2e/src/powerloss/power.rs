//! A disk that loses power.

use std::path::{Path, PathBuf};

use crate::powerloss::folder::{self, Content};
use crate::powerloss::log::Log;
use crate::powerloss::replay::{History, Losses, check};
use crate::powerloss::{Model, Recorder};

/// The disk of one process and its simulated losses.
pub struct Power {
    recorder: Recorder,
    work: PathBuf,
    data: PathBuf,
    /// What was on the disk when the process started.
    base: Content,
}

impl Power {
    /// A disk that is empty. The recorder and its logs are kept in `work`.
    pub fn new(work: &Path, data: &Path) -> anyhow::Result<Self> {
        let recorder = Recorder::compile(work)?;
        Ok(Self { recorder, work: work.to_owned(), data: data.to_owned(), base: Content::new() })
    }

    /// Begins with what is in the folder now, whole and durable: somebody has repaired it.
    pub fn rebase(&mut self) -> anyhow::Result<()> {
        self.base = folder::read(&self.data)?;
        Ok(())
    }

    /// Begins with an empty folder again.
    pub fn clear(&mut self) {
        self.base = Content::new();
    }

    /// Where the process records what it does.
    fn ops(&self) -> PathBuf {
        self.work.join("ops")
    }

    /// What the process is started with.
    pub fn environment(&self) -> [(&'static str, PathBuf); 3] {
        self.recorder.environment(&self.data, &self.ops())
    }

    /// Replaces the data by a state that a loss of power may leave, after a check that nothing went unrecorded.
    /// What the loss was made of, `before` and `ops-before`, stays for examination until the next one.
    pub fn lose(&mut self, seed: u64, model: Model) -> anyhow::Result<Losses> {
        if !self.ops().exists() {
            // The process was killed before it did anything.
            return Ok(Losses::default());
        }
        let log = Log::read(&self.ops(), &self.data)?;
        let history = History::new(&self.base, &log)?;
        check(&history, &log, &folder::read(&self.data)?)?;
        let (content, losses) = history.after_loss(seed, model);
        folder::write(&self.work.join("before"), &self.base)?;
        std::fs::rename(self.ops(), self.work.join("ops-before"))?;
        std::fs::write(self.work.join("seed"), format!("{seed}\n"))?;
        folder::write(&self.data, &content)?;
        self.base = content;
        Ok(losses)
    }
}
