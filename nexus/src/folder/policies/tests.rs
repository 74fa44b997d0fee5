use nexus_core::stop::{Latch, Mirror};
use nexus_crds::NexusPolicy;
use serde_json::json;

use super::*;

/// A store in a folder of its own.
struct Bench {
    folder: tempfile::TempDir,
    store: PolicyStore,
    latch: Latch,
}

fn defined(spec: serde_json::Value) -> Vec<FilePolicy> {
    let policy = NexusPolicy::new("stop-all", serde_json::from_value(spec).unwrap());
    vec![FilePolicy { file: "policy.yaml".into(), policy }]
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = PolicyStore::open(&folder.path().join("policies.json")).unwrap();
        Self { folder, store, latch: Latch::default() }
    }

    fn observe(&mut self, policies: &[FilePolicy]) -> Vec<Policy> {
        let policies = self.store.observe(policies);
        self.latch.merge(&policies, []);
        self.store.save().unwrap();
        policies
    }

    fn engage(&mut self) {
        let policies = self.store.engage("stop-all", Some("drill".into())).unwrap();
        self.latch.merge(&policies, []);
        self.store.save().unwrap();
    }

    /// Releases what holds.
    fn release(&mut self) -> Result<(), PolicyError> {
        let name = self.latch.engagements().next().unwrap().name();
        let policies = self.store.release("stop-all", &name)?;
        self.latch.merge(&policies, []);
        Ok(())
    }

    fn restart(&mut self) {
        self.store = PolicyStore::open(&self.folder.path().join("policies.json")).unwrap();
    }

    fn stopped(&self) -> bool {
        self.latch.engagements().count() > 0
    }
}

#[test]
fn a_policy_keeps_its_uid_and_counts_its_changes() {
    let mut bench = Bench::new();
    let first = bench.observe(&defined(json!({})));
    assert_eq!((first[0].generation, first[0].stop), (1, false));
    assert_eq!(bench.observe(&defined(json!({"workloads": "scaleToZero"}))), first, "the default said aloud");
    let changed = bench.observe(&defined(json!({"workloads": "keep"})));
    assert_eq!((changed[0].generation, &changed[0].uid), (2, &first[0].uid));
    bench.restart();
    assert_eq!(bench.observe(&defined(json!({"workloads": "keep"}))), changed);
}

#[test]
fn a_file_that_goes_and_comes_back_is_another_object() {
    let mut bench = Bench::new();
    let first = bench.observe(&defined(json!({"reason": "x"})));
    assert_eq!(bench.observe(&[]), []);
    let second = bench.observe(&defined(json!({"reason": "x"})));
    assert_ne!(first[0].uid, second[0].uid);
    assert_eq!(second[0].generation, 1);
}

#[test]
fn a_stop_by_command_lies_over_the_file_and_a_release_ends_it() {
    let mut bench = Bench::new();
    bench.observe(&defined(json!({"mirror": "run"})));
    bench.engage();
    let policy = &bench.store.current()[0];
    assert_eq!((policy.stop, policy.generation, policy.mirror), (true, 2, Mirror::Run));
    assert_eq!(policy.reason.as_deref(), Some("drill"));
    bench.observe(&defined(json!({"mirror": "pause", "stop": false})));
    assert!(bench.stopped() && bench.store.current()[0].stop, "an edit takes no patched stop back");
    bench.release().unwrap();
    assert!(!bench.stopped() && !bench.store.current()[0].stop);
}

#[test]
fn a_stop_by_command_needs_no_file_and_outlives_one() {
    let mut bench = Bench::new();
    bench.observe(&defined(json!({"targets": {"tenants": [{"namespace": "acme", "name": "acme"}]}})));
    bench.engage();
    let engaged = bench.store.current();
    assert_eq!(bench.observe(&[]), engaged, "the deletion changes nothing, not even whom it means");
    bench.restart();
    assert_eq!(bench.observe(&[]), engaged);
    bench.release().unwrap();
    assert!(!bench.stopped());
    bench.restart();
    assert!(!bench.observe(&[])[0].stop);

    let mut bench = Bench::new();
    bench.observe(&[]);
    bench.engage();
    assert!(bench.stopped() && bench.store.current()[0].targets.everybody());
    bench.release().unwrap();
    assert!(!bench.stopped());
    bench.engage();
    assert!(bench.stopped(), "an old release does not hold against a new stop");
}

