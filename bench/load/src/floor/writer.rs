//! The floor's segment: one thread takes what waits, writes it as one and syncs once.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

use anyhow::Context as _;
use tokio::sync::{mpsc, oneshot};

use super::Event;

/// The most that one sync carries.
const GROUP: usize = 512;

/// Something to keep.
pub(super) struct Append {
    pub(super) event: Event,
    /// Told when it is on disk.
    pub(super) done: oneshot::Sender<()>,
}

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
        keep(&mut segment, &group, &mut bytes).context("cannot keep events")?;
        for Append { event, done } in group.drain(..) {
            // Whoever hung up before the answer has still left an event.
            let _ = done.send(());
            if kept.send_blocking(event).is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}

fn keep(segment: &mut File, group: &[Append], bytes: &mut Vec<u8>) -> io::Result<()> {
    bytes.clear();
    for Append { event, .. } in group {
        bytes.extend_from_slice(&(event.body.len() as u64).to_le_bytes());
        bytes.extend_from_slice(event.id.as_bytes());
        bytes.extend_from_slice(&event.body);
    }
    segment.write_all(bytes)?;
    segment.sync_data()
}
