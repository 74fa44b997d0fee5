//! What is checked: the rule of the latch, as whoever uses it sees it. Broken ones are checked beside the real one.

use std::fmt::Debug;

use nexus_core::stop::{Alarm, Heard, Latch, Merged, Policy, Subject, Told, Verdict};

/// A rule, and all that a pod knows by it.
pub(crate) trait Rule: Clone + Debug {
    fn tighten(&mut self, list: &[Policy], directory: &[Subject<'_>]) -> Merged;

    fn merge(&mut self, list: &[Policy], directory: &[Subject<'_>]) -> Merged;

    fn hear(&mut self, told: &[Told], look: Option<&[Policy]>, directory: &[Subject<'_>]) -> Heard;

    /// What it holds.
    fn latch(&self) -> &Latch;

    fn decide(&self, subject: &Subject<'_>) -> Verdict {
        self.latch().decide(subject)
    }

    fn alarms(&self) -> Vec<Alarm> {
        self.latch().alarms().to_vec()
    }
}

impl Rule for Latch {
    fn tighten(&mut self, list: &[Policy], directory: &[Subject<'_>]) -> Merged {
        Self::tighten(self, list, directory.iter().copied())
    }

    fn merge(&mut self, list: &[Policy], directory: &[Subject<'_>]) -> Merged {
        Self::merge(self, list, directory.iter().copied())
    }

    fn hear(&mut self, told: &[Told], look: Option<&[Policy]>, directory: &[Subject<'_>]) -> Heard {
        Self::hear(self, told, look, directory.iter().copied())
    }

    fn latch(&self) -> &Latch {
        self
    }
}
