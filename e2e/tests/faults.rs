//! A short run of the fault table: the debug build, each kind of process killed, Redis emptied, failed over and without
//! power, a cut link, a full disk, too little memory.
#![expect(clippy::unwrap_used, reason = "a test reports by panics")]

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// A run of these faults in a folder.
fn faults(dir: &Path, only: &str, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nexus-e2e"));
    command.args(["faults", "-o", "json", "--rate", "100", "--only", only]).args(more);
    command.arg("--dir").arg(dir).env("CARGO", env!("CARGO"));
    command
}

/// The rows of a run in which nothing was lost.
fn good_rows(only: &str, more: &[&str]) -> Vec<Value> {
    let output = faults(Path::new(env!("CARGO_TARGET_TMPDIR")), only, more).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let mut report: Value = serde_json::from_str(&said).unwrap();
    let rows: Vec<Value> = serde_json::from_value(report["rows"].take()).unwrap();
    for row in &rows {
        let balance = &row["balance"];
        assert!(balance["accepted"].as_u64().unwrap() > 50, "{row}");
        assert_eq!((&balance["missing"], &balance["faults"]), (&0.into(), &serde_json::json!({})));
        assert_eq!(balance["received"], balance["accepted"]);
    }
    rows
}

fn times(rows: &[Value]) -> Vec<u64> {
    rows.iter().map(|row| row["times"].as_u64().unwrap()).collect()
}

#[test]
fn a_fleet_loses_nothing() {
    let only = "gateway-kill,redis-kill,ingest-kill,emptied,partition,disk-full,memory";
    let rows = good_rows(only, &["--kills", "2"]);
    assert_eq!(times(&rows), [2, 2, 2, 3, 3, 1, 2]);
    let refused = rows[5]["balance"]["refused"].as_u64().unwrap();
    assert!(refused > 0, "the disk was full");
}

#[test]
fn what_redis_loses_is_not_lost() {
    let rows = good_rows("power-loss,failover", &["--power-losses", "2", "--failovers", "1"]);
    let times = times(&rows);
    assert!(times[0] >= 2 && times[1] == 1, "{times:?}");
}

#[test]
fn a_run_with_fewer_events_than_asked_for_fails() {
    // In a folder of its own: what a run that failed leaves is kept.
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let more = ["--kills", "1", "--least-events", "1000000"];
    let output = faults(dir.path(), "redis-kill", &more).output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["rows"][0]["failures"], serde_json::json!([]));
    assert!(!output.status.success());
}

/// A run that is under way. Dropping it kills it.
struct Run(Child);

impl Drop for Run {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn until(what: &str, met: impl Fn() -> bool) {
    let begun = Instant::now();
    while !met() {
        assert!(begun.elapsed() < Duration::from_secs(120), "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The processes that a process has started, by their names.
fn children(of: u32) -> Vec<(u32, String)> {
    let parts = |entry: std::fs::DirEntry| {
        let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
        let (head, rest) = stat.rsplit_once(')')?;
        let (pid, name) = head.split_once(" (")?;
        let parent = rest.split_whitespace().nth(1)?.parse::<u32>().ok()?;
        (parent == of).then_some((pid.parse().ok()?, name.to_owned()))
    };
    std::fs::read_dir("/proc").unwrap().filter_map(|entry| parts(entry.ok()?)).collect()
}

#[tokio::test]
async fn a_run_that_is_killed_leaves_no_process() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut command = faults(dir.path(), "redis-kill", &["--kills", "1000"]);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut run = Run(command.spawn().unwrap());
    let begun = || {
        let children = children(run.0.id());
        let count = |name: &str| children.iter().filter(|(_, known)| known == name).count();
        count("nexus") == 3 && count("redis-server") == 1
    };
    until("a fleet runs", begun).await;
    let children = children(run.0.id());
    run.0.kill().unwrap();
    run.0.wait().unwrap();
    for (pid, name) in children {
        until(&name, || !Path::new(&format!("/proc/{pid}")).exists()).await;
    }
}
