//! Faults of what a process has: its disk, its sockets, its file descriptors.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::ensure;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use super::report::Row;
use super::scene::{Scene, folder};
use super::{Fault, Plan};
use crate::fleet::Fleet;
use crate::ledger::Times;
use crate::load::Rate;
use crate::mount::Mount;
use crate::site::PATIENCE;

/// Texts that fill a spool within seconds.
const TEXT: usize = 60_000;

/// A small disk, and a disk that is large enough, in bytes.
const SMALL: u64 = 40 << 20;
const LARGE: u64 = 1 << 30;

/// How long the spool stays full.
const FULL: Duration = Duration::from_secs(4);

/// How soon everything has to be as before.
const RECOVERY: Duration = Duration::from_secs(20);

/// Sockets of a flood, how long it lasts, and how soon it has to be over afterwards.
const SOCKETS: usize = 3000;
const FLOOD: Duration = Duration::from_secs(15);
const AFTER_FLOOD: Duration = Duration::from_secs(5);

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
    let taken = scene.ledger.accepted().len();
    sleep(FULL).await;
    let refused = scene.ledger.counts().refused - refused;
    let waiting = scene.fleet.ingest.gauge(&scene.fleet.doors.http, "nexus_spool_waiting_events").await?;
    if let Some(mount) = mount {
        // First there is room again, and only then Redis.
        mount.resize(LARGE)?;
        let goal = scene.ledger.accepted().len() + 50;
        let more = move |scene: &Scene| scene.ledger.accepted().len() >= goal;
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

/// Thousands of sockets that say nothing, or a byte a second.
pub(super) async fn flood(scene: &mut Scene) -> anyhow::Result<()> {
    let p99 = |mut times: Times| Times::quantile(&mut times.latencies, 990).as_secs_f64() * 1e3;
    scene.ledger.take_times();
    sleep(FLOOD).await;
    let before = p99(scene.ledger.take_times());
    let (ingest, gateway) = (scene.fleet.doors.ingests[0], scene.fleet.doors.gateways[0]);
    let mut sockets = Vec::new();
    for number in 0..SOCKETS {
        let port = if number % 3 == 2 { gateway } else { ingest };
        let Ok(mut socket) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await else { continue };
        let begin: &[u8] = match number % 3 {
            0 => b"POST /hooks/acme/acme/github HTTP/1.1\r\nhost: nexus\r\nx-slow: ",
            1 => b"POST /hooks/acme/acme/github HTTP/1.1\r\nhost: nexus\r\ncontent-type: application/json\r\ncontent-length: 20000000\r\n\r\n{",
            _ => b"",
        };
        // One that was refused already is part of it.
        let _ = socket.write_all(begin).await;
        sockets.push(socket);
    }
    scene.times += 1;
    scene.ledger.take_times();
    let begun = Instant::now();
    while begun.elapsed() < FLOOD {
        for socket in &mut sockets {
            let _ = socket.try_write(b" ");
        }
        scene.fleet.check()?;
        sleep(Duration::from_secs(1)).await;
    }
    let during = p99(scene.ledger.take_times());
    let opened = sockets.len();
    drop(sockets);
    let ids = scene.ledger.accepted();
    let after = scene.arrived(&ids, AFTER_FLOOD).await?;
    scene.flow().await?;
    scene.ledger.watch_pauses();
    scene.note(format!(
        "{opened} sockets, a third each with slow heads, slow bodies and silence: p99 of the honest {before:.1} ms before \
         and {during:.1} ms meanwhile; as before after {:.1} s",
        after.as_secs_f64()
    ));
    Ok(())
}

/// More sockets than a process may have files.
pub(super) async fn files(plan: &Plan, fault: Fault) -> anyhow::Result<Row> {
    let mut fleet = Fleet::new(&plan.nexus, &folder(plan, fault), "always").await?;
    fleet.ingest.files = Some(FILES);
    fleet.gateways[0].files = Some(FILES);
    let mut scene = Scene::over(plan, fault, fleet, plan.rate).await?;
    let played = exhaust(&mut scene).await;
    Ok(scene.end(played).await)
}

async fn exhaust(scene: &mut Scene) -> anyhow::Result<()> {
    let doors = scene.fleet.doors.clone();
    for (name, port) in [("the gateway", doors.gateways[0]), ("ingest", doors.ingests[0])] {
        let mut sockets = Vec::new();
        for _ in 0..TOO_MANY {
            // The kernel takes more than the process does.
            if let Ok(socket) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await {
                sockets.push(socket);
            }
        }
        scene.times += 1;
        let received = scene.ledger.counts().received;
        let begun = Instant::now();
        while begun.elapsed() < FULL {
            scene.fleet.check()?;
            sleep(Duration::from_millis(100)).await;
        }
        let meanwhile = scene.ledger.counts().received - received;
        ensure!(port != doors.gateways[0] || meanwhile > 0, "sessions that were open got nothing any more");
        drop(sockets);
        let goal = scene.ledger.accepted().len() + 50;
        let more = move |scene: &Scene| scene.ledger.accepted().len() >= goal;
        let took = scene.until("webhooks are accepted", RECOVERY, more).await?;
        scene.settle().await?;
        scene.note(format!(
            "{TOO_MANY} sockets at {name}, which may have {FILES} files: {meanwhile} deliveries in {FULL:?}; 50 more \
             webhooks accepted {:.1} s after they had gone",
            took.as_secs_f64()
        ));
    }
    Ok(())
}
