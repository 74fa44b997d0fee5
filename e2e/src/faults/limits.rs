//! Faults of what a process has: its disk, its file descriptors, its memory.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::flood::signed_head;
use super::report::Row;
use super::scene::{Scene, folder};
use super::{Fault, Plan};
use crate::fleet::Fleet;
use crate::load::Rate;
use crate::memory::Memory;
use crate::mount::Mount;
use crate::site::{LOOK, PATIENCE};

/// Texts that fill a spool within seconds.
const TEXT: usize = 60_000;

/// A small disk, and a disk that is large enough, in bytes.
const SMALL: u64 = 40 << 20;
const LARGE: u64 = 1 << 30;

/// How long the spool stays full.
const FULL: Duration = Duration::from_secs(4);

/// How soon everything has to be as before.
const RECOVERY: Duration = Duration::from_secs(20);

/// What ingest may have of memory beyond what it has when it is idle, in bytes, and the bodies that it gets, so often: more
/// than that together, and each of a length that is taken.
const ROOM: u64 = 96 << 20;
const BODIES: usize = 16;
const BODY: usize = 24 << 20;
const WAVES: u32 = 2;

/// The most files of a process that has few, and more sockets than that.
const FILES: u64 = 160;
const TOO_MANY: usize = 400;

/// The disk under the spool fills up while Redis is away.
pub(super) async fn disk_full(plan: &Plan, fault: Fault) -> anyhow::Result<Row> {
    let work = folder(plan, fault);
    std::fs::create_dir_all(&work)?;
    let mount = Mount::new(work.join("ingest"), SMALL)?;
    let fleet = Fleet::new(&plan.nexus, &work, "always").await?;
    let mut scene = Scene::over(plan, fault, fleet, Rate { bytes: TEXT, ..plan.rate }).await?;
    let played = fill(&mut scene, Some(&mount)).await;
    Ok(scene.end(played).await)
}

/// The spool has no room left while Redis is away.
pub(super) async fn spool_full(plan: &Plan, fault: Fault) -> anyhow::Result<Row> {
    let mut fleet = Fleet::new(&plan.nexus, &folder(plan, fault), "always").await?;
    fleet.ingest.arguments = vec!["--spool-bytes".to_owned(), (64 << 20).to_string()];
    let mut scene = Scene::over(plan, fault, fleet, Rate { bytes: TEXT, ..plan.rate }).await?;
    let played = fill(&mut scene, None).await;
    Ok(scene.end(played).await)
}

async fn fill(scene: &mut Scene, mount: Option<&Mount>) -> anyhow::Result<()> {
    scene.fleet.ingest.link.pass(false, false);
    scene.times += 1;
    let refused = scene.ledger.counts().refused;
    let full = move |scene: &Scene| scene.ledger.counts().refused > refused;
    scene.until("webhooks are answered 503", PATIENCE, full).await?;
    let taken = scene.ledger.counts().accepted;
    sleep(FULL).await;
    let refused = scene.ledger.counts().refused - refused;
    let waiting = scene.fleet.ingest.gauge(&scene.fleet.doors.http, "nexus_spool_waiting_events").await?;
    if let Some(mount) = mount {
        // First there is room again, and only then Redis.
        mount.resize(LARGE)?;
        let goal = scene.ledger.counts().accepted + 50;
        let more = move |scene: &Scene| scene.ledger.counts().accepted >= goal;
        let took = scene.until("webhooks are accepted again", RECOVERY, more).await?;
        scene.note(format!("{:.1} s after there was room 50 more were accepted", took.as_secs_f64()));
    }
    let before = scene.ledger.accepted();
    scene.fleet.ingest.link.pass(true, true);
    let arrived = scene.arrived(&before, PATIENCE).await?;
    let refused_before = scene.ledger.counts().refused;
    scene.flow().await?;
    scene.note(format!(
        "full with {} events waiting, {taken} accepted so far; {refused} answers 503 in {FULL:?}; all had arrived \
         {:.1} s after Redis was back, and {} more answers 503 came",
        waiting.unwrap_or_default(),
        arrived.as_secs_f64(),
        scene.ledger.counts().refused - refused_before,
    ));
    Ok(())
}

/// More sockets than a process may have files.
pub(super) async fn files(plan: &Plan, fault: Fault) -> anyhow::Result<Row> {
    let mut fleet = Fleet::new(&plan.nexus, &folder(plan, fault), "always").await?;
    let within = vec!["prlimit".into(), format!("--nofile={FILES}").into()];
    fleet.ingest.within.clone_from(&within);
    fleet.gateways[0].within = within;
    let mut scene = Scene::over(plan, fault, fleet, plan.rate).await?;
    let played = exhaust(&mut scene).await;
    Ok(scene.end(played).await)
}

