//! The spool: what ingest has accepted, on its own disk, in front of a bus that is another machine.
//!
//! Every event is written here first, and one drainer moves it into the bus, in order per tenant; the sender is answered
//! when the bus has it, or after 50 ms when it survives a loss of power here. So a bus that is slow or away
//! reorders nothing and loses nothing. What the bus has is kept for a while yet: a bus that lost it gets it again before
//! anything newer. Why so, and what that means for order, quotas and a full disk, is in `docs/adr/0008-ingest-spool.md`.
//!
//! The flow, in five lines:
//! 1. [`Spool::append`] encodes an event, and is let in or refused: closed, full, or over the tenant's quota;
//! 2. the [`writer`] gives it its place and writes it to the newest [`segment`], many at a time;
//! 3. [`Spool::drain`] sends what waits of each tenant, one step in flight; the bus tells if it has lost something;
//! 4. [`sync`] makes durable what has waited for 50 ms, many at a time;
//! 5. after 30 s in the bus, if the bus has it still, a segment is removed.

mod care;
mod drain;
mod record;
mod recover;
mod segment;
mod shelf;
mod sync;
mod writer;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use nexus_core::id::{EventId, TenantKey};
use tokio::sync::{Notify, mpsc, oneshot};
use uuid::Uuid;

use self::shelf::Shelf;
use self::writer::{Job, Room};
use crate::bus::{Append, Appended, BusError, cannot};
use crate::lock;
use crate::redis::Prepared;

/// Events that may wait for the writer; beyond that callers wait to hand theirs in.
const JOBS: usize = 1024;

/// The longest that a caller waits for the disk.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// Where a spool is, and how it behaves.
#[derive(Debug, Clone)]
pub struct SpoolSettings {
    /// The folder, used by nobody else. It is made if it is not there.
    pub folder: PathBuf,
    /// The most bytes that it takes on the disk.
    pub capacity: u64,
    /// Bytes of one segment, unless one event is larger.
    pub segment_bytes: u64,
    /// How long events stay after the bus has taken them, as long as there is room.
    pub keep: Duration,
    /// How long the bus may take before an event is made durable here.
    pub patience: Duration,
}

impl SpoolSettings {
    /// What is right for a folder if nothing else is said.
    #[must_use]
    pub fn at(folder: PathBuf) -> Self {
        Self {
            folder,
            capacity: 1 << 30,
            segment_bytes: 16 << 20,
            keep: Duration::from_secs(30),
            patience: Duration::from_millis(50),
        }
    }
}

/// What became of an event. The answer comes once it is durable: in the bus, or here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It was taken.
    New,
    /// Its delivery key is known: the event that came under it.
    Duplicate(EventId),
}

impl From<Appended> for Taken {
    fn from(appended: Appended) -> Self {
        match appended {
            Appended::Stored(_) => Self::New,
            Appended::Duplicate(first) => Self::Duplicate(first),
        }
    }
}

/// State of a spool.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SpoolFigures {
    /// Events that wait to go into the bus.
    pub waiting: u64,
    /// Bytes of them on the disk.
    pub waiting_bytes: u64,
    /// For how long the oldest of them has waited in this process.
    pub oldest: Duration,
    /// Bytes on the disk, also of what the bus has taken.
    pub disk_bytes: u64,
    /// Whether nothing can be written now.
    pub unwritable: bool,
    /// Whether there is no room for an event of a tenant that has none waiting.
    pub full: bool,
}

/// A spool. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Spool(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    /// Taken when the spool is closed, which ends the writer.
    jobs: Mutex<Option<mpsc::Sender<Job>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// What the threads and the drainer have in common.
#[derive(Debug)]
struct Shared {
    settings: SpoolSettings,
    /// The spool's id, by which the bus remembers what it has of it.
    id: Uuid,
    shelf: Mutex<Shelf>,
    /// Bytes that were let in and are not written yet.
    reserved: AtomicU64,
    /// Wakes the thread that syncs.
    written: Condvar,
    /// Wakes the drainer.
    work: Notify,
}

