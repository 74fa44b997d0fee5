use proptest::prelude::*;

use super::*;

pub(super) const UID: &str = "1f2e3d4c-0000-4000-8000-000000000001";
pub(super) const OTHER_UID: &str = "aaaa3d4c-0000-4000-8000-000000000002";

pub(super) fn policy(generation: u64) -> Policy {
    Policy {
        name: "stop-all".into(),
        uid: UID.into(),
        generation,
        stop: false,
        release: None,
        reason: None,
        targets: Targets::default(),
        workloads: Workloads::ScaleToZero,
        mirror: Mirror::Pause,
    }
}

pub(super) fn stop(generation: u64) -> Policy {
    Policy { stop: true, ..policy(generation) }
}

pub(super) fn release(generation: u64, named: &str) -> Policy {
    Policy { release: Some(named.into()), ..policy(generation) }
}

pub(super) struct Someone {
    tenant: TenantKey,
    pub(super) agent: AgentId,
    labels: Labels,
}

impl Someone {
    pub(super) fn new(tenant: &str, name: &str, squad: &str) -> Self {
        let tenant: TenantKey = tenant.parse().unwrap();
        let agent = AgentId::of(&tenant, name);
        Self { tenant, agent, labels: Labels::from([("squad".into(), squad.into())]) }
    }

    pub(super) fn subject(&self) -> Subject<'_> {
        Subject { tenant: &self.tenant, agent: self.agent, labels: &self.labels }
    }
}

pub(super) fn squad(name: &str) -> Targets {
    let match_labels = Labels::from([("squad".into(), name.into())]);
    Targets { tenants: vec![], agents: Selector { match_labels, ..Selector::default() } }
}

pub(super) fn anybody() -> Someone {
    Someone::new("acme/acme", "coder", "ai")
}

pub(super) fn runs(latch: &Latch) -> bool {
    latch.decide(&anybody().subject()).may_run()
}

/// A latch that has seen these lists, one after the other.
pub(super) fn seen(lists: &[&[Policy]]) -> Latch {
    let mut latch = Latch::default();
    for list in lists {
        latch.merge(list, []);
    }
    latch
}

#[test]
fn nothing_known_is_stopped_and_an_empty_list_is_knowledge() {
    assert!(!runs(&Latch::default()));
    assert!(runs(&seen(&[&[]])));
}

#[test]
fn a_stop_holds_until_it_is_released_by_name() {
    let mut latch = seen(&[&[stop(3)]]);
    assert!(!runs(&latch));
    for without in
        [policy(4), release(5, "1f2e3d4c-2"), release(6, "yes"), release(7, "1f2e3d4c-99"), release(8, "")]
    {
        latch.merge(&[without], []);
        assert!(!runs(&latch));
        assert_eq!(latch.alarms().len(), 1);
    }
    let merged = latch.merge(&[release(9, "1f2e3d4c-3")], []);
    assert_eq!(merged.released, ["1f2e3d4c-3".parse().unwrap()]);
    assert!(runs(&latch) && latch.alarms().is_empty());
}

#[test]
fn a_later_generation_that_the_object_has_passed_releases() {
    assert!(runs(&seen(&[&[stop(3)], &[release(6, "1f2e3d4c-5")]])));
    // It has not passed 6 yet: a name left in a manifest must not release stops to come.
    assert!(!runs(&seen(&[&[stop(3)], &[release(6, "1f2e3d4c-6")]])));
}

#[test]
fn a_release_does_not_outlive_its_engagement() {
    assert!(!runs(&seen(&[
        &[stop(3)],
        &[release(4, "1f2e3d4c-3")],
        &[Policy { stop: true, ..release(5, "1f2e3d4c-3") }]
    ])));
    assert!(!runs(&seen(&[&[stop(5)], &[release(6, "1f2e3d4c-3")]])));
}

