//! What an earlier process left: read, checked, and waiting to go into the bus again.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use uuid::Uuid;

use super::SpoolSettings;
use super::segment::{self, DAMAGED, Found, Scan};
use super::shelf::{Segment, Shelf};
use crate::bus::{BusError, cannot};

/// After a loss of power the bus may have had more of this spool than the disk has. New places begin so far behind the
/// last one that was found that none of them was ever used.
const GAP: u64 = 1 << 28;

/// Damaged segments that are kept for whoever looks into it.
const SET_ASIDE: usize = 4;

/// Reads the folder: what waits, the spool's id, and the number of the next segment.
pub(super) fn recover(settings: &SpoolSettings) -> Result<(Shelf, Uuid, u64), BusError> {
    let folder = &settings.folder;
    make(folder).map_err(cannot("make the folder of the spool"))?;
    let numbers = segment::list(folder).map_err(cannot("read the folder of the spool"))?;
    let (mut shelf, now) = (Shelf::default(), Instant::now());
    let mut ids = Vec::new();
    let mut all: Vec<Found> = Vec::new();
    let mut last = 0;
    for number in &numbers {
        let (scan, file, len) = match read(folder, *number) {
            Ok(read) => read,
            Err(error) => {
                lay_aside(folder, *number, &error).map_err(cannot("set a segment of the spool aside"))?;
                continue;
            }
        };
        ids.extend(scan.spool.map(|(id, _)| id));
        last = last.max(scan.spool.map_or(0, |(_, place)| place));
        if scan.found.is_empty() && scan.spool.is_none() {
            // Its beginning is durable before anything goes into the bus: nothing did.
            fs::remove_file(segment::path_of(folder, *number))
                .map_err(cannot("remove an empty segment of the spool"))?;
            continue;
        }
        // One without records tells which places were used until another one does.
        shelf.segments.insert(*number, Segment::new(Arc::new(file), len, 0, now));
        all.extend(scan.found);
    }
    last = all.iter().map(|found| found.place).fold(last, u64::max);
    shelf.place = last.saturating_add(GAP);
    if !all.is_empty() {
        tracing::info!(
            events = all.len(),
            "the spool has events of an earlier process, which are sent again"
        );
    }
    shelf.rewind(all, now);
    // What the bus says of another spool says nothing of this one.
    let one = ids.first().copied().filter(|first| ids.iter().all(|id| id == first));
    let next = numbers.last().map_or(1, |last| last.saturating_add(1));
    Ok((shelf, one.unwrap_or_else(Uuid::new_v4), next))
}

/// Makes the folder, and its name durable.
fn make(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    match folder.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        _ => Ok(()),
    }
}

/// Reads and checks a segment. What is torn off at its end is cut off; if it is damaged it is set aside as well.
fn read(folder: &Path, number: u64) -> io::Result<(Scan, File, u64)> {
    let path = segment::path_of(folder, number);
    let bytes = fs::read(&path)?;
    let scan = segment::scan(number, &bytes);
    let file = OpenOptions::new().read(true).write(true).open(&path)?;
    let mut len = bytes.len() as u64;
    if scan.damaged > 0 || (scan.spool.is_none() && !scan.found.is_empty()) {
        metrics::counter!("nexus_spool_damaged_total").increment(1);
        tracing::error!(
            segment = %path.display(), damaged_bytes = scan.damaged, events = scan.found.len(),
            "a segment of the spool is damaged; the events that can be read are used, and it is set aside"
        );
        set_aside(folder, number);
    }
    if scan.torn > 0 {
        tracing::info!(segment = %path.display(), bytes = scan.torn, "the end of a segment was never finished");
        len = len.saturating_sub(scan.torn);
        file.set_len(len)?;
    }
    Ok((scan, file, len))
}

/// Takes a segment away that cannot be read at all, for whoever looks into it.
fn lay_aside(folder: &Path, number: u64, error: &io::Error) -> io::Result<()> {
    let path = segment::path_of(folder, number);
    metrics::counter!("nexus_spool_damaged_total").increment(1);
    tracing::error!(
        segment = %path.display(), error = error as &dyn std::error::Error,
        "a segment of the spool cannot be read; it is set aside"
    );
    fs::rename(&path, path.with_extension(DAMAGED))
}

/// Gives a damaged segment a second name, which stays when the first one goes.
pub(super) fn set_aside(folder: &Path, number: u64) {
    let path = segment::path_of(folder, number);
    if let Err(error) = link_aside(folder, &path, &path.with_extension(DAMAGED)) {
        // Not every file system has second names.
        tracing::warn!(error = &error as &dyn std::error::Error, "a damaged segment is not kept");
    }
}

fn link_aside(folder: &Path, path: &Path, aside: &Path) -> io::Result<()> {
    let mut damaged = 0;
    for entry in fs::read_dir(folder)? {
        damaged += usize::from(entry?.path().extension().is_some_and(|suffix| suffix == DAMAGED));
    }
    if damaged >= SET_ASIDE {
        tracing::warn!("there are {damaged} damaged segments already: this one is not kept");
        return Ok(());
    }
    match fs::hard_link(path, aside) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        outcome => outcome,
    }
}
