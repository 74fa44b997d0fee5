//! What an edited folder would route elsewhere.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::Site;

/// A copy of the quickstart, in which `from` is replaced in the agents' file.
fn edited(from: &str, to: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/quickstart");
    for name in ["agents.yaml", "policy.yaml", "tenant.yaml"] {
        let text = std::fs::read_to_string(example.join(name)).unwrap();
        assert!(name != "agents.yaml" || text.contains(from));
        std::fs::write(folder.path().join(name), text.replace(from, to)).unwrap();
    }
    folder
}

async fn send(site: &Site, args: &[&str]) -> String {
    let story = site.cli_json(&[&["send"], args, &["--wait", "0"]].concat()).await;
    story["event"]["id"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exactly_what_moves_is_shown() {
    let served = edited("owner", "owner");
    let site = Site::new(&[]);
    let _nexus = site.spawn(served.path());
    site.ready().await;
    let mut moving = BTreeSet::new();
    for round in 0..3 {
        // A reviewer who wants comments gets these; one that names the squad reaches the reviewer already.
        moving.insert(send(&site, &["github", "--sample", "comment", "--text", "plain words"]).await);
        send(&site, &["github"]).await;
        send(&site, &["slack"]).await;
        send(&site, &["clickup"]).await;
        if round == 0 {
            send(&site, &["github", "--sample", "comment", "--text", "@AI_Squad please look"]).await;
        }
    }

    let wider = edited("[ReviewRequested, ChangeProposed]", "[ReviewRequested, ChangeProposed, NewComment]");
    let diff = |args: &[&str]| {
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        let site = &site;
        async move {
            let args: Vec<&str> =
                ["diff-routes"].into_iter().chain(args.iter().map(String::as_str)).collect();
            site.cli(&args).await
        }
    };
    let path = |folder: &TempDir| folder.path().to_str().unwrap().to_owned();
    let output = diff(&[&path(&wider), "-o", "json"]).await;
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let moved =
        report["moved"].as_array().unwrap().iter().map(|moved| moved["id"].as_str().unwrap().to_owned());
    assert_eq!(moved.collect::<BTreeSet<_>>(), moving, "{report:#}");
    assert_eq!(report["compared"], 13);
    let table = diff(&[&path(&wider)]).await;
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(table.contains("reviewer") && table.contains('→'), "{table}");

    let same = diff(&[&path(&served)]).await;
    assert_eq!(same.status.code(), Some(0), "{}", String::from_utf8_lossy(&same.stdout));

    // Nothing that was compared is no proof, but where it may be so.
    let old = [path(&wider), "--until".to_owned(), "1h".to_owned()];
    for (more, status, told) in [
        (&[][..], 2, "no event was compared"),
        (&["--allow-empty"], 0, "no event was compared"),
        (&["--allow-empty", "--source", "githob"], 2, "did you mean `github`?"),
    ] {
        let output = diff(&[&old.each_ref().map(String::as_str), more].concat()).await;
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(status) && said.contains(told), "{more:?}: {said}");
    }

    let broken = edited("subscriptions:", "subscription:");
    let output = diff(&[&path(&broken)]).await;
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.contains("agents.yaml:") && told.contains("subscriptions"), "{told}");

    // The same without a server, as in a pull request.
    let recorded = served.path().join("events.ndjson");
    let lines = site.cli(&["events", "--full", "--limit", "100"]).await.stdout;
    let elsewhere = tempfile::tempdir().unwrap();
    let recorded = elsewhere.path().join(recorded.file_name().unwrap());
    std::fs::write(&recorded, lines).unwrap();
    let offline = ["--events", recorded.to_str().unwrap(), "--against", &path(&served), "-o", "json"];
    let output = diff(&[&[path(&wider).as_str()], &offline[..]].concat()).await;
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["moved"].as_array().unwrap().len(), 3);
}