#[test]
fn absence_recreation_and_older_backups_release_nothing_and_alarm() {
    let alarm_after = |list: &[Policy]| {
        let latch = seen(&[&[stop(5)], list]);
        assert!(!runs(&latch));
        latch.alarms()[0].what.clone()
    };
    assert_eq!(alarm_after(&[]), AlarmKind::Absent);
    assert_eq!(alarm_after(&[Policy { uid: OTHER_UID.into(), ..policy(1) }]), AlarmKind::Recreated);
    assert_eq!(alarm_after(&[policy(2)]), AlarmKind::GenerationWentBack);
    assert_eq!(alarm_after(&[policy(6)]), AlarmKind::NotReleased);
    assert_eq!(alarm_after(&[release(6, "x-1")]), AlarmKind::WrongRelease { named: "x-1".into() });
}

#[test]
fn another_object_releases_by_the_very_name_only() {
    let recreated = |named: &str| Policy { uid: OTHER_UID.into(), ..release(9, named) };
    assert!(!runs(&seen(&[&[stop(3)], &[recreated("1f2e3d4c-4")]])));
    assert!(!runs(&seen(&[&[stop(3)], &[recreated("aaaa3d4c-3")]])));
    assert!(runs(&seen(&[&[stop(3)], &[recreated("1f2e3d4c-3")]])));
    let elsewhere = Policy { name: "other".into(), ..recreated("1f2e3d4c-3") };
    assert!(!runs(&seen(&[&[stop(3)], &[elsewhere]])));
}

#[test]
fn after_a_restore_the_known_name_still_releases() {
    assert!(runs(&seen(&[&[stop(7)], &[policy(2)], &[release(3, "1f2e3d4c-7")]])));
}

#[test]
fn a_stop_after_a_restore_stops_although_its_generation_is_older() {
    let lists: [&[Policy]; 4] = [&[stop(7)], &[release(8, "1f2e3d4c-7")], &[policy(2)], &[stop(3)]];
    assert!(!runs(&seen(&lists)));
}

#[test]
fn stops_of_two_objects_need_two_releases() {
    let second = Policy { uid: OTHER_UID.into(), ..stop(1) };
    let mut latch = seen(&[&[stop(3)], &[second]]);
    latch.merge(&[Policy { uid: OTHER_UID.into(), ..release(2, "aaaa3d4c-1") }], []);
    assert!(!runs(&latch));
    latch.merge(&[Policy { uid: OTHER_UID.into(), ..release(3, "1f2e3d4c-3") }], []);
    assert!(runs(&latch));
}

#[test]
fn narrowed_targets_and_changed_labels_release_nobody() {
    let ann = Someone::new("acme/acme", "ann", "ai");
    let bob = Someone::new("acme/acme", "bob", "web");
    let mut latch = Latch::default();
    latch.merge(&[Policy { targets: squad("ai"), ..stop(1) }], [ann.subject(), bob.subject()]);
    assert!(!latch.decide(&ann.subject()).may_run());
    assert!(latch.decide(&bob.subject()).may_run());
    // Ann leaves the squad, then the policy means another one: she stays stopped, and so does whoever joins.
    let relabelled = Someone { labels: Labels::new(), ..Someone::new("acme/acme", "ann", "") };
    assert!(!latch.decide(&relabelled.subject()).may_run());
    let alarm = |latch: &Latch| latch.alarms().first().map(|alarm| alarm.what.clone());
    assert_eq!(alarm(&latch), None);
    latch.merge(&[Policy { targets: squad("ai"), ..stop(1) }], [relabelled.subject(), bob.subject()]);
    assert_eq!(alarm(&latch), Some(AlarmKind::Unmatched { agents: 1 }));
    latch.merge(&[Policy { targets: squad("ops"), ..stop(2) }], [relabelled.subject()]);
    assert_eq!(alarm(&latch), Some(AlarmKind::Narrowed));
    assert!(!latch.decide(&relabelled.subject()).may_run());
    assert!(!latch.decide(&Someone::new("acme/acme", "new", "ai").subject()).may_run());
    assert!(!latch.decide(&Someone::new("acme/acme", "oda", "ops").subject()).may_run());
    assert!(latch.decide(&bob.subject()).may_run());
}

