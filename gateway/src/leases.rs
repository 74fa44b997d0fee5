//! Leases: which sessions may hold events of the bus, so that whatever ends a session returns them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nexus_core::id::{SessionId, TenantKey};
use nexus_store::bus::{Bus, BusError};
use tokio::sync::Semaphore;

use crate::backoff::Backoff;
use crate::chain;

/// Sessions whose events are returned at the same time: a stop ends thousands at once.
const AT_ONCE: usize = 64;

/// The sessions that may hold events. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Leases(Arc<Table>);

struct Table {
    bus: Bus,
    live: Mutex<HashMap<SessionId, TenantKey>>,
    permits: Semaphore,
}

impl Leases {
    pub(crate) fn new(bus: Bus) -> Self {
        Self(Arc::new(Table {
            bus,
            live: Mutex::default(),
            permits: Semaphore::new(AT_ONCE),
        }))
    }

    /// Notes a session, before it pulls for the first time.
    pub(crate) fn hold(&self, tenant: &TenantKey, session: SessionId) {
        self.live().insert(session, tenant.clone());
    }

    /// Returns what a session holds; tries until the bus has done it or is closed. Nothing is to be done if it
    /// was done before.
    pub(crate) async fn give_back(&self, session: SessionId) {
        let Some(tenant) = self.live().get(&session).cloned() else {
            return;
        };
        let Ok(_permit) = self.0.permits.acquire().await else {
            return;
        };
        let mut backoff = Backoff::new();
        loop {
            match self.0.bus.end_session(&tenant, session).await {
                // A bus that is closed holds nothing for anybody: opening it returns all.
                Ok(_) | Err(BusError::Closed) => break,
                Err(error) => {
                    metrics::counter!("nexus_return_errors_total", "error" => error.label()).increment(1);
                    tracing::warn!(%session, error = chain(&error), "cannot return a session's events; trying again");
                    backoff.wait().await;
                }
            }
        }
        self.live().remove(&session);
    }

    /// Returns what every remaining session holds.
    pub(crate) async fn give_back_all(&self) {
        let left: Vec<_> = self.live().keys().copied().collect();
        for session in left {
            self.give_back(session).await;
        }
    }

    /// A guard that returns what is left when its owner ends in any other way than the planned one.
    pub(crate) fn last_resort(&self) -> LastResort {
        LastResort(self.clone())
    }

    fn live(&self) -> MutexGuard<'_, HashMap<SessionId, TenantKey>> {
        self.0.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns on drop what sessions that were cut off still hold.
pub(crate) struct LastResort(Leases);

impl Drop for LastResort {
    fn drop(&mut self) {
        if self.0.live().is_empty() {
            return;
        }
        let leases = self.0.clone();
        // The role was aborted while the process and its bus go on, so nobody is left who could own this task.
        // It is bounded in time and in work, and without it the events would wait for a restart.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                // Aborted sessions end at their next await; one that was about to pull has done so by then.
                tokio::time::sleep(Duration::from_millis(100)).await;
                let _ = tokio::time::timeout(Duration::from_secs(30), leases.give_back_all()).await;
            });
        }
    }
}
