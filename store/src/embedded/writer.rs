//! The writer: one thread that owns all that changes.
//!
//! It takes what waits, up to a bound, makes one batch of it, writes that with one sync, and answers. Commands
//! that look at what is written (pull, figures) come second, in a batch of their own that is not synced: what
//! a pull writes, the attempt, may be lost with the power, never with the process.
//!
//! After a failed write the engine takes no more: it is closed, opened anew and written over into new files, by
//! the writer itself, at once and then once a second. Until that succeeds everything is refused with the error, and
//! at once: callers do not even queue.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use metrics::{counter, histogram};
use nexus_core::clock::Clock;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};

use super::command::Command;
use super::keys;
use super::recover::latest_delay;
use super::shared::Shared;
use super::state::State;
use super::store::{Space, Store};
use super::turn::Turn;
use super::watches::Topic;
use crate::bus::BusError;

/// At most so many commands in a batch.
const GROUP: usize = 512;

/// At most so many bytes of events in a batch, unless one event is larger.
const GROUP_BYTES: usize = 8 << 20;

/// How often the writer looks at the clock while copies are delayed. The clock can jump, and a test's does.
const LOOK_AT_CLOCK: Duration = Duration::from_millis(250);

/// How long a failed engine is left alone.
const REOPEN_EVERY: Duration = Duration::from_secs(1);

/// How long to wait for readers to let go of a failed engine.
const READERS_LEAVE: Duration = Duration::from_secs(5);

/// The writer's side of the log.
pub(super) struct Writer {
    pub(super) path: PathBuf,
    pub(super) clock: Clock,
    pub(super) shared: Arc<Shared>,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) myself: mpsc::WeakSender<Command>,
    pub(super) state: State,
    pub(super) engine: Engine,
}

/// The engine as the writer has it.
pub(super) enum Engine {
    Open(Arc<Store>),
    Broken { error: BusError, tried: Instant },
}

impl Writer {
    /// Works until the log is closed or nobody has a handle.
    pub(super) fn run(mut self, runtime: &Runtime) {
        let end = End(Arc::clone(&self.shared));
        let closer = loop {
            let first = match self.next(runtime) {
                Ok(first) => first,
                Err(Ended) => break None,
            };
            if let Some(closer) = self.work(first) {
                break Some(closer);
            }
        };
        self.commands.close();
        if let Engine::Open(store) = &self.engine
            && let Err(error) = store.persist()
        {
            tracing::error!(error = &error as &dyn std::error::Error, "the log was not synced at its end");
        }
        drop(end);
        drop(self.engine);
        if let Some(closer) = closer {
            // Whoever asked may have gone.
            let _ = closer.send(());
        }
    }

    /// The next command; none when a delay may have ended, or when it is time to open a failed engine anew.
    fn next(&mut self, runtime: &Runtime) -> Result<Option<Command>, Ended> {
        let wait = match &self.engine {
            Engine::Broken { tried, .. } => REOPEN_EVERY.saturating_sub(tried.elapsed()),
            Engine::Open(_) if self.state.due.is_empty() => {
                return self.commands.blocking_recv().map(Some).ok_or(Ended);
            }
            Engine::Open(_) => LOOK_AT_CLOCK,
        };
        let next = async { tokio::time::timeout(wait, self.commands.recv()).await };
        match runtime.block_on(next) {
            Ok(Some(command)) => Ok(Some(command)),
            Ok(None) => Err(Ended),
            Err(_) => Ok(None),
        }
    }

    /// Does what waits. Says whom to tell when it was the end.
    fn work(&mut self, first: Option<Command>) -> Option<oneshot::Sender<()>> {
        let mut closer = None;
        let mut writes = Vec::new();
        let mut looks = Vec::new();
        let mut weight = 0;
        let mut next = first;
        while let Some(command) = next {
            weight += command.weight();
            match command {
                Command::Close(reply) => closer = Some(reply),
                #[cfg(test)]
                Command::Fault(fault) => (fault.0)(self),
                command if command.looks() => looks.push(command),
                command => writes.push(command),
            }
            if closer.is_some() || writes.len() + looks.len() >= GROUP || weight >= GROUP_BYTES {
                break;
            }
            next = self.commands.try_recv().ok();
        }
        if !writes.is_empty() {
            histogram!("nexus_bus_commit_group_size").record(writes.len() as f64);
        }
        if !writes.is_empty() || looks.is_empty() {
            self.batch(writes);
        }
        if !looks.is_empty() {
            self.batch(looks);
        }
        closer
    }

