//! The engine: one fjall database, and the unit of work on it. Why fjall and these settings:
//! `docs/adr/0001-embedded-log.md`.
//!
//! fjall appends a batch to one journal and only then shows it to readers, so what can be read has reached
//! the file. It shows it record by record, in no order, to whoever reads without a snapshot: to read one record is
//! safe, while a scan, or records that belong together, need one. A failed write or sync poisons the database for
//! good, a failed flush in the background does too; [`super::writer`] then opens it anew.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fjall::config::CompressionPolicy;
use fjall::{
    CompressionType, Database, Guard, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode,
    Readable, Slice, Snapshot,
};

use super::{birth, keys, repair};
use crate::bus::{BusError, cannot};

const MIB: u64 = 1 << 20;

/// fjall halts a writer in a loop without end at four sealed memtables, also when the threads that would flush
/// them have died. We wait before that, and look whether they have.
const SEALED_BEFORE_WE_WAIT: usize = 3;

/// Which keys and values are written. A change that an older version would misread counts it up.
const FORMAT: [u8; 1] = [3];

/// How long a write may wait for the engine's flushes. Then the engine counts as failed: its threads hang.
const KEEP_UP_TIMEOUT: Duration = Duration::from_secs(30);

/// How long recovery after a failed write may take to put everything into new files.
const REWRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// The kinds of record; `keys` says what their keys are. The number is the first byte of each key on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Space {
    /// Tenants' numbers, counters, epochs.
    Meta = 1,
    /// [`super::records::Head`] by event.
    Heads = 2,
    /// The StandardEvent and the delivery that it came from, by event.
    Events = 3,
    /// The place by event id.
    Ids = 5,
    /// Delivery keys.
    Seen = 6,
    /// [`super::records::Waiting`] by partition: unrouted events.
    Queue = 7,
    /// [`super::records::Entry`] by inbox: copies that wait or are held.
    Inbox = 8,
    /// [`super::records::Entry`] by inbox: parked copies.
    Dead = 9,
    /// [`super::records::Open`] by event.
    Open = 10,
    /// [`super::records::Routed`] by event.
    Routes = 11,
    /// [`crate::bus::Copy::Done`] or [`crate::bus::Copy::Dropped`] by event and inbox.
    Receipts = 12,
    /// Change keys by inbox.
    Claims = 13,
    /// What expires when.
    Expiry = 14,
    /// One record that is in every batch that is synced, for [`super::repair`].
    Synced = 15,
}

/// Few keyspaces, all of which every append writes: the journal is kept until each of them is flushed, so one that
/// rests while others work would pin it (fjall #288). Events are large and written in the order of their keys; by
/// themselves they are not moved by the compaction of what is random.
const KEYSPACES: [&str; 2] = ["records", "events"];

impl Space {
    const fn keyspace(self) -> usize {
        match self {
            Self::Events => 1,
            _ => 0,
        }
    }

    fn key(self, key: &[u8]) -> Vec<u8> {
        [&[self as u8], key].concat()
    }
}

fn options(keyspace: &str) -> KeyspaceCreateOptions {
    let options = KeyspaceCreateOptions::default();
    match keyspace {
        // Bodies are packed already, and JSON beside them would have to be unpacked for each read.
        "events" => {
            options.max_memtable_size(32 * MIB).data_block_compression_policy(CompressionPolicy::disabled())
        }
        _ => options.max_memtable_size(16 * MIB),
    }
}

/// The log was written by a version that keeps it otherwise.
#[derive(Debug, thiserror::Error)]
#[error(
    "it has {0}, and this version of nexus keeps logs of format {ours} only: run the version that wrote it until its \
     events are handled, or move the folder away and begin anew, without the events that it holds",
    ours = FORMAT[0]
)]
struct OtherFormat(Shown);

/// A format as it was found; none in a log that has no mark.
#[derive(Debug)]
struct Shown(Vec<u8>);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0[..] {
            [] => f.write_str("no mark of its format"),
            [format] => write!(f, "format {format}"),
            other => write!(f, "format {other:?}"),
        }
    }
}

