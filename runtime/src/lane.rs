//! The stop lane: the latch as one process holds it, its file, and the gate that all who act must ask.
//!
//! The order of the two halves of a change matters. A stop takes effect first and is written then: it must
//! not wait for a disk, nor for somebody else who waits for one. A release is written first and takes effect
//! then: a crash in between leaves the stop. What a list orders of both is done in this order, too.
//!
//! Where a stop cannot be written, the file that lacks it gets another name, which takes no room on a disk: a process that
//! starts then knows its stops, but is not told that nobody else is stopped.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nexus_core::id::{AgentId, TenantKey};
use nexus_core::selector::Labels;
use nexus_core::stop::{Heard, Latch, Merged, Policy, Subject, Told, Verdict};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::file;

/// The format of the latch file that this version writes and reads.
const FORMAT: u32 = 1;

/// How long a look at the policies counts as fresh for what is heard.
const FRESH: Duration = Duration::from_secs(5);

/// Why the lane cannot hold or keep a latch.
#[derive(Debug, thiserror::Error)]
pub enum LaneError {
    /// The latch file cannot be read. Nothing may run then, for it may say that a stop is engaged.
    #[error("cannot read the stop latch {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The latch file's content is damaged.
    #[error(
        "the stop latch {path} is damaged ({what}); it may have held a stop, so nothing starts: \
         if no stop should hold, remove the file and start again"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The latch file cannot be written. A stop is in force nevertheless; a release is not.
    #[error("cannot write the stop latch {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// An agent that the lane knows, for policies that choose by label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownAgent {
    /// Its tenant.
    pub tenant: TenantKey,
    /// Its id.
    pub agent: AgentId,
    /// Its labels, now.
    pub labels: Labels,
}

impl KnownAgent {
    fn subject(&self) -> Subject<'_> {
        Subject { tenant: &self.tenant, agent: self.agent, labels: &self.labels }
    }
}

#[derive(Serialize, Deserialize)]
struct LatchFile {
    format: u32,
    /// SHA-256 of the latch's JSON, hex.
    checksum: String,
    latch: Box<serde_json::value::RawValue>,
}

/// Holds the latch. Whoever learns of policies tells it; there may be several who do.
#[derive(Debug)]
pub struct StopLane {
    path: PathBuf,
    latch: watch::Sender<Arc<Latch>>,
    /// Held for moments only, never over a write.
    state: Mutex<State>,
    /// Held over each write of the file; what was written last.
    written: Mutex<Option<Arc<Latch>>>,
}

#[derive(Debug)]
struct State {
    latch: Arc<Latch>,
    agents: Arc<[KnownAgent]>,
    /// The policies as they were seen last, and when.
    look: Option<(Instant, Arc<[Policy]>)>,
    /// Whether the file lags behind the latch.
    unsaved: bool,
}

/// Answers whether an agent may run, and wakes when that may have changed. Cloning subscribes: a clone made
/// before the first question misses no change.
#[derive(Debug, Clone)]
pub struct StopGate(watch::Receiver<Arc<Latch>>);

impl StopGate {
    /// May this agent run?
    #[must_use]
    pub fn decide(&self, subject: &Subject<'_>) -> Verdict {
        self.0.borrow().decide(subject)
    }

    /// Waits for the next change of the latch.
    pub async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            // The lane is gone, so nothing will change again; its process is about to end.
            std::future::pending::<()>().await;
        }
    }

    /// The latch, to show.
    #[must_use]
    pub fn latch(&self) -> Arc<Latch> {
        Arc::clone(&self.0.borrow())
    }
}

impl StopLane {
    /// Reads the latch file; without one nothing is known, and nothing may run until something is.
    ///
    /// # Errors
    /// When the file is there but cannot be read or is damaged.
    pub fn open(path: &Path) -> Result<Self, LaneError> {
        let latch = match read(path)? {
            Some(latch) => latch,
            None => read(&behind(path))?.map(Latch::doubted).unwrap_or_default(),
        };
        let latch = Arc::new(latch);
        measure(&latch);
        Ok(Self {
            path: path.to_owned(),
            latch: watch::Sender::new(Arc::clone(&latch)),
            state: Mutex::new(State { latch, agents: Arc::default(), look: None, unsaved: false }),
            written: Mutex::new(None),
        })
    }

    /// A gate of this lane.
    #[must_use]
    pub fn gate(&self) -> StopGate {
        StopGate(self.latch.subscribe())
    }

    /// Puts the stops of a full list of the policies in force, and waits for no disk; [`StopLane::observe`] with the
    /// same list comes next.
    pub fn tighten(&self, policies: &[Policy]) -> Merged {
        lock(&self.state).look = Some((Instant::now(), policies.into()));
        let tightened = self.update(|latch, agents, _| {
            let merged = latch.tighten(policies, agents.iter().map(KnownAgent::subject));
            (merged.changed, merged)
        });
        for engagement in &tightened.engaged {
            tracing::warn!(%engagement, "stop engaged");
        }
        tightened
    }

    /// Takes in a full list of the policies as they stand. Blocks on the disk, but only after every stop of the
    /// list is in force.
    ///
    /// # Errors
    /// When the latch file cannot be written: a stop is in force nevertheless, a release is not, and the next
    /// call tries again.
    pub fn observe(&self, policies: &[Policy]) -> Result<Merged, LaneError> {
        let tightened = self.tighten(policies);
        let mut merged = self.settle(Some(policies))?;
        for engagement in &merged.released {
            tracing::warn!(%engagement, "stop released");
        }
        merged.engaged = tightened.engaged;
        merged.changed |= tightened.changed;
        Ok(merged)
    }