#[test]
fn targets_that_were_widened_are_no_oddity() {
    let tenants = |names: &[&str]| Targets {
        tenants: names.iter().map(|name| name.parse().unwrap()).collect(),
        ..Targets::default()
    };
    let of_one = Targets { tenants: tenants(&["acme/acme"]).tenants, ..squad("ai") };
    let ways =
        [of_one.clone(), tenants(&["acme/acme"]), tenants(&["acme/lab", "acme/acme"]), Targets::default()];
    let mut latch = Latch::default();
    for (generation, targets) in (1..).zip(ways) {
        latch.merge(&[Policy { targets, ..stop(generation) }], []);
        assert_eq!(latch.alarms(), []);
    }
    let mut latch = seen(&[&[Policy { targets: tenants(&["acme/lab", "acme/acme"]), ..stop(1) }]]);
    for (generation, targets) in (2..).zip([of_one, tenants(&["acme/lab"]), squad("ai")]) {
        latch.merge(&[Policy { targets, ..stop(generation) }], []);
        assert_eq!(latch.alarms()[0].what, AlarmKind::Narrowed);
    }
}

#[test]
fn many_edits_of_the_targets_end_in_everybody() {
    let mut latch = Latch::default();
    for generation in 1..=40 {
        let tenants = vec![format!("a/t{generation}").parse().unwrap()];
        latch.merge(&[Policy { targets: Targets { tenants, ..Targets::default() }, ..stop(generation) }], []);
        let scopes = latch.engagements().next().unwrap().scopes.len() as u64;
        assert_eq!(scopes, if generation <= 16 { generation } else { 1 });
    }
    assert!(!latch.decide(&Someone::new("x/y", "z", "").subject()).may_run());
    assert_eq!(latch.engagements().next().unwrap().scopes.len(), 1);
}

#[test]
fn a_name_is_a_start_of_a_uid_and_a_generation() {
    let name: EngagementName = "1f2e3d4c-37".parse().unwrap();
    assert_eq!((name.generation(), name.to_string()), (37, "1f2e3d4c-37".to_owned()));
    assert_eq!(name, EngagementName::new(UID, 37));
    for odd in ["", "-3", "1f2e3d4c", "1f2e3d4c-", "1f2e3d4c-x", "1f2e3d4c-0000-3"] {
        assert!(odd.parse::<EngagementName>().is_err(), "{odd}");
    }
}

#[test]
fn a_name_reaches_the_engagements_of_its_object_up_to_its_generation() {
    let reaches = |one: &str, other: &str| {
        one.parse::<EngagementName>().unwrap().reaches(&other.parse::<EngagementName>().unwrap())
    };
    assert!(reaches("1f2e3d4c-3", "1f2e3d4c-3") && reaches("1f2e3d4c-4", "1f2e3d4c-3"));
    assert!(!reaches("1f2e3d4c-2", "1f2e3d4c-3") && !reaches("aaaa3d4c-4", "1f2e3d4c-3"));
}

#[test]
fn what_is_ordered_never_gets_weaker() {
    let weak = Policy { workloads: Workloads::Keep, mirror: Mirror::Run, ..stop(2) };
    let latch = seen(&[&[stop(1)], &[weak]]);
    let engagement = latch.engagements().next().unwrap();
    assert_eq!((engagement.workloads, engagement.mirror), (Workloads::ScaleToZero, Mirror::Pause));
}

#[test]
fn the_latch_round_trips_as_json() {
    let latch = seen(&[&[Policy { reason: Some("drill".into()), ..stop(3) }], &[]]);
    let json = serde_json::to_string(&latch).unwrap();
    assert_eq!(serde_json::from_str::<Latch>(&json).unwrap(), latch);
}

#[test]
fn a_release_that_stood_there_before_the_stop_releases_nothing() {
    let armed = Policy { stop: true, ..release(2, "1f2e3d4c-2") };
    let mut latch = seen(&[&[armed], &[release(3, "1f2e3d4c-2")]]);
    assert!(!runs(&latch));
    assert_eq!(latch.alarms()[0].what, AlarmKind::StaleRelease);
    latch.merge(&[policy(4)], []);
    latch.merge(&[release(5, "1f2e3d4c-2")], []);
    assert!(runs(&latch));
}

