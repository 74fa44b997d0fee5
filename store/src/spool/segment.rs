//! Segments: the files of a spool, each written once from front to back and removed as a whole.
//!
//! A segment begins with a mark, the spool's id, a place up to which all may have been used, and a checksum, all of it durable
//! before the first record is. What follows is records. A loss of power may
//! leave anything behind what was synced, so a scan believes checksums only, and goes on behind what is damaged.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use nexus_core::id::TenantKey;
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64;

use super::record::{self, Head};

const MARK: &[u8; 8] = b"NXSPOOL1";

/// Mark, id, place, checksum.
pub(super) const BEGIN: usize = 8 + 16 + 8 + 8;

/// How the names of segments end, and those of damaged ones that were set aside.
const SUFFIX: &str = "spool";
pub(super) const DAMAGED: &str = "damaged";

/// The longest tenant key, with the length before it; what a scan of heads reads of each payload.
const TENANT: usize = 4 + 253 + 1 + 253;

/// Where a record's payload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct At {
    pub(super) segment: u64,
    pub(super) offset: u64,
    pub(super) len: u32,
}

impl At {
    /// Bytes of the whole record.
    pub(super) fn bytes(self) -> u64 {
        u64::from(self.len) + record::HEAD as u64
    }
}

/// A record that was found in a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) place: u64,
    pub(super) at: At,
    pub(super) tenant: TenantKey,
}

/// What a segment holds.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// The spool's id, and the place from which records count; none if the beginning is damaged.
    pub(super) spool: Option<(Uuid, u64)>,
    pub(super) found: Vec<Found>,
    /// Bytes that are no records, though records come behind them.
    pub(super) damaged: u64,
    /// Bytes behind the last record.
    pub(super) torn: u64,
}

/// The path of a segment.
pub(super) fn path_of(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:016x}.{SUFFIX}"))
}

/// The segments of a folder, the oldest first.
pub(super) fn list(folder: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        let number = stem.and_then(|stem| u64::from_str_radix(stem, 16).ok());
        if let Some(number) = number.filter(|_| path.extension().is_some_and(|suffix| suffix == SUFFIX)) {
            numbers.push(number);
        }
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Makes a segment whose name and beginning survive a loss of power. Places up to this one may have been used.
pub(super) fn create(folder: &Path, number: u64, spool: Uuid, place: u64) -> io::Result<Arc<File>> {
    let path = path_of(folder, number);
    let made = || {
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        let head = [&MARK[..], spool.as_bytes(), &place.to_be_bytes()].concat();
        file.write_all_at(&head, 0)?;
        file.write_all_at(&xxh3_64(&head).to_be_bytes(), head.len() as u64)?;
        file.sync_data()?;
        File::open(folder)?.sync_all()?;
        Ok(Arc::new(file))
    };
    made().inspect_err(|_| drop(fs::remove_file(&path)))
}

fn spool_of(bytes: &[u8]) -> Option<(Uuid, u64)> {
    let (head, sum) = bytes.get(..BEGIN)?.split_at(BEGIN - 8);
    let (id, place) = head.strip_prefix(&MARK[..])?.split_at_checked(16)?;
    let place = u64::from_be_bytes(place.try_into().ok()?);
    (xxh3_64(head).to_be_bytes() == sum).then(|| Some((Uuid::from_slice(id).ok()?, place)))?
}

/// Reads a segment and checks every record.
pub(super) fn scan(number: u64, bytes: &[u8]) -> Scan {
    let mut scan = Scan { spool: spool_of(bytes), ..Scan::default() };
    let (mut at, mut bad) = (BEGIN.min(bytes.len()), 0);
    while at < bytes.len() {
        match record_at(number, bytes, at) {
            Some(found) => {
                at += usize::try_from(found.at.bytes()).unwrap_or(usize::MAX);
                scan.damaged += std::mem::take(&mut bad);
                scan.found.push(found);
            }
            None => {
                at += 1;
                bad += 1;
            }
        }
    }
    scan.torn = bad;
    scan
}

fn record_at(segment: u64, bytes: &[u8], at: usize) -> Option<Found> {
    let head = Head::read(bytes.get(at..)?)?;
    let start = at + record::HEAD;
    let payload = bytes.get(start..start + head.len).filter(|payload| head.vouches_for(payload))?;
    let at = At { segment, offset: start as u64, len: u32::try_from(head.len).ok()? };
    Some(Found { place: head.place, at, tenant: record::tenant_of(payload)? })
}

/// The heads of the records of a segment that this process wrote or has scanned, up to a length.
pub(super) fn heads(file: &File, segment: u64, len: u64) -> io::Result<Vec<Found>> {
    let mut found = Vec::new();
    let (mut at, mut buffer) = (BEGIN as u64, [0; record::HEAD + TENANT]);
    while at < len {
        let read = usize::try_from((len - at).min(buffer.len() as u64)).unwrap_or(buffer.len());
        let bytes = &mut buffer[..read];
        file.read_exact_at(bytes, at)?;
        let Some((head, tenant)) = Head::read(bytes)
            .and_then(|head| Some((head, record::tenant_of(bytes.get(record::HEAD..)?)?)))
            .filter(|(head, _)| at + (record::HEAD + head.len) as u64 <= len)
        else {
            // A damaged place: what is behind it is found by the scan that checks everything.
            let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
            file.read_exact_at(&mut bytes, 0)?;
            return Ok(scan(segment, &bytes).found);
        };
        let offset = at + record::HEAD as u64;
        let at_payload = At { segment, offset, len: u32::try_from(head.len).map_err(io::Error::other)? };
        found.push(Found { place: head.place, at: at_payload, tenant });
        at += at_payload.bytes();
    }
    Ok(found)
}

/// The payload of a record.
pub(super) fn read(file: &File, at: At, place: u64) -> io::Result<Bytes> {
    let damaged = || io::Error::new(io::ErrorKind::InvalidData, "the record is damaged");
    let mut bytes = vec![0; usize::try_from(at.bytes()).map_err(io::Error::other)?];
    file.read_exact_at(&mut bytes, at.offset.checked_sub(record::HEAD as u64).ok_or_else(damaged)?)?;
    let mut head = Bytes::from(bytes);
    let payload = head.split_off(record::HEAD);
    let whole = Head::read(&head).is_some_and(|head| head.place == place && head.vouches_for(&payload));
    if whole { Ok(payload) } else { Err(damaged()) }
}
