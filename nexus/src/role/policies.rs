//! The NexusPolicies of an API server, which a process watches itself: no operator stands between a stop and whom it stops.
//!
//! Two ways lead here, each over connections of its own. A watch tells of a change within milliseconds; a full list every two
//! seconds, a *look*, finds what a watch did not tell, for it may be dead without a word. Whatever comes, all that is known
//! is shown to the [`Switch`] at once: nothing waits for more to come.
//!
//! It refuses to take less for more: a look that failed, or gave a part, says nothing, and what is known stays. Nor does it
//! release anything; that is the latch's business.
//!
//! 1. A look is asked for every two seconds, and at once where a watch has ended; one that failed, after a pause ([`pause`]).
//! 2. A list is taken in ([`known`]), leniently ([`read`]). With the first one the state of the switch is known.
//! 3. A watch begins where a list ends, and is begun anew when it ends, when a look finds what it has not told, or when the
//!    store went back, as after a restore.
//! 4. What stops is put in force, then written, by one thread at a time: a disk that hangs holds up no later stop.
//! 5. A definition that is gone is an absence of all policies: alarms where a stop holds, and no knowledge where there was
//!    none.

mod known;
mod read;
mod server;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::ValueEnum;
use metrics::{counter, gauge};
use nexus_core::backoff::Backoff;
use nexus_core::stop::Policy;
use nexus_runtime::Drain;
use nexus_runtime::lane::LaneError;
use nexus_runtime::readiness::{Readiness, ReadyGuard};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};

use self::known::{Event, Heard, Known, List, Listed};
use self::server::{Server, ServerError, Watch};
use super::control::touched;
use super::switch::Switch;

/// How often a full list is asked for, whatever the watch tells.
const POLL: Duration = Duration::from_secs(2);

/// The bounds of the first pause after a failure, and of the longest: an API server that is back is asked within moments.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// A watch that lasted so long was a good one.
const CALM: Duration = Duration::from_secs(5);

/// Where a process reads NexusPolicies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PolicySource {
    /// In its folder.
    Folder,
    /// At an API server.
    Kubernetes,
}

/// A look, and the latest revision that was known when it was asked for.
type Look = (Option<u64>, Result<List, ServerError>);

/// All policies as they stand.
#[derive(Clone)]
struct Standing {
    policies: Arc<[Policy]>,
    /// Whether the API server said so; it does not where it has no definition of them.
    said: bool,
}

/// Watches the policies of an API server.
pub struct PolicyWatch {
    server: Server,
    switch: Arc<Switch>,
    /// Held until the state of the switch is known.
    awaited: Option<ReadyGuard>,
    known: Known,
    next_look: Instant,
    /// One at a time.
    looks: JoinSet<Look>,
    failed_looks: Backoff,
    watch: Option<Watch>,
    failed_watches: Backoff,
    /// The write of what was seen, one at a time.
    keeping: JoinSet<Result<Standing, LaneError>>,
    unkept: Option<Standing>,
    /// Which policies cannot be read, and why.
    complaints: BTreeMap<String, String>,
}

impl PolicyWatch {
    /// Finds the API server, and asks it nothing yet. Where no latch file tells the state of the switch, the process is not
    /// ready until a look does.
    ///
    /// # Errors
    /// When no API server is named, or the certificates that go with it cannot be used.
    pub async fn new(switch: Arc<Switch>, readiness: &Readiness) -> Result<Self, ServerError> {
        let server = Server::find().await?;
        let awaited = (!switch.gate().latch().is_known())
            .then(|| readiness.guard("a first look at the NexusPolicies (or a latch file)"));
        // Never, so far: who goes by a latch file and sees nothing must not look like one that has nothing to see.
        gauge!("nexus_stop_read_timestamp_seconds").set(0.0);
        Ok(Self {
            server,
            switch,
            awaited,
            known: Known::default(),
            next_look: Instant::now(),
            looks: JoinSet::new(),
            failed_looks: Backoff::new(PAUSES.0, PAUSES.1),
            watch: None,
            failed_watches: Backoff::new(PAUSES.0, PAUSES.1),
            keeping: JoinSet::new(),
            unkept: None,
            complaints: BTreeMap::new(),
        })
    }

    /// Watches until drained.
    pub async fn run(mut self, drain: Drain) -> anyhow::Result<()> {
        loop {
            tokio::select! {
                () = drain.cancelled() => return Ok(()),
                () = sleep_until(self.next_look), if self.looks.is_empty() => self.ask(),
                Some(look) = self.looks.join_next() => self.looked(look.context("a look panicked")?).await,
                told = next(&mut self.watch) => self.told(told).await,
                Some(kept) = self.keeping.join_next() => self.kept(kept)?,
            }
        }
    }

    fn ask(&mut self) {
        self.next_look = Instant::now() + POLL;
        let (server, asked) = (self.server.clone(), self.known.revision());
        self.looks.spawn(async move { (asked, server.list().await) });
    }

