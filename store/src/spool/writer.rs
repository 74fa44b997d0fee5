//! The thread that writes: what waits becomes one write, in the order in which it came.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use nexus_core::id::TenantKey;
use tokio::sync::mpsc;

use super::segment::{self, At, BEGIN};
use super::shelf::{Entry, Reply, Segment, Shelf};
use super::{Shared, record};
use crate::bus::{BusError, cannot};
use crate::lock;
use crate::redis::Prepared;

/// Events in one write.
const MOST: usize = 256;

/// A segment of which at least this part waits no more may be written anew when room is needed.
const SPARSE: u64 = 8;

/// An event that is to be kept.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) tenant: TenantKey,
    pub(super) event: Arc<Prepared>,
    pub(super) payload: Vec<u8>,
    pub(super) quota: u64,
    pub(super) room: Room,
    pub(super) reply: Reply,
}

/// Room for an event that was let in, until it is written or given up.
#[derive(Debug)]
pub(super) struct Room {
    pub(super) shared: Arc<Shared>,
    pub(super) bytes: u64,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.shared.reserved.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// The segment that is written.
struct Newest {
    number: u64,
    file: Arc<File>,
    len: u64,
}

struct Writer<'s> {
    shared: &'s Shared,
    /// The number of the next segment.
    next: u64,
    newest: Option<Newest>,
}

/// Writes until nobody can ask any more.
pub(super) fn write(shared: &Shared, mut asked: mpsc::Receiver<Job>, next: u64) {
    let mut writer = Writer { shared, next, newest: None };
    let mut jobs = Vec::with_capacity(MOST);
    while asked.blocking_recv_many(&mut jobs, MOST) > 0 {
        match writer.group(&jobs) {
            Ok(places) => writer.wrote(jobs.drain(..).zip(places)),
            Err(error) => {
                let mut shelf = lock(&shared.shelf);
                // What was written of them may be found one day: no other event gets their places.
                shelf.place += jobs.len() as u64;
                shelf.writing = None;
                if matches!(error, BusError::Full { .. }) {
                    shelf.full = true;
                } else if !std::mem::replace(&mut shelf.unwritable, true) {
                    tracing::error!(error = &error as &dyn std::error::Error, "the spool cannot be written");
                }
                drop(shelf);
                for job in jobs.drain(..) {
                    let error = match &error {
                        BusError::Full { waiting, .. } => {
                            BusError::Full { tenant: job.tenant, waiting: *waiting }
                        }
                        error => error.clone(),
                    };
                    // Who went away hears nothing.
                    let _ = job.reply.send(Err(error));
                }
            }
        }
    }
    // Whoever still waits is answered, and what waits is durable.
    lock(&shared.shelf).ending = true;
    shared.written.notify_one();
}

