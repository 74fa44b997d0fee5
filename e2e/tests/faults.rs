//! A short run of the fault table: the debug build, each kind of process killed, Redis emptied, failed over and without
//! power, a cut link, a full spool.

use std::process::Command;

use serde_json::Value;

#[test]
fn a_fleet_loses_nothing() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nexus-e2e"));
    command.args([
        "faults",
        "-o",
        "json",
        "--rate",
        "100",
        "--kills",
        "2",
        "--power-losses",
        "2",
        "--failovers",
        "1",
    ]);
    command.args([
        "--only",
        "gateway-kill,redis-kill,ingest-kill,power-loss,failover,emptied,partition,disk-full",
    ]);
    command.args(["--dir", env!("CARGO_TARGET_TMPDIR")]);
    let output = command.env("CARGO", env!("CARGO")).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_str(&said).unwrap();
    let rows = report["rows"].as_array().unwrap();
    let times: Vec<_> = rows.iter().map(|row| row["times"].as_u64().unwrap()).collect();
    assert_eq!(times, [2, 2, 2, 2, 1, 3, 3, 1]);
    for row in rows {
        let balance = &row["balance"];
        assert!(balance["accepted"].as_u64().unwrap() > 50, "{row}");
        assert_eq!((&balance["missing"], &balance["faults"]), (&0.into(), &serde_json::json!({})));
        assert!(balance["received"].as_u64() >= balance["accepted"].as_u64());
    }
    let refused = rows[7]["balance"]["refused"].as_u64().unwrap();
    assert!(refused > 0, "the disk was full");
}
