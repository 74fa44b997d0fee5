//! The embedded log: the bus of one process, in one folder. It is the bus of `nexus dev` and ingest's spool.
//!
//! One thread, the [`writer`], owns all that changes and turns what waits into one batch with one sync.
//! Callers prepare (encode, compress) before and read after, on their own threads. The engine is [`store`];
//! what it was chosen for is in `docs/adr/0001-embedded-log.md`.
//!
//! What survives what:
//! - an append, a replay, a requeue, a drop of dead letters and an epoch: a loss of power, once they are answered;
//! - a route, an attempt, an ack, a nack and a sweep: the end of the process, however it comes. They ride to the
//!   disk on the next append; if the power goes before, the event is routed or handed out once more.
//! - who holds what: the failure of a write, not the process.
//!
//! Metrics: `nexus_bus_appended_total{outcome}`, `…_routed_total`, `…_coalesced_total`, `…_handed_total`,
//! `…_acked_total`, `…_nacked_total`, `…_dead_total`, `…_dropped_total`, `…_swept_total`, `…_commit_failures_total`,
//! `…_unreadable_total{records}` (each time that one is met), and the histograms
//! `nexus_bus_commit_seconds{synced}` and `nexus_bus_commit_group_size`. They tell of what is written.
//!
//! In memory are counters, cursors, the copies that are held or delayed, and what came a moment ago ([`recent`],
//! [`unrouted`]); a backlog is on disk alone.

mod again;
mod append;
mod birth;
mod command;
mod copies;
mod dead;
mod deliver;
mod expiring;
mod fleet;
mod give_back;
mod keys;
mod list;
mod read;
mod recent;
mod records;
mod recover;
mod repair;
mod route;
mod shared;
mod state;
mod store;
mod sweep;
mod tally;
mod turn;
mod unrouted;
mod writer;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use nexus_core::clock::Clock;
use nexus_core::id::{EventId, InboxId, SessionId, TenantKey};
use tokio::sync::{mpsc, oneshot, watch};

use self::command::{Command, Nack, Prepared, Pull, Reply, RouteAs};
pub(crate) use self::deliver::{LONGEST_DELAY, SESSION_ENDED};
pub(crate) use self::records::{Head, decode_raw, encode_event};
pub(crate) use self::route::CLAIMS_LAST;
use self::shared::{Handed, Shared, Taken, TenantFile};
use self::state::State;
use self::store::Store;
pub(crate) use self::tally::Tally;
use self::writer::{Engine, Writer};
use crate::bus::{
    Append, Appended, BusError, DeadLetter, Depth, Epoch, EventPage, Held, InboxDepth, InboxWatch, Page,
    Part, Pulled, Record, Route, Seq, Swept, Unrouted, cannot,
};
use crate::watches;

/// Commands that may wait for the writer; beyond that callers wait to hand theirs in.
const COMMANDS: usize = 1024;

/// Bodies above this are compressed on a thread where that blocks nobody.
pub(crate) const COMPRESSED_AT_ONCE: usize = 64 << 10;

/// A log in a folder. Its writer ends with it.
#[derive(Debug)]
pub struct EmbeddedLog {
    clock: Clock,
    shared: Arc<Shared>,
    fleet: fleet::Table,
    /// Taken when the log is dropped, which ends the writer.
    commands: Option<mpsc::Sender<Command>>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl EmbeddedLog {
    pub(crate) fn open(path: &Path, clock: Clock) -> Result<Self, BusError> {
        let store = Arc::new(Store::open(path)?);
        let shared = Arc::new(Shared::new(Arc::clone(&store)));
        let state = State::load(&store, &shared, clock.now())?;
        let (commands, received) = mpsc::channel(COMMANDS);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .map_err(cannot("start the writer"))?;
        let writer = Writer {
            path: path.to_owned(),
            clock: clock.clone(),
            shared: Arc::clone(&shared),
            commands: received,
            myself: commands.downgrade(),
            state,
            engine: Engine::Open(store),
        };
        let writer = std::thread::Builder::new()
            .name("nexus-bus".to_owned())
            .spawn(move || writer.run(&runtime))
            .map_err(cannot("start the writer"))?;
        Ok(Self {
            clock,
            shared,
            fleet: fleet::Table::default(),
            commands: Some(commands),
            writer: Mutex::new(Some(writer)),
        })
    }

    /// Asks the writer, unless the engine is broken: nobody queues for what will be refused. The writer's end is
    /// [`BusError::Closed`] for all who wait.
    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, BusError> {
        self.shared.check()?;
        let (reply, answer) = oneshot::channel();
        let commands = self.commands.as_ref().ok_or(BusError::Closed)?;
        commands.send(command(reply)).await.map_err(|_| BusError::Closed)?;
        answer.await.map_err(|_| BusError::Closed)?
    }

    /// Reads on a thread where that blocks nobody.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Store) -> Result<T, BusError> + Send + 'static,
    ) -> Result<T, BusError> {
        let store = self.shared.store()?;
        tokio::task::spawn_blocking(move || read(&store)).await.map_err(|_| BusError::Closed)?
    }

