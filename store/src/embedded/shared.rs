//! What the writer and the callers both see.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use nexus_core::id::{EventId, InboxId, SessionId, TenantKey};
use tokio::sync::{mpsc, watch};

use super::command::Command;
use super::keys::TenantNo;
use super::recent::Recent;
use super::store::Store;
use super::unrouted::UnroutedNotes;
use super::watches::Watches;
use crate::bus::{BusError, PARTITIONS, Rest, Seq};

/// Shared by the writer and all handles.
#[derive(Debug)]
pub(super) struct Shared {
    slot: RwLock<Slot>,
    tenants: RwLock<BTreeMap<TenantKey, Arc<TenantFile>>>,
    unclaimed: Mutex<Vec<Unclaimed>>,
    pub(super) recent: Recent,
    pub(super) watches: Watches,
    /// Whether the writer died.
    died: watch::Sender<bool>,
}

/// Where readers find the engine.
#[derive(Debug)]
enum Slot {
    Open(Arc<Store>),
    /// The engine failed and could not be opened anew yet.
    Broken(BusError),
    Closed,
}

/// What readers know of a tenant.
#[derive(Debug)]
pub(super) struct TenantFile {
    pub(super) number: TenantNo,
    /// The last place that is committed.
    committed: AtomicU64,
    /// By partition: what waits to be routed.
    unrouted: [Mutex<UnroutedNotes>; PARTITIONS as usize],
    /// By partition: nothing unrouted is below.
    floors: [AtomicU64; PARTITIONS as usize],
    /// Where the next sweep begins, and where it begins after it has come to the end.
    swept: AtomicU64,
    lap: AtomicU64,
    /// Up to when expired keys were swept.
    expired: AtomicI64,
    /// Unrouted events that this version cannot read, as far as there is room to note them.
    unreadable: Mutex<BTreeSet<Seq>>,
}

/// How many unreadable events are noted; one beyond that is looked at again each time.
const UNREADABLE_NOTED: usize = 10_000;

impl TenantFile {
    pub(super) fn new(number: TenantNo) -> Self {
        Self {
            number,
            committed: AtomicU64::new(0),
            unrouted: Default::default(),
            floors: [const { AtomicU64::new(0) }; PARTITIONS as usize],
            swept: AtomicU64::new(0),
            lap: AtomicU64::new(0),
            expired: AtomicI64::new(0),
            unreadable: Mutex::default(),
        }
    }

    pub(super) fn committed(&self) -> Seq {
        self.committed.load(Ordering::Acquire)
    }

    fn set_committed(&self, last: Seq) {
        self.committed.store(last, Ordering::Release);
    }

    /// What is noted of the unrouted events of a partition.
    pub(super) fn unrouted(&self, partition: u16) -> Option<MutexGuard<'_, UnroutedNotes>> {
        let notes = self.unrouted.get(usize::from(partition))?;
        Some(notes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// An event came into the partition and is committed.
    pub(super) fn appended(&self, partition: u16, seq: Seq, id: EventId) {
        if let Some(mut notes) = self.unrouted(partition) {
            notes.came(seq, id);
        }
        self.set_committed(seq);
    }

    /// The log was just opened: events may be in any partition, up to this place.
    pub(super) fn set_found(&self, last: Seq) {
        for partition in 0..PARTITIONS {
            if let Some(mut notes) = self.unrouted(partition) {
                notes.begin(last);
            }
        }
        self.set_committed(last);
    }

    /// Below this place nothing of the partition waits to be routed.
    pub(super) fn floor(&self, partition: u16) -> Seq {
        self.floors.get(usize::from(partition)).map_or(0, |floor| floor.load(Ordering::Acquire))
    }

    pub(super) fn raise_floor(&self, partition: u16, to: Seq) {
        if let Some(floor) = self.floors.get(usize::from(partition)) {
            floor.fetch_max(to, Ordering::AcqRel);
        }
    }

    /// Where the next sweep begins, and where its laps do.
    pub(super) fn sweep_from(&self) -> (Seq, Seq) {
        (self.swept.load(Ordering::Acquire), self.lap.load(Ordering::Acquire))
    }

    pub(super) fn set_sweep_from(&self, from: Seq, lap: Seq) {
        self.swept.store(from, Ordering::Release);
        self.lap.store(lap, Ordering::Release);
    }

    /// This event is given to no router while the log is open.
    pub(super) fn leave_unreadable(&self, partition: u16, seq: Seq) {
        if let Some(mut notes) = self.unrouted(partition) {
            notes.routed(seq);
        }
        let mut left = self.unreadable.lock().unwrap_or_else(PoisonError::into_inner);
        if left.len() < UNREADABLE_NOTED {
            left.insert(seq);
        }
    }

    pub(super) fn is_unreadable(&self, seq: Seq) -> bool {
        self.unreadable.lock().unwrap_or_else(PoisonError::into_inner).contains(&seq)
    }

    pub(super) fn expired(&self) -> i64 {
        self.expired.load(Ordering::Acquire)
    }

    pub(super) fn set_expired(&self, until: i64) {
        self.expired.store(until, Ordering::Release);
    }
}

impl Shared {
    pub(super) fn new(store: Arc<Store>) -> Self {
        Self {
            slot: RwLock::new(Slot::Open(store)),
            tenants: RwLock::default(),
            unclaimed: Mutex::default(),
            recent: Recent::default(),
            watches: Watches::default(),
            died: watch::Sender::new(false),
        }
    }

