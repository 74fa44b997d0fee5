//! What can be wrong with a rule, and what it then makes of what it is shown and of what it keeps.

use nexus_core::stop::{AlarmKind, Engagement, EngagementName, Latch, Policy, Targets, Told};
use serde_json::{Value, json};

/// What is wrong with a rule, by what it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    AbsenceReleases,
    AnotherObjectReleases,
    AnotherObjectReleasesByLaterNames,
    VeryNameOnAnotherObjectIsIgnored,
    AnotherPolicyReleases,
    ReleaseNeedsNoName,
    EarlierNameReleases,
    NameToComeReleases,
    PassedNameIsIgnored,
    OneNameReleasesAll,
    ReleaseFromBeforeCounts,
    LateSightShowsReleaseGone,
    RenewalDoesNotLookAtRelease,
    OlderGenerationNames,
    ReleasedStopIsIgnoredWhenSeen,
    TargetsNarrow,
    OrderWeakens,
    RelabelledRun,
    LaterPoliciesAreIgnored,
    TighteningDoesNothing,
    TighteningReleases,
    UnknownRuns,
    WordIsKnowledge,
    WordIsIgnored,
    WordWidensNothing,
    WordReplaces,
    WordReleases,
    WordComesBack,
    WordForgetsWhatStood,
    LookBesideWordIsIgnored,
    LookBesideWordIsForgotten,
    HearsayIsSeen,
    NoAlarmOfAbsence,
    NoAlarmOfAnotherObject,
    NoAlarmOfRestore,
    NoAlarmOfWithdrawal,
    NoAlarmOfHearsay,
    NoAlarmOfNarrowing,
    NoAlarmOfRelabelling,
    ChangeIsNotSaid,
}

impl Fault {
    pub(crate) const ALL: [Self; 40] = [
        Self::AbsenceReleases,
        Self::AnotherObjectReleases,
        Self::AnotherObjectReleasesByLaterNames,
        Self::VeryNameOnAnotherObjectIsIgnored,
        Self::AnotherPolicyReleases,
        Self::ReleaseNeedsNoName,
        Self::EarlierNameReleases,
        Self::NameToComeReleases,
        Self::PassedNameIsIgnored,
        Self::OneNameReleasesAll,
        Self::ReleaseFromBeforeCounts,
        Self::LateSightShowsReleaseGone,
        Self::RenewalDoesNotLookAtRelease,
        Self::OlderGenerationNames,
        Self::ReleasedStopIsIgnoredWhenSeen,
        Self::TargetsNarrow,
        Self::OrderWeakens,
        Self::RelabelledRun,
        Self::LaterPoliciesAreIgnored,
        Self::TighteningDoesNothing,
        Self::TighteningReleases,
        Self::UnknownRuns,
        Self::WordIsKnowledge,
        Self::WordIsIgnored,
        Self::WordWidensNothing,
        Self::WordReplaces,
        Self::WordReleases,
        Self::WordComesBack,
        Self::WordForgetsWhatStood,
        Self::LookBesideWordIsIgnored,
        Self::LookBesideWordIsForgotten,
        Self::HearsayIsSeen,
        Self::NoAlarmOfAbsence,
        Self::NoAlarmOfAnotherObject,
        Self::NoAlarmOfRestore,
        Self::NoAlarmOfWithdrawal,
        Self::NoAlarmOfHearsay,
        Self::NoAlarmOfNarrowing,
        Self::NoAlarmOfRelabelling,
        Self::ChangeIsNotSaid,
    ];

    /// What the rule makes of a list.
    pub(crate) fn misread(self, latch: &Latch, list: &[Policy]) -> Vec<Policy> {
        let mut list = list.to_vec();
        match self {
            Self::LaterPoliciesAreIgnored => list.truncate(1),
            Self::ReleasedStopIsIgnoredWhenSeen => list.retain(|policy| {
                !policy.stop || latch.released_upto(&policy.uid).is_none_or(|upto| upto < policy.generation)
            }),
            _ => latch.engagements().for_each(|engagement| self.misread_release(engagement, &mut list)),
        }
        list
    }

    /// What the rule takes for a release of an engagement.
    fn misread_release(self, engagement: &Engagement, list: &mut Vec<Policy>) {
        let own = engagement.name();
        let release = Policy {
            name: engagement.policy.clone(),
            uid: engagement.uid.clone(),
            generation: engagement.generation + 1,
            stop: false,
            release: Some(own.to_string()),
            reason: None,
            targets: Targets::default(),
            workloads: engagement.workloads,
            mirror: engagement.mirror,
        };
        if self == Self::AbsenceReleases && list.iter().all(|policy| policy.name != engagement.policy) {
            return list.push(release);
        }
        for policy in list.iter_mut().filter(|policy| !policy.stop) {
            let named = policy.release.as_deref().and_then(|text| text.parse::<EngagementName>().ok());
            let names = |what: &dyn Fn(&EngagementName) -> bool| named.as_ref().is_some_and(what);
            let very = names(&|named| *named == own);
            let later = !very && names(&|named| named.reaches(&own));
            let earlier = !very && names(&|named| own.reaches(named));
            let to_come = later && names(&|named| named.generation() >= policy.generation);
            let (same_policy, same_object) = (policy.name == engagement.policy, policy.uid == engagement.uid);
            let releases = match self {
                Self::AnotherObjectReleases => same_policy && !same_object && !very,
                Self::AnotherObjectReleasesByLaterNames => same_policy && !same_object && later,
                Self::AnotherPolicyReleases => !same_policy && very,
                Self::ReleaseNeedsNoName => same_object && named.is_none(),
                Self::EarlierNameReleases => same_object && earlier,
                Self::NameToComeReleases => same_object && to_come,
                _ => false,
            };
            if releases {
                *policy = release.clone();
            }
            match self {
                Self::VeryNameOnAnotherObjectIsIgnored if !same_object && very => policy.release = None,
                Self::PassedNameIsIgnored if same_object && later => policy.release = None,
                _ => {}
            }
        }
    }

