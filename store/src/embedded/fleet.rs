//! The gateways of one process: in memory, since all that they hold ends with it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nexus_core::id::{GatewayId, SessionId, TenantKey};

use super::EmbeddedLog;
use crate::bus::fleet::{Claim, Fleet};
use crate::bus::{BusError, Epoch};

/// Who lives, and whose is what.
#[derive(Debug, Default)]
pub(crate) struct Table {
    all: Mutex<All>,
    /// Held over the writing of an epoch, so that two who claim do not both believe that they were first.
    owners: tokio::sync::Mutex<HashMap<(TenantKey, u16), (GatewayId, Epoch)>>,
}

#[derive(Debug, Default)]
struct All {
    living: BTreeMap<GatewayId, u64>,
    buried: BTreeSet<GatewayId>,
    sessions: BTreeMap<GatewayId, HashMap<SessionId, TenantKey>>,
}

impl Table {
    pub(crate) fn enter(&self, gateway: GatewayId) -> bool {
        let mut all = self.all();
        let buried = all.buried.contains(&gateway);
        if !buried {
            all.living.entry(gateway).or_default();
        }
        !buried
    }

    pub(crate) fn beat(&self, gateway: GatewayId, heard: u64) -> Option<Fleet> {
        let mut all = self.all();
        let beats = all.living.get_mut(&gateway)?;
        *beats += u64::from(*beats == heard);
        let living = all.living.iter().map(|(gateway, beats)| (*gateway, *beats)).collect();
        Some(Fleet { living, buried: all.buried.iter().copied().collect() })
    }

    pub(crate) fn bury(&self, gateway: GatewayId, beats: Option<u64>) -> bool {
        let mut all = self.all();
        let found = all.living.get(&gateway).copied();
        let dies = found.is_some() && (beats.is_none() || found == beats);
        if dies {
            all.living.remove(&gateway);
            all.buried.insert(gateway);
        }
        dies
    }

    pub(crate) fn hold_session(&self, gateway: GatewayId, tenant: &TenantKey, session: SessionId) -> bool {
        let mut all = self.all();
        let lives = all.living.contains_key(&gateway);
        if lives {
            all.sessions.entry(gateway).or_default().insert(session, tenant.clone());
        }
        lives
    }

    pub(crate) fn drop_session(&self, gateway: GatewayId, session: SessionId) {
        let mut all = self.all();
        if let Some(sessions) = all.sessions.get_mut(&gateway) {
            sessions.remove(&session);
            if sessions.is_empty() {
                all.sessions.remove(&gateway);
            }
        }
    }

    pub(crate) fn sessions_of(&self, gateway: GatewayId, limit: usize) -> Vec<(SessionId, TenantKey)> {
        let all = self.all();
        let sessions = all.sessions.get(&gateway).into_iter().flatten();
        sessions.take(limit).map(|(session, tenant)| (*session, tenant.clone())).collect()
    }

    pub(crate) fn forget(&self, gateway: GatewayId) -> bool {
        let mut all = self.all();
        let empty = !all.sessions.contains_key(&gateway);
        if empty {
            all.buried.remove(&gateway);
        }
        empty
    }

    fn all(&self) -> MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EmbeddedLog {
    pub(crate) async fn acquire(&self, tenant: &TenantKey, partition: u16) -> Result<Epoch, BusError> {
        // Whoever takes it without a claim is no gateway that others could ask for it.
        let mut owners = self.fleet.owners.lock().await;
        owners.remove(&(tenant.clone(), partition));
        self.next_epoch(tenant, partition).await
    }

    pub(crate) async fn claim(
        &self,
        tenant: &TenantKey,
        partition: u16,
        gateway: GatewayId,
        living: &[GatewayId],
    ) -> Result<Claim, BusError> {
        let mut owners = self.fleet.owners.lock().await;
        let key = (tenant.clone(), partition);
        match owners.get(&key) {
            Some((owner, epoch)) if *owner == gateway => {
                self.shared.check()?;
                return Ok(Claim::Ours(*epoch));
            }
            Some((owner, _)) if living.contains(owner) => return Ok(Claim::Theirs(*owner)),
            _ => {}
        }
        owners.remove(&key);
        let epoch = self.next_epoch(tenant, partition).await?;
        owners.insert(key, (gateway, epoch));
        Ok(Claim::Ours(epoch))
    }

    pub(crate) async fn yield_partition(
        &self,
        tenant: &TenantKey,
        partition: u16,
        gateway: GatewayId,
    ) -> Result<(), BusError> {
        let mut owners = self.fleet.owners.lock().await;
        let key = (tenant.clone(), partition);
        if owners.get(&key).is_some_and(|(owner, _)| *owner == gateway) {
            owners.remove(&key);
        }
        Ok(())
    }

    /// The table, while the log is open.
    pub(crate) fn fleet(&self) -> Result<&Table, BusError> {
        self.shared.check()?;
        Ok(&self.fleet)
    }
}
