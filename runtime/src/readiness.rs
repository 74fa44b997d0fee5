//! Readiness: a guard for everything that start-up waits for, named while it is awaited.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;

/// Whether a pod is ready, what it still waits for, and how much waits for it.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    awaited: BTreeSet<String>,
    backlog: BTreeMap<&'static str, Value>,
}

impl Readiness {
    /// Something that must come first. The pod is not ready until the guard is dropped.
    #[must_use = "dropping the guard at once makes the pod ready"]
    pub fn guard(&self, name: impl Into<String>) -> ReadyGuard {
        let name = name.into();
        self.state().awaited.insert(name.clone());
        ReadyGuard { readiness: self.clone(), name }
    }

    /// What is still awaited, sorted; empty when the pod is ready.
    #[must_use]
    pub fn awaited(&self) -> Vec<String> {
        self.state().awaited.iter().cloned().collect()
    }

    /// Shows how much waits in a queue beside whether the pod is ready; it changes nothing about that.
    pub fn show_backlog(&self, queue: &'static str, figures: Value) {
        self.state().backlog.insert(queue, figures);
    }

    /// What waits, by queue.
    #[must_use]
    pub fn backlog(&self) -> BTreeMap<&'static str, Value> {
        self.state().backlog.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
        self.readiness.state().awaited.remove(&self.name);
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
        readiness.show_backlog("spool", Value::from(7));
        drop(config);
        assert!(readiness.awaited().is_empty());
        assert_eq!(readiness.backlog(), [("spool", Value::from(7))].into());
    }
}
