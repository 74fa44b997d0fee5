//! Rules that are broken on purpose, each in one way. A check that lets one of them pass is worth nothing.
//!
//! Each is the real rule, shown something else than what stands, or made to forget or to change by way of its file what it
//! should keep.

use nexus_core::stop::{Alarm, Engagement, Heard, Latch, Merged, Policy, Subject, Told, Verdict};
use serde_json::{Value, json};

use super::fault::{Fault, edit, edit_engagement};
use super::rule::Rule;

/// A rule with a fault.
#[derive(Debug, Clone)]
pub(crate) struct Broken {
    pub(crate) fault: Fault,
    pub(crate) latch: Latch,
}

impl Broken {
    /// What was done, so that it is the fault that is found and not what is said of it.
    fn done(&mut self, before: &Latch) -> Merged {
        self.fault.spoil(&mut self.latch);
        let gone = |from: &Latch, to: &Latch| {
            let kept = |one: &&Engagement| !to.engagements().any(|other| other.uid == one.uid);
            from.engagements().filter(kept).map(Engagement::name).collect()
        };
        Merged {
            engaged: gone(&self.latch, before),
            released: gone(before, &self.latch),
            changed: *before != self.latch && self.fault != Fault::ChangeIsNotSaid,
        }
    }
}

impl Rule for Broken {
    fn tighten(&mut self, list: &[Policy], directory: &[Subject<'_>]) -> Merged {
        let before = self.latch.clone();
        let list = match self.fault {
            Fault::TighteningReleases => return self.merge(list, directory),
            Fault::TighteningDoesNothing => Vec::new(),
            fault => fault.misread(&self.latch, list),
        };
        self.latch.tighten(&list, directory.iter().copied());
        self.fault.spoil_seen(&before, &mut self.latch, &list);
        self.done(&before)
    }

    fn merge(&mut self, list: &[Policy], directory: &[Subject<'_>]) -> Merged {
        let before = self.latch.clone();
        let list = self.fault.misread(&self.latch, list);
        if self.fault == Fault::LateSightShowsReleaseGone {
            for policy in list.iter().filter(|policy| !policy.stop) {
                edit_engagement(&mut self.latch, &policy.uid, |engagement| {
                    if engagement["staleRelease"] != json!(policy.release) {
                        engagement["staleRelease"] = Value::Null;
                    }
                });
            }
        }
        self.latch.merge(&list, directory.iter().copied());
        self.fault.spoil_seen(&before, &mut self.latch, &list);
        self.done(&before)
    }

    fn hear(&mut self, told: &[Told], look: Option<&[Policy]>, directory: &[Subject<'_>]) -> Heard {
        let before = self.latch.clone();
        let told = self.fault.mishear(&self.latch, told);
        let look = look.filter(|_| self.fault != Fault::LookBesideWordIsIgnored);
        let surplus = self.latch.hear(&told, look, directory.iter().copied()).surplus;
        match self.fault {
            Fault::WordIsKnowledge => edit(&mut self.latch, |latch| latch["known"] = json!(true)),
            Fault::WordReleases if self.latch.is_known() => {
                let releases: Vec<_> =
                    look.iter().copied().flatten().filter(|policy| !policy.stop).cloned().collect();
                self.latch.merge(&releases, []);
            }
            Fault::WordReplaces => told.iter().for_each(|told| {
                let word: Value = serde_json::from_str(&told.to_json()).unwrap();
                edit_engagement(&mut self.latch, told.uid(), |engagement| {
                    *engagement = word["engagement"].clone()
                });
            }),
            Fault::LookBesideWordIsForgotten => {
                let released = serde_json::to_value(&before).unwrap()["released"].clone();
                let released = if released.is_null() { json!([]) } else { released };
                edit(&mut self.latch, |latch| latch["released"] = released);
            }
            _ => {}
        }
        Heard { merged: self.done(&before), surplus }
    }

    fn latch(&self) -> &Latch {
        &self.latch
    }

    fn decide(&self, subject: &Subject<'_>) -> Verdict {
        match self.latch.decide(subject) {
            Verdict::Stopped { engagement: None, .. } if self.fault == Fault::UnknownRuns => Verdict::Run,
            verdict => verdict,
        }
    }

    fn alarms(&self) -> Vec<Alarm> {
        let alarms = self.latch.alarms().iter();
        alarms.filter(|alarm| !self.fault.silences(&alarm.what)).cloned().collect()
    }
}
