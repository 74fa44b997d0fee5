//! Plain files: `length, crc32, payload` records, one write and one fdatasync for each group. Every
//! index is in memory and rebuilt by reading all segments; nothing expires and nothing is compacted.

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::Log;
use crate::load::{Batch, agents, decision, id};

const SEGMENT: usize = 64 * 1024 * 1024;
/// Length, checksum, kind, sequence number, length of the delivery key.
const HEAD: usize = 4 + 4 + 1 + 8 + 1;

#[derive(Default)]
struct Index {
    seen: HashMap<Vec<u8>, u64>,
    /// Segment and offset of each event.
    ids: HashMap<[u8; 16], (u64, usize)>,
    queue: BTreeSet<u64>,
    inbox: BTreeSet<(u8, u64)>,
}

pub struct SegmentLog {
    dir: PathBuf,
    segment: u64,
    file: File,
    size: usize,
    buffer: Vec<u8>,
    index: Index,
}

impl SegmentLog {
    pub fn open(dir: &Path) -> Result<Self> {
        let (mut index, mut segment, mut size) = (Index::default(), 0, 0);
        while let Ok(bytes) = fs::read(path(dir, segment)) {
            size = index.replay(segment, &bytes);
            segment += 1;
        }
        let segment = segment.saturating_sub(1);
        let file = File::options().create(true).append(true).open(path(dir, segment))?;
        file.set_len(size as u64)?; // a torn tail was never acknowledged
        File::open(dir)?.sync_all()?;
        Ok(Self { dir: dir.to_owned(), segment, file, size, buffer: Vec::new(), index })
    }

    fn record(&mut self, kind: u8, seq: u64, delivery: &[u8], parts: &[&[u8]]) {
        let start = self.buffer.len();
        self.buffer.extend([&[0; 8], &[kind][..], &seq.to_le_bytes(), &[delivery.len() as u8], delivery].concat());
        parts.iter().for_each(|part| self.buffer.extend_from_slice(part));
        let payload = &self.buffer[start + 8..];
        let (len, crc) = (payload.len() as u32, crc32fast::hash(payload));
        self.buffer[start..start + 4].copy_from_slice(&len.to_le_bytes());
        self.buffer[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
        self.index.apply(kind, seq, delivery, (self.segment, self.size + start));
    }

    fn roll(&mut self) -> Result<()> {
        self.file.sync_data()?;
        (self.segment, self.size) = (self.segment + 1, 0);
        self.file = File::options().create_new(true).append(true).open(path(&self.dir, self.segment))?;
        Ok(File::open(&self.dir)?.sync_all()?)
    }
}

impl Index {
    fn apply(&mut self, kind: u8, seq: u64, delivery: &[u8], place: (u64, usize)) {
        let inboxes = agents(seq).map(|agent| (agent, seq));
        match kind {
            b'e' => {
                self.seen.insert(delivery.to_vec(), seq);
                self.ids.insert(id(seq), place);
                self.queue.insert(seq);
            }
            b'r' => {
                self.queue.remove(&seq);
                self.inbox.extend(inboxes);
            }
            _ => inboxes.iter().for_each(|entry| _ = self.inbox.remove(entry)),
        }
    }

    /// Applies records up to the first that is not whole, and says where that one begins.
    fn replay(&mut self, segment: u64, bytes: &[u8]) -> usize {
        let mut at = 0;
        while let Some(head) = bytes.get(at..at + HEAD) {
            let end = at + 8 + u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
            let whole =
                bytes.get(at + 8..end).is_some_and(|payload| crc32fast::hash(payload).to_le_bytes() == head[4..8]);
            if !whole || end < at + HEAD {
                break;
            }
            let seq = u64::from_le_bytes(std::array::from_fn(|i| head[9 + i]));
            self.apply(head[8], seq, &bytes[at + HEAD..at + HEAD + usize::from(head[17])], (segment, at));
            at = end;
        }
        at
    }
}

impl Log for SegmentLog {
    fn commit(&mut self, group: &Batch, durable: bool) -> Result<Vec<bool>> {
        if self.size > SEGMENT {
            self.roll()?;
        }
        self.buffer.clear();
        let mut accepted = Vec::with_capacity(group.appends.len());
        for (seq, event) in (group.first..).zip(group.appends) {
            let new = !self.index.seen.contains_key(&event.delivery);
            accepted.push(new);
            if new {
                self.record(b'e', seq, &event.delivery, &[&event.json, &event.body]);
            }
        }
        group.routes.iter().for_each(|&seq| self.record(b'r', seq, &[], &[&decision(seq)]));
        group.acks.iter().for_each(|&seq| self.record(b'a', seq, &[], &[]));
        self.file.write_all(&self.buffer)?;
        self.size += self.buffer.len();
        if durable {
            self.file.sync_data()?;
        }
        Ok(accepted)
    }

    fn pending(&self) -> Result<usize> {
        Ok(self.index.queue.len() + self.index.inbox.len())
    }

    fn holds(&self, seq: u64) -> Result<bool> {
        Ok(self.index.ids.contains_key(&id(seq)))
    }
}

fn path(dir: &Path, segment: u64) -> PathBuf {
    dir.join(format!("{segment:08}"))
}