    /// One batch: ends delays, takes back what reached nobody, does the commands.
    fn batch(&mut self, commands: Vec<Command>) {
        let now = self.clock.now();
        let store = match self.store() {
            Ok(store) => store,
            Err(error) => {
                commands.into_iter().for_each(|command| command.refuse(error.clone()));
                return;
            }
        };
        let micros = now.as_microsecond();
        let ended = self.state.end_delays(micros, latest_delay(micros));
        let started = Instant::now();
        let mut turn = Turn::new(&mut self.state, &self.shared, &self.myself, &store, now);
        for (tenant, inbox) in ended {
            turn.wake(tenant, Topic::Inbox(inbox));
        }
        let unclaimed = self.shared.take_unclaimed();
        for unclaimed in &unclaimed {
            if let Err(error) = turn.put_back(unclaimed) {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "copies that reached nobody stay with their session until it ends"
                );
            }
        }
        for command in commands {
            turn.apply(command);
        }
        let synced = turn.is_durable();
        let written = turn.finish();
        drop(store);
        let synced = if synced { "true" } else { "false" };
        histogram!("nexus_bus_commit_seconds", "synced" => synced).record(started.elapsed().as_secs_f64());
        if let Err(error) = written {
            counter!("nexus_bus_commit_failures_total").increment(1);
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "a write failed; the log is opened anew"
            );
            // Of a failed batch nothing counts: the sessions hold these again.
            unclaimed.into_iter().for_each(|unclaimed| self.shared.put_back(unclaimed));
            self.give_up(error, None);
        }
    }

    pub(super) fn give_up(&mut self, error: BusError, tried: Option<Instant>) {
        self.shared.set_broken(error.clone());
        // The first attempt to open it anew may come at once.
        let tried = tried.or_else(|| Instant::now().checked_sub(REOPEN_EVERY));
        let tried = tried.unwrap_or_else(Instant::now);
        let engine = std::mem::replace(&mut self.engine, Engine::Broken { error, tried });
        if let Engine::Open(store) = engine {
            // The engine's files are locked until the last reader is gone.
            let deadline = Instant::now() + READERS_LEAVE;
            while Arc::strong_count(&store) > 1 && Instant::now() < deadline {
                std::thread::park_timeout(Duration::from_millis(1));
            }
        }
    }

    /// The engine, opened anew if it failed.
    fn store(&mut self) -> Result<Arc<Store>, BusError> {
        match &self.engine {
            Engine::Open(store) => return Ok(Arc::clone(store)),
            Engine::Broken { error, tried } if tried.elapsed() < REOPEN_EVERY => return Err(error.clone()),
            Engine::Broken { .. } => {}
        }
        match self.reopen() {
            Ok(store) => {
                tracing::info!("the log takes writes again");
                self.shared.set_open(Arc::clone(&store));
                // What was routed, handed out or refused and not synced is to be done once more.
                self.shared.watches.bump_all();
                self.engine = Engine::Open(Arc::clone(&store));
                Ok(store)
            }
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "the log cannot be opened anew yet"
                );
                self.give_up(error.clone(), Some(Instant::now()));
                Err(error)
            }
        }
    }

    fn reopen(&mut self) -> Result<Arc<Store>, BusError> {
        let store = Arc::new(Store::open(&self.path)?);
        store.rewrite()?;
        let state = State::load(&store, &self.shared, self.clock.now())?;
        let before = std::mem::replace(&mut self.state, state);
        self.state.resume(before.holds_before(), |tenant, place| {
            let key = keys::copy(tenant, place.inbox, place.seq);
            store.get(Space::Inbox, &key).is_ok_and(|entry| entry.is_some())
        });
        Ok(store)
    }
}

/// Nobody has a handle any more.
struct Ended;

/// Tells of the end of the writer, also when that is a panic.
struct End(Arc<Shared>);

impl Drop for End {
    fn drop(&mut self) {
        let died = std::thread::panicking();
        if died {
            tracing::error!("the writer of the log panicked; the log does no more work");
        }
        self.0.set_closed(died);
    }
}
