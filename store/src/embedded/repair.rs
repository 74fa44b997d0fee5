//! A torn end of the journal.
//!
//! A loss of power can leave the last batches in the file in parts: pages reach the disk in any order. fjall
//! drops a last batch that ends early, but a page missing within a large value makes it refuse to open, although
//! nothing of that batch was ever answered as durable. Here the end is cut off, under one rule: nothing is cut
//! that may have been synced. A sync is of the whole file, so a batch that was to be synced and reads well may
//! stand for all before it; damage in front of one, or in a journal that was followed by another, is no torn end
//! and stays an error. So does every damage that is not a batch with a wrong checksum.
//!
//! The outline of the format and its checksum are those of fjall 3, `journal/{entry,writer}.rs`; fjall itself
//! checks what is left. The journal is set aside first and never written to: the shortened one is a new file that
//! takes its name. A crash at whatever point leaves one of the two in place, and the next opening begins anew.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use fjall::{Error, JournalRecoveryError};
use xxhash_rust::xxh3::xxh3_64;

use super::store::Space;

/// A batch in the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Outline {
    /// Where it begins, and where the next one does.
    pub(super) at: usize,
    pub(super) end: usize,
    /// Whether it was to be synced before it was answered.
    pub(super) synced: bool,
    /// Whether its checksum is right.
    pub(super) whole: bool,
}

/// Cuts a torn end off and opens with `open`; the error of the damage if it is no torn end.
pub(super) fn mend<T>(
    path: &Path,
    torn: JournalRecoveryError,
    open: impl Fn(&Path) -> Result<T, Error>,
) -> Result<T, Error> {
    let Some(cut) = Cut::plan(path)? else {
        tracing::error!(
            folder = %path.display(),
            "a journal is damaged in a place that may have been synced; the log is not opened"
        );
        return Err(Error::JournalRecovery(torn));
    };
    let aside = cut.set_aside()?;
    cut.write()?;
    cut.install()?;
    tracing::error!(
        journal = %cut.journal.display(),
        aside = %aside.display(),
        cut = cut.at,
        "the journal had a torn end, which was cut off: what was being written when the power went"
    );
    open(path)
}

/// What is to be done about a torn end.
struct Cut {
    journal: PathBuf,
    /// The journal, and how long it is with the zeros that it ends with.
    bytes: Vec<u8>,
    len: u64,
    /// Where the torn end begins.
    at: usize,
}

impl Cut {
    /// Looks at all journals; nothing if the damage is no torn end.
    fn plan(path: &Path) -> io::Result<Option<Self>> {
        let mut journals = journals(path)?;
        let Some(journal) = journals.pop() else {
            return Ok(None);
        };
        for sealed in journals {
            if !is_sound(&read(&sealed)?.0) {
                return Ok(None);
            }
        }
        let (bytes, len) = read(&journal)?;
        Ok(torn_end(&bytes).map(|at| Self { journal, bytes, len, at }))
    }

    /// Keeps the journal as it is under a name that is free.
    fn set_aside(&self) -> io::Result<PathBuf> {
        let mut number = 0;
        let aside = loop {
            number += 1;
            let aside = self.journal.with_extension(format!("{number}.torn"));
            if !aside.try_exists()? {
                break aside;
            }
        };
        write_synced(&self.part(), &self.bytes, self.len)?;
        take_name(&self.part(), &aside)?;
        Ok(aside)
    }

    /// Writes the journal without its torn end under a name that nobody reads.
    fn write(&self) -> io::Result<()> {
        write_synced(&self.part(), &self.bytes[..self.at], self.at as u64)
    }

    /// Puts it in the place of the journal.
    fn install(&self) -> io::Result<()> {
        take_name(&self.part(), &self.journal)
    }

    fn part(&self) -> PathBuf {
        self.journal.with_extension("part")
    }
}