    /// Tells which agents there are, so that a stop binds those whom it means.
    ///
    /// # Errors
    /// When the latch file cannot be written; see [`StopLane::observe`].
    pub fn know(&self, agents: Vec<KnownAgent>) -> Result<(), LaneError> {
        lock(&self.state).agents = agents.into();
        self.update(|latch, agents, _| (latch.remember(agents.iter().map(KnownAgent::subject)), ()));
        self.keep()
    }

    /// Takes in what others tell of the stops that they hold: it engages and releases nothing. It waits for no disk:
    /// call [`StopLane::keep`] then.
    pub fn hear(&self, told: &[Told]) -> Heard {
        let heard = self.update(|latch, agents, look| {
            let heard = latch.hear(told, look, agents.iter().map(KnownAgent::subject));
            (heard.merged.changed, heard)
        });
        for engagement in &heard.merged.engaged {
            tracing::warn!(%engagement, "stop engaged, as another process tells");
        }
        heard
    }

    /// Writes what is in force and not written yet. Blocks on the disk.
    ///
    /// # Errors
    /// When the latch file cannot be written; see [`StopLane::observe`].
    pub fn keep(&self) -> Result<(), LaneError> {
        self.settle(None).map(drop)
    }

    /// Changes the latch in a way that only stops more, and puts it in force at once.
    /// `change` is given the agents and the last look, if it is fresh, and says whether it changed anything.
    fn update<T>(&self, change: impl FnOnce(&mut Latch, &[KnownAgent], Option<&[Policy]>) -> (bool, T)) -> T {
        let mut state = lock(&self.state);
        let mut latch = (*state.latch).clone();
        let look = state.look.as_ref().filter(|(at, _)| at.elapsed() <= FRESH);
        let (changed, answer) = change(&mut latch, &state.agents, look.map(|(_, policies)| &**policies));
        if changed {
            self.put(&mut state, Arc::new(latch));
        }
        answer
    }

    /// Writes what is in force, with what `policies` release left out, and then lets that go.
    fn settle(&self, policies: Option<&[Policy]>) -> Result<Merged, LaneError> {
        let mut written = lock(&self.written);
        loop {
            let (base, agents, unsaved) = {
                let state = lock(&self.state);
                (Arc::clone(&state.latch), Arc::clone(&state.agents), state.unsaved)
            };
            let mut next = (*base).clone();
            let agents = agents.iter().map(KnownAgent::subject);
            let merged = policies.map_or_else(Merged::default, |policies| next.merge(policies, agents));
            if !merged.changed && !unsaved {
                return Ok(merged);
            }
            let next = Arc::new(next);
            if written.as_ref() != Some(&next) {
                *written = None;
                if let Err(error) = write(&self.path, &next) {
                    if unsaved {
                        // Where there is none, there is nothing to believe.
                        let _ = file::rename(&self.path, &behind(&self.path));
                    }
                    return Err(error);
                }
                // It counts for nothing beside the other.
                let _ = std::fs::remove_file(behind(&self.path));
                *written = Some(Arc::clone(&next));
            }
            let mut state = lock(&self.state);
            // Somebody tightened meanwhile: what was written says less than what must be kept.
            if Arc::ptr_eq(&state.latch, &base) {
                self.put(&mut state, next);
                state.unsaved = false;
                return Ok(merged);
            }
        }
    }

    /// Puts a latch in force.
    fn put(&self, state: &mut State, latch: Arc<Latch>) {
        state.unsaved = true;
        if state.latch != latch {
            for alarm in latch.alarms().iter().filter(|alarm| !state.latch.alarms().contains(alarm)) {
                tracing::warn!("{alarm}");
            }
            self.latch.send_replace(Arc::clone(&latch));
            measure(&latch);
        }
        state.latch = latch;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic cannot leave these half changed: they are replaced whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Tells metrics what holds.
fn measure(latch: &Latch) {
    metrics::gauge!("nexus_stop_engagements").set(count(latch.engagements().count()));
    metrics::gauge!("nexus_stop_alarms").set(count(latch.alarms().len()));
}

#[expect(clippy::cast_precision_loss, reason = "policies are counted in tens")]
fn count(n: usize) -> f64 {
    n as f64
}

/// The name of a latch file that lacks a stop.
fn behind(path: &Path) -> PathBuf {
    path.with_extension("behind.json")
}

fn read(path: &Path) -> Result<Option<Latch>, LaneError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            return Err(LaneError::Read { path: path.to_owned(), source });
        }
    };
    let damaged = |what: String| LaneError::Damaged { path: path.to_owned(), what };
    let file: LatchFile = serde_json::from_str(&text).map_err(|error| damaged(error.to_string()))?;
    if file.format != FORMAT {
        return Err(damaged(format!("format {} instead of {FORMAT}", file.format)));
    }
    if file.checksum != checksum(file.latch.get()) {
        return Err(damaged("its checksum does not fit".to_owned()));
    }
    serde_json::from_str(file.latch.get()).map(Some).map_err(|error| damaged(error.to_string()))
}

fn write(path: &Path, latch: &Latch) -> Result<(), LaneError> {
    let fail = |source: io::Error| LaneError::Write { path: path.to_owned(), source };
    let latch = serde_json::value::to_raw_value(latch).map_err(|error| fail(error.into()))?;
    let file = LatchFile { format: FORMAT, checksum: checksum(latch.get()), latch };
    let json = serde_json::to_vec(&file).map_err(|error| fail(error.into()))?;
    file::replace(path, &json).map_err(fail)
}

fn checksum(json: &str) -> String {
    hex::encode(Sha256::digest(json.as_bytes()))
}

#[cfg(test)]
#[path = "lane_tests.rs"]
mod tests;
