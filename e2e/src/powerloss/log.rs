//! The recorder's log, read back.

use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};

const MAGIC: u32 = 0x4c50_5846;
const HEADER: usize = 48;

/// A change, or a sync. `ino` is the number that the file system knows a file by; paths are relative to the folder.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are those of the system calls")]
pub enum Op {
    /// A file was opened for writing; perhaps it is new, perhaps its content was cut off.
    Open { path: PathBuf, ino: u64, new: bool, cut: bool },
    /// Bytes of the log were written to the file at an offset.
    Write { ino: u64, at: u64, data: Range<usize> },
    /// The file's length was set.
    SetLen { ino: u64, len: u64 },
    /// A file or a folder was synced: what happened before `begun` is durable.
    Sync { path: PathBuf, ino: u64, folder: bool, begun: u64 },
    /// A name was changed into another.
    Rename { from: PathBuf, to: PathBuf },
    /// A name was removed.
    Remove { path: PathBuf },
    /// A folder was made.
    MakeFolder { path: PathBuf },
    /// A file was given another name.
    Link { from: PathBuf, to: PathBuf },
}

/// What a process did, in order.
#[derive(Debug)]
pub struct Log {
    bytes: Vec<u8>,
    /// Each with its number.
    pub ops: Vec<(u64, Op)>,
    /// The change that the process was about to make, or had just made, when it was killed.
    pub unfinished: Option<Op>,
}

struct Record {
    op: u32,
    id: u64,
    ino: u64,
    a: i64,
    first: Range<usize>,
    second: Range<usize>,
}

impl Log {
    /// Reads a log; paths are told relative to `data`.
    pub fn read(path: &Path, data: &Path) -> anyhow::Result<Self> {
        let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut begun: HashMap<u64, Record> = HashMap::new();
        let mut ops = Vec::new();
        let mut at = 0;
        while let Some(record) = record(&bytes, &mut at)? {
            if record.op != 0 {
                begun.insert(record.id, record);
                continue;
            }
            let intent = begun.remove(&record.id).context("the log ends an operation that never began")?;
            if record.a >= 0 {
                ops.push((intent.id, op(&bytes, data, &intent, Some(&record))?));
            }
        }
        // Syncs count from where they began, but only once they ended: by then all before them is in the log.
        let unfinished = begun.into_values().find(|record| record.op != 4);
        let unfinished = unfinished.map(|record| op(&bytes, data, &record, None)).transpose()?;
        Ok(Self { bytes, ops, unfinished })
    }

    /// Bytes that were written.
    pub fn bytes(&self, range: &Range<usize>) -> &[u8] {
        &self.bytes[range.clone()]
    }
}

/// The next record; none at the end, or where a kill cut the last one short.
fn record(bytes: &[u8], at: &mut usize) -> anyhow::Result<Option<Record>> {
    let Some(header) = bytes.get(*at..*at + HEADER) else {
        return Ok(None);
    };
    let u32_at = |place: usize| u32::from_le_bytes(std::array::from_fn(|i| header[place + i]));
    let u64_at = |place: usize| u64::from_le_bytes(std::array::from_fn(|i| header[place + i]));
    ensure!(u32_at(0) == MAGIC, "the log is damaged at byte {at}");
    let first = *at + HEADER..*at + HEADER + u32_at(40) as usize;
    let second = first.end..first.end + u32_at(44) as usize;
    if second.end > bytes.len() {
        return Ok(None);
    }
    *at = second.end;
    let a = u64_at(24).cast_signed();
    Ok(Some(Record { op: u32_at(4), id: u64_at(8), ino: u64_at(16), a, first, second }))
}

fn op(bytes: &[u8], data: &Path, intent: &Record, done: Option<&Record>) -> anyhow::Result<Op> {
    let path = |range: &Range<usize>| {
        let text = String::from_utf8_lossy(&bytes[range.clone()]);
        let path = text.trim_end_matches(" (deleted)");
        let inside = Path::new(path).strip_prefix(data);
        inside.map(Path::to_owned).with_context(|| format!("{path} is not in {}", data.display()))
    };
    let first = || path(&intent.first);
    Ok(match intent.op {
        1 => Op::Open {
            path: first()?,
            ino: done.map_or(0, |done| done.ino),
            new: intent.a & 1 != 0,
            cut: intent.a & 2 != 0,
        },
        2 => {
            let written = done.map_or(intent.first.len(), |done| usize::try_from(done.a).unwrap_or(0));
            let end = (intent.first.start + written).min(intent.first.end);
            Op::Write { ino: intent.ino, at: intent.a.cast_unsigned(), data: intent.first.start..end }
        }
        3 => Op::SetLen { ino: intent.ino, len: intent.a.cast_unsigned() },
        4 => Op::Sync { path: first()?, ino: intent.ino, folder: intent.a != 0, begun: intent.id },
        5 => Op::Rename { from: first()?, to: path(&intent.second)? },
        6 | 8 => Op::Remove { path: first()? },
        7 => Op::MakeFolder { path: first()? },
        9 => Op::Link { from: first()?, to: path(&intent.second)? },
        _ => bail!("the program did something that is not modelled, to {}", first()?.display()),
    })
}