impl Spool {
    /// Opens a spool. Blocks while it reads what an earlier process left, all of which goes into the bus again.
    ///
    /// # Errors
    /// [`BusError::Storage`] when the folder cannot be read or written. Damaged files are no error: what can be read of
    /// them is used, and they are set aside.
    pub fn open(settings: SpoolSettings) -> Result<Self, BusError> {
        let (shelf, id, next) = recover::recover(&settings)?;
        let shared = Arc::new(Shared {
            settings,
            id,
            shelf: Mutex::new(shelf),
            reserved: AtomicU64::new(0),
            written: Condvar::new(),
            work: Notify::new(),
        });
        let (jobs, asked) = mpsc::channel(JOBS);
        let (writing, syncing) = (Arc::clone(&shared), Arc::clone(&shared));
        let thread = |name: &str, run: Box<dyn FnOnce() + Send>| {
            std::thread::Builder::new().name(name.to_owned()).spawn(run).map_err(cannot("start a thread"))
        };
        let writer = thread("spool-write", Box::new(move || writer::write(&writing, asked, next)))?;
        let spool =
            Self(Arc::new(Inner { shared, jobs: Mutex::new(Some(jobs)), threads: Mutex::new(vec![writer]) }));
        let syncer = thread("spool-sync", Box::new(move || sync::sync(&syncing)))?;
        lock(&spool.0.threads).push(syncer);
        Ok(spool)
    }

    /// Keeps an event. Once it answers the event is in the bus, or survives a loss of power here.
    ///
    /// # Errors
    /// [`BusError::Quota`] when the tenant has too much waiting in the bus; [`BusError::Full`] when it has too much
    /// waiting here; [`BusError::Storage`] when nothing durable can be written, and then whether the event was kept
    /// is open: send it again under the same delivery key.
    pub async fn append(&self, tenant: &TenantKey, append: Append) -> Result<Taken, BusError> {
        let quota = append.quota_bytes;
        let event = Prepared::of(append).await?;
        let payload = record::encode(tenant, &event)
            .ok_or_else(|| cannot("keep an event")("it is longer than a record of the spool may be"))?;
        let shared = &self.0.shared;
        let jobs = lock(&self.0.jobs).clone().ok_or(BusError::Closed)?;
        let bytes = (payload.len() + record::HEAD) as u64;
        let room = {
            let reserved = shared.reserved.fetch_add(bytes, Ordering::Relaxed);
            let room = Room { shared: Arc::clone(shared), bytes };
            let left = shared.settings.capacity.saturating_sub(reserved);
            lock(&shared.shelf).admit(tenant, bytes, quota, left).inspect_err(refused)?;
            room
        };
        let (reply, answer) = oneshot::channel();
        let job = Job { tenant: tenant.clone(), event: Arc::new(event), payload, quota, room, reply };
        let asked = async {
            jobs.send(job).await.map_err(|_| BusError::Closed)?;
            drop(jobs);
            answer.await.map_err(|_| BusError::Closed)?
        };
        match tokio::time::timeout(LONGEST_WAIT, asked).await {
            Ok(answer) => answer.inspect_err(refused),
            Err(late) => Err(cannot("keep an event in time")(late)),
        }
    }

    /// How it is now.
    #[must_use]
    pub fn figures(&self) -> SpoolFigures {
        let (shelf, capacity) = (lock(&self.0.shared.shelf), self.0.shared.settings.capacity);
        SpoolFigures {
            waiting: shelf.waiting,
            waiting_bytes: shelf.waiting_bytes,
            oldest: shelf.oldest().map(|since| since.elapsed()).unwrap_or_default(),
            disk_bytes: shelf.disk_bytes(),
            unwritable: shelf.unwritable || shelf.unsynced,
            full: shelf.full || shelf.waiting_bytes >= capacity,
        }
    }

    /// Takes nothing more, makes durable what waits, and ends. What waits goes into the bus when the spool is opened
    /// again.
    pub async fn close(&self) {
        self.0.end();
        let threads = std::mem::take(&mut *lock(&self.0.threads));
        // They end by themselves; a panic of one was logged.
        let joined = tokio::task::spawn_blocking(|| {
            threads.into_iter().for_each(|thread| drop(thread.join()));
        });
        let _ = joined.await;
    }
}

impl Inner {
    fn end(&self) {
        lock(&self.shared.shelf).closed = true;
        *lock(&self.jobs) = None;
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.end();
    }
}

fn refused(error: &BusError) {
    metrics::counter!("nexus_spool_refused_total", "error" => error.label()).increment(1);
}
