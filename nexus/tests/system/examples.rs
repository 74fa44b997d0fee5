//! Each example agent works on the quickstart, and comes back after a stop.

use std::path::{Path, PathBuf};

use serde_json::Value;
use tokio::process::Command;
use tokio::task::JoinSet;

use crate::harness::{Site, until};
use crate::rust_agents;
use crate::toolchain::{proto, python, typescript};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_over_grpc() {
    program(Command::new(python()).arg(examples().join("agents/python/agent_grpc.py"))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_over_websocket() {
    program(Command::new(python()).arg(examples().join("agents/python/agent.py"))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_quickstarts_python() {
    program(Command::new(python()).arg(examples().join("quickstart/agent.py"))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn typescript_over_grpc() {
    let (_folder, mut tsx) = typescript(&examples().join("agents/typescript"), "agent_grpc.ts");
    program(&mut tsx).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn typescript_over_websocket() {
    let (_folder, mut tsx) = typescript(&examples().join("agents/typescript"), "agent.ts");
    program(&mut tsx).await;
}

#[tokio::test]
async fn typescript_has_no_type_errors() {
    let (folder, _) = typescript(&examples().join("agents/typescript"), "agent.ts");
    let check =
        Command::new("node").arg("node_modules/typescript/bin/tsc").current_dir(folder.path()).output();
    let check = check.await.unwrap();
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stdout));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rust_over_grpc() {
    let site = Site::new(&[]);
    let agent = rust_agent(&site);
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { rust_agents::grpc::forever(agent).await.unwrap() });
    works(&site).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rust_over_websocket() {
    let site = Site::new(&[]);
    let agent = rust_agent(&site);
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { rust_agents::websocket::forever(agent).await.unwrap() });
    works(&site).await;
}

fn rust_agent(site: &Site) -> rust_agents::access::Agent {
    rust_agents::access::Agent { gateway: site.gateway_url(), credentials: site.credentials("coder") }
}

async fn program(command: &mut Command) {
    let site = Site::new(&[]);
    let _nexus = site.spawn(&examples().join("quickstart"));
    site.ready().await;
    command
        .env("NEXUS_GATEWAY", site.gateway_url())
        .env("NEXUS_CREDENTIALS", site.credentials("coder"))
        .env("NEXUS_PROTO", proto())
        .kill_on_drop(true);
    let mut agent = command.spawn().unwrap();
    works_on(&site).await;
    assert!(agent.try_wait().unwrap().is_none(), "the agent still runs");
}

/// Starts Nexus under an agent that tries already.
async fn works(site: &Site) {
    let _nexus = site.spawn(&examples().join("quickstart"));
    site.ready().await;
    works_on(site).await;
}

async fn works_on(site: &Site) {
    done(site).await;
    assert!(site.cli(&["stop", "--reason", "drill"]).await.status.success());
    let status = site.status().await;
    let engagement = status["stops"][0]["engagement"].as_str().unwrap();
    until("the agent is severed", || async {
        (site.status().await["tenants"][0]["agents"][0]["sessions"].as_u64().unwrap_or_default() == 0)
            .then_some(())
    })
    .await;
    assert!(site.cli(&["release", engagement]).await.status.success());
    done(site).await;
}

/// Sends a webhook and waits until Coder has acknowledged it.
async fn done(site: &Site) {
    let story = site.cli_json(&["send", "github", "--wait", "0"]).await;
    let id = story["event"]["id"].as_str().unwrap().to_owned();
    until("the agent has done it", || async {
        let story = site.cli_json(&["why", &id]).await;
        let chosen = story["decision"]["chosen"].as_array()?.iter().find(|one| one["target"] == "coder")?;
        let copy: Option<&Value> =
            story["copies"].as_array()?.iter().find(|copy| copy["inbox"] == chosen["inbox"]);
        (copy?["state"] == "done").then_some(())
    })
    .await;
}

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples")
}