    /// What the rule hears of a word.
    pub(crate) fn mishear(self, latch: &Latch, told: &[Told]) -> Vec<Told> {
        let held = |told: &&Told| latch.engagements().any(|engagement| engagement.uid == told.uid());
        match self {
            Self::WordIsIgnored => Vec::new(),
            Self::WordWidensNothing => told.iter().filter(|told| !held(told)).cloned().collect(),
            Self::WordForgetsWhatStood => {
                let forget = |told: &Told| {
                    let mut word: Value = serde_json::from_str(&told.to_json()).unwrap();
                    word["engagement"]["staleRelease"].take();
                    Told::parse(told.uid(), &word.to_string()).unwrap()
                };
                told.iter().map(forget).collect()
            }
            _ => told.to_vec(),
        }
    }

    /// What the rule makes of the latch after it has seen a list.
    pub(crate) fn spoil_seen(self, before: &Latch, latch: &mut Latch, list: &[Policy]) {
        if self == Self::OneNameReleasesAll && before.engagements().count() > latch.engagements().count() {
            return edit(latch, |latch| latch["engagements"] = json!({}));
        }
        for policy in list.iter().filter(|policy| policy.stop) {
            edit_engagement(latch, &policy.uid, |engagement| match self {
                Self::OlderGenerationNames => engagement["generation"] = json!(policy.generation),
                Self::TargetsNarrow => {
                    engagement["scopes"] = json!([policy.targets]);
                    engagement["agents"] = json!([]);
                }
                Self::OrderWeakens => {
                    engagement["workloads"] = json!(policy.workloads);
                    engagement["mirror"] = json!(policy.mirror);
                }
                Self::RenewalDoesNotLookAtRelease => {
                    let stale = serde_json::to_value(before).unwrap()["engagements"][&policy.uid].clone();
                    if let Some(before) = stale.as_object() {
                        engagement["staleRelease"] = before.get("staleRelease").cloned().unwrap_or_default();
                    }
                }
                _ => {}
            });
        }
    }

    /// What the rule makes of the latch after each message.
    pub(crate) fn spoil(self, latch: &mut Latch) {
        match self {
            Self::WordComesBack => edit(latch, |latch| latch["released"] = json!([])),
            Self::ReleaseFromBeforeCounts => {
                edit_each(latch, |engagement| engagement["staleRelease"] = Value::Null)
            }
            Self::RelabelledRun => edit_each(latch, |engagement| engagement["agents"] = json!([])),
            Self::HearsayIsSeen => edit_each(latch, |engagement| engagement["heard"] = json!(false)),
            _ => {}
        }
    }

    pub(crate) fn silences(self, what: &AlarmKind) -> bool {
        match what {
            AlarmKind::Absent => self == Self::NoAlarmOfAbsence,
            AlarmKind::Recreated => self == Self::NoAlarmOfAnotherObject,
            AlarmKind::GenerationWentBack => self == Self::NoAlarmOfRestore,
            AlarmKind::NotReleased | AlarmKind::StaleRelease | AlarmKind::WrongRelease { .. } => {
                self == Self::NoAlarmOfWithdrawal
            }
            AlarmKind::Narrowed => self == Self::NoAlarmOfNarrowing,
            AlarmKind::Unmatched { .. } => self == Self::NoAlarmOfRelabelling,
            AlarmKind::UnknownHere | AlarmKind::NotOrderedHere => self == Self::NoAlarmOfHearsay,
        }
    }
}

/// Changes a latch as it is written.
pub(crate) fn edit(latch: &mut Latch, change: impl FnOnce(&mut Value)) {
    let mut written = serde_json::to_value(&*latch).unwrap();
    change(&mut written);
    *latch = serde_json::from_value(written).unwrap();
}

pub(crate) fn edit_engagement(latch: &mut Latch, uid: &str, change: impl FnOnce(&mut Value)) {
    if latch.engagements().any(|engagement| engagement.uid == uid) {
        edit(latch, |latch| change(&mut latch["engagements"][uid]));
    }
}

fn edit_each(latch: &mut Latch, mut change: impl FnMut(&mut Value)) {
    let uids: Vec<_> = latch.engagements().map(|engagement| engagement.uid.clone()).collect();
    uids.iter().for_each(|uid| edit_engagement(latch, uid, &mut change));
}