#[test]
fn an_older_sight_does_not_show_that_a_release_is_gone() {
    let armed = Policy { stop: true, ..release(3, "1f2e3d4c-3") };
    // A look from before that is taken in late, as one is that waited for a disk while a later one was put in force.
    for late in [policy(1), stop(1), policy(2)] {
        let mut latch = seen(&[std::slice::from_ref(&armed), &[late], &[release(4, "1f2e3d4c-3")]]);
        assert!(!runs(&latch));
        assert_eq!(latch.alarms()[0].what, AlarmKind::StaleRelease);
        latch.merge(&[policy(5)], []);
        latch.merge(&[release(6, "1f2e3d4c-3")], []);
        assert!(runs(&latch));
    }
    // Another object without it shows that it is gone: nobody could release the stop otherwise.
    let recreated = Policy { uid: OTHER_UID.into(), ..policy(1) };
    let release = Policy { release: Some("1f2e3d4c-3".into()), generation: 2, ..recreated.clone() };
    assert!(runs(&seen(&[&[armed], &[recreated], &[release]])));
}

#[test]
fn a_name_that_comes_again_after_a_restore_is_taken_out_and_set_anew() {
    // A restore makes generations come again, and with them the name that released the stop before.
    let armed = Policy { stop: true, ..release(3, "1f2e3d4c-3") };
    let mut latch = seen(&[&[armed], &[policy(1)], &[release(2, "1f2e3d4c-3")]]);
    assert!(!runs(&latch));
    assert_eq!(latch.alarms()[0].what, AlarmKind::StaleRelease);
    latch.merge(&[policy(3)], []);
    assert_eq!(latch.alarms()[0].what, AlarmKind::NotReleased);
    latch.merge(&[release(4, "1f2e3d4c-3")], []);
    assert!(runs(&latch));
}

#[test]
fn a_renewed_stop_is_not_released_by_what_stood_there_when_it_was_renewed() {
    let armed = |generation| Policy { stop: true, ..release(generation, "1f2e3d4c-4") };
    for sights in [vec![stop(2), armed(3), armed(4)], vec![armed(4)], vec![armed(4), stop(2)]] {
        let mut latch = Latch::default();
        for sight in sights {
            latch.merge(&[sight], []);
        }
        latch.merge(&[release(5, "1f2e3d4c-4")], []);
        assert!(!runs(&latch));
        assert_eq!(latch.alarms()[0].what, AlarmKind::StaleRelease);
    }
    // What was there before the stop was renewed, and was gone then, may be written anew.
    let before = Policy { stop: true, ..release(2, "1f2e3d4c-3") };
    assert!(runs(&seen(&[&[before], &[stop(3)], &[release(4, "1f2e3d4c-3")]])));
    // A repeated sight of the stop is no renewal.
    assert!(runs(&seen(&[&[armed(4)], &[policy(5)], &[armed(4)], &[release(6, "1f2e3d4c-4")]])));
}

#[test]
fn tightening_stops_and_never_releases() {
    let mut latch = seen(&[&[stop(3)]]);
    let other = Policy { name: "other".into(), uid: OTHER_UID.into(), ..stop(1) };
    let merged = latch.tighten(&[release(4, "1f2e3d4c-3"), other], []);
    assert_eq!((merged.engaged.len(), merged.released.len()), (1, 0));
    assert_eq!(latch.engagements().count(), 2);
}

#[test]
fn what_must_be_kept_is_said_once() {
    let (ann, bob) = (Someone::new("acme/acme", "ann", "ai"), Someone::new("acme/acme", "bob", "ai"));
    let list = [Policy { targets: squad("ai"), ..stop(1) }];
    let mut latch = Latch::default();
    assert!(latch.tighten(&list, [ann.subject()]).changed && latch.is_known());
    assert!(!latch.tighten(&list, [ann.subject()]).changed);
    assert!(!latch.merge(&list, [ann.subject()]).changed);
    assert!(latch.remember([ann.subject(), bob.subject(), ann.subject()]), "one of them is new");
    assert!(!latch.remember([ann.subject(), bob.subject()]));
    assert!(latch.merge(&[], []).changed, "an alarm is new");
    assert!(!Latch::default().remember([ann.subject()]));
}

