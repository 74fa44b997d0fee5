//! The stop switch of a process: the folder's NexusPolicies, the patches of an admin, and the lane that they engage.
//!
//! Stop policies have locks of their own. A stop by command takes only one that is held for moments, never over
//! a read, a compile or a write: it is in force before anything waits for a disk. A stop by file is in force
//! once the folder is read, before it is compiled.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use anyhow::Context as _;
use nexus_core::stop::{EngagementName, Heard, Policy, Told};
use nexus_runtime::lane::{KnownAgent, StopGate, StopLane};

use super::control::{lock, touched};

use crate::folder::{FilePolicy, PolicyError, PolicyStore};

/// Why the stop switch did not turn as asked.
#[derive(Debug, thiserror::Error)]
pub enum SwitchError {
    /// The policy's name is none.
    #[error("cannot turn the switch")]
    Name(#[source] PolicyError),
    /// The release does not fit what is engaged.
    #[error("{0}")]
    Refused(String),
    /// It cannot be written.
    #[error("the stop is in force, but it cannot be kept over a restart")]
    StopNotKept(#[source] anyhow::Error),
    /// It cannot be written.
    #[error("the stop holds: its release cannot be kept; it may take effect by itself once it can")]
    ReleaseNotKept(#[source] anyhow::Error),
}

/// Turns the lane by what the folder and an admin say.
pub struct Switch {
    /// Held for moments only.
    policies: Mutex<PolicyStore>,
    /// Held over whatever releases, and over every write of policies. Stops do not wait for it.
    order: Mutex<()>,
    lane: Arc<StopLane>,
}

impl Switch {
    /// Reads what was kept of policies in this file.
    pub fn open(policies: &Path, lane: StopLane) -> anyhow::Result<Self> {
        let policies = PolicyStore::open(policies).context("cannot read what is kept of policies")?;
        Ok(Self { policies: Mutex::new(policies), order: Mutex::new(()), lane: Arc::new(lane) })
    }

    /// What all must ask who act for an agent.
    pub fn gate(&self) -> StopGate {
        self.lane.gate()
    }

    /// The policies as they were seen last.
    pub fn seen(&self) -> Arc<[Policy]> {
        self.lane.seen()
    }

    /// Tells which agents there are.
    pub fn know(&self, agents: Vec<KnownAgent>) {
        if let Err(error) = self.lane.know(agents) {
            tracing::error!(
                error = format!("{:#}", anyhow::Error::from(error)),
                "cannot keep the stop latch"
            );
        }
    }

    /// Orders a stop on behalf of an admin. Blocks on the disk, but only once the stop is in force.
    pub fn engage(&self, policy: &str, reason: Option<String>) -> Result<(), SwitchError> {
        let current = lock(&self.policies).engage(policy, reason).map_err(SwitchError::Name)?;
        let observed = self.lane.observe(&current).map_err(anyhow::Error::from);
        let kept = self.keep(&lock(&self.order)).map_err(anyhow::Error::from);
        observed.and(kept).map_err(SwitchError::StopNotKept)
    }

    /// Releases an engagement on behalf of an admin. Blocks on the disk.
    pub fn release(&self, policy: &str, engagement: &str) -> Result<(), SwitchError> {
        let _order = lock(&self.order);
        let current = loop {
            let name = self.releasable(policy, engagement)?;
            let before = lock(&self.policies).clone();
            let mut after = before.clone();
            let current = after.release(policy, &name).map_err(|error| match error {
                PolicyError::Name { .. } => SwitchError::Name(error),
                PolicyError::OrderedByFile { .. } => SwitchError::Refused(error.to_string()),
                _ => SwitchError::ReleaseNotKept(error.into()),
            })?;
            let mut store = lock(&self.policies);
            // A stop that was ordered meanwhile must not be overwritten: look again whether the name still holds.
            if *store == before {
                *store = after;
                break current;
            }
        };
        let merged =
            self.lane.observe(&current).map_err(|error| SwitchError::ReleaseNotKept(error.into()))?;
        if merged.released.iter().all(|name| name.to_string() != engagement) {
            let why = format!(
                "`{engagement}` is not released, as the policy was changed meanwhile; see `nexus status`"
            );
            return Err(SwitchError::Refused(why));
        }
        Ok(())
    }

    /// The engagement of this name, if it is one of the policy's.
    fn releasable(&self, policy: &str, engagement: &str) -> Result<EngagementName, SwitchError> {
        let latch = self.lane.gate().latch();
        let held: Vec<_> = latch.engagements().map(|held| (held.name(), &held.policy)).collect();
        let refused = |why| Err(SwitchError::Refused(why));
        match held.iter().find(|(name, _)| name.to_string() == engagement) {
            Some((name, owner)) if *owner == policy => Ok(name.clone()),
            Some((_, owner)) => {
                refused(format!("`{engagement}` is of policy {owner}: give --policy {owner}"))
            }
            None if held.is_empty() => refused("no stop is engaged".to_owned()),
            None => {
                let names: Vec<_> = held.iter().map(|(name, _)| name.to_string()).collect();
                refused(format!("`{engagement}` is not engaged; engaged: {}", names.join(", ")))
            }
        }
    }

    /// Takes in the policies of a reading.
    pub fn observe(&self, policies: &[FilePolicy]) {
        let order = lock(&self.order);
        let current = lock(&self.policies).observe(policies);
        let observed = self.lane.observe(&current).err().map(anyhow::Error::from);
        let kept = self.keep(&order).err().map(anyhow::Error::from);
        if observed.is_none() {
            touched("nexus_stop_read_timestamp_seconds");
        }
        for error in observed.into_iter().chain(kept) {
            tracing::error!(
                error = format!("{error:#}"),
                "cannot keep the state of the stop switch; trying again"
            );
        }
    }

    /// Takes in what others tell of stops, and waits for nobody; [`Switch::keep_heard`] comes next.
    pub fn hear(&self, told: &[Told]) -> Heard {
        self.lane.hear(told)
    }

    /// Writes what was heard. Blocks on the disk.
    pub fn keep_heard(&self) {
        if let Err(error) = self.lane.keep() {
            // The next look at the policies tries again.
            let error = format!("{:#}", anyhow::Error::from(error));
            tracing::error!(error, "cannot keep the stop latch");
        }
    }

    /// Writes the policies as they stand, without holding up those who order a stop.
    fn keep(&self, _order: &MutexGuard<'_, ()>) -> Result<(), PolicyError> {
        let mut copy = lock(&self.policies).clone();
        let before = copy.clone();
        copy.save()?;
        let mut store = lock(&self.policies);
        if *store == before {
            *store = copy;
        }
        Ok(())
    }
}