async fn exhaust(scene: &mut Scene) -> anyhow::Result<()> {
    let doors = scene.fleet.doors.clone();
    for (name, door) in [("the gateway", doors.gateways[0]), ("ingest", doors.ingests[0])] {
        let mut sockets = Vec::new();
        for _ in 0..TOO_MANY {
            // The kernel takes more than the process does.
            sockets.push(TcpStream::connect(door).await.context("cannot open a socket")?);
        }
        scene.times += 1;
        let received = scene.ledger.receipts_at(0);
        scene.last(FULL).await?;
        let meanwhile = scene.ledger.receipts_at(0) - received;
        drop(sockets);
        let goal = scene.ledger.counts().accepted + 50;
        let more = move |scene: &Scene| scene.ledger.counts().accepted >= goal;
        let took = scene.until("webhooks are accepted", RECOVERY, more).await?;
        scene.settle().await?;
        let unit = if door == doors.gateways[0] { &scene.fleet.gateways[0] } else { &scene.fleet.ingest };
        let errors = unit.gauge(&doors.http, "nexus_http_accept_errors_total").await?.unwrap_or_default();
        scene.note(format!(
            "{TOO_MANY} sockets at {name}, which may have {FILES} files: {meanwhile} deliveries by the first gateway in \
             {FULL:?}; {errors} times it could accept no connection; 50 more webhooks accepted {:.1} s after they had gone",
            took.as_secs_f64()
        ));
        ensure!(errors > 0.0, "{name} never lacked a file");
        ensure!(door != doors.gateways[0] || meanwhile > 0, "sessions that were open got nothing any more");
    }
    Ok(())
}

/// Ingest may have little more memory than it has, and gets more bodies than fit.
pub(super) async fn memory(plan: &Plan, fault: Fault) -> anyhow::Result<Row> {
    let fleet = Fleet::new(&plan.nexus, &folder(plan, fault), "always").await?;
    let mut scene = Scene::over(plan, fault, fleet, plan.rate).await?;
    let mut memory = Memory::new(&format!("nexus-faults-{}", std::process::id()));
    let played = overfill(&mut scene, &mut memory).await;
    let row = scene.end(played).await;
    // The group goes after its processes.
    drop(memory);
    Ok(row)
}

async fn overfill(scene: &mut Scene, memory: &mut Memory) -> anyhow::Result<()> {
    let has = scene.fleet.ingest.gauge(&scene.fleet.doors.http, memory.metric()).await?;
    let most = whole(has.context("no metric tells of memory")?) + ROOM;
    memory.set(most)?;
    scene.fleet.ingest.drain().await?;
    scene.fleet.ingest.within = memory.within();
    scene.fleet.start_ingest().await?;
    for _ in 0..WAVES {
        scene.flow().await?;
        let before = scene.ledger.accepted();
        let wave = Wave::start(scene.fleet.doors.ingests[0]);
        scene.times += 1;
        let begun = Instant::now();
        let ended = loop {
            if let Some(status) = scene.fleet.ingest.ended()? {
                break Some(status);
            }
            if wave.is_refused() {
                break None;
            }
            ensure!(begun.elapsed() < PATIENCE, "{BODIES} bodies of {BODY} bytes fit into {ROOM} bytes");
            sleep(LOOK).await;
        };
        drop(wave);
        if ended.is_some() {
            scene.fleet.start_ingest().await?;
        }
        let took = scene.arrived(&before, PATIENCE).await?;
        // Once more at the most: whoever comes next must not be what ends it.
        scene.last(FULL).await?;
        scene.note(format!(
            "{BODIES} bodies of {BODY} bytes at ingest, which may have {} MiB of {}: {}; all that was accepted before had \
             arrived {:.1} s later",
            most >> 20,
            memory.kind(),
            ended.map_or_else(|| "some were answered 503".to_owned(), |status| format!("it ended, {status}")),
            took.as_secs_f64()
        ));
    }
    Ok(())
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of bytes is neither")]
fn whole(bytes: f64) -> u64 {
    bytes as u64
}

/// Bodies that come nearly whole, and never whole.
struct Wave {
    refused: Arc<AtomicBool>,
    _tasks: JoinSet<()>,
}

impl Wave {
    fn start(door: SocketAddr) -> Self {
        let refused = Arc::<AtomicBool>::default();
        let mut tasks = JoinSet::new();
        for _ in 0..BODIES {
            let refused = Arc::clone(&refused);
            tasks.spawn(async move {
                if let Ok(answer) = body(door).await {
                    refused.fetch_or(answer.starts_with(b"HTTP/1.1 503"), Ordering::Relaxed);
                }
            });
        }
        Self { refused, _tasks: tasks }
    }

    fn is_refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }
}

/// Sends a body but for its last byte; the answer to that.
async fn body(door: SocketAddr) -> std::io::Result<Vec<u8>> {
    let stream = TcpStream::connect(door).await?;
    let (mut from, mut to) = stream.into_split();
    let send = async {
        to.write_all(signed_head(BODY).as_bytes()).await?;
        let piece = vec![b' '; 1 << 16];
        for _ in 0..BODY / piece.len() {
            to.write_all(&piece).await?;
        }
        std::future::pending::<std::io::Result<()>>().await
    };
    let mut answer = vec![0; 64];
    tokio::select! {
        read = from.read(&mut answer) => answer.truncate(read?),
        sent = send => sent?,
    }
    Ok(answer)
}
