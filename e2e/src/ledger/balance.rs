//! What the books say in the end.

use std::collections::BTreeMap;

use serde::Serialize;

/// What the books say.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Balance {
    /// Answered 200.
    pub accepted: u64,
    /// Those of them that each agent of their tenant has received.
    pub received: u64,
    /// Those that some agent of the tenant has not.
    pub missing: u64,
    /// Received, though no answer came before the process was killed.
    pub unanswered_but_kept: u64,
    /// Acknowledgements sent.
    pub acked: u64,
    /// Webhooks sent again although the first answer may only have been lost.
    pub resent: u64,
    /// Deliveries beyond an agent's first of an event.
    pub repeats: u64,
    /// Those of them whose attempt was told as 1.
    pub unmarked: u64,
    /// Answered 503.
    pub refused: u64,
    /// Received, but neither accepted nor given up without an answer. While answers are under way some may be.
    pub unexplained: u64,
    /// What must never happen, and how often it did.
    pub faults: BTreeMap<&'static str, u64>,
    /// The first of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_fault: Option<String>,
}

impl Balance {
    /// Whether nothing is missing and nothing happened that must not.
    pub fn is_even(&self) -> bool {
        self.missing == 0 && self.unexplained == 0 && self.faults.is_empty()
    }

    /// Adds what is wrong to what went wrong already; `missing` are examples.
    pub fn complain(&self, missing: &[String], failures: &mut Vec<String>) {
        if self.missing > 0 {
            failures.push(format!("{} missing, such as {}", self.missing, missing.join(", ")));
        }
        // What broke off leaves some without an answer.
        if self.unexplained > 0 && failures.is_empty() {
            failures.push(format!("{} were received that were never accepted", self.unexplained));
        }
        for (fault, times) in &self.faults {
            let first = self.first_fault.as_deref().unwrap_or_default();
            failures.push(format!("{times} times {fault}; the first fault: {first}"));
        }
    }

    /// Both, of books that have no event in common.
    #[must_use]
    pub fn plus(mut self, other: Self) -> Self {
        self.accepted += other.accepted;
        self.received += other.received;
        self.missing += other.missing;
        self.unanswered_but_kept += other.unanswered_but_kept;
        self.acked += other.acked;
        self.resent += other.resent;
        self.repeats += other.repeats;
        self.unmarked += other.unmarked;
        self.refused += other.refused;
        self.unexplained += other.unexplained;
        for (fault, times) in other.faults {
            *self.faults.entry(fault).or_default() += times;
        }
        self.first_fault = self.first_fault.or(other.first_fault);
        self
    }
}
