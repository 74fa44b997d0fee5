//! The contract with agents: puppets in three languages, over both transports, read one scenario, and what each of them
//! does and gets is one and the same transcript. `UPDATE_GOLDEN=1` lets the Rust puppet over WebSocket rewrite it.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;

use crate::harness::{Nexus, Site, until};
use crate::puppet::Puppet;
use crate::toolchain::{proto, python, typescript};
use crate::transcript::Transcript;

const TRANSPORTS: [&str; 2] = ["websocket", "grpc"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rust_over_websocket() {
    rust(TRANSPORTS[0]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_over_websocket() {
    program(TRANSPORTS[0], Command::new(python()).arg(puppets().join("puppet.py"))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn typescript_over_websocket() {
    let (_folder, mut tsx) = typescript(&puppets(), "puppet.ts");
    program(TRANSPORTS[0], &mut tsx).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rust_over_grpc() {
    rust(TRANSPORTS[1]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_over_grpc() {
    program(TRANSPORTS[1], Command::new(python()).arg(puppets().join("puppet.py"))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn typescript_over_grpc() {
    let (_folder, mut tsx) = typescript(&puppets(), "puppet.ts");
    program(TRANSPORTS[1], &mut tsx).await;
}

async fn rust(transport: &'static str) {
    let world = World::start().await;
    let (ours, theirs) = tokio::io::duplex(1024 * 1024);
    let puppet = Puppet {
        scenario: puppets().join("scenario.txt"),
        grpc: transport == TRANSPORTS[1],
        gateway: world.site.gateway_url(),
        credentials: world.site.credentials("coder"),
    };
    let mut played = JoinSet::new();
    played.spawn(puppet.play(theirs));
    let (told, answers) = tokio::io::split(ours);
    let writes = transport == TRANSPORTS[0];
    world.watch(BufReader::new(told).lines(), answers, Player::Task(played), writes).await;
}

async fn program(transport: &str, command: &mut Command) {
    let world = World::start().await;
    command
        .arg(puppets().join("scenario.txt"))
        .arg(transport)
        .env("NEXUS_GATEWAY", world.site.gateway_url())
        .env("NEXUS_CREDENTIALS", world.site.credentials("coder"))
        .env("NEXUS_PROTO", proto())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    let mut puppet = command.spawn().unwrap();
    let told = BufReader::new(puppet.stdout.take().unwrap()).lines();
    let answers = puppet.stdin.take().unwrap();
    world.watch(told, answers, Player::Process(puppet), false).await;
}

/// What plays.
enum Player {
    Task(JoinSet<Result<(), String>>),
    Process(Child),
}

impl Player {
    async fn end(self) -> Result<(), String> {
        match self {
            Self::Task(mut task) => task.join_next().await.unwrap().map_err(|error| error.to_string())?,
            Self::Process(mut process) => match process.wait().await.unwrap() {
                status if status.success() => Ok(()),
                status => Err(status.to_string()),
            },
        }
    }
}

/// What a puppet meets.
struct World {
    // Dropped first, while its folder is there.
    nexus: Option<Nexus>,
    site: Site,
    webhooks: u64,
    engagement: Option<String>,
}

impl World {
    async fn start() -> Self {
        let site = Site::new(&["coder"]);
        let nexus = Some(site.start().await);
        Self { nexus, site, webhooks: 0, engagement: None }
    }

    /// Does what the puppet asks for, and compares what it tells.
    async fn watch<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
        mut self,
        mut told: Lines<BufReader<R>>,
        mut answers: W,
        player: Player,
        writes: bool,
    ) {
        let mut transcript = Transcript::default();
        while let Some(line) = told.next_line().await.unwrap() {
            let told: Value = serde_json::from_str(&line).unwrap();
            transcript.push(&told);
            if let Some(what) = told["world"].as_str() {
                let names = self.turn(what, &mut transcript).await;
                answers.write_all(format!("{names}\n").as_bytes()).await.unwrap();
            }
        }
        let ended = player.end().await;
        let transcript = transcript.to_string();
        assert!(ended.is_ok(), "the puppet gave up: {ended:?}; what it told:\n{transcript}");
        let golden = puppets().join("scenario.transcript");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            // One writes; the others compare in the next run.
            if writes {
                std::fs::write(&golden, &transcript).unwrap();
            }
            return;
        }
        let expected = std::fs::read_to_string(&golden).unwrap_or_default();
        let same = expected.lines().zip(transcript.lines()).take_while(|(a, b)| a == b).count();
        assert!(
            expected == transcript,
            "the transcript differs from {} in line {}:\n  it is {:?}\n  not   {:?}",
            golden.display(),
            same + 1,
            transcript.lines().nth(same),
            expected.lines().nth(same),
        );
    }

    async fn turn(&mut self, what: &str, transcript: &mut Transcript) -> Value {
        match what.split_once(' ').unwrap_or((what, "")) {
            ("webhook", name) => {
                self.webhooks += 1;
                let id = self.site.post_issue(self.webhooks).await.unwrap();
                transcript.call(&id, &format!("event-{name}"));
                if self.engagement.is_none() {
                    self.routed(&id).await;
                }
                return json!({ name: id });
            }
            ("stop", _) => {
                let url = format!("http://127.0.0.1:{}/api/v1/policies/stop-all/stop", self.site.admin);
                let answer = self.site.http.post(url).json(&json!({"reason": "drill"})).send();
                let answer: Value = answer.await.unwrap().json().await.unwrap();
                let engagement = answer["stops"][0]["engagement"].as_str().unwrap().to_owned();
                transcript.call(&engagement, "engagement-1");
                self.engagement = Some(engagement);
            }
            ("release", _) => {
                let engagement = self.engagement.take().unwrap();
                let released = self.site.cli(&["release", &engagement]).await;
                assert!(released.status.success(), "{}", String::from_utf8_lossy(&released.stderr));
            }
            ("restart", _) => {
                assert!(self.nexus.take().unwrap().terminate().await.success());
                self.nexus = Some(self.site.start().await);
            }
            ("remove", _) => self.site.remove("coder.yaml"),
            _ => panic!("the scenario asks the world for what it cannot do: {what}"),
        }
        json!({})
    }

    /// Waits until an event lies in the inbox.
    async fn routed(&self, id: &str) {
        until("it is routed", || async {
            let events = self.site.cli_json(&["events"]).await;
            let ours = events.as_array().unwrap().iter().find(|event| event["id"] == id);
            ours.is_some_and(|event| event["routed"] == true).then_some(())
        })
        .await;
    }
}

fn puppets() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/system/puppets")
}