/// Counts a record that was met and cannot be read. It is passed over and kept.
pub(super) fn unreadable(records: &'static str) {
    metrics::counter!("nexus_bus_unreadable_total", "records" => records).increment(1);
}

/// The record, unless it cannot be read: then it is counted, passed over and kept.
pub(super) fn readable<T, E>(records: &'static str, decoded: Result<T, E>) -> Option<T> {
    decoded.inspect_err(|_| unreadable(records)).ok()
}

/// The open database.
pub(super) struct Store {
    db: Database,
    keyspaces: Vec<Keyspace>,
    /// Lets the next write fail.
    #[cfg(test)]
    pub(super) fails: std::sync::atomic::AtomicBool,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the log, and mends the end of its journal where a loss of power tore it.
    pub(super) fn open(path: &Path) -> Result<Self, BusError> {
        birth::clear_unfinished(path).map_err(cannot("open the log"))?;
        match Self::open_as_it_is(path) {
            Err(fjall::Error::JournalRecovery(torn)) => repair::mend(path, torn, Self::open_as_it_is),
            opened => opened,
        }
        .map_err(cannot("open the log"))?
        .check_format()
    }

    fn open_as_it_is(path: &Path) -> Result<Self, fjall::Error> {
        let db = Database::builder(path)
            .cache_size(16 * MIB)
            // A second one would spin while the first compacts.
            .worker_threads(1)
            .max_journaling_size(128 * MIB)
            .journal_compression(CompressionType::None)
            .open()?;
        let mut keyspaces = Vec::with_capacity(KEYSPACES.len());
        for name in KEYSPACES {
            keyspaces.push(db.keyspace(name, || options(name))?);
        }
        birth::sync_names(path)?;
        Ok(Self {
            db,
            keyspaces,
            #[cfg(test)]
            fails: std::sync::atomic::AtomicBool::new(false),
        })
    }

    /// Marks a new log with the format of this version, and refuses one of another.
    fn check_format(self) -> Result<Self, BusError> {
        let key = [keys::FORMAT];
        let other = |found: &[u8]| cannot("open the log")(OtherFormat(Shown(found.to_vec())));
        match self.get(Space::Meta, &key)? {
            Some(found) if *found == FORMAT => Ok(self),
            Some(found) => Err(other(&found)),
            None if self.all(Space::Meta, &[]).next().is_none() => {
                let store = Arc::new(self);
                let mut txn = Txn::new(&store);
                txn.put(Space::Meta, key, FORMAT);
                txn.commit(true)?;
                Ok(Arc::into_inner(store).expect("the transaction is over"))
            }
            None => Err(other(&[])),
        }
    }

    fn keyspace(&self, space: Space) -> &Keyspace {
        &self.keyspaces[space.keyspace()]
    }

    pub(super) fn get(&self, space: Space, key: &[u8]) -> Result<Option<Slice>, BusError> {
        let found = self.keyspace(space).get(space.key(key));
        found.map_err(cannot("read a record"))
    }

