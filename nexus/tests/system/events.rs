//! Lists of events: what the flags choose, and what follows as it comes.

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::http::Uri;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};
use tokio::task::JoinSet;

use crate::harness::{PATIENCE, Site, tenant_yaml, until};

/// `nexus events --follow`, line by line. Dropping it kills it.
struct Follower {
    events: Lines<BufReader<ChildStdout>>,
    notes: Lines<BufReader<ChildStderr>>,
    _process: Child,
}

impl Follower {
    fn start(site: &Site, args: &[&str]) -> Self {
        Self::run(site.verb(&[&["events", "--follow", "-o", "json"], args].concat()))
    }

    fn run(mut verb: Command) -> Self {
        verb.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut process = verb.spawn().unwrap();
        let events = BufReader::new(process.stdout.take().unwrap()).lines();
        let notes = BufReader::new(process.stderr.take().unwrap()).lines();
        Self { events, notes, _process: process }
    }

    /// The next event.
    async fn event(&mut self) -> Value {
        let line = tokio::time::timeout(PATIENCE, self.events.next_line()).await.expect("an event");
        serde_json::from_str(&line.unwrap().expect("it goes on")).unwrap()
    }

    /// The next remark.
    async fn note(&mut self) -> String {
        let line = tokio::time::timeout(PATIENCE, self.notes.next_line()).await.expect("a remark");
        line.unwrap().expect("it goes on")
    }
}

async fn ids(site: &Site, args: &[&str]) -> Vec<String> {
    let events = site.cli_json(&[&["events"], args].concat()).await;
    events.as_array().unwrap().iter().map(|event| event["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_follows_is_printed_once_and_in_order_also_across_a_restart() {
    let site = Site::new(&["coder"]);
    let nexus = site.start().await;
    let [first, second] = [site.post_issue(1).await.unwrap(), site.post_issue(2).await.unwrap()];
    let mut all = Follower::start(&site, &[]);
    let mut latest = Follower::start(&site, &["--limit", "1", "--full"]);
    let mut comments = Follower::start(&site, &["--kind", "NewComment"]);
    assert_eq!(
        [all.event().await["id"].clone(), all.event().await["id"].clone()],
        [json!(first), json!(second)]
    );
    let old = latest.event().await;
    assert_eq!((&old["id"], &old["data"]["title"]), (&json!(second), &json!("issue 2")));

    let third = site.post_issue(3).await.unwrap();
    let event = all.event().await;
    assert_eq!((&event["id"], &event["seq"]), (&json!(third), &json!(3)));
    assert_eq!(latest.event().await["id"], json!(third));

    nexus.kill().await;
    assert!(all.note().await.contains("asking on"));
    let _nexus = site.start().await;
    let fourth = site.post_issue(4).await.unwrap();
    assert_eq!(all.event().await["id"], json!(fourth));
    assert_eq!(latest.event().await["id"], json!(fourth));
    assert!(all.note().await.contains("is back"));
    // The issues are none of its business: the comment is the first that it prints.
    let sent = site.cli(&["send", "github", "--sample", "comment", "--wait", "0"]).await;
    let comment =
        until("the comment is there", || async { ids(&site, &["--kind", "NewComment"]).await.pop() }).await;
    assert_eq!(comments.event().await["id"], json!(comment), "{sent:?}");
    assert_eq!(all.event().await["id"], json!(comment));
}

/// A way to the site's admin server on which issues 3 to 5 come right before the first page of events is read.
async fn busy_way(site: Arc<Site>) -> (u16, JoinSet<std::io::Result<()>>) {
    let come = Arc::new(AtomicBool::new(false));
    let pass = move |uri: Uri| {
        let (site, come) = (Arc::clone(&site), Arc::clone(&come));
        async move {
            if uri.path().ends_with("/events") && !come.swap(true, Ordering::Relaxed) {
                for number in 3..=5 {
                    site.post_issue(number).await.unwrap();
                }
            }
            let answer = site.http.get(format!("http://127.0.0.1:{}{uri}", site.admin)).send().await.unwrap();
            (answer.status(), answer.bytes().await.unwrap())
        }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut served = JoinSet::new();
    served.spawn(async move { axum::serve(listener, Router::new().fallback(pass)).await });
    (port, served)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_while_the_old_ones_are_read_is_not_cut_off_by_the_limit() {
    let site = Arc::new(Site::new(&["coder"]));
    let _nexus = site.start().await;
    for number in 1..=2 {
        site.post_issue(number).await.unwrap();
    }
    let (port, _served) = busy_way(Arc::clone(&site)).await;
    let admin = format!("127.0.0.1:{port}");
    let mut verb = Command::new(env!("CARGO_BIN_EXE_nexus"));
    verb.args(["events", "--follow", "--limit", "1", "-o", "json", "--admin", &admin]);
    let mut follower = Follower::run(verb);
    for seq in 2..=5 {
        assert_eq!(follower.event().await["seq"], seq);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_flags_choose_events() {
    let site = Site::new(&["coder"]);
    site.write("other.yaml", &tenant_yaml("other"));
    let _nexus = site.start().await;
    let mut acme = Vec::new();
    for number in 1..=3 {
        acme.insert(0, site.post_issue(number).await.unwrap());
    }
    let other = site.post_issue_to("acme/other", 4).await.unwrap().json::<Value>().await.unwrap();
    let other = other["event"].as_str().unwrap().to_owned();

    let events = site.cli_json(&["events", "--tenant", "acme/acme"]).await;
    let received = events[1]["received"].as_str().unwrap();
    let all = [std::slice::from_ref(&other), &acme[..]].concat();
    let none: [String; 0] = [];
    for (args, expected) in [
        (&[][..], &all[..]),
        (&["--limit", "2"], &all[..2]),
        (&["--tenant", "acme/acme"], &acme[..]),
        (&["--tenant", "acme/acme", "--since", received], &acme[..2]),
        (&["--tenant", "acme/acme", "--until", received], &acme[2..]),
        (&["--since", "1h", "--source", "github"], &all[..]),
        (&["--until", "1h"], &none[..]),
        (&["--kind", "NewComment"], &none[..]),
        (&["--kind", "NewComment", "--kind", "NewWorkItem"], &all[..]),
    ] {
        assert_eq!(ids(&site, args).await, expected, "{args:?}");
    }
    let full =
        String::from_utf8(site.cli(&["events", "--full", "--tenant", "acme/other"]).await.stdout).unwrap();
    let full: Value = serde_json::from_str(full.trim()).unwrap();
    assert_eq!((&full["id"], &full["data"]["title"]), (&json!(other), &json!("issue 4")));

    for (args, remedy) in [
        (["--source", "githob"], "did you mean `github`?"),
        (["--tenant", "acme/othr"], "did you mean `acme/other`?"),
        (["--since", "yesterday"], "2h"),
    ] {
        let output = site.cli(&[&["events"], &args[..]].concat()).await;
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && error.contains(remedy), "{args:?}: {error}");
    }
}