    async fn looked(&mut self, (asked, look): Look) {
        let list = match look {
            Ok(list) => list,
            Err(error) => return self.look_failed(error).await,
        };
        if self.failed_looks.reset() {
            tracing::info!("the NexusPolicies can be looked at again");
        }
        match self.known.list(asked, list) {
            // The next one is not.
            Listed::Overtaken => return,
            Listed::WentBack => {
                tracing::warn!("the API server's store went back, as after a restore; stops that hold stay");
                self.end_watch("went_back");
            }
            // What swallows one event may swallow them all.
            Listed::News if self.watch.is_some() => self.end_watch("late"),
            Listed::News | Listed::Same => {}
        }
        self.show().await;
        if self.watch.is_none() {
            self.watch = Some(self.server.watch(self.known.revision()));
        }
    }

    async fn look_failed(&mut self, error: ServerError) {
        counter!("nexus_stop_look_failures_total", "error" => error.label()).increment(1);
        let first = self.failed_looks.is_first();
        self.next_look = Instant::now() + self.failed_looks.next(rand::random());
        let undefined = matches!(error, ServerError::Undefined);
        if first {
            let error = format!("{:#}", anyhow::Error::from(error));
            tracing::warn!(
                error,
                "cannot look at the NexusPolicies; trying again, and going by what is known"
            );
        }
        // Where nothing is known, that there is no definition is no leave to run: it may be about to come.
        if undefined && self.switch.gate().latch().is_known() {
            self.known.forget();
            self.watch = None;
            self.put(Standing { policies: Arc::default(), said: false }).await;
        }
    }

    async fn told(&mut self, told: Result<Option<Event>, ServerError>) {
        match told {
            Ok(Some(event)) => {
                self.failed_watches.reset();
                match self.known.hear(event) {
                    Heard::News => self.show().await,
                    Heard::Same => {}
                    Heard::WentBack => self.watch_failed("went_back", None),
                }
            }
            Ok(None) => {
                self.failed_watches.reset();
                self.watch = None;
                self.next_look = Instant::now();
            }
            Err(error) => self.watch_failed(error.label(), Some(error)),
        }
    }

    /// Ends a watch before its time. A look comes soon, from which the next one begins.
    fn watch_failed(&mut self, reason: &'static str, error: Option<ServerError>) {
        if self.watch.as_ref().is_some_and(|watch| watch.age() >= CALM) {
            self.failed_watches.reset();
        }
        if self.failed_watches.is_first() {
            let error = error.map(|error| format!("{:#}", anyhow::Error::from(error)));
            tracing::info!(
                reason,
                error,
                "a watch of the NexusPolicies ends; looking, and beginning it anew"
            );
        }
        self.end_watch(reason);
        self.next_look = self.next_look.min(Instant::now() + self.failed_watches.next(rand::random()));
    }

    fn end_watch(&mut self, reason: &'static str) {
        counter!("nexus_stop_watch_ends_total", "reason" => reason).increment(1);
        self.watch = None;
    }

    /// Shows the switch all that is known.
    async fn show(&mut self) {
        let complaints = self.known.complaints();
        for (policy, complaint) in &complaints {
            if self.complaints.get(policy) != Some(complaint) {
                tracing::warn!(
                    policy,
                    complaint,
                    "a NexusPolicy cannot be read; if it says stop, it means everybody"
                );
            }
        }
        gauge!("nexus_stop_unreadable_policies").set(complaints.len() as f64);
        self.complaints = complaints;
        self.put(Standing { policies: self.known.policies().into(), said: true }).await;
    }

    async fn put(&mut self, standing: Standing) {
        let (switch, policies) = (Arc::clone(&self.switch), Arc::clone(&standing.policies));
        // It waits for nobody, but takes its time where there are many agents.
        let stopped = tokio::task::spawn_blocking(move || switch.tighten(&policies)).await;
        stopped.expect("putting stops in force does not panic");
        self.awaited = None;
        self.unkept = Some(standing);
        self.keep();
    }

    /// Writes what was seen last, unless something is being written: then that comes after it.
    fn keep(&mut self) {
        if !self.keeping.is_empty() {
            return;
        }
        if let Some(standing) = self.unkept.take() {
            let switch = Arc::clone(&self.switch);
            self.keeping.spawn_blocking(move || switch.look(&standing.policies).map(|_| standing));
        }
    }

    fn kept(&mut self, kept: Result<Result<Standing, LaneError>, JoinError>) -> anyhow::Result<()> {
        match kept.context("keeping the stop latch panicked")? {
            Ok(Standing { said: true, .. }) => touched("nexus_stop_read_timestamp_seconds"),
            Ok(_) => {}
            // The next look tries again.
            Err(error) => {
                let error = format!("{:#}", anyhow::Error::from(error));
                tracing::error!(error, "cannot keep the stop latch; trying again");
            }
        }
        self.keep();
        Ok(())
    }
}

/// What a watch tells next; nothing where there is none.
async fn next(watch: &mut Option<Watch>) -> Result<Option<Event>, ServerError> {
    match watch {
        Some(watch) => watch.next().await,
        None => std::future::pending().await,
    }
}
