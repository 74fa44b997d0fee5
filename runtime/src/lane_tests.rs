use nexus_core::stop::{Mirror, Targets, Workloads};

use super::*;

fn policy(generation: u64, stop: bool, release: Option<&str>) -> Policy {
    Policy {
        name: "stop-all".into(),
        uid: "1f2e3d4c-0000-4000-8000-000000000001".into(),
        generation,
        stop,
        release: release.map(Into::into),
        reason: None,
        targets: Targets::default(),
        workloads: Workloads::default(),
        mirror: Mirror::default(),
    }
}

fn runs(gate: &StopGate) -> bool {
    let tenant: TenantKey = "acme/acme".parse().unwrap();
    let labels = Labels::new();
    gate.decide(&Subject { tenant: &tenant, agent: AgentId::of(&tenant, "a"), labels: &labels }).may_run()
}

#[test]
fn the_latch_outlives_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("latch.json");
    let lane = StopLane::open(&path).unwrap();
    assert!(!runs(&lane.gate()), "nothing is known yet");
    lane.observe(&[]).unwrap();
    assert!(runs(&lane.gate()));
    lane.observe(&[policy(2, true, None)]).unwrap();
    assert!(!runs(&lane.gate()));
    let again = StopLane::open(&path).unwrap();
    again.observe(&[]).unwrap();
    assert!(!runs(&again.gate()), "the policy is gone, the stop is not");
    again.observe(&[policy(3, false, Some("1f2e3d4c-2"))]).unwrap();
    assert!(runs(&StopLane::open(&path).unwrap().gate()));
}

#[test]
fn a_damaged_file_at_any_byte_starts_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("latch.json");
    StopLane::open(&path).unwrap().observe(&[policy(2, true, None)]).unwrap();
    let good = std::fs::read(&path).unwrap();
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0x04;
        std::fs::write(&path, &bad).unwrap();
        // A flip may yield the same meaning, as in the case of a hex digit; it must never yield "run".
        if let Ok(lane) = StopLane::open(&path) {
            assert!(!runs(&lane.gate()));
        }
        std::fs::write(&path, &good[..at]).unwrap();
        assert!(StopLane::open(&path).is_err(), "truncated to {at} bytes");
    }
}

#[test]
fn a_full_disk_does_not_hold_up_a_stop_but_holds_up_a_release() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("latch.json");
    let lane = StopLane::open(&path).unwrap();
    lane.observe(&[]).unwrap();
    let block = folder.path().join("latch.json.tmp");
    std::fs::create_dir(&block).unwrap();
    assert!(lane.observe(&[policy(2, true, None)]).is_err());
    assert!(!runs(&lane.gate()));
    assert!(lane.observe(&[policy(3, false, Some("1f2e3d4c-2"))]).is_err());
    assert!(!runs(&lane.gate()));
    std::fs::remove_dir(&block).unwrap();
    lane.observe(&[policy(3, false, Some("1f2e3d4c-2"))]).unwrap();
    assert!(runs(&lane.gate()));
}

#[test]
fn a_stop_that_could_not_be_written_leaves_no_file_that_says_run() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("latch.json");
    let mut first = policy(1, true, None);
    first.uid = "00000000-first".into();
    first.targets.tenants = vec!["other/other".parse().unwrap()];
    let lane = StopLane::open(&path).unwrap();
    lane.observe(std::slice::from_ref(&first)).unwrap();
    assert!(runs(&lane.gate()));
    let block = folder.path().join("latch.json.tmp");
    std::fs::create_dir(&block).unwrap();
    assert!(lane.observe(&[first.clone(), policy(2, true, None)]).is_err());
    drop(lane);
    // Killed, and nobody is there to ask.
    let again = StopLane::open(&path).unwrap();
    assert!(!runs(&again.gate()) && !again.gate().latch().is_known());
    assert_eq!(again.gate().latch().engagements().count(), 1, "what was written is not forgotten");
    // An answer tells who may run.
    assert!(again.observe(&[policy(3, false, None)]).is_err());
    assert!(runs(&again.gate()));
    std::fs::remove_dir(&block).unwrap();
    again.observe(&[policy(3, false, None)]).unwrap();
    let names = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(names, 1, "the file that lacked a stop is gone");
    assert_eq!(StopLane::open(&path).unwrap().gate().latch().engagements().count(), 1);
}

