//! Faults of the disk under the embedded log.

#[path = "contract/rig.rs"]
#[expect(dead_code, reason = "the contract's rig has more than is needed here")]
mod rig;

use std::path::{Path, PathBuf};
use std::time::Duration;

use nexus_store::bus::Appended;

use crate::rig::*;

/// The folders that the engine flushes into.
fn tables(dir: &Path) -> Vec<PathBuf> {
    let keyspaces = std::fs::read_dir(dir.join("keyspaces")).unwrap();
    let tables: Vec<_> = keyspaces.map(|entry| entry.unwrap().path().join("tables")).collect();
    assert_eq!(tables.len(), 4);
    tables
}

fn away(path: &Path) -> PathBuf {
    path.with_extension("away")
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_failed_write_the_log_refuses_and_then_takes_writes_again() {
    let rig = Rig::new(Backend::Embedded);
    rig.fill(&["held"], inbox(1)).await;
    assert_eq!(rig.pull_ids(inbox(1), session(1)).await, ids(&["held"]));
    let tables = tables(rig.path());
    for tables in &tables {
        std::fs::rename(tables, away(tables)).unwrap();
        std::fs::write(tables, "no folder").unwrap();
    }
    // The log goes on until the engine wants to flush and cannot.
    let mut kept = Vec::new();
    let refused = loop {
        let name = format!("{}", kept.len());
        let mut event = rig.event(&name);
        event.event = vec![b'x'; 1 << 20].into();
        match rig.bus.append(&tenant(), event).await {
            Ok(_) => kept.push(name),
            Err(error) => break error,
        }
        assert!(kept.len() < 200, "the engine never flushed");
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
    // The session lives, and so does its hold.
    assert!(rig.pull_ids(inbox(1), session(2)).await.is_empty());
    assert_eq!(rig.ack(session(1), &["held"]).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_has_one_log() {
    let rig = Rig::new(Backend::Embedded);
    let second = nexus_store::bus::Bus::open_embedded(rig.path(), rig.clock.clock());
    assert_eq!(label(second), "storage");
    rig.store_all(&["a"]).await;
}