impl Writer<'_> {
    /// Writes events, and says where each is.
    fn group(&mut self, jobs: &[Job]) -> Result<Vec<(u64, At)>, BusError> {
        let bytes = jobs.iter().map(|job| job.room.bytes).sum();
        match jobs.first() {
            Some(first) => self.make_room(bytes, &first.tenant)?,
            None => return Ok(Vec::new()),
        }
        let first = lock(&self.shared.shelf).place + 1;
        let payloads = (first..).zip(jobs.iter().map(|job| &job.payload[..]));
        let ats = self.records(payloads).map_err(cannot("write the spool"))?;
        Ok((first..).zip(ats).collect())
    }

    /// Writes records to the newest segment: all of them or none.
    fn records<'p>(&mut self, records: impl Iterator<Item = (u64, &'p [u8])>) -> io::Result<Vec<At>> {
        let (number, file, len) = {
            let newest = self.newest()?;
            (newest.number, Arc::clone(&newest.file), newest.len)
        };
        let (mut bytes, mut ats) = (Vec::new(), Vec::new());
        for (place, payload) in records {
            let offset = len + (bytes.len() + record::HEAD) as u64;
            let payload_len = u32::try_from(payload.len()).map_err(io::Error::other)?;
            ats.push(At { segment: number, offset, len: payload_len });
            record::put(&mut bytes, place, payload);
        }
        if let Err(error) = file.write_all_at(&bytes, len) {
            // What was written of them is no record, or one that nobody was told of. If it cannot be cut off, the next
            // ones go elsewhere.
            if file.set_len(len).is_err() {
                self.newest = None;
            }
            return Err(error);
        }
        if let Some(newest) = &mut self.newest {
            newest.len += bytes.len() as u64;
            if let Some(segment) = lock(&self.shared.shelf).segments.get_mut(&number) {
                segment.bytes = newest.len;
            }
        }
        Ok(ats)
    }

    /// The segment to write to: another one when the newest is long enough, or could not be synced.
    fn newest(&mut self) -> io::Result<&Newest> {
        let settings = &self.shared.settings;
        let good = self.newest.take().filter(|newest| {
            let mut shelf = lock(&self.shared.shelf);
            let good = newest.len < settings.segment_bytes
                && shelf.segments.contains_key(&newest.number)
                && !shelf.unsyncable.contains(&newest.number);
            // From here on it is not removed.
            shelf.writing = good.then_some(newest.number);
            good
        });
        let good = match good {
            Some(newest) => newest,
            None => {
                let number = self.next;
                self.next += 1;
                let place = lock(&self.shared.shelf).place;
                let file = segment::create(&settings.folder, number, self.shared.id, place)?;
                let begin = BEGIN as u64;
                let known = Segment::new(Arc::clone(&file), begin, begin, Instant::now());
                let mut shelf = lock(&self.shared.shelf);
                shelf.segments.insert(number, known);
                shelf.writing = Some(number);
                Newest { number, file, len: begin }
            }
        };
        Ok(self.newest.insert(good))
    }

    fn wrote(&self, jobs: impl Iterator<Item = (Job, (u64, At))>) {
        let since = Instant::now();
        let mut shelf = lock(&self.shared.shelf);
        let nobody_waited = shelf.unanswered.is_empty();
        let mut ready = false;
        for (Job { tenant, event, quota, reply, .. }, (place, at)) in jobs {
            shelf.place = place;
            ready |= shelf.wrote(tenant, Entry { place, at, since, event: Some(event) }, reply, quota);
        }
        (shelf.writing, shelf.full) = (None, false);
        if std::mem::take(&mut shelf.unwritable) {
            tracing::info!("the spool can be written again");
        }
        drop(shelf);
        if ready {
            self.shared.work.notify_one();
        }
        if nobody_waited {
            self.shared.written.notify_one();
        }
    }

    /// Removes what the bus has had for longest, or writes anew what is left of a segment, until so many bytes fit.
    fn make_room(&mut self, bytes: u64, tenant: &TenantKey) -> Result<(), BusError> {
        loop {
            let victim = {
                let shelf = lock(&self.shared.shelf);
                // A new segment has a beginning.
                if shelf.disk_bytes() + bytes + BEGIN as u64 <= self.shared.settings.capacity {
                    return Ok(());
                }
                let newest = self.newest.as_ref().map(|newest| newest.number);
                victim(&shelf, newest)
            };
            let Some((number, waiting)) = victim else {
                return Err(BusError::Full {
                    tenant: tenant.clone(),
                    waiting: self.shared.settings.capacity,
                });
            };
            if waiting > 0
                && !self.write_anew(number).map_err(cannot("write what is left of a segment anew"))?
            {
                continue;
            }
            remove(self.shared, number).map_err(cannot("remove a segment of the spool"))?;
            metrics::counter!("nexus_spool_shortened_total").increment(1);
        }
    }

    /// Writes what waits of a segment to the newest one, and syncs that. False if it cannot be read.
    fn write_anew(&mut self, number: u64) -> io::Result<bool> {
        let (left, file) = {
            let shelf = lock(&self.shared.shelf);
            let Some(segment) = shelf.segments.get(&number) else { return Ok(true) };
            (shelf.left_in(number), Arc::clone(&segment.file))
        };
        let mut payloads = Vec::new();
        for (place, at) in left {
            match segment::read(&file, at, place) {
                Ok(payload) => payloads.push((place, payload)),
                Err(error) => {
                    // It stays where it is, and is told of when its turn comes.
                    tracing::warn!(error = &error as &dyn std::error::Error, "a segment of the spool stays");
                    lock(&self.shared.shelf).unreadable.insert(number);
                    return Ok(false);
                }
            }
        }
        let ats = self.records(payloads.iter().map(|(place, payload)| (*place, &payload[..])))?;
        let newest = self.newest.as_ref().map(|newest| (newest.number, Arc::clone(&newest.file)));
        let (newest, file) = newest.ok_or_else(|| io::Error::other("there is no segment to write to"))?;
        if let Err(error) = file.sync_data() {
            // As in `sync`.
            lock(&self.shared.shelf).unsyncable.insert(newest);
            return Err(error);
        }
        let to: HashMap<u64, At> = payloads.iter().map(|(place, _)| *place).zip(ats).collect();
        lock(&self.shared.shelf).moved(&to);
        Ok(true)
    }
}

/// The segment to give up: the oldest of which nothing waits, else the one that gives most room.
pub(super) fn victim(shelf: &Shelf, newest: Option<u64>) -> Option<(u64, u64)> {
    let old = || shelf.segments.iter().filter(|(number, _)| Some(**number) != newest);
    let done = old().find(|(_, segment)| segment.waiting == 0);
    let sparse = || {
        let readable = old().filter(|(number, _)| !shelf.unreadable.contains(number));
        let gain = |segment: &Segment| segment.bytes.saturating_sub(segment.waiting_bytes);
        let worth = readable.filter(|(_, segment)| gain(segment) > segment.bytes / SPARSE);
        worth.max_by_key(|(_, segment)| gain(segment))
    };
    done.or_else(sparse).map(|(number, segment)| (*number, segment.waiting))
}

/// Removes a segment of which nothing waits.
pub(super) fn remove(shared: &Shared, number: u64) -> io::Result<()> {
    // Nothing can come to wait in it: only the newest is written, and only the drainer looks back, at what is there.
    let gone = {
        let mut shelf = lock(&shared.shelf);
        let stays = shelf.segments.get(&number).is_none_or(|segment| segment.waiting > 0);
        if stays || shelf.writing == Some(number) {
            return Ok(());
        }
        shelf.segments.remove(&number)
    };
    let removed = fs::remove_file(segment::path_of(&shared.settings.folder, number));
    let mut shelf = lock(&shared.shelf);
    match (&removed, gone) {
        // It still takes its room.
        (Err(_), Some(gone)) => drop(shelf.segments.insert(number, gone)),
        _ => {
            shelf.unsyncable.remove(&number);
            shelf.unreadable.remove(&number);
        }
    }
    removed
}