#[test]
fn what_a_file_orders_only_the_file_takes_back() {
    let mut bench = Bench::new();
    bench.observe(&defined(json!({"stop": true})));
    assert!(bench.stopped());
    let refused = bench.release().unwrap_err().to_string();
    assert!(refused.contains("policy.yaml itself says `stop: true`") && bench.stopped(), "{refused}");
    bench.observe(&defined(json!({})));
    assert!(bench.stopped(), "without a release it holds");
    bench.release().unwrap();
    assert!(!bench.stopped());
}

#[test]
fn a_release_by_file_counts_although_an_older_one_was_patched() {
    let mut bench = Bench::new();
    bench.observe(&defined(json!({})));
    bench.engage();
    bench.release().unwrap();
    bench.observe(&defined(json!({"stop": true})));
    let name = bench.latch.engagements().next().unwrap().name().to_string();
    assert!(bench.stopped());
    bench.observe(&defined(json!({"release": name})));
    assert!(!bench.stopped());
}

#[test]
fn a_deleted_policy_holds_until_its_very_name_is_released() {
    let mut bench = Bench::new();
    bench.observe(&defined(json!({"stop": true})));
    bench.observe(&[]);
    assert!(bench.stopped());
    bench.release().unwrap();
    assert!(!bench.stopped());
}

#[test]
fn names_are_checked_before_anything_is_written() {
    let mut bench = Bench::new();
    let error = bench.store.engage("../x", None).unwrap_err();
    assert!(matches!(error, PolicyError::Name { .. }));
    assert!(bench.store.current().is_empty());
}

#[test]
fn a_stop_stands_without_a_disk_and_a_release_does_not() {
    let mut bench = Bench::new();
    bench.observe(&[]);
    let path = bench.folder.path().join("policies.json.tmp");
    std::fs::create_dir(&path).unwrap();
    let policies = bench.store.engage("stop-all", None).unwrap();
    bench.latch.merge(&policies, []);
    assert!(matches!(bench.store.save(), Err(PolicyError::Write { .. })));
    assert!(bench.stopped());
    assert!(matches!(bench.release(), Err(PolicyError::Write { .. })));
    assert!(bench.stopped() && bench.store.current()[0].stop);
    std::fs::remove_dir(&path).unwrap();
    bench.observe(&[]);
    bench.restart();
    assert!(bench.observe(&[])[0].stop, "the next reading wrote it");
}

#[test]
fn a_damaged_file_says_what_to_do() {
    let mut bench = Bench::new();
    bench.observe(&defined(json!({"reason": "drill"})));
    let path = bench.folder.path().join("policies.json");
    let good = std::fs::read_to_string(&path).unwrap();
    let generation = good.replace("\"generation\":1", "\"generation\":7");
    let reason = good.replace("drill", "thrill");
    let checksum = good.replace("\"checksum\"", "\"cheksum\"");
    for (text, why) in [
        ("{", "EOF"),
        ("{\"format\": 1, \"policies\": {}}", "format 1 instead of 2"),
        ("{\"format\": 3, \"policies\": {}}", "format 3 instead of 2"),
        (&generation, "checksum"),
        (&reason, "checksum"),
        (&checksum, "checksum"),
        (&good[..good.len() - 1], "EOF"),
    ] {
        assert_ne!(text, good);
        std::fs::write(&path, text).unwrap();
        let error = PolicyStore::open(&path).unwrap_err().to_string();
        assert!(error.contains(why) && error.contains("remove the file"), "{error}");
    }
    std::fs::write(&path, good).unwrap();
    bench.restart();
    assert_eq!(bench.store.current()[0].reason.as_deref(), Some("drill"));
}
