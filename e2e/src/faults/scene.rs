//! A fleet under load, with its books.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio::time::{Instant, sleep};

use super::report::Row;
use super::window::Window;
use super::{Fault, Plan};
use crate::agents::Agents;
use crate::fleet::Fleet;
use crate::ledger::{Accepted, Ledger, agents};
use crate::load::{Load, Rate};
use crate::site::{LOOK, PATIENCE};

/// Deliveries after which events count as flowing.
const FLOWING: usize = 100;

/// A fault comes so long after events flow at most.
const LATEST_MS: u64 = 1500;

/// A fleet under load.
pub(super) struct Scene {
    pub(super) fleet: Fleet,
    pub(super) ledger: Arc<Ledger>,
    pub(super) agents: Agents,
    pub(super) random: StdRng,
    pub(super) notes: Vec<String>,
    pub(super) times: u32,
    load: Load,
    begun: Instant,
    fault: Fault,
}

/// The folder of a row.
pub(super) fn folder(plan: &Plan, fault: Fault) -> PathBuf {
    plan.work.join(format!("{fault:?}").to_lowercase())
}

impl Scene {
    /// A fleet that syncs each write, as we recommend it.
    pub(super) async fn new(plan: &Plan, fault: Fault) -> anyhow::Result<Self> {
        let fleet = Fleet::new(&plan.nexus, &folder(plan, fault), "always").await?;
        Self::over(plan, fault, fleet, plan.rate).await
    }

    /// Starts a fleet, its agents and its load, and waits until events flow.
    pub(super) async fn over(
        plan: &Plan,
        fault: Fault,
        mut fleet: Fleet,
        rate: Rate,
    ) -> anyhow::Result<Self> {
        fleet.start().await?;
        let ledger = Arc::new(Ledger::behind_a_spool());
        let seed = plan.seed.wrapping_add((fault as u64) << 8);
        let mut scene = Self {
            agents: Agents::start(&fleet.doors, &ledger, seed),
            load: Load::start(&fleet.doors, &ledger, rate, seed),
            random: StdRng::seed_from_u64(seed),
            fleet,
            ledger,
            notes: Vec::new(),
            times: 0,
            begun: Instant::now(),
            fault,
        };
        scene.flow().await?;
        agents().for_each(|agent| scene.ledger.expect(agent, true));
        Ok(scene)
    }

    /// Waits until a condition is met, and sees that no process ends by itself meanwhile.
    pub(super) async fn until(
        &mut self,
        what: &str,
        patience: Duration,
        met: impl Fn(&Self) -> bool,
    ) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        while !met(self) {
            self.fleet.check()?;
            ensure!(begun.elapsed() < patience, "waited {patience:?} in vain: {what}");
            sleep(LOOK).await;
        }
        Ok(begun.elapsed())
    }

    /// Waits until events flow.
    pub(super) async fn flow(&mut self) -> anyhow::Result<()> {
        let goal = self.ledger.counts().received + FLOWING;
        self.until("events flow", PATIENCE, |scene| scene.ledger.counts().received >= goal).await?;
        Ok(())
    }

    /// Waits until events flow, and then for the moment of a fault.
    pub(super) async fn under_way(&mut self) -> anyhow::Result<()> {
        self.flow().await?;
        self.moment(LATEST_MS).await;
        Ok(())
    }

    /// Lets a fault last for so long, and sees that no process ends by itself meanwhile.
    pub(super) async fn last(&mut self, long: Duration) -> anyhow::Result<()> {
        let begun = Instant::now();
        while begun.elapsed() < long {
            self.fleet.check()?;
            sleep(LOOK * 10).await;
        }
        Ok(())
    }

    /// What is seen in so long.
    pub(super) async fn watch(&mut self, long: Duration) -> anyhow::Result<Window> {
        let opened = self.open_window();
        self.last(long).await?;
        Ok(self.close_window(&opened))
    }

    /// Begins to watch.
    pub(super) fn open_window(&self) -> (Instant, usize) {
        self.ledger.take_times();
        (Instant::now(), self.ledger.counts().accepted)
    }

    /// What was seen since then.
    pub(super) fn close_window(&self, (begun, accepted): &(Instant, usize)) -> Window {
        Window {
            seconds: begun.elapsed().as_secs_f64(),
            accepted: self.ledger.counts().accepted - accepted,
            times: self.ledger.take_times(),
        }
    }

    /// Waits until these events are with all their agents; how long that took.
    pub(super) async fn arrived(&mut self, all: &Accepted, patience: Duration) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        let mut left: Vec<_> = all.keys().copied().collect();
        loop {
            self.ledger.strike(&mut left);
            if left.is_empty() {
                return Ok(begun.elapsed());
            }
            self.fleet.check()?;
            ensure!(
                begun.elapsed() < patience,
                "{} of {} accepted events have not arrived after {patience:?}",
                self.ledger.missing(all),
                all.len()
            );
            sleep(LOOK * 5).await;
        }
    }

    /// Waits until all that was accepted so far is with all its agents.
    pub(super) async fn settle(&mut self) -> anyhow::Result<Duration> {
        let all = self.ledger.accepted();
        self.arrived(&all, PATIENCE).await
    }

    /// Waits at random, so long at most.
    pub(super) async fn moment(&mut self, most_ms: u64) {
        use rand::RngExt as _;
        sleep(Duration::from_millis(self.random.random_range(0..most_ms))).await;
    }

    pub(super) fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    /// Ends the load, waits for the rest and compares the sets.
    pub(super) async fn end(mut self, played: anyhow::Result<()>) -> Row {
        let pause = self.ledger.longest_pause();
        let seconds = self.begun.elapsed().as_secs_f64();
        let mut failures: Vec<_> = played.err().map(|error| format!("{error:#}")).into_iter().collect();
        let load = std::mem::replace(&mut self.load, Load::none());
        load.end().await;
        if let Err(error) = self.settle().await {
            failures.push(format!("in the end: {error:#}"));
        }
        let mut row = Row {
            name: self.fault.name(),
            times: self.times,
            seconds,
            balance: Default::default(),
            pause_seconds: pause.as_secs_f64(),
            failures,
            notes: std::mem::take(&mut self.notes),
        };
        row.settle(self.ledger.balance(), &self.ledger.examples(), self.fault.loses_nothing());
        row
    }
}