    /// Reads of a tenant, if there is one.
    async fn read_of<T: Send + Default + 'static>(
        &self,
        tenant: &TenantKey,
        read: impl FnOnce(&Store, &TenantFile) -> Result<T, BusError> + Send + 'static,
    ) -> Result<T, BusError> {
        match self.shared.tenant(tenant) {
            Some(file) => self.read(move |store| read(store, &file)).await,
            None => Ok(T::default()),
        }
    }

    pub(crate) async fn append(&self, tenant: &TenantKey, append: Append) -> Result<Appended, BusError> {
        let prepared = if append.raw.body.len() <= COMPRESSED_AT_ONCE {
            prepare(append)?
        } else {
            tokio::task::spawn_blocking(move || prepare(append)).await.map_err(|_| BusError::Closed)??
        };
        self.ask(|reply| Command::Append(tenant.clone(), prepared, reply)).await
    }

    async fn next_epoch(&self, tenant: &TenantKey, partition: u16) -> Result<Epoch, BusError> {
        self.ask(|reply| Command::Acquire(tenant.clone(), partition, reply)).await
    }

    pub(crate) async fn unrouted(
        &self,
        tenant: &TenantKey,
        partition: u16,
        after: Seq,
        limit: usize,
    ) -> Result<Part<Unrouted>, BusError> {
        // Most wake-ups find that the work is done: that costs no thread and no read. And most events came a moment
        // ago.
        self.shared.check()?;
        let file = self.shared.tenant(tenant);
        let Some(file) = file else {
            return Ok(Part::default());
        };
        if let Some(events) = read::unrouted_in_memory(&self.shared, &file, partition, after, limit) {
            return Ok(events);
        }
        self.read_of(tenant, move |store, file| read::unrouted(store, file, partition, after, limit)).await
    }

    pub(crate) async fn route(
        &self,
        tenant: &TenantKey,
        partition: u16,
        epoch: Epoch,
        routes: Vec<Route>,
    ) -> Result<(), BusError> {
        let by = RouteAs { partition, epoch };
        self.ask(|reply| Command::Route(tenant.clone(), routes, by, reply)).await
    }

    pub(crate) async fn pull(
        &self,
        tenant: &TenantKey,
        inbox: InboxId,
        session: SessionId,
        max: usize,
        max_bytes: usize,
    ) -> Result<Pulled, BusError> {
        let pull = Pull { inbox, session, max, max_bytes };
        let handed = self.ask(|reply| Command::Pull(tenant.clone(), pull, reply)).await?;
        let rest = handed.rest();
        let Some(file) = self.shared.tenant(tenant).filter(|_| !handed.copies().is_empty()) else {
            return Ok(Pulled { items: Vec::new(), rest });
        };
        if let Some(items) = held_in_memory(&self.shared, &file, inbox, handed.copies()) {
            handed.claim();
            return Ok(Pulled { items, rest });
        }
        let shared = Arc::clone(&self.shared);
        let (handed, items) =
            self.read(move |store| read_handed(&shared, store, &file, inbox, handed)).await?;
        // From here on nothing can interrupt: what the caller gets is what the session holds.
        handed.claim();
        Ok(Pulled { items, rest })
    }

    pub(crate) async fn ack(
        &self,
        tenant: &TenantKey,
        session: SessionId,
        ids: Vec<EventId>,
    ) -> Result<usize, BusError> {
        self.ask(|reply| Command::Ack(tenant.clone(), session, ids, reply)).await
    }

    pub(crate) async fn nack(
        &self,
        tenant: &TenantKey,
        session: SessionId,
        id: EventId,
        retry_after: Duration,
        reason: String,
    ) -> Result<bool, BusError> {
        let nack = Box::new(Nack { session, id, retry_after, reason });
        self.ask(|reply| Command::Nack(tenant.clone(), nack, reply)).await
    }

    pub(crate) async fn end_session(
        &self,
        tenant: &TenantKey,
        session: SessionId,
        unsent: Vec<EventId>,
    ) -> Result<usize, BusError> {
        self.ask(|reply| Command::EndSession(tenant.clone(), session, unsent, reply)).await
    }

    pub(crate) async fn replay(
        &self,
        tenant: &TenantKey,
        ids: Vec<EventId>,
        inboxes: Vec<InboxId>,
    ) -> Result<usize, BusError> {
        self.ask(|reply| Command::Replay(tenant.clone(), ids, inboxes, reply)).await
    }

    pub(crate) async fn dead(
        &self,
        tenant: &TenantKey,
        inbox: InboxId,
        after: Option<Seq>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, BusError> {
        self.read_of(tenant, move |store, file| list::dead(store, file, inbox, after, limit)).await
    }

    pub(crate) async fn drop_dead(
        &self,
        tenant: &TenantKey,
        inbox: InboxId,
        ids: Vec<EventId>,
    ) -> Result<usize, BusError> {
        self.ask(|reply| Command::DropDead(tenant.clone(), inbox, ids, reply)).await
    }

    pub(crate) async fn requeue(
        &self,
        tenant: &TenantKey,
        inbox: InboxId,
        ids: Vec<EventId>,
    ) -> Result<usize, BusError> {
        self.ask(|reply| Command::Requeue(tenant.clone(), inbox, ids, reply)).await
    }

    pub(crate) async fn event(&self, tenant: &TenantKey, id: EventId) -> Result<Option<Record>, BusError> {
        let found = self.read_of(tenant, move |store, file| read::find(store, file, id)).await?;
        let Some((seq, inboxes)) = found else {
            return Ok(None);
        };
        let holds = self.ask(|reply| Command::Holds(tenant.clone(), seq, inboxes, reply)).await?;
        self.read_of(tenant, move |store, file| read::record(store, file, seq, &holds)).await
    }

    pub(crate) async fn events(&self, tenant: &TenantKey, page: Page) -> Result<EventPage, BusError> {
        self.read_of(tenant, move |store, file| list::events(store, file, &page)).await
    }

    pub(crate) async fn depth(&self, tenant: &TenantKey) -> Result<Depth, BusError> {
        self.ask(|reply| Command::Depth(tenant.clone(), reply)).await
    }

    pub(crate) async fn inbox_depth(
        &self,
        tenant: &TenantKey,
        inbox: InboxId,
    ) -> Result<InboxDepth, BusError> {
        self.ask(|reply| Command::InboxDepth(tenant.clone(), inbox, reply)).await
    }

    pub(crate) async fn sweep(&self, tenant: &TenantKey, retention: Duration) -> Result<Swept, BusError> {
        self.sweep_some(tenant, retention, sweep::RECORDS_PER_CALL).await
    }

    /// Looks at no more than so many records, of events and of keys each.
    async fn sweep_some(
        &self,
        tenant: &TenantKey,
        retention: Duration,
        records: usize,
    ) -> Result<Swept, BusError> {
        let Some(file) = self.shared.tenant(tenant) else {
            return Ok(Swept::default());
        };
        let now = self.clock.now();
        let looked = Arc::clone(&file);
        let (events, keys) = self
            .read(move |store| {
                let keys = sweep::find_keys(store, &looked, now, records)?;
                let events = sweep::find_events(store, &looked, now, retention, records)?;
                Ok((events, keys))
            })
            .await?;
        let mut swept = Swept { more: events.more || keys.more, ..Swept::default() };
        let found = events.found.len() as u64;
        for batch in sweep::batches(events.found, keys.found) {
            let expired = batch.expired;
            let removed = self.ask(|reply| Command::Sweep(tenant.clone(), batch, reply)).await?;
            swept.events += removed.events;
            swept.keys += removed.keys;
            if let Some(until) = expired {
                file.set_expired(until);
            }
        }
        // Only now: what a call that failed or was dropped left is found by the next one.
        if swept.events < found {
            // Some came to wait again meanwhile: they are behind where the next lap would begin.
            file.set_sweep_from(0, 0);
        } else {
            file.set_sweep_from(events.next, events.lap);
        }
        Ok(swept)
    }

    pub(crate) fn tenants(&self) -> Result<Vec<TenantKey>, BusError> {
        self.shared.check()?;
        Ok(self.shared.tenants())
    }

    pub(crate) fn watch_unrouted(&self, tenant: &TenantKey, partition: u16) -> watch::Receiver<u64> {
        self.shared.watches.unrouted(tenant, partition)
    }

    pub(crate) fn watch_inbox(&self, tenant: &TenantKey, inbox: InboxId) -> InboxWatch {
        self.shared.watches.inbox(tenant, inbox)
    }

    pub(crate) async fn ended(&self) {
        self.shared.died().await;
    }

    pub(crate) async fn close(&self) {
        let (reply, closed) = oneshot::channel();
        if let Some(commands) = &self.commands
            && commands.send(Command::Close(reply)).await.is_ok()
        {
            // An error means that the writer ended, which is what was asked for.
            let _ = closed.await;
        }
    }
}