/// A journal without the zeros that it ends with, most of one that was just begun, and its length with them.
pub(super) fn read(path: &Path) -> io::Result<(Vec<u8>, u64)> {
    const PAGE: usize = 4096;
    let mut bytes = fs::read(path)?;
    let len = bytes.len();
    let mut pages = bytes.chunks(PAGE);
    let used = pages.rposition(|page| *page != [0; PAGE][..page.len()]).map_or(0, |last| last + 1);
    bytes.truncate(used * PAGE);
    Ok((bytes, len as u64))
}

/// A file of these bytes and then zeros.
fn write_synced(path: &Path, bytes: &[u8], len: u64) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.set_len(len)?;
    file.sync_all()
}

/// Renames, so that the name too outlives a loss of power.
fn take_name(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    match to.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

/// The journals of a log, the one that was written to last at the end.
pub(super) fn journals(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found: Vec<(u64, PathBuf)> = Vec::new();
    for entry in fs::read_dir(path)? {
        let path = entry?.path();
        let number = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok());
        if let Some(number) = number.filter(|_| path.extension().is_some_and(|end| end == "jnl")) {
            found.push((number, path));
        }
    }
    found.sort_unstable();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

/// Whether a journal is batches and then nothing.
fn is_sound(journal: &[u8]) -> bool {
    let batches = outline(journal);
    let end = batches.last().map_or(0, |batch| batch.end);
    batches.iter().all(|batch| batch.whole) && journal[end..].iter().all(|byte| *byte == 0)
}

/// Where a torn end begins; nothing if there is none, or if it is more than that.
fn torn_end(journal: &[u8]) -> Option<usize> {
    let batches = outline(journal);
    let torn = batches.iter().position(|batch| !batch.whole)?;
    let (_, behind) = batches[torn..].split_first()?;
    let end = batches.last()?.end;
    // Behind the last batch that has an outline there may be more than the end of a torn one.
    let rest = (end..journal.len()).filter_map(|at| batch(journal, at));
    let stands_for_it = behind.iter().copied().chain(rest).any(|batch| batch.whole && batch.synced);
    (!stands_for_it).then_some(batches[torn].at)
}

/// The batches of a journal, up to where its format ends.
pub(super) fn outline(journal: &[u8]) -> Vec<Outline> {
    let mut batches: Vec<Outline> = Vec::new();
    while let Some(next) = batch(journal, batches.last().map_or(0, |last| last.end)) {
        batches.push(next);
    }
    batches
}

/// The batch that begins here. Nothing where no whole outline of one is.
fn batch(journal: &[u8], at: usize) -> Option<Outline> {
    let mut rest = journal.get(at..)?;
    if take(&mut rest)? != [1] {
        return None;
    }
    let count = u32::from_le_bytes(take(&mut rest)?);
    let _number: [u8; 8] = take(&mut rest)?;
    let items = rest;
    let mut synced = false;
    for _ in 0..count {
        let [item, _kind, compression] = take(&mut rest)?;
        if item != 2 || compression != 0 {
            return None;
        }
        let _keyspace: [u8; 8] = take(&mut rest)?;
        let key_len = usize::from(u16::from_le_bytes(take(&mut rest)?));
        let _unpacked: [u8; 4] = take(&mut rest)?;
        let value_len = usize::try_from(u32::from_le_bytes(take(&mut rest)?)).ok()?;
        synced |= *rest.first().filter(|_| key_len > 0)? == Space::Synced as u8;
        rest = rest.get(key_len.checked_add(value_len)?..)?;
    }
    let items = items.get(..items.len() - rest.len())?;
    let [end] = take(&mut rest)?;
    let checksum = u64::from_le_bytes(take(&mut rest)?);
    let trailer: [u8; 4] = take(&mut rest)?;
    (end == 3 && trailer == *b"FJL\x03").then(|| Outline {
        at,
        end: journal.len() - rest.len(),
        synced,
        whole: xxh3_64(items) == checksum,
    })
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (bytes, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(*bytes)
}

#[cfg(test)]
#[path = "repair_tests.rs"]
mod tests;
