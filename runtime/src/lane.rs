//! The stop lane: the latch as one process holds it, its file, and the gate that all who act must ask.
//!
//! The order of the two halves of a change matters. A stop takes effect first and is written then: it must
//! not wait for a disk, nor for somebody else who waits for one. A release is written first and takes effect
//! then: a crash in between leaves the stop. What a list orders of both is done in this order, too.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nexus_core::id::{AgentId, TenantKey};
use nexus_core::selector::Labels;
use nexus_core::stop::{Latch, Merged, Policy, Subject, Verdict};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;

use crate::file;

/// The format of the latch file that this version writes and reads.
const FORMAT: u32 = 1;

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
    agents: Vec<KnownAgent>,
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
        let latch = Arc::new(read(path)?);
        Ok(Self {
            path: path.to_owned(),
            latch: watch::Sender::new(Arc::clone(&latch)),
            state: Mutex::new(State { latch, agents: Vec::new(), unsaved: false }),
            written: Mutex::new(None),
        })
    }

    /// A gate of this lane.
    #[must_use]
    pub fn gate(&self) -> StopGate {
        StopGate(self.latch.subscribe())
    }

    /// Takes in a full list of the policies as they stand. Blocks on the disk, but only after every stop of the
    /// list is in force.
    ///
    /// # Errors
    /// When the latch file cannot be written: a stop is in force nevertheless, a release is not, and the next
    /// call tries again.
    pub fn observe(&self, policies: &[Policy]) -> Result<Merged, LaneError> {
        let tightened =
            self.update(|latch, agents| latch.tighten(policies, agents.iter().map(KnownAgent::subject)));
        for engagement in &tightened.engaged {
            tracing::warn!(%engagement, "stop engaged");
        }
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
        lock(&self.state).agents = agents;
        self.update(|latch, agents| Merged {
            changed: latch.remember(agents.iter().map(KnownAgent::subject)),
            ..Merged::default()
        });
        self.settle(None).map(drop)
    }

    /// Changes the latch in a way that only stops more, and puts it in force at once.
    fn update(&self, change: impl FnOnce(&mut Latch, &[KnownAgent]) -> Merged) -> Merged {
        let mut state = lock(&self.state);
        let mut latch = (*state.latch).clone();
        let merged = change(&mut latch, &state.agents);
        if merged.changed {
            self.put(&mut state, Arc::new(latch));
        }
        merged
    }

    /// Writes what is in force, with what `policies` release left out, and then lets that go.
    fn settle(&self, policies: Option<&[Policy]>) -> Result<Merged, LaneError> {
        let mut written = lock(&self.written);
        loop {
            let (base, unsaved) = {
                let state = lock(&self.state);
                (Arc::clone(&state.latch), state.unsaved)
            };
            let mut next = (*base).clone();
            // The agents are known to the latch already; binding them again would change nothing.
            let merged = policies.map_or_else(Merged::default, |policies| next.merge(policies, []));
            if !merged.changed && !unsaved {
                return Ok(merged);
            }
            let next = Arc::new(next);
            if written.as_ref() != Some(&next) {
                *written = None;
                write(&self.path, &next)?;
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
            self.latch.send_replace(Arc::clone(&latch));
            metrics::gauge!("nexus_stop_engagements").set(count(latch.engagements().count()));
            metrics::gauge!("nexus_stop_alarms").set(count(latch.alarms().len()));
        }
        state.latch = latch;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic cannot leave these half changed: they are replaced whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[expect(clippy::cast_precision_loss, reason = "policies are counted in tens")]
fn count(n: usize) -> f64 {
    n as f64
}

fn read(path: &Path) -> Result<Latch, LaneError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Latch::default()),
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
    serde_json::from_str(file.latch.get()).map_err(|error| damaged(error.to_string()))
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
mod tests {
    use nexus_core::stop::{Mirror, Targets, Workloads};

    use super::*;

    fn policy(generation: u64, stop: bool, release: Option<&str>) -> Policy {
        Policy {
            name: "stop-all".into(),
            uid: "1f2e3d4c-0000-4000-8000-000000000001".into(),
            generation,
            stop,
            release: release.map(Into::into),
            reason: None,
            targets: Targets::default(),
            workloads: Workloads::default(),
            mirror: Mirror::default(),
        }
    }

    fn runs(gate: &StopGate) -> bool {
        let tenant: TenantKey = "acme/acme".parse().unwrap();
        let labels = Labels::new();
        gate.decide(&Subject { tenant: &tenant, agent: AgentId::of(&tenant, "a"), labels: &labels }).may_run()
    }

    #[test]
    fn the_latch_outlives_the_process() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("latch.json");
        let lane = StopLane::open(&path).unwrap();
        assert!(!runs(&lane.gate()), "nothing is known yet");
        lane.observe(&[]).unwrap();
        assert!(runs(&lane.gate()));
        lane.observe(&[policy(2, true, None)]).unwrap();
        assert!(!runs(&lane.gate()));
        let again = StopLane::open(&path).unwrap();
        again.observe(&[]).unwrap();
        assert!(!runs(&again.gate()), "the policy is gone, the stop is not");
        again.observe(&[policy(3, false, Some("1f2e3d4c-2"))]).unwrap();
        assert!(runs(&StopLane::open(&path).unwrap().gate()));
    }

    #[test]
    fn a_damaged_file_at_any_byte_starts_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("latch.json");
        StopLane::open(&path).unwrap().observe(&[policy(2, true, None)]).unwrap();
        let good = std::fs::read(&path).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x04;
            std::fs::write(&path, &bad).unwrap();
            // A flip may yield the same meaning, as in the case of a hex digit; it must never yield "run".
            if let Ok(lane) = StopLane::open(&path) {
                assert!(!runs(&lane.gate()));
            }
            std::fs::write(&path, &good[..at]).unwrap();
            assert!(StopLane::open(&path).is_err(), "truncated to {at} bytes");
        }
    }

    #[test]
    fn a_full_disk_does_not_hold_up_a_stop_but_holds_up_a_release() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("latch.json");
        let lane = StopLane::open(&path).unwrap();
        lane.observe(&[]).unwrap();
        let block = folder.path().join("latch.json.tmp");
        std::fs::create_dir(&block).unwrap();
        assert!(lane.observe(&[policy(2, true, None)]).is_err());
        assert!(!runs(&lane.gate()));
        assert!(lane.observe(&[policy(3, false, Some("1f2e3d4c-2"))]).is_err());
        assert!(!runs(&lane.gate()));
        std::fs::remove_dir(&block).unwrap();
        lane.observe(&[policy(3, false, Some("1f2e3d4c-2"))]).unwrap();
        assert!(runs(&lane.gate()));
    }

    #[test]
    fn a_list_that_releases_one_and_orders_another_stops_without_a_disk() {
        let folder = tempfile::tempdir().unwrap();
        let lane = StopLane::open(&folder.path().join("latch.json")).unwrap();
        let squad = |generation, stop, release: Option<&str>| Policy {
            name: "stop-squad".into(),
            uid: "aaaa3d4c-0000-4000-8000-000000000002".into(),
            targets: Targets { tenants: vec!["other/other".parse().unwrap()], ..Targets::default() },
            ..policy(generation, stop, release)
        };
        lane.observe(&[squad(1, true, None)]).unwrap();
        assert!(runs(&lane.gate()), "the stop means another tenant");
        std::fs::create_dir(folder.path().join("latch.json.tmp")).unwrap();
        let both = [squad(2, false, Some("aaaa3d4c-1")), policy(2, true, None)];
        assert!(lane.observe(&both).is_err());
        assert!(!runs(&lane.gate()));
        assert_eq!(lane.gate().latch().engagements().count(), 2, "nothing is released that is not written");
        std::fs::remove_dir(folder.path().join("latch.json.tmp")).unwrap();
        let merged = lane.observe(&both).unwrap();
        assert_eq!(merged.released.len(), 1);
        assert!(!runs(&lane.gate()));
    }

    #[test]
    fn an_idle_lane_writes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("latch.json");
        let lane = StopLane::open(&path).unwrap();
        lane.observe(&[policy(2, true, None)]).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(!lane.observe(&[policy(2, true, None)]).unwrap().changed);
        lane.know(vec![]).unwrap();
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_gate_wakes_on_change() {
        let folder = tempfile::tempdir().unwrap();
        let lane = StopLane::open(&folder.path().join("latch.json")).unwrap();
        let mut gate = lane.gate();
        lane.observe(&[]).unwrap();
        gate.changed().await;
        assert!(runs(&gate));
    }
}