/// What an admin does to the policy, one edit after the other.
#[derive(Debug, Clone, Copy)]
pub(super) enum Edit {
    /// Orders the stop, or renews it.
    Stop,
    /// Takes `stop` back and releases what is engaged.
    Release,
    /// Takes `stop` back and releases nothing.
    Withdraw,
    /// Releases something else.
    WrongRelease,
    /// Changes another field.
    Touch,
}

/// A policy after an edit, and whether the admin's agents must then be stopped.
pub(super) type Step = (Policy, bool);

/// Lives the edits out. The truth is told from what the admin did, not from what a latch would make of it.
pub(super) fn live(edits: &[Edit]) -> Vec<Step> {
    let mut now = policy(0);
    let mut engaged_at = None;
    let mut steps = Vec::new();
    for edit in edits {
        now.generation += 1;
        match edit {
            Edit::Stop => now.stop = true,
            Edit::Release => {
                now.stop = false;
                now.release = engaged_at.take().map(|at| format!("1f2e3d4c-{at}")).or(now.release);
            }
            Edit::Withdraw => now.stop = false,
            Edit::WrongRelease => now.release = Some("1f2e3d4c-0".into()),
            Edit::Touch => now.reason = Some(format!("edit {}", now.generation)),
        }
        if now.stop {
            engaged_at = Some(now.generation);
        }
        steps.push((now.clone(), engaged_at.is_some()));
    }
    steps
}

pub(super) fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let edit = prop_oneof![
        Just(Edit::Stop),
        Just(Edit::Release),
        Just(Edit::Withdraw),
        Just(Edit::WrongRelease),
        Just(Edit::Touch)
    ];
    proptest::collection::vec(edit, 1..10)
}

proptest! {
    /// A pod that sees every edit is stopped exactly when the admin means it to be.
    #[test]
    fn a_pod_that_sees_everything_knows_the_truth(edits in edits(), repeats in 1usize..3) {
        let mut latch = Latch::default();
        for (state, stopped) in live(&edits) {
            for _ in 0..repeats {
                latch.merge(std::slice::from_ref(&state), []);
            }
            prop_assert_eq!(!runs(&latch), stopped, "after {:?}", state);
        }
    }

    /// A pod that saw old states in any order, some never: at the sight of the last one it is stopped if that
    /// orders a stop, and runs if its release is the admin's for the last engagement.
    #[test]
    fn a_pod_that_missed_things_agrees_at_the_end(
        edits in edits(),
        sights in proptest::collection::vec(any::<proptest::sample::Index>(), 0..12),
    ) {
        let steps = live(&edits);
        let mut latch = Latch::default();
        latch.merge(&[], []);
        let mut saw_a_stop = false;
        for sight in sights {
            let (state, _) = &steps[sight.index(steps.len())];
            let running = runs(&latch);
            latch.merge(std::slice::from_ref(state), []);
            saw_a_stop |= state.stop;
            prop_assert!(!state.stop || !runs(&latch), "a sight of a stop stops");
            prop_assert!(running || !runs(&latch) || state.release.is_some(), "nothing but a release releases");
        }
        let (last, stopped) = steps.last().unwrap();
        latch.merge(std::slice::from_ref(last), []);
        if last.stop {
            prop_assert!(!runs(&latch));
        }
        if !saw_a_stop && !last.stop {
            prop_assert!(runs(&latch));
        }
        let released_last = matches!(edits.last(), Some(Edit::Release)) && !stopped;
        if released_last && steps.iter().rev().nth(1).is_some_and(|(_, stopped)| *stopped) {
            prop_assert!(runs(&latch), "released by {:?}", last);
        }
    }
}
