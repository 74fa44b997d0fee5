//! The second path of a stop: what gateways tell each other through Redis, beside each one's own look at the policies.
//!
//! It runs by itself, over a connection of its own, and holds up nothing: neither the own look nor the bus waits for it.
//! A round, each second and at each hint:
//! 1. read what stands there, unless its version is known: a quiet fleet costs one short command a second;
//! 2. let the latch hear it; what cannot be read is counted and shown, and says nothing;
//! 3. tell what this gateway holds and what does not stand there, so that what was lost comes back;
//! 4. take away what was released here, once, and again after a while if somebody has told it since.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use metrics::{counter, gauge};
use nexus_core::clock::Clock;
use nexus_core::stop::{Latch, Told, ToldError};
use nexus_runtime::Drain;
use nexus_store::bus::BusError;
use nexus_store::redis::{Board, Entry, RedisSettings, StopBoard, Telling};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};

use super::control::touched;
use super::switch::Switch;

/// How often it is read without a hint.
const EVERY: Duration = Duration::from_secs(1);

/// How long a call may take.
const DEADLINE: Duration = Duration::from_secs(1);

/// How long a gateway that starts waits for the first reading: nothing that is not heard says anything.
const FIRST: Duration = Duration::from_secs(5);

/// After how long what was said is looked through again: a released stop that somebody has told since is taken away once
/// more, for whoever told it may be gone.
const AGAIN: Duration = Duration::from_secs(60);

/// Tells and hears.
pub struct Hearsay {
    board: StopBoard,
    switch: Arc<Switch>,
    hints: Hints,
    /// What was read last.
    read: Option<Board>,
    /// What of it was understood, by uid.
    words: BTreeMap<String, Word>,
    /// The latch of which all was said, and when, as long as what was read stands.
    settled: Option<(Arc<Latch>, Instant)>,
    /// What was taken away, up to which generation and when.
    forgotten: BTreeMap<String, (u64, Instant)>,
    /// Whether the last round failed.
    failing: bool,
    /// The write of what was heard, one at a time: hearing and telling do not wait for a disk.
    keeping: JoinSet<()>,
    unkept: bool,
    /// [`AGAIN`], but in tests.
    again: Duration,
}

/// Something that stands there.
enum Word {
    Read(Told),
    /// Another version of the program has told it.
    Foreign(u64),
    Broken,
}

/// What wakes the rounds, and what they wake.
#[derive(Clone)]
pub struct Hints {
    wake: Arc<Notify>,
    heard: watch::Sender<bool>,
}

impl Hints {
    /// Waits until what others told was read once, or for a bounded time.
    pub async fn first(&self) {
        let mut heard = self.heard.subscribe();
        if tokio::time::timeout(FIRST, heard.wait_for(|heard| *heard)).await.is_err() {
            tracing::warn!("what other gateways tell of stops is not known; going by the policies alone");
        }
    }

    /// Passes the hints of the bus on until drained.
    pub async fn pass_on(self, mut told: watch::Receiver<()>, drain: Drain) -> anyhow::Result<()> {
        loop {
            tokio::select! {
                () = drain.cancelled() => return Ok(()),
                changed = told.changed() => match changed {
                    Ok(()) => self.wake.notify_one(),
                    // The bus is gone, whose end others tell.
                    Err(_) => {
                        drain.cancelled().await;
                        return Ok(());
                    }
                }
            }
        }
    }
}

impl Hearsay {
    /// Connects to nothing yet.
    pub fn new(redis: &RedisSettings, switch: Arc<Switch>, clock: Clock) -> Self {
        Self {
            board: StopBoard::new(redis, DEADLINE, clock),
            switch,
            hints: Hints { wake: Arc::default(), heard: watch::Sender::new(false) },
            read: None,
            words: BTreeMap::new(),
            settled: None,
            forgotten: BTreeMap::new(),
            failing: false,
            keeping: JoinSet::new(),
            unkept: false,
            again: AGAIN,
        }
    }

    /// What wakes the rounds.
    pub fn hints(&self) -> Hints {
        self.hints.clone()
    }

    /// Tells and hears until drained.
    pub async fn run(mut self, drain: Drain) -> anyhow::Result<()> {
        let mut tick = tokio::time::interval(EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut gate, wake) = (self.switch.gate(), Arc::clone(&self.hints.wake));
        loop {
            tokio::select! {
                () = drain.cancelled() => break,
                _ = tick.tick() => {}
                () = gate.changed() => {}
                () = wake.notified() => {}
            }
            tokio::select! {
                () = drain.cancelled() => break,
                () = self.round() => {}
            }
        }
        self.board.close().await;
        Ok(())
    }

    async fn round(&mut self) {
        self.keep();
        match self.board.read(self.read.as_ref()).await {
            Ok(None) => {}
            Ok(Some(board)) => {
                self.settled = None;
                self.hear(&board).await;
                self.keep();
                self.read = Some(board);
            }
            Err(error) => {
                counter!("nexus_stop_hear_failures_total", "error" => error.label()).increment(1);
                return self.fails("cannot read what other gateways tell of stops", error);
            }
        }
        touched("nexus_stop_heard_timestamp_seconds");
        self.hints.heard.send_if_modified(|heard| !std::mem::replace(heard, true));
        let latch = self.switch.gate().latch();
        let settled = |(of, at): &(Arc<Latch>, Instant)| Arc::ptr_eq(of, &latch) && at.elapsed() < self.again;
        if self.settled.as_ref().is_some_and(settled) {
            return self.succeeds();
        }
        match self.speak(&latch).await {
            Ok(all) => {
                self.settled = all.then(|| (latch, Instant::now()));
                self.succeeds();
            }
            Err(error) => {
                counter!("nexus_stop_tell_failures_total", "error" => error.label()).increment(1);
                self.fails("cannot tell other gateways of stops", error);
            }
        }
    }

