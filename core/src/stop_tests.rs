use proptest::prelude::*;

use super::*;

const UID: &str = "1f2e3d4c-0000-4000-8000-000000000001";
const OTHER_UID: &str = "aaaa3d4c-0000-4000-8000-000000000002";

fn policy(generation: u64) -> Policy {
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

fn stop(generation: u64) -> Policy {
    Policy {
        stop: true,
        ..policy(generation)
    }
}

fn release(generation: u64, named: &str) -> Policy {
    Policy {
        release: Some(named.into()),
        ..policy(generation)
    }
}

struct Someone {
    tenant: TenantKey,
    agent: AgentId,
    labels: Labels,
}

impl Someone {
    fn new(tenant: &str, name: &str, squad: &str) -> Self {
        let tenant: TenantKey = tenant.parse().unwrap();
        let agent = AgentId::of(&tenant, name);
        Self {
            tenant,
            agent,
            labels: Labels::from([("squad".into(), squad.into())]),
        }
    }

    fn subject(&self) -> Subject<'_> {
        Subject {
            tenant: &self.tenant,
            agent: self.agent,
            labels: &self.labels,
        }
    }
}

fn anybody() -> Someone {
    Someone::new("acme/acme", "coder", "ai")
}

fn runs(latch: &Latch) -> bool {
    latch.decide(&anybody().subject()).may_run()
}

