//! The floor's segment: one thread takes what waits, writes it as one and syncs once.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

use anyhow::Context as _;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::{Append, Event};

/// The most that one sync carries.
const GROUP: usize = 512;

/// A file to append to.
pub(super) fn create(path: &Path) -> anyhow::Result<File> {
    let file = OpenOptions::new().create(true).append(true).open(path);
    file.with_context(|| format!("cannot write {}", path.display()))
}

/// Writes until nobody appends any more.
pub(super) fn run(
    mut segment: File,
    mut appends: mpsc::Receiver<Append>,
    kept: &async_channel::Sender<Event>,
) -> anyhow::Result<()> {
    let mut group = Vec::with_capacity(GROUP);
    let mut bytes = Vec::new();
    while appends.blocking_recv_many(&mut group, GROUP) > 0 {
        let ids: Vec<_> = group.iter().map(|_| Uuid::now_v7()).collect();
        keep(&mut segment, &ids, &group, &mut bytes).context("cannot keep events")?;
        for (id, Append { body, done }) in ids.into_iter().zip(group.drain(..)) {
            // Whoever hung up before the answer has still left an event.
            let _ = done.send(id);
            if kept.send_blocking(Event { id, body }).is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}

fn keep(segment: &mut File, ids: &[Uuid], group: &[Append], bytes: &mut Vec<u8>) -> io::Result<()> {
    bytes.clear();
    for (id, Append { body, .. }) in ids.iter().zip(group) {
        bytes.extend_from_slice(&(body.len() as u64).to_le_bytes());
        bytes.extend_from_slice(id.as_bytes());
        bytes.extend_from_slice(body);
    }
    segment.write_all(bytes)?;
    segment.sync_data()
}
