//! Faults of the disk under the embedded log.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed expectation is how a test reports")]

#[path = "contract/rig.rs"]
#[expect(dead_code, reason = "the contract's rig has more than is needed here")]
mod rig;

use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nexus_core::clock::{Clock, ManualClock};
use nexus_store::bus::{Appended, Bus, Page};

use crate::rig::*;

/// So many appends of a megabyte make the engine flush for sure.
const TRIES: usize = 100;

/// The folders that the engine flushes into.
fn tables(dir: &Path) -> Vec<PathBuf> {
    let keyspaces = std::fs::read_dir(dir.join("keyspaces")).unwrap();
    let tables: Vec<_> = keyspaces.map(|entry| entry.unwrap().path().join("tables")).collect();
    assert_eq!(tables.len(), 3);
    tables
}

fn away(path: &Path) -> PathBuf {
    path.with_extension("away")
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_failed_write_the_log_refuses_and_then_takes_writes_again() {
    let rig = Rig::new(Backend::Embedded);
    let held: Vec<_> = (0..TRIES).map(|n| format!("held{n}")).collect();
    let held: Vec<_> = held.iter().map(String::as_str).collect();
    rig.fill(&held, inbox(1)).await;
    assert_eq!(rig.pull_ids(inbox(1), session(1)).await.len(), TRIES);
    let tables = tables(rig.path());
    for tables in &tables {
        std::fs::rename(tables, away(tables)).unwrap();
        std::fs::write(tables, "no folder").unwrap();
    }
    // The log goes on until the engine wants to flush and cannot.
    let (mut kept, mut acked) = (Vec::new(), 0);
    let refused = loop {
        let name = format!("{}", kept.len());
        let mut event = rig.event(&name);
        event.event = vec![b'x'; 1 << 20].into();
        let acme = tenant();
        let ack = rig.bus.ack(&acme, session(1), ids(&[held[kept.len()]]));
        // Whether both are of one batch is chance: either may fail alone.
        let (appended, acknowledged) = tokio::join!(rig.bus.append(&acme, event), ack);
        acked += usize::from(acknowledged.is_ok());
        match appended {
            Ok(_) => kept.push(name),
            Err(error) => break error,
        }
        assert!(kept.len() < TRIES, "the engine never flushed");
    };
    assert_eq!(refused.label(), "storage");
    assert_eq!(label(rig.bus.append(&tenant(), rig.event("z")).await), "storage");
    assert_eq!(label(rig.bus.unrouted(&tenant(), 0, 0, 1).await), "storage");

    for tables in &tables {
        std::fs::remove_file(tables).unwrap();
        std::fs::rename(away(tables), tables).unwrap();
    }
    let mut tries = tokio::time::interval(Duration::from_millis(50));
    let again = async {
        loop {
            tries.tick().await;
            if let Ok(Appended::Stored(_)) = rig.bus.append(&tenant(), rig.event("last")).await {
                break;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), again)
        .await
        .expect("the log takes no writes although its disk is well");

    let waiting: Vec<_> = rig.unrouted().await.into_iter().map(|(_, _, id)| id).collect();
    for name in &kept {
        assert!(waiting.contains(&id(name)), "{name} was answered and is lost");
        let again = rig.bus.append(&tenant(), rig.event(name)).await.unwrap();
        assert_eq!(again, Appended::Duplicate(id(name)));
    }
    // The session lives and holds what it held, also what it could not acknowledge.
    assert!(rig.pull_ids(inbox(1), session(2)).await.is_empty());
    assert_eq!(rig.ack(session(1), &held).await, TRIES - acked);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_has_one_log() {
    let rig = Rig::new(Backend::Embedded);
    let second = Bus::open_embedded(rig.path(), rig.clock.clock());
    assert_eq!(label(second), "storage");
    rig.store_all(&["a"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_writer_dies_nobody_waits_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let broken = Arc::new(AtomicBool::new(false));
    let clock = {
        let broken = Arc::clone(&broken);
        let time = ManualClock::at("2026-11-24T07:00:00Z".parse().unwrap()).clock();
        Clock::new(move || {
            assert!(!broken.load(Ordering::SeqCst), "the clock of this test breaks");
            time.now()
        })
    };
    let bus = Bus::open_embedded(dir.path(), clock).unwrap();
    let rig = Rig::new(Backend::Embedded);
    bus.append(&tenant(), rig.event("a")).await.unwrap();
    let waits = bus.watch_inbox(&tenant(), inbox(1));
    let mut unrouted = bus.watch_unrouted(&tenant(), 0);
    unrouted.mark_unchanged();
    let mut ended = pin!(bus.ended());
    assert!(tokio::time::timeout(Duration::ZERO, &mut ended).await.is_err());
    broken.store(true, Ordering::SeqCst);
    // The first one is with the writer when it dies, the second one finds it dead.
    assert_eq!(label(bus.append(&tenant(), rig.event("b")).await), "closed");
    assert_eq!(label(bus.pull(&tenant(), inbox(1), session(1), 1, 1).await), "closed");
    // Whoever only listens or reads hears of it too, and so does the owner of the process.
    let limit = Duration::from_secs(20);
    tokio::time::timeout(limit, ended).await.expect("nobody told of the end");
    // What was appended before may wake it once more; then it is over.
    let over = async {
        while unrouted.changed().await.is_ok() {}
        waits.changed().await.unwrap_err();
    };
    tokio::time::timeout(limit, over).await.expect("nobody told the watches of the end");
    assert!(bus.watch_inbox(&tenant(), inbox(1)).changed().await.is_err());
    assert_eq!(label(bus.events(&tenant(), Page::default()).await), "closed");
    bus.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_closed_has_not_failed() {
    let rig = Rig::new(Backend::Embedded);
    let mut watch = rig.bus.watch_unrouted(&tenant(), 0);
    rig.bus.close().await;
    assert!(watch.changed().await.is_err());
    let ended = tokio::time::timeout(Duration::from_millis(50), rig.bus.ended()).await;
    assert!(ended.is_err());
}