    /// The log as it stands now.
    pub(super) fn snapshot(&self) -> Sight<'_> {
        Sight { store: self, snapshot: self.db.snapshot() }
    }

    /// All records of a kind, in order of their keys, as they stand now: of each batch all or nothing.
    pub(super) fn all(&self, space: Space, prefix: &[u8]) -> impl Iterator<Item = Found> {
        self.db.snapshot().prefix(self.keyspace(space), space.key(prefix)).map(found)
    }

    /// The records from `start` on whose keys share its first `shared` bytes, as they stand now.
    pub(super) fn from(&self, space: Space, start: &[u8], shared: usize) -> impl Iterator<Item = Found> {
        let mut end = space.key(start);
        if let Some(rest) = end.get_mut(1 + shared..) {
            rest.fill(0xff);
        }
        self.db.snapshot().range(self.keyspace(space), space.key(start)..=end).map(found)
    }

    /// The records from `first` to before `before`, the last one first, as they stand now.
    pub(super) fn back(&self, space: Space, first: &[u8], before: &[u8]) -> impl Iterator<Item = Found> {
        let range = space.key(first)..space.key(before);
        self.db.snapshot().range(self.keyspace(space), range).rev().map(found)
    }

    /// Waits while the engine is behind with its flushes, and notices when it never will catch up.
    fn keep_up(&self) -> Result<(), fjall::Error> {
        self.flushed(SEALED_BEFORE_WE_WAIT, PersistMode::Buffer, KEEP_UP_TIMEOUT)
    }

    /// Waits until each keyspace has less than so many memtables to flush. A persist fails when the engine has.
    fn flushed(&self, sealed: usize, mode: PersistMode, timeout: Duration) -> Result<(), fjall::Error> {
        let behind = |keyspace: &Keyspace| keyspace.sealed_memtable_count() >= sealed;
        wait_while(timeout, || {
            let behind = self.keyspaces.iter().any(behind);
            if behind {
                self.db.persist(mode)?;
            }
            Ok(behind)
        })
    }

    fn commit(&self, batch: OwnedWriteBatch, mode: PersistMode) -> Result<(), BusError> {
        #[cfg(test)]
        if self.fails.load(std::sync::atomic::Ordering::SeqCst) {
            let fault = std::io::Error::other("the disk of this test fails");
            return Err(cannot("write to the log")(fault));
        }
        self.keep_up()
            .and_then(|()| batch.durability(Some(mode)).commit())
            .map_err(cannot("write to the log"))
    }

    /// Makes everything durable that was written so far.
    pub(super) fn persist(&self) -> Result<(), BusError> {
        self.db.persist(PersistMode::SyncAll).map_err(cannot("sync the log"))
    }

    /// Writes everything that so far is in the journal alone into new files.
    ///
    /// After a failed sync the journal reads back as if it were whole while pages of it never reached the disk,
    /// and the next sync of it succeeds (Rebello et al., USENIX ATC 2020). Only what is written anew is safe.
    pub(super) fn rewrite(&self) -> Result<(), BusError> {
        let rewrite = || {
            for keyspace in &self.keyspaces {
                keyspace.rotate_memtable()?;
            }
            self.flushed(1, PersistMode::SyncAll, REWRITE_TIMEOUT)
        };
        rewrite().map_err(cannot("write the log anew"))
    }
}

/// Waits while `behind` says so, up to the timeout.
fn wait_while(
    timeout: Duration,
    behind: impl Fn() -> Result<bool, fjall::Error>,
) -> Result<(), fjall::Error> {
    let deadline = Instant::now() + timeout;
    while behind()? {
        if Instant::now() > deadline {
            return Err(fjall::Error::Io(std::io::ErrorKind::TimedOut.into()));
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
    Ok(())
}

/// A record, or why it cannot be read.
type Found = Result<(Slice, Slice), BusError>;

fn found(item: Guard) -> Found {
    let (key, value) = item.into_inner().map_err(cannot("read a record"))?;
    // Without the byte that tells its kind.
    Ok((key.get(1..).unwrap_or_default().into(), value))
}

/// The log as it stood at one moment.
pub(super) struct Sight<'a> {
    store: &'a Store,
    snapshot: Snapshot,
}

impl Sight<'_> {
    pub(super) fn get(&self, space: Space, key: &[u8]) -> Result<Option<Slice>, BusError> {
        let found = self.snapshot.get(self.store.keyspace(space), space.key(key));
        found.map_err(cannot("read a record"))
    }
}

/// One unit of work: reads that see its own writes, then all writes at once.
pub(super) struct Txn {
    store: Arc<Store>,
    /// By keyspace. The engine gives all writes of a batch one number and does not say which of two to one key
    /// counts, so the last one is ours to keep.
    written: [HashMap<Vec<u8>, Option<Slice>>; KEYSPACES.len()],
}

impl Txn {
    pub(super) fn new(store: &Arc<Store>) -> Self {
        Self { store: Arc::clone(store), written: Default::default() }
    }

    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    pub(super) fn get(&self, space: Space, key: &[u8]) -> Result<Option<Slice>, BusError> {
        match self.written[space.keyspace()].get(&space.key(key)) {
            Some(written) => Ok(written.clone()),
            None => self.store.get(space, key),
        }
    }