/// A latch that has seen these lists, one after the other.
fn seen(lists: &[&[Policy]]) -> Latch {
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
    for without in [
        policy(4),
        release(5, "1f2e3d4c-2"),
        release(6, "yes"),
        release(7, "1f2e3d4c-99"),
        release(8, ""),
    ] {
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
        &[Policy {
            stop: true,
            ..release(5, "1f2e3d4c-3")
        }]
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
    assert_eq!(
        alarm_after(&[Policy {
            uid: OTHER_UID.into(),
            ..policy(1)
        }]),
        AlarmKind::Recreated
    );
    assert_eq!(alarm_after(&[policy(2)]), AlarmKind::GenerationWentBack);
    assert_eq!(alarm_after(&[policy(6)]), AlarmKind::NotReleased);
    assert_eq!(
        alarm_after(&[release(6, "x-1")]),
        AlarmKind::WrongRelease { named: "x-1".into() }
    );
}

#[test]
fn another_object_releases_by_the_very_name_only() {
    let recreated = |named: &str| Policy {
        uid: OTHER_UID.into(),
        ..release(9, named)
    };
    assert!(!runs(&seen(&[&[stop(3)], &[recreated("1f2e3d4c-4")]])));
    assert!(!runs(&seen(&[&[stop(3)], &[recreated("aaaa3d4c-3")]])));
    assert!(runs(&seen(&[&[stop(3)], &[recreated("1f2e3d4c-3")]])));
    let elsewhere = Policy {
        name: "other".into(),
        ..recreated("1f2e3d4c-3")
    };
    assert!(!runs(&seen(&[&[stop(3)], &[elsewhere]])));
}

#[test]
fn after_a_restore_the_known_name_still_releases() {
    assert!(runs(&seen(&[
        &[stop(7)],
        &[policy(2)],
        &[release(3, "1f2e3d4c-7")]
    ])));
}

#[test]
fn a_stop_after_a_restore_stops_although_its_generation_is_older() {
    let lists: [&[Policy]; 4] = [&[stop(7)], &[release(8, "1f2e3d4c-7")], &[policy(2)], &[stop(3)]];
    assert!(!runs(&seen(&lists)));
}

#[test]
fn stops_of_two_objects_need_two_releases() {
    let second = Policy {
        uid: OTHER_UID.into(),
        ..stop(1)
    };
    let mut latch = seen(&[&[stop(3)], &[second]]);
    latch.merge(
        &[Policy {
            uid: OTHER_UID.into(),
            ..release(2, "aaaa3d4c-1")
        }],
        [],
    );
    assert!(!runs(&latch));
    latch.merge(
        &[Policy {
            uid: OTHER_UID.into(),
            ..release(3, "1f2e3d4c-3")
        }],
        [],
    );
    assert!(runs(&latch));
}

#[test]
fn narrowed_targets_and_changed_labels_release_nobody() {
    let ann = Someone::new("acme/acme", "ann", "ai");
    let bob = Someone::new("acme/acme", "bob", "web");
    let squad = |name: &str| Targets {
        tenants: vec![],
        agents: Selector {
            match_labels: Labels::from([("squad".into(), name.into())]),
            ..Selector::default()
        },
    };
    let mut latch = Latch::default();
    latch.merge(
        &[Policy {
            targets: squad("ai"),
            ..stop(1)
        }],
        [ann.subject(), bob.subject()],
    );
    assert!(!latch.decide(&ann.subject()).may_run());
    assert!(latch.decide(&bob.subject()).may_run());
    // Ann leaves the squad, then the policy means another one: she stays stopped, and so does whoever joins.
    let relabelled = Someone {
        labels: Labels::new(),
        ..Someone::new("acme/acme", "ann", "")
    };
    assert!(!latch.decide(&relabelled.subject()).may_run());
    latch.merge(
        &[Policy {
            targets: squad("ops"),
            ..stop(2)
        }],
        [relabelled.subject()],
    );
    assert!(!latch.decide(&relabelled.subject()).may_run());
    assert!(
        !latch
            .decide(&Someone::new("acme/acme", "new", "ai").subject())
            .may_run()
    );
    assert!(
        !latch
            .decide(&Someone::new("acme/acme", "oda", "ops").subject())
            .may_run()
    );
    assert!(latch.decide(&bob.subject()).may_run());
}

#[test]
fn many_edits_of_the_targets_end_in_everybody() {
    let mut latch = Latch::default();
    for generation in 1..=40 {
        let tenants = vec![format!("a/t{generation}").parse().unwrap()];
        latch.merge(
            &[Policy {
                targets: Targets {
                    tenants,
                    ..Targets::default()
                },
                ..stop(generation)
            }],
            [],
        );
    }
    assert!(!latch.decide(&Someone::new("x/y", "z", "").subject()).may_run());
    assert_eq!(latch.engagements().next().unwrap().scopes.len(), 1);
}

#[test]
fn what_is_ordered_never_gets_weaker() {
    let weak = Policy {
        workloads: Workloads::Keep,
        mirror: Mirror::Run,
        ..stop(2)
    };
    let latch = seen(&[&[stop(1)], &[weak]]);
    let engagement = latch.engagements().next().unwrap();
    assert_eq!(
        (engagement.workloads, engagement.mirror),
        (Workloads::ScaleToZero, Mirror::Pause)
    );
}

#[test]
fn the_latch_round_trips_as_json() {
    let latch = seen(&[
        &[Policy {
            reason: Some("drill".into()),
            ..stop(3)
        }],
        &[],
    ]);
    let json = serde_json::to_string(&latch).unwrap();
    assert_eq!(serde_json::from_str::<Latch>(&json).unwrap(), latch);
}

/// A life of one policy: each step is an edit of its spec, each sight a state that it once had.
fn life() -> impl Strategy<Value = (Vec<Policy>, Vec<usize>)> {
    let edit = prop_oneof![Just(None), (0u64..6).prop_map(Some)];
    proptest::collection::vec((any::<bool>(), edit), 1..6).prop_flat_map(|edits| {
        let states: Vec<_> = (1..)
            .zip(edits)
            .map(|(generation, (stop, named))| Policy {
                stop,
                release: named.map(|named| format!("1f2e3d4c-{named}")),
                ..policy(generation)
            })
            .collect();
        let sights = proptest::collection::vec(0..states.len(), 0..8);
        (Just(states), sights)
    })
}

proptest! {
    /// Whatever was seen in whatever order, twice or never: once a stop was seen, only a sight of a state
    /// without `stop` whose `release` names this or a later, passed generation can end it.
    #[test]
    fn only_a_valid_release_ends_a_stop((states, sights) in life()) {
        let mut latch = Latch::default();
        latch.merge(&[], []);
        for &at in &sights {
            let held: Vec<_> = latch.engagements().map(|e| e.generation).collect();
            let state = &states[at];
            latch.merge(std::slice::from_ref(state), []);
            if state.stop {
                prop_assert!(!runs(&latch));
            } else if let Some(&generation) = held.first() {
                let named = state.release.as_deref().and_then(|r| r.rsplit('-').next()?.parse::<u64>().ok());
                let valid = named.is_some_and(|n| n == generation || (n > generation && n < state.generation));
                prop_assert_eq!(runs(&latch), valid);
            }
        }
    }

    /// A pod that saw every state in order and one that saw only some agree after both see the last state
    /// twice, unless that state leaves a stop of the first unreleased: then the first is stopped.
    #[test]
    fn missing_sights_never_release_more((states, sights) in life()) {
        let full: Vec<_> = states.iter().map(std::slice::from_ref).collect();
        let full = seen(&full);
        let mut partial = Latch::default();
        for &at in &sights {
            partial.merge(std::slice::from_ref(&states[at]), []);
        }
        let last = states.last().unwrap();
        partial.merge(std::slice::from_ref(last), []);
        if last.stop {
            prop_assert!(!runs(&full) && !runs(&partial));
        }
    }
}
