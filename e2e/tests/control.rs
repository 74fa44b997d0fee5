//! A short run of the control plane's faults: the debug build, at real API servers.
#![expect(clippy::unwrap_used, reason = "a test reports by panics")]

use std::process::Command;

use serde_json::Value;

/// The rows of a run in which nothing went wrong.
fn good_rows(only: &str, more: &[&str]) -> Vec<Value> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nexus-e2e"));
    command.args(["control", "-o", "json", "--only", only, "--dir", env!("CARGO_TARGET_TMPDIR")]).args(more);
    let output = command.env("CARGO", env!("CARGO")).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let mut report: Value = serde_json::from_str(&said).unwrap();
    let rows: Vec<Value> = serde_json::from_value(report["rows"].take()).unwrap();
    assert_eq!(rows.len(), only.split(',').count());
    rows
}

fn times(rows: &[Value]) -> Vec<u64> {
    rows.iter().map(|row| row["times"].as_u64().unwrap()).collect()
}

#[test]
fn killed_before_and_after_each_write_the_operator_comes_to_the_same_end() {
    let times = times(&good_rows("writes", &[]));
    assert!(times[0] >= 20, "{times:?}");
}

#[test]
fn an_operator_that_rests_sleeps_or_is_gone_does_no_harm() {
    assert_eq!(times(&good_rows("quiet,sleeper,orphans", &["--quiet", "20", "--sleep", "20"])), [1, 1, 2]);
}

#[test]
fn what_changes_at_random_ends_as_if_it_had_come_at_once() {
    assert_eq!(times(&good_rows("transitions", &["--transitions", "24", "--seed", "1"])), [24]);
}

#[test]
fn a_stop_outlives_a_restore_from_before_it() {
    assert_eq!(times(&good_rows("restored", &[])), [3]);
}