    /// Lets the latch hear what was read.
    async fn hear(&mut self, board: &Board) {
        let words = board.entries.iter().map(|entry| (entry.uid.clone(), self.understand(entry)));
        self.words = words.collect();
        let broken =
            self.words.values().filter(|word| !matches!(word, Word::Read(_))).count() + board.surplus;
        gauge!("nexus_stop_broken_entries").set(broken as f64);
        counter!("nexus_stop_heard_total", "outcome" => "broken").increment(broken as u64);
        let told: Vec<_> = self.words.values().filter_map(Word::told).cloned().collect();
        let switch = Arc::clone(&self.switch);
        // It waits for nobody, but takes its time where there are many agents.
        let heard = tokio::task::spawn_blocking(move || switch.hear(&told)).await;
        let heard = heard.expect("hearing does not panic");
        self.unkept |= heard.merged.changed;
        counter!("nexus_stop_heard_total", "outcome" => "engaged")
            .increment(heard.merged.engaged.len() as u64);
        counter!("nexus_stop_heard_total", "outcome" => "surplus").increment(heard.surplus as u64);
    }

    /// Writes what was heard, unless that is going on.
    fn keep(&mut self) {
        while self.keeping.try_join_next().is_some() {}
        if self.keeping.is_empty() && std::mem::take(&mut self.unkept) {
            let switch = Arc::clone(&self.switch);
            self.keeping.spawn_blocking(move || switch.keep_heard());
        }
    }

    /// What an entry says, which is nothing if it cannot be read.
    fn understand(&self, entry: &Entry) -> Word {
        let uid = &entry.uid;
        let error = match (entry.generation, entry.told.as_deref()) {
            (Some(generation), Some(told)) => match Told::parse(uid, told) {
                Ok(told) if told.generation() == generation => return Word::Read(told),
                Ok(_) => "it is of another generation than the one that it is told under".to_owned(),
                Err(ToldError::Version(version)) => {
                    if !matches!(self.words.get(uid), Some(Word::Foreign(_))) {
                        tracing::warn!(
                            ?uid,
                            version,
                            "a stop that another version of the program told is not understood"
                        );
                    }
                    return Word::Foreign(generation);
                }
                Err(error) => format!("{:#}", anyhow::Error::from(error)),
            },
            _ => "it is too long, or no text that gateways write".to_owned(),
        };
        // Once: it is read again with every change.
        if !matches!(self.words.get(uid), Some(Word::Broken)) {
            tracing::warn!(?uid, error, "a stop that was told cannot be read, and says nothing");
        }
        Word::Broken
    }

    /// Tells what this gateway holds, and takes away what it released. Says whether all of it was said.
    async fn speak(&mut self, latch: &Latch) -> Result<bool, BusError> {
        let Some(board) = &self.read else { return Ok(false) };
        let mut all = true;
        for told in latch.engagements().map(Told::of) {
            if self.words.get(told.uid()).is_some_and(|word| word.covers(&told)) {
                continue;
            }
            match self.board.tell(told.uid(), told.generation(), &told.to_json(), board).await? {
                Telling::Told => tracing::info!(uid = told.uid(), "other gateways are told of a stop"),
                Telling::ReadFirst => all = false,
                Telling::Full => {
                    counter!("nexus_stop_tell_failures_total", "error" => "full").increment(1);
                    all = false;
                }
            }
        }
        self.forget(latch).await?;
        Ok(all)
    }

    /// Takes away what was released here.
    async fn forget(&mut self, latch: &Latch) -> Result<(), BusError> {
        self.forgotten.retain(|_, (_, at)| at.elapsed() < self.again);
        for told in self.words.values().filter_map(Word::told) {
            let (uid, generation) = (told.uid(), told.generation());
            let Some(upto) = latch.released_upto(uid).filter(|upto| generation <= *upto) else { continue };
            if latch.engagements().any(|held| held.uid == uid) {
                continue;
            }
            if self.forgotten.get(uid).is_none_or(|(before, _)| generation > *before) {
                self.board.forget(uid, upto).await?;
                self.forgotten.insert(uid.to_owned(), (upto, Instant::now()));
            }
        }
        Ok(())
    }

    fn succeeds(&mut self) {
        if std::mem::take(&mut self.failing) {
            tracing::info!("gateways tell each other of stops again");
        }
    }

    fn fails(&mut self, what: &str, error: BusError) {
        self.settled = None;
        // Once: it is tried again each second.
        if !std::mem::replace(&mut self.failing, true) {
            let error = format!("{:#}", anyhow::Error::from(error));
            tracing::warn!(error, "{what}; trying again, and going by the policies alone");
        }
    }
}

impl Word {
    fn told(&self) -> Option<&Told> {
        match self {
            Self::Read(told) => Some(told),
            Self::Foreign(_) | Self::Broken => None,
        }
    }

    /// Whether others learn nothing from what is told here, or may not be told it.
    fn covers(&self, told: &Told) -> bool {
        match self {
            Self::Read(there) => there.generation() > told.generation() || there.says(told),
            Self::Foreign(generation) => *generation >= told.generation(),
            Self::Broken => false,
        }
    }
}

#[cfg(test)]
#[path = "hearsay_tests.rs"]
mod tests;
