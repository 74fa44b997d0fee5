//! The stop switch of a process: the lane, and what was seen last of the policies that turn it.
//!
//! Who learns of policies shows it full lists of them: a folder ([`FolderSwitch`]), or the watch of an API server
//! ([`super::policies`]). Which of them there is a process is told once, as a [`StopSwitch`].

mod folder;

use std::sync::Arc;

use nexus_core::stop::{Heard, Merged, Policy, Told};
use nexus_runtime::lane::{KnownAgent, LaneError, StopGate, StopLane};
use tokio::sync::watch;

pub use self::folder::{FolderSwitch, SwitchError};

/// The switch of a process, and where the policies come from.
#[derive(Default)]
pub enum StopSwitch {
    /// It has no agents, and so nothing to stop.
    #[default]
    None,
    /// The folder's files.
    Folder(Arc<FolderSwitch>),
    /// Elsewhere: the folder's files say nothing.
    Elsewhere(Arc<Switch>),
}

impl StopSwitch {
    /// What is turned, in a process that has agents.
    pub fn switch(&self) -> Option<&Arc<Switch>> {
        match self {
            Self::None => None,
            Self::Folder(folder) => Some(folder.switch()),
            Self::Elsewhere(switch) => Some(switch),
        }
    }
}

/// A policy as it was seen last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenPolicy {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// Its generation.
    pub generation: u64,
}

/// Turns the lane.
pub struct Switch {
    lane: StopLane,
    seen: watch::Sender<Arc<[SeenPolicy]>>,
}

impl Switch {
    /// The switch of a lane; no policy was seen yet.
    pub fn new(lane: StopLane) -> Self {
        Self { lane, seen: watch::Sender::new(Arc::default()) }
    }

    /// What all must ask who act for an agent.
    pub fn gate(&self) -> StopGate {
        self.lane.gate()
    }

    /// The policies that were seen last and are obeyed as they stand, by name.
    pub fn seen(&self) -> watch::Receiver<Arc<[SeenPolicy]>> {
        self.seen.subscribe()
    }

    /// Tells which agents there are.
    pub fn know(&self, agents: Vec<KnownAgent>) {
        if let Err(error) = self.lane.know(agents) {
            cannot_keep(error);
        }
    }

    /// Puts the stops of a full list in force, and waits for no disk; [`Switch::look`] with the same list comes next.
    pub fn tighten(&self, policies: &[Policy]) {
        self.lane.tighten(policies);
    }

    /// Takes in a full list of the policies as they stand. Blocks on the disk, but only once its stops are in force.
    ///
    /// # Errors
    /// When the latch file cannot be written: a stop is in force nevertheless, a release is not, and the next look
    /// tries again.
    pub fn look(&self, policies: &[Policy]) -> Result<Merged, LaneError> {
        let merged = self.lane.observe(policies)?;
        let seen: Arc<[SeenPolicy]> = policies.iter().map(SeenPolicy::of).collect();
        self.seen.send_if_modified(|before| {
            let changed = *before != seen;
            *before = seen;
            changed
        });
        Ok(merged)
    }

    /// Takes in what others tell of stops, and waits for nobody; [`Switch::keep_heard`] comes next.
    pub fn hear(&self, told: &[Told]) -> Heard {
        self.lane.hear(told)
    }

    /// Writes what was heard. Blocks on the disk.
    pub fn keep_heard(&self) {
        if let Err(error) = self.lane.keep() {
            // The next look at the policies tries again.
            cannot_keep(error);
        }
    }
}

impl SeenPolicy {
    fn of(policy: &Policy) -> Self {
        Self { name: policy.name.clone(), uid: policy.uid.clone(), generation: policy.generation }
    }
}

fn cannot_keep(error: LaneError) {
    let error = format!("{:#}", anyhow::Error::from(error));
    tracing::error!(error, "cannot keep the stop latch");
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_policy_is_seen_once_what_it_says_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kept/latch.json");
        let switch = Switch::new(StopLane::open(&path).unwrap());
        std::fs::write(folder.path().join("kept"), "no folder").unwrap();
        let seen = switch.seen();
        let spec = serde_json::from_value(json!({"stop": true})).unwrap();
        let policies = [nexus_compile::policy("stop-all", "1f2e3d4c-0000", 3, &spec)];
        // The latch file cannot be written: the stop is in force, and nobody is told that the policy is obeyed.
        switch.look(&policies).unwrap_err();
        assert_eq!(switch.gate().latch().engagements().count(), 1);
        assert!(seen.borrow().is_empty());
        std::fs::remove_file(folder.path().join("kept")).unwrap();
        switch.look(&policies).unwrap();
        let stop_all =
            SeenPolicy { name: "stop-all".to_owned(), uid: "1f2e3d4c-0000".to_owned(), generation: 3 };
        assert_eq!(seen.borrow()[..], [stop_all]);
    }
}
