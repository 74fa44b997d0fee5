//! A short run of the proof: the debug build, a few crashes of each kind, and a full disk.

use std::process::Command;

use serde_json::Value;

#[test]
fn nothing_accepted_is_lost() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nexus-e2e"));
    command.args(["durability", "--kills", "2", "--power-losses", "3", "--rate", "150", "-o", "json"]);
    command.args(["--dir", env!("CARGO_TARGET_TMPDIR")]);
    let output = command.env("CARGO", env!("CARGO")).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_str(&said).unwrap();
    let parts = report["parts"].as_array().unwrap();
    let rounds: Vec<_> = parts.iter().map(|part| part["rounds"].as_array().unwrap().len()).collect();
    assert_eq!(rounds, [2, 3, 1]);
    for part in parts {
        let balance = &part["balance"];
        assert!(balance["accepted"].as_u64().unwrap() > 50, "{part}");
        assert_eq!(balance["missing"], 0);
        assert!(balance["received"].as_u64() >= balance["accepted"].as_u64());
    }
    let sum = |key: &'static str| {
        parts[1]["rounds"].as_array().unwrap().iter().map(move |round| round[key].as_u64().unwrap())
    };
    assert!(sum("ops").all(|ops| ops > 100), "each round recorded what the process did");
    assert!(sum("notDurable").sum::<u64>() > 0, "there was something to lose");
    assert!(parts[2]["balance"]["refused"].as_u64().unwrap() > 0, "the disk was full");
}
