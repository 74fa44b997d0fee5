//! A torn end of the journal.
//!
//! A loss of power can leave the last batches in the file in parts: pages reach the disk in any order. fjall
//! drops a last batch that ends early, but a page missing within a large value makes it refuse to open, although
//! nothing of that batch was ever answered as durable. Here the end is cut off, under one rule: nothing is cut
//! that may have been synced. While a batch is being synced nothing follows it, so a synced batch that has a
//! successor is durable; damage in it, or before it, is no torn end and stays an error.
//!
//! Only the outline of the format is read (fjall 3, `journal/entry.rs`); fjall itself checks what is left. The
//! journal is set aside first.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};

use fjall::{Error, JournalRecoveryError};

use super::store::Space;

/// A batch in the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Outline {
    /// Where it begins.
    at: u64,
    /// Whether it was to be synced before it was answered.
    synced: bool,
}

/// Cuts a torn end off and opens with `open`; the error of the damage if it is no torn end.
pub(super) fn mend<T>(
    path: &Path,
    torn: JournalRecoveryError,
    open: impl Fn(&Path) -> Result<T, Error>,
) -> Result<T, Error> {
    let journal = active_journal(path)?.ok_or(Error::JournalRecovery(torn))?;
    let batches = outline(&mut BufReader::new(File::open(&journal)?))?;
    let aside = journal.with_extension("torn");
    std::fs::copy(&journal, &aside)?;
    for cut in cuts(&batches) {
        let file = OpenOptions::new().write(true).open(&journal)?;
        file.set_len(cut)?;
        file.sync_all()?;
        match open(path) {
            Err(Error::JournalRecovery(_)) => {}
            opened => {
                tracing::error!(
                    journal = %journal.display(),
                    aside = %aside.display(),
                    cut,
                    "the journal had a torn end, which was cut off: what was being written when the power went"
                );
                return opened;
            }
        }
    }
    std::fs::copy(&aside, &journal)?;
    tracing::error!(
        journal = %journal.display(),
        "the journal is damaged in a place that was synced; the log is not opened"
    );
    Err(Error::JournalRecovery(torn))
}

/// Where the journal may be cut, the least loss first: before the last batch, or before all that follow the
/// last synced one.
fn cuts(batches: &[Outline]) -> Vec<u64> {
    let Some(last) = batches.last() else {
        return Vec::new();
    };
    let mut cuts = vec![last.at];
    let synced = batches.iter().rposition(|batch| batch.synced);
    let unsynced = synced.map_or(0, |synced| synced + 1);
    if let Some(first) = batches.get(unsynced)
        && first.at != last.at
    {
        cuts.push(first.at);
    }
    cuts
}

/// The journal that was written to last.
fn active_journal(path: &Path) -> io::Result<Option<PathBuf>> {
    let mut last: Option<(u64, PathBuf)> = None;
    for entry in std::fs::read_dir(path)? {
        let path = entry?.path();
        let number = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok());
        if let Some(number) = number.filter(|_| path.extension().is_some_and(|end| end == "jnl"))
            && last.as_ref().is_none_or(|(highest, _)| number > *highest)
        {
            last = Some((number, path));
        }
    }
    Ok(last.map(|(_, path)| path))
}

/// The batches of a journal, up to where its format ends.
fn outline(journal: &mut impl BufRead) -> io::Result<Vec<Outline>> {
    let mut at = 0;
    let mut batches = Vec::new();
    loop {
        match batch(journal) {
            Ok(Some((len, synced))) => {
                batches.push(Outline { at, synced });
                at += len;
            }
            Ok(None) => return Ok(batches),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(batches),
            Err(error) => return Err(error),
        }
    }
}

/// One batch: its length, and whether it was to be synced. Nothing where no whole batch is.
fn batch(journal: &mut impl BufRead) -> io::Result<Option<(u64, bool)>> {
    let mut len = 0;
    let mut synced = false;
    let [start] = take::<1>(journal, &mut len)?;
    if start != 1 {
        return Ok(None);
    }
    let count = u32::from_le_bytes(take(journal, &mut len)?);
    let _number: [u8; 8] = take(journal, &mut len)?;
    for _ in 0..count {
        let [item, _kind, compression] = take::<3>(journal, &mut len)?;
        if item != 2 || compression != 0 {
            return Ok(None);
        }
        let _keyspace: [u8; 8] = take(journal, &mut len)?;
        let key_len = u64::from(u16::from_le_bytes(take(journal, &mut len)?));
        let _unpacked: [u8; 4] = take(journal, &mut len)?;
        let value_len = u64::from(u32::from_le_bytes(take(journal, &mut len)?));
        let Some(rest) = key_len.checked_sub(1) else {
            return Ok(None);
        };
        let [space] = take::<1>(journal, &mut len)?;
        synced |= space == Space::Synced as u8;
        let skipped = io::copy(&mut journal.take(rest + value_len), &mut io::sink())?;
        if skipped < rest + value_len {
            return Ok(None);
        }
        len += skipped;
    }
    let [end] = take::<1>(journal, &mut len)?;
    let _checksum: [u8; 8] = take(journal, &mut len)?;
    let trailer: [u8; 4] = take(journal, &mut len)?;
    Ok((end == 3 && trailer == *b"FJL\x03").then_some((len, synced)))
}

fn take<const N: usize>(journal: &mut impl Read, len: &mut u64) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    journal.read_exact(&mut bytes)?;
    *len += N as u64;
    Ok(bytes)
}

#[cfg(test)]
#[path = "repair_tests.rs"]
mod tests;