    /// The engine, for reading.
    pub(super) fn store(&self) -> Result<Arc<Store>, BusError> {
        match &*self.slot.read().unwrap_or_else(PoisonError::into_inner) {
            Slot::Open(store) => Ok(Arc::clone(store)),
            Slot::Broken(error) => Err(error.clone()),
            Slot::Closed => Err(BusError::Closed),
        }
    }

    /// Whether there is an engine, and why not.
    pub(super) fn check(&self) -> Result<(), BusError> {
        match &*self.slot.read().unwrap_or_else(PoisonError::into_inner) {
            Slot::Open(_) => Ok(()),
            Slot::Broken(error) => Err(error.clone()),
            Slot::Closed => Err(BusError::Closed),
        }
    }

    /// Whether this is the engine that is open now.
    pub(super) fn is_open(&self, store: &Store) -> bool {
        self.store().is_ok_and(|open| std::ptr::eq(&*open, store))
    }

    fn set(&self, slot: Slot) {
        *self.slot.write().unwrap_or_else(PoisonError::into_inner) = slot;
    }

    pub(super) fn set_open(&self, store: Arc<Store>) {
        self.set(Slot::Open(store));
    }

    pub(super) fn set_broken(&self, error: BusError) {
        self.set(Slot::Broken(error));
    }

    /// There is no writer any more. Whoever waits for something hears that it will not come.
    pub(super) fn set_closed(&self, died: bool) {
        self.set(Slot::Closed);
        self.watches.close();
        self.died.send_replace(died);
    }

    /// Waits until the writer has died; for ever when it ends as it was told to.
    pub(super) async fn died(&self) {
        // An error cannot be: the sender is here.
        if self.died.subscribe().wait_for(|died| *died).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    pub(super) fn tenant(&self, key: &TenantKey) -> Option<Arc<TenantFile>> {
        let tenants = self.tenants.read().unwrap_or_else(PoisonError::into_inner);
        tenants.get(key).map(Arc::clone)
    }

    /// The tenant's file; a new one with this number if there is none.
    pub(super) fn tenant_or(&self, key: &TenantKey, number: TenantNo) -> Arc<TenantFile> {
        let mut tenants = self.tenants.write().unwrap_or_else(PoisonError::into_inner);
        let file = tenants.entry(key.clone()).or_insert_with(|| Arc::new(TenantFile::new(number)));
        if file.number != number {
            // The number was given in a batch that then failed, and another one took it since.
            *file = Arc::new(TenantFile::new(number));
        }
        Arc::clone(file)
    }

    /// The tenants of an engine that was just opened. Files of before are left to whoever reads by them still: what
    /// they remember of the engine that failed, such as that nothing is unrouted below a place, may be lost there.
    pub(super) fn set_tenants(&self, files: BTreeMap<TenantKey, Arc<TenantFile>>) {
        self.recent.clear();
        *self.tenants.write().unwrap_or_else(PoisonError::into_inner) = files;
    }

    /// The tenants that have events, or had.
    pub(super) fn tenants(&self) -> Vec<TenantKey> {
        let tenants = self.tenants.read().unwrap_or_else(PoisonError::into_inner);
        tenants.iter().filter(|(_, file)| file.committed() > 0).map(|(key, _)| key.clone()).collect()
    }

    pub(super) fn put_back(&self, unclaimed: Unclaimed) {
        let mut list = self.unclaimed.lock().unwrap_or_else(PoisonError::into_inner);
        list.push(unclaimed);
    }

    pub(super) fn take_unclaimed(&self) -> Vec<Unclaimed> {
        let mut list = self.unclaimed.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut list)
    }
}

/// One copy that was handed out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Taken {
    pub(super) seq: Seq,
    pub(super) id: EventId,
    pub(super) attempt: u32,
    pub(super) replay: bool,
}