#[test]
fn a_list_that_releases_one_and_orders_another_stops_without_a_disk() {
    let folder = tempfile::tempdir().unwrap();
    let lane = StopLane::open(&folder.path().join("latch.json")).unwrap();
    let squad = |generation, stop, release: Option<&str>| Policy {
        name: "stop-squad".into(),
        uid: "aaaa3d4c-0000-4000-8000-000000000002".into(),
        targets: Targets { tenants: vec!["other/other".parse().unwrap()], ..Targets::default() },
        ..policy(generation, stop, release)
    };
    lane.observe(&[squad(1, true, None)]).unwrap();
    assert!(runs(&lane.gate()), "the stop means another tenant");
    std::fs::create_dir(folder.path().join("latch.json.tmp")).unwrap();
    let both = [squad(2, false, Some("aaaa3d4c-1")), policy(2, true, None)];
    assert!(lane.observe(&both).is_err());
    assert!(!runs(&lane.gate()));
    assert_eq!(lane.gate().latch().engagements().count(), 2, "nothing is released that is not written");
    std::fs::remove_dir(folder.path().join("latch.json.tmp")).unwrap();
    let merged = lane.observe(&both).unwrap();
    assert_eq!(merged.released.len(), 1);
    assert!(!runs(&lane.gate()));
}

/// What a process tells that has seen this policy.
fn told(policy: Policy) -> Vec<Told> {
    let mut latch = Latch::default();
    latch.merge(&[policy], []);
    latch.engagements().map(Told::of).collect()
}

#[test]
fn what_is_heard_outlives_the_process_and_is_released_by_a_look() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("latch.json");
    let lane = StopLane::open(&path).unwrap();
    lane.observe(&[policy(1, false, None)]).unwrap();
    std::fs::create_dir(folder.path().join("latch.json.tmp")).unwrap();
    lane.hear(&told(policy(2, true, None)));
    assert!(!runs(&lane.gate()), "it is in force before it is written");
    assert!(lane.keep().is_err());
    std::fs::remove_dir(folder.path().join("latch.json.tmp")).unwrap();
    lane.keep().unwrap();
    let again = StopLane::open(&path).unwrap();
    assert!(!runs(&again.gate()));
    again.observe(&[policy(3, false, Some("1f2e3d4c-2"))]).unwrap();
    // A slow peer still tells of it, also to whom the release outlived.
    for lane in [again, StopLane::open(&path).unwrap()] {
        lane.observe(&[policy(4, false, None)]).unwrap();
        assert!(!lane.hear(&told(policy(2, true, None))).merged.changed);
        assert!(runs(&lane.gate()));
    }
}

#[tokio::test(start_paused = true)]
async fn only_a_fresh_look_keeps_a_word_from_stopping() {
    let folder = tempfile::tempdir().unwrap();
    let late = StopLane::open(&folder.path().join("late.json")).unwrap();
    let fresh = StopLane::open(&folder.path().join("fresh.json")).unwrap();
    let released = policy(3, false, Some("1f2e3d4c-2"));
    late.observe(std::slice::from_ref(&released)).unwrap();
    tokio::time::advance(FRESH + Duration::from_millis(1)).await;
    fresh.observe(&[released]).unwrap();
    for lane in [&late, &fresh] {
        lane.hear(&told(policy(2, true, None)));
    }
    assert!(!runs(&late.gate()) && runs(&fresh.gate()));
    assert_eq!(fresh.gate().latch().released_upto("1f2e3d4c-0000-4000-8000-000000000001"), Some(2));
}

#[test]
fn an_agent_that_is_relabelled_out_of_a_stop_is_told_of_at_the_next_look() {
    let folder = tempfile::tempdir().unwrap();
    let lane = StopLane::open(&folder.path().join("latch.json")).unwrap();
    let tenant: TenantKey = "acme/acme".parse().unwrap();
    let know = |squad: &str| {
        let labels = Labels::from([("squad".to_owned(), squad.to_owned())]);
        lane.know(vec![KnownAgent { tenant: tenant.clone(), agent: AgentId::of(&tenant, "a"), labels }])
            .unwrap();
    };
    let ai = Labels::from([("squad".to_owned(), "ai".to_owned())]);
    let agents = nexus_core::selector::Selector { match_labels: ai, ..Default::default() };
    let stop = Policy { targets: Targets { agents, ..Targets::default() }, ..policy(2, true, None) };
    let alarms = || {
        lane.observe(std::slice::from_ref(&stop)).unwrap();
        lane.gate().latch().alarms().len()
    };
    know("ai");
    assert_eq!(alarms(), 0);
    know("web");
    assert_eq!(alarms(), 1);
    know("ai");
    assert_eq!(alarms(), 0);
}

#[test]
fn an_idle_lane_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("latch.json");
    let lane = StopLane::open(&path).unwrap();
    lane.observe(&[policy(2, true, None)]).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert!(!lane.observe(&[policy(2, true, None)]).unwrap().changed);
    lane.know(vec![]).unwrap();
    lane.hear(&told(policy(2, true, None)));
    lane.keep().unwrap();
    assert!(!path.exists());
}

#[tokio::test]
async fn a_gate_wakes_on_change() {
    let folder = tempfile::tempdir().unwrap();
    let lane = StopLane::open(&folder.path().join("latch.json")).unwrap();
    let mut gate = lane.gate();
    lane.observe(&[]).unwrap();
    gate.changed().await;
    assert!(runs(&gate));
}
