//! A session of an example agent outlives its token, though the first attempt at a fresh one fails; and the pause of a
//! Goodbye is kept where the connection breaks right behind it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;

use crate::harness::{Nexus, Site, until};
use crate::toolchain::{proto, python, typescript};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_python() {
    for file in ["agent.py", "agent_grpc.py"] {
        holds(Command::new(python()).arg(examples().join("agents/python").join(file))).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_typescript() {
    for file in ["agent.ts", "agent_grpc.ts"] {
        let (_folder, mut tsx) = typescript(&examples().join("agents/typescript"), file);
        holds(&mut tsx).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_rust() {
    for grpc in [false, true] {
        let world = World::start().await;
        let agent = crate::rust_agents::access::Agent {
            gateway: world.wire.url.clone(),
            credentials: world.site.credentials("coder"),
        };
        let mut tasks = JoinSet::new();
        if grpc {
            tasks.spawn(async move { crate::rust_agents::grpc::forever(agent).await.unwrap() });
        } else {
            tasks.spawn(async move { crate::rust_agents::websocket::forever(agent).await.unwrap() });
        }
        world.holds().await;
    }
}

async fn holds(command: &mut Command) {
    let world = World::start().await;
    let _agent: Child = command
        .env("NEXUS_GATEWAY", &world.wire.url)
        .env("NEXUS_CREDENTIALS", world.site.credentials("coder"))
        .env("NEXUS_PROTO", proto())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    world.holds().await;
}

struct World {
    _nexus: Nexus,
    wire: Wire,
    site: Site,
}

impl World {
    async fn start() -> Self {
        let site = Site::new(&["coder"]);
        let nexus = site.command(site.folder.path()).args(["--token-lifetime", "20s"]).spawn().unwrap();
        site.ready().await;
        Self { _nexus: Nexus::from(nexus), wire: Wire::to(site.gateway).await, site }
    }

    async fn holds(&self) {
        let seen = &self.wire.seen;
        // The second is lost on the way. The fourth is asked for after the first has expired.
        until("four tokens were asked for", || async {
            (seen.tokens.load(Ordering::SeqCst) >= 4).then_some(())
        })
        .await;
        let metrics = format!("http://127.0.0.1:{}/metrics", self.site.admin);
        let metrics = self.site.http.get(metrics).send().await.unwrap().text().await.unwrap();
        assert!(metrics.contains("nexus_sessions 1"), "{metrics}");
        assert!(!metrics.contains("nexus_session_ends_total{"), "the first session goes on: {metrics}");

        assert!(self.site.cli(&["stop", "--reason", REASON]).await.status.success());
        let back = until("the agent comes back", || async { seen.back.get().copied() }).await;
        // Five seconds is what the Goodbye of a stop names; a bound from below, which no slow machine breaks.
        let away = back.duration_since(*seen.cut.get().unwrap());
        assert!(away > Duration::from_millis(4_500), "the agent came back after {away:?}");
    }
}

/// What a Goodbye is recognized by.
const REASON: &str = "a-drill-on-the-wire";

/// A connection between agents and the gateway that loses the second request for a token, and breaks behind a Goodbye.
struct Wire {
    url: String,
    seen: Arc<Seen>,
    _tasks: JoinSet<()>,
}

#[derive(Default)]
struct Seen {
    tokens: AtomicUsize,
    cut: OnceLock<Instant>,
    back: OnceLock<Instant>,
}

impl Wire {
    async fn to(gateway: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::<Seen>::default();
        let mut tasks = JoinSet::new();
        let shared = Arc::clone(&seen);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((agent, _)) = listener.accept().await {
                let seen = Arc::clone(&shared);
                connections.spawn(async move {
                    let _ = pass(agent, gateway, &seen).await;
                });
            }
        });
        Self { url, seen, _tasks: tasks }
    }
}

/// Passes bytes on until one side ends or the connection is to break.
async fn pass(mut agent: TcpStream, gateway: u16, seen: &Seen) -> std::io::Result<()> {
    let mut gateway = TcpStream::connect(("127.0.0.1", gateway)).await?;
    let (mut up, mut down) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    let mut answer = Vec::new();
    loop {
        tokio::select! {
            read = agent.read(&mut up) => {
                let bytes = &up[..read?];
                if bytes.is_empty() {
                    return Ok(());
                }
                if seen.cut.get().is_some() {
                    let _ = seen.back.set(Instant::now());
                }
                if bytes.starts_with(b"POST /oauth/token") && seen.tokens.fetch_add(1, Ordering::SeqCst) == 1 {
                    return Ok(());
                }
                gateway.write_all(bytes).await?;
            }
            read = gateway.read(&mut down) => {
                let bytes = &down[..read?];
                if bytes.is_empty() {
                    return Ok(());
                }
                answer.extend_from_slice(bytes);
                if let Some(end) = end_of_goodbye(&answer) {
                    let new = answer.len() - bytes.len();
                    agent.write_all(&answer[new..end.max(new)]).await?;
                    let _ = seen.cut.set(Instant::now());
                    return Ok(());
                }
                agent.write_all(bytes).await?;
            }
        }
    }
}

/// Where the frame of a stop's Goodbye ends: behind the closing brackets of JSON, or where HTTP/2's DATA frame does.
fn end_of_goodbye(answer: &[u8]) -> Option<usize> {
    let reason = answer.windows(REASON.len()).position(|window| window == REASON.as_bytes())?;
    if answer.starts_with(b"HTTP/1.1") {
        let close = answer[reason..].windows(2).position(|window| window == b"}}")?;
        return Some(reason + close + 2);
    }
    let mut at = 0;
    while let Some([a, b, c]) = answer.get(at..at + 3) {
        at += 9 + (usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c));
        if at > reason {
            return (at <= answer.len()).then_some(at);
        }
    }
    None
}

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples")
}
