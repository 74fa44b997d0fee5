//! The switch as a folder turns it: its NexusPolicies, and the patches of an admin.
//!
//! Stop policies have locks of their own. A stop by command takes only one that is held for moments, never over
//! a read, a compile or a write: it is in force before anything waits for a disk. A stop by file is in force
//! once the folder is read, before it is compiled.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use anyhow::Context as _;
use nexus_core::stop::EngagementName;

use super::Switch;
use crate::folder::{FilePolicy, PolicyError, PolicyStore};
use crate::role::control::{lock, touched};

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

/// Turns the switch by what the folder and an admin say.
pub struct FolderSwitch {
    /// Held for moments only.
    policies: Mutex<PolicyStore>,
    /// Held over whatever releases, and over every write of policies. Stops do not wait for it.
    order: Mutex<()>,
    switch: Arc<Switch>,
}

impl FolderSwitch {
    /// Reads what was kept of policies in this file.
    pub fn open(policies: &Path, switch: Arc<Switch>) -> anyhow::Result<Self> {
        let policies = PolicyStore::open(policies).context("cannot read what is kept of policies")?;
        Ok(Self { policies: Mutex::new(policies), order: Mutex::new(()), switch })
    }

    /// What it turns.
    pub fn switch(&self) -> &Arc<Switch> {
        &self.switch
    }

    /// Orders a stop on behalf of an admin. Blocks on the disk, but only once the stop is in force.
    pub fn engage(&self, policy: &str, reason: Option<String>) -> Result<(), SwitchError> {
        let current = lock(&self.policies).engage(policy, reason).map_err(SwitchError::Name)?;
        let observed = self.switch.look(&current).map_err(anyhow::Error::from);
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
        let merged = self.switch.look(&current).map_err(|error| SwitchError::ReleaseNotKept(error.into()))?;
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
        let latch = self.switch.gate().latch();
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
        let observed = self.switch.look(&current).err().map(anyhow::Error::from);
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