impl Drop for EmbeddedLog {
    fn drop(&mut self) {
        self.commands = None;
        let writer = self.writer.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer {
            // A panic was told of when it happened.
            let _ = writer.join();
        }
    }
}

/// Encodes and compresses an event.
fn prepare(mut append: Append) -> Result<Box<Prepared>, BusError> {
    let kept = encode_event(&append.event, &append.raw).map_err(cannot("keep a body of this size"))?;
    Ok(Box::new(Prepared {
        delivery_key: std::mem::take(&mut append.delivery_key),
        dedupe_for: append.dedupe_for,
        json: append.event.clone(),
        quota_bytes: append.quota_bytes,
        head: Head::of(append, kept.len() as u64)?,
        kept: kept.into(),
    }))
}

/// The events of copies that were handed out, if all of them came a moment ago.
fn held_in_memory(shared: &Shared, file: &TenantFile, inbox: InboxId, copies: &[Taken]) -> Option<Vec<Held>> {
    let held = copies.iter().map(|taken| {
        let event = shared.recent.get(file.number, taken.seq)?.json;
        Some(Held { id: taken.id, inbox, attempt: taken.attempt, replay: taken.replay, event })
    });
    held.collect()
}

/// Reads the events of copies that were handed out. Those that cannot be read go back; if it is all of them, that
/// is an error.
fn read_handed(
    shared: &Shared,
    store: &Store,
    file: &TenantFile,
    inbox: InboxId,
    mut handed: Handed,
) -> Result<(Handed, Vec<Held>), BusError> {
    // Also what a panic of the reader sends back was tried.
    handed.set_refund(false);
    let (held, failed) = read_held(store, file, inbox, handed.copies());
    handed.set_refund(true);
    // Of an engine that failed or was closed meanwhile nothing is learned about the events.
    let refund = !shared.is_open(store);
    handed.give_back(refund, |taken| failed.iter().any(|(seq, _)| *seq == taken.seq));
    match failed.into_iter().next() {
        Some((_, error)) if held.is_empty() => Err(error),
        _ => Ok((handed, held)),
    }
}

/// Reads the events of copies that were handed out, and tells which could not be read.
fn read_held(
    store: &Store,
    file: &TenantFile,
    inbox: InboxId,
    copies: &[Taken],
) -> (Vec<Held>, Vec<(Seq, BusError)>) {
    let mut held = Vec::with_capacity(copies.len());
    let mut failed = Vec::new();
    for taken in copies {
        let error = match read::json(store, file, taken.seq) {
            Ok(Some(event)) => {
                held.push(Held { id: taken.id, inbox, attempt: taken.attempt, replay: taken.replay, event });
                continue;
            }
            Ok(None) => cannot("find an event")(records::Malformed("events")),
            Err(error) => error,
        };
        tracing::error!(
            error = &error as &dyn std::error::Error,
            event = %taken.id,
            %inbox,
            "an event was left out of a pull"
        );
        failed.push((taken.seq, error));
    }
    (held, failed)
}

#[cfg(test)]
mod fault_tests;
