//! The quickstart as the README has it: every provider's sample reaches the Python agent.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;
use tokio::process::Command;

use crate::harness::{Site, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_provider_reaches_the_python_agent() {
    let site = Site::new(&[]);
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/quickstart");
    let _nexus = site.spawn(&example);
    site.ready().await;
    let log = site.data.path().join("agent.log");
    let _agent = Command::new(python())
        .arg(example.join("agent.py"))
        .env("NEXUS_GATEWAY", site.gateway_url())
        .env("NEXUS_CREDENTIALS", site.credentials("coder"))
        .stdout(Stdio::from(std::fs::File::create(&log).unwrap()))
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    until("the agent is connected", || async {
        std::fs::read_to_string(&log).unwrap().contains("welcome").then_some(())
    })
    .await;

    for (source, kind) in [("github", "NewWorkItem"), ("slack", "NewMessage"), ("clickup", "NewWorkItem")] {
        let story = site.cli_json(&["send", source]).await;
        assert_eq!(story["event"]["type"], format!("dev.nexus.{kind}.v1"));
        let coder = &story["decision"]["chosen"][0];
        assert_eq!(coder["target"], "coder");
        let copy = copy_of(&story, coder["inbox"].as_str().unwrap());
        assert_eq!(copy["state"], "done", "{story:#}");
        println!(
            "{source}: received {}, delivered {}, acknowledged {}",
            story["event"]["receivedtime"], copy["delivered"], copy["acked"]
        );
        let why = site.cli(&["why", "last"]).await;
        let why = String::from_utf8(why.stdout).unwrap();
        assert!(why.contains("ROUTED TO") && why.contains("coder") && why.lines().count() <= 24, "{why}");
    }
    let log = std::fs::read_to_string(&log).unwrap();
    assert_eq!(log.lines().filter(|line| line.contains("dev.nexus.")).count(), 3, "{log}");
}

fn copy_of<'s>(story: &'s Value, inbox: &str) -> &'s Value {
    story["copies"].as_array().unwrap().iter().find(|copy| copy["inbox"] == inbox).unwrap()
}

/// The Python of `scripts/test-deps`.
fn python() -> PathBuf {
    let python = std::env::var_os("NEXUS_PYTHON").map_or_else(
        || PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache/nexus/python/bin/python"),
        PathBuf::from,
    );
    assert!(python.exists(), "{} is missing; `scripts/test-deps` installs it", python.display());
    python
}
