//! The folder is in force within a moment, and a broken file harms nobody else.

use std::time::Duration;

use crate::agent::Agents;
use crate::harness::{Site, agent_yaml, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_is_in_force_and_a_broken_file_keeps_the_last_good_state() {
    let site = Site::new(&["coder"]);
    let nexus = site.start().await;
    site.write("tester.yaml", &agent_yaml("tester"));
    until("the new agent is known", || async {
        (site.status().await["tenants"][0]["agents"].as_array().unwrap().len() == 2).then_some(())
    })
    .await;
    let agents = Agents::start(&site, "tester", 1, 4);
    let event = site.post_issue(1).await.unwrap();
    until("it gets work", || async {
        agents.read(|memory| memory.delivered.contains_key(&event).then_some(()))
    })
    .await;

    site.write("tester.yaml", &agent_yaml("tester").replace("subscriptions", "subscription"));
    let problem = until("the problem is told", || async {
        site.status().await["problems"][0].as_str().map(str::to_owned)
    })
    .await;
    assert!(
        problem.contains("tester.yaml:") && problem.contains("did you mean `subscriptions`"),
        "{problem}"
    );
    let event = site.post_issue(2).await.unwrap();
    until("it still gets work", || async {
        agents.read(|memory| memory.delivered.contains_key(&event).then_some(()))
    })
    .await;

    site.remove("tester.yaml");
    until("the agent is sent off", || async {
        agents.read(|memory| {
            memory.goodbyes.contains(&"GOODBYE_REASON_PROFILE_REMOVED".to_owned()).then_some(())
        })
    })
    .await;
    assert!(nexus.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_says_goodbye_and_a_restart_goes_on() {
    let site = Site::new(&["coder"]);
    let nexus = site.start().await;
    let agents = Agents::start(&site, "coder", 3, 1);
    until("all are connected", || async { agents.read(|memory| (memory.sessions == 3).then_some(())) }).await;
    assert!(nexus.terminate().await.success());
    agents.read(|memory| assert_eq!(memory.goodbyes, ["GOODBYE_REASON_DRAINING"; 3]));
    let _nexus = site.start().await;
    let event = site.post_issue(1).await.unwrap();
    until("work flows again", || async {
        agents.read(|memory| memory.delivered.contains_key(&event).then_some(()))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_process_on_the_same_data_is_told_so() {
    let site = Site::new(&["coder"]);
    let _nexus = site.start().await;
    let second = tokio::process::Command::new(env!("CARGO_BIN_EXE_nexus"))
        .arg("dev")
        .arg(site.folder.path())
        .arg("--data")
        .arg(site.data.path())
        .output();
    let second = tokio::time::timeout(Duration::from_secs(20), second).await.unwrap().unwrap();
    assert!(!second.status.success());
    assert!(String::from_utf8_lossy(&second.stderr).contains("in use by another nexus"));
}
