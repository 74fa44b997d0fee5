//! Readiness: a guard for everything that start-up waits for, named while it is awaited.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

/// Whether a pod is ready, and what it still waits for.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<Mutex<BTreeSet<String>>>);

impl Readiness {
    /// Something that must come first. The pod is not ready until the guard is dropped.
    #[must_use = "dropping the guard at once makes the pod ready"]
    pub fn guard(&self, name: impl Into<String>) -> ReadyGuard {
        let name = name.into();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone());
        ReadyGuard { readiness: self.clone(), name }
    }

    /// What is still awaited, sorted; empty when the pod is ready.
    #[must_use]
    pub fn awaited(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

/// Holds readiness back until it is dropped.
#[derive(Debug)]
pub struct ReadyGuard {
    readiness: Readiness,
    name: String,
}

impl Drop for ReadyGuard {
    fn drop(&mut self) {
        self.readiness.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_is_ready_when_nothing_is_awaited() {
        let readiness = Readiness::default();
        let (bus, config) = (readiness.guard("bus"), readiness.guard("config"));
        assert_eq!(readiness.awaited(), ["bus", "config"]);
        drop(bus);
        assert_eq!(readiness.awaited(), ["config"]);
        drop(config);
        assert!(readiness.awaited().is_empty());
    }
}
