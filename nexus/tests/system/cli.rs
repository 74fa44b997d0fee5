//! The command line against a running process.

use crate::harness::{Site, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_verbs_speak_to_people_and_to_machines() {
    let site = Site::new(&["coder"]);
    let nexus = site.start().await;
    let id = site.post_issue(7).await.unwrap();
    until("it is routed", || async { (site.cli_json(&["events"]).await[0]["routed"] == true).then_some(()) })
        .await;

    let table = String::from_utf8(site.cli(&["events"]).await.stdout).unwrap();
    assert!(table.contains("NewWorkItem") && table.contains("issue 7") && table.contains(&id), "{table}");
    assert!(site.cli_json(&["events", "--kind", "NewComment"]).await.as_array().unwrap().is_empty());
    let status = String::from_utf8(site.cli(&["status"]).await.stdout).unwrap();
    assert!(status.contains("RUNNING") && status.contains("coder") && status.contains("Offline"), "{status}");

    let body = site.cli(&["get", &id, "--raw"]).await.stdout;
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&body).unwrap()["issue"]["number"], 7);
    assert_eq!(site.cli_json(&["get", "last"]).await["data"]["title"], "issue 7");
    let token = String::from_utf8(site.cli(&["token", "coder"]).await.stdout).unwrap();
    assert!(crate::agent::connect(&site.gateway_url(), token.trim()).await.is_ok());
    let token = site.cli_json(&["token", "coder"]).await;
    assert_eq!(
        (&token["tenant"], &token["agent"], &token["tokenType"]),
        (&"acme/acme".into(), &"coder".into(), &"Bearer".into())
    );
    assert_eq!(token["agentId"], site.status().await["tenants"][0]["agents"][0]["id"]);
    let expires: jiff::Timestamp = token["expires"].as_str().unwrap().parse().unwrap();
    assert!(expires > nexus_runtime::clock::system().now(), "{expires}");
    let token = token["accessToken"].as_str().unwrap();
    assert!(crate::agent::connect(&site.gateway_url(), token).await.is_ok());
    assert_eq!(
        site.cli_json(&["schema", "NewWorkItem"]).await["properties"]["type"]["const"],
        "dev.nexus.NewWorkItem.v1"
    );
    for (flag, word) in [
        ("--openapi", "/oauth/token"),
        ("--asyncapi", "/v1/connect"),
        ("--proto", "rpc Connect"),
        ("--list", "NewWorkItem"),
    ] {
        assert!(
            String::from_utf8(site.cli(&["schema", flag]).await.stdout).unwrap().contains(word),
            "{flag}"
        );
    }
    assert!(String::from_utf8(site.cli(&["agents"]).await.stdout).unwrap().contains("acme/acme"));
    assert!(site.cli(&["completions", "bash"]).await.stdout.starts_with(b"_nexus"));

    let error = |output: std::process::Output| {
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(error(site.cli(&["send", "gitlab"]).await).contains("github of acme/acme"));
    assert!(
        error(site.cli(&["send", "github", "--sample", "isue"]).await)
            .contains("issue, comment, pull-request")
    );
    assert!(error(site.cli(&["events", "--kind", "NewWork"]).await).contains("NewWorkItem"));
    assert!(error(site.cli(&["schema", "NewWork"]).await).contains("NewWorkItem"));
    assert!(error(site.cli(&["schema", "NewWorkItem", "--openapi"]).await).contains("cannot be used with"));
    assert!(error(site.cli(&["why", "0190163d-8694-739b-aea5-966c26f8ad91"]).await).contains("no event"));
    assert!(error(site.cli(&["stats"]).await).contains("status"));
    nexus.kill().await;
    assert!(error(site.cli(&["status"]).await).contains("is `nexus dev` running"));
}