/// Copies that were handed out and reached nobody.
#[derive(Debug)]
pub(super) struct Unclaimed {
    pub(super) tenant: TenantNo,
    pub(super) inbox: InboxId,
    pub(super) session: SessionId,
    pub(super) copies: Vec<Taken>,
    /// What is left in the inbox.
    pub(super) rest: Rest,
    /// Whether the attempt is to be forgotten: nobody tried. Otherwise they could not be read: the attempt counts
    /// and they wait a while, so that what never can be read is parked in the end and holds nothing up.
    pub(super) refund: bool,
}

/// Copies on their way from the writer to the caller of `pull`. If the caller goes away before it has them, by
/// a `select!` or a timeout, they go back: else the session would hold events that it never saw.
#[derive(Debug)]
pub(super) struct Handed {
    shared: Arc<Shared>,
    writer: mpsc::WeakSender<Command>,
    unclaimed: Option<Unclaimed>,
}

impl Handed {
    pub(super) fn new(
        shared: &Arc<Shared>,
        writer: &mpsc::WeakSender<Command>,
        unclaimed: Unclaimed,
    ) -> Self {
        Self { shared: Arc::clone(shared), writer: writer.clone(), unclaimed: Some(unclaimed) }
    }

    pub(super) fn copies(&self) -> &[Taken] {
        self.unclaimed.as_ref().map_or(&[], |unclaimed| &unclaimed.copies)
    }

    pub(super) fn rest(&self) -> Rest {
        self.unclaimed.as_ref().map_or(Rest::Others, |unclaimed| unclaimed.rest)
    }

    /// Whether the attempt is forgotten of what goes back from now on.
    pub(super) fn set_refund(&mut self, refund: bool) {
        if let Some(unclaimed) = &mut self.unclaimed {
            unclaimed.refund = refund;
        }
    }

    /// These go back at once.
    pub(super) fn give_back(&mut self, refund: bool, these: impl Fn(&Taken) -> bool) {
        let Some(unclaimed) = &mut self.unclaimed else {
            return;
        };
        let (back, copies) = std::mem::take(&mut unclaimed.copies).into_iter().partition(these);
        unclaimed.copies = copies;
        let back = Unclaimed { copies: back, refund, ..*unclaimed };
        self.put_back(back);
    }

    /// The caller has what is left: nothing goes back.
    pub(super) fn claim(mut self) {
        self.unclaimed = None;
    }

    fn put_back(&self, unclaimed: Unclaimed) {
        if unclaimed.copies.is_empty() {
            return;
        }
        self.shared.put_back(unclaimed);
        if let Some(writer) = self.writer.upgrade() {
            // A full channel means that the writer is awake, and it looks at the list each time.
            let _ = writer.try_send(Command::Nudge);
        }
    }
}

impl Drop for Handed {
    fn drop(&mut self) {
        if let Some(unclaimed) = self.unclaimed.take() {
            self.put_back(unclaimed);
        }
    }
}
