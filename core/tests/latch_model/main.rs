//! The rule of the latch, checked against what is promised of it, whatever is lost, late, repeated or out of order; and the
//! check, against rules that are broken on purpose.
//!
//! 1. [`history`]: people order, renew, withdraw, misname and release stops, delete the policy, make it anew, restore it from a
//!    backup, change whom it means. All histories of a few edits are gone through, none is drawn by lot.
//! 2. [`explore`]: each state that once was can reach a pod by three paths, a full list, the stops of a list that are put in
//!    force before the rest, and a word of another pod; at any time, in any order, once, again and again, or never. All that a
//!    pod can come to know is found, so sequences of six messages are checked, and all longer ones.
//! 3. [`check`]: after each message who may run, what is engaged by which name, what was said to have changed and the alarms
//!    are as [`spec`] has it, and nothing ends that nobody named.
//! 4. [`settle`]: whoever has seen the policies as they stand does what the admin wants, and every two pods agree.
//! 5. [`broken`]: each fault is found by that.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed expectation is how a test reports")]
#![expect(clippy::print_stdout, reason = "how much was checked, and how each fault was found")]

mod broken;
mod check;
mod explore;
mod fault;
mod history;
mod rule;
mod settle;
mod spec;
mod world;

use nexus_core::stop::Latch;

use self::broken::Broken;
use self::explore::{Count, explore};
use self::fault::Fault;
use self::history::{Edit, History, Manifest};
use self::world::Whom;

const STOP: Edit = Edit::Stop(Whom::Everybody);

/// Edits of one subject, and how many of them make the longest history.
struct Family {
    edits: &'static [Edit],
    most: usize,
}

/// What must be named, and how often.
const RENEWALS: Family = Family { edits: &[STOP, Edit::Release, Edit::Withdraw, Edit::Misname], most: 5 };

/// Names that are written before their stop, left, and taken out.
const NAMES: Family = Family {
    edits: &[STOP, Edit::Release, Edit::Withdraw, Edit::Misname, Edit::Arm(0), Edit::Arm(1), Edit::TakeOut],
    most: 4,
};

/// Objects that come and go.
const OBJECTS: Family = Family {
    edits: &[
        STOP,
        Edit::Release,
        Edit::Withdraw,
        Edit::Arm(1),
        Edit::Delete,
        Edit::Create(Manifest::Empty),
        Edit::Create(Manifest::Armed),
        Edit::Create(Manifest::Stopping),
        Edit::Restore(0),
        Edit::Restore(1),
        Edit::Restore(2),
        Edit::ReleaseElsewhere,
    ],
    most: 4,
};

/// Whom stops mean.
const PEOPLE: Family = Family {
    edits: &[STOP, Edit::Stop(Whom::Ai), Edit::Stop(Whom::Lab), Edit::Release, Edit::Relabel],
    most: 4,
};

/// Two policies.
const POLICIES: Family = Family {
    edits: &[
        STOP,
        Edit::Stop(Whom::Ai),
        Edit::Release,
        Edit::Withdraw,
        Edit::Delete,
        Edit::StopElsewhere,
        Edit::ReleaseElsewhere,
    ],
    most: 3,
};

/// Checks all histories of a family, longer ones if `NEXUS_MODEL_EDITS` says so. At least so many are there, end released and
/// take so many steps, lest nothing be checked unnoticed.
fn keeps_its_promises(name: &str, family: &Family, [histories, released, steps]: [usize; 3]) {
    let more = std::env::var("NEXUS_MODEL_EDITS").map_or(0, |edits| edits.parse().unwrap());
    let mut all = Count::default();
    for history in History::all(family.edits, family.most.max(more)) {
        let count = explore(&Latch::default(), &history).unwrap_or_else(|wrong| panic!("{name}: {wrong}"));
        all.add(&count);
    }
    println!("{name}: {all}");
    let enough = all.histories >= histories && all.released >= released && all.steps >= steps;
    assert!(enough, "{name}: too little was checked: {all}");
}

#[test]
fn renewed_stops_keep_what_is_promised() {
    keeps_its_promises("renewals", &RENEWALS, [136, 1, 66_000]);
}

#[test]
fn names_keep_what_is_promised() {
    keeps_its_promises("names", &NAMES, [476, 1, 128_000]);
}

#[test]
fn objects_that_come_and_go_keep_what_is_promised() {
    keeps_its_promises("objects", &OBJECTS, [2577, 1, 618_000]);
}

#[test]
fn whom_a_stop_means_is_kept_as_promised() {
    keeps_its_promises("people", &PEOPLE, [455, 1, 417_000]);
}

#[test]
fn two_policies_keep_what_is_promised() {
    keeps_its_promises("policies", &POLICIES, [110, 1, 22_000]);
}

/// Three edits are enough to show each fault.
#[test]
fn every_broken_rule_is_caught() {
    let families = [RENEWALS, NAMES, OBJECTS, PEOPLE, POLICIES];
    let mut histories: Vec<_> = families.iter().flat_map(|family| History::all(family.edits, 3)).collect();
    histories.sort_by_key(|history| history.edits.len());
    let mut passed = Vec::new();
    for fault in Fault::ALL {
        let rule = Broken { fault, latch: Latch::default() };
        let wrong =
            histories.iter().enumerate().find_map(|(at, history)| Some((at, explore(&rule, history).err()?)));
        let Some((at, wrong)) = wrong else {
            passed.push(fault);
            continue;
        };
        let [what, people, ..] = wrong.lines().collect::<Vec<_>>()[..] else { unreachable!() };
        println!("{:<36} {at:>4} histories, then {what}; {}", format!("{fault:?}"), people.trim());
    }
    assert!(passed.is_empty(), "not caught: {passed:?}");
}