    /// Whether it has written or removed this record.
    pub(super) fn has_written(&self, space: Space, key: &[u8]) -> bool {
        self.written[space.keyspace()].contains_key(&space.key(key))
    }

    pub(super) fn put(&mut self, space: Space, key: impl AsRef<[u8]>, value: impl Into<Slice>) {
        self.written[space.keyspace()].insert(space.key(key.as_ref()), Some(value.into()));
    }

    pub(super) fn remove(&mut self, space: Space, key: impl AsRef<[u8]>) {
        self.written[space.keyspace()].insert(space.key(key.as_ref()), None);
    }

    /// Writes all of it; when `durable`, also through to the disk.
    pub(super) fn commit(mut self, durable: bool) -> Result<(), BusError> {
        let mode = if durable {
            self.put(Space::Synced, [], [1]);
            PersistMode::SyncData
        } else {
            PersistMode::Buffer
        };
        let count = self.written.iter().map(HashMap::len).sum();
        if count == 0 {
            return Ok(());
        }
        let mut batch = OwnedWriteBatch::with_capacity(self.store.db.clone(), count);
        for (keyspace, written) in self.store.keyspaces.iter().zip(self.written) {
            for (key, value) in written {
                match value {
                    Some(value) => batch.insert(keyspace, key, value),
                    None => batch.remove(keyspace, key),
                }
            }
        }
        self.store.commit(batch, mode)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_that_never_catches_up_has_failed() {
        let error = wait_while(Duration::from_millis(20), || Ok(true)).unwrap_err();
        assert!(matches!(error, fjall::Error::Io(error) if error.kind() == std::io::ErrorKind::TimedOut));
        wait_while(Duration::ZERO, || Ok(false)).unwrap();
    }

    #[test]
    fn a_log_of_another_format_is_refused_with_both_and_a_remedy() {
        let shown = |format: Option<&[u8]>| {
            let dir = tempfile::tempdir().unwrap();
            let store = Arc::new(Store::open(dir.path()).unwrap());
            let mut txn = Txn::new(&store);
            txn.put(Space::Meta, [keys::TENANTS], [1]);
            match format {
                Some(format) => txn.put(Space::Meta, [keys::FORMAT], format),
                None => txn.remove(Space::Meta, [keys::FORMAT]),
            }
            txn.commit(true).unwrap();
            drop(store);
            let error = Store::open(dir.path()).unwrap_err();
            std::error::Error::source(&error).unwrap().to_string()
        };
        for (format, found) in [
            (Some(&[1][..]), "it has format 1,"),
            (Some(&[4]), "it has format 4,"),
            (Some(&[1, 2]), "it has format [1, 2],"),
            (None, "it has no mark of its format,"),
        ] {
            let shown = shown(format);
            assert!(shown.starts_with(found), "{shown}");
            assert!(shown.contains("of format 3 only: run the version that wrote it"), "{shown}");
        }
    }

    #[test]
    fn a_scan_sees_all_of_a_batch_or_nothing() {
        const BATCH: u64 = 500;
        const BATCHES: u64 = 200;
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(dir.path()).unwrap());
        let writer = std::thread::spawn({
            let store = Arc::clone(&store);
            move || {
                for batch in 0..BATCHES {
                    let mut txn = Txn::new(&store);
                    for n in 0..BATCH {
                        txn.put(Space::Queue, (batch * BATCH + n).to_be_bytes(), [1]);
                    }
                    txn.commit(false).unwrap();
                }
            }
        });
        let mut seen = 0;
        while seen < BATCHES * BATCH {
            // From the last that was seen on, as a router reads.
            let start = seen.to_be_bytes();
            let forwards = store.from(Space::Queue, &start, 0).count() as u64;
            assert_eq!(forwards % BATCH, 0, "after {seen}");
            let backwards = store.back(Space::Queue, &start, &u64::MAX.to_be_bytes()).count() as u64;
            assert_eq!(backwards % BATCH, 0, "backwards to {seen}");
            seen += forwards;
            assert!(
                forwards > 0 || !writer.is_finished() || store.all(Space::Queue, &[]).count() as u64 > seen
            );
        }
        writer.join().unwrap();
    }
}
