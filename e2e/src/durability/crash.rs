//! Crashes under load: the process is killed, and perhaps its last writes with it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use indicatif::ProgressBar;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::time::{Instant, sleep};

use super::report::{Part, Round};
use super::{Plan, bar, make};
use crate::agents::{Agents, Order};
use crate::ledger::{AGENTS, Accepted, Ledger, agents};
use crate::load::{Load, Rate};
use crate::powerloss::Model;
use crate::powerloss::folder::{self, Content};
use crate::powerloss::power::Power;
use crate::powerloss::replay::Losses;
use crate::site::{LOOK, Nexus, PATIENCE, Site};
use crate::webhook::TENANTS;

/// Rounds of a life, and how long the texts of webhooks are in one and the next: with long ones the log writes
/// its memory to new files all the time.
const LIFE: u32 = 10;
const TEXTS: [usize; 2] = [1_500, 15_000];

/// Deliveries before a crash may come, so that it comes under load.
const UNDER_LOAD: usize = 100;

/// A crash comes so long after that at most.
const LATEST_MS: u64 = 1500;

/// The chance that agents read nothing for so long at most before the crash, so that events wait for them.
const PAUSED: f64 = 0.5;
const PAUSED_MS: u64 = 1000;

/// So many events of earlier rounds are looked for after a crash.
const OLD_ONES: usize = 50;

/// The chance that a crash comes while the process starts: so long after its beginning at most.
const EARLY: f64 = 0.15;
const EARLY_MS: u64 = 150;

/// Each so many rounds a stop is engaged right before the crash, and has to hold after it.
const STOPS: u32 = 5;

/// For each so many rounds the process is crashed twice while it makes its data.
const BIRTHS_EACH: u32 = 3;

/// How a process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Kill,
    PowerLoss,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill -9",
            Self::PowerLoss => "power loss",
        }
    }

    const fn folder(self) -> &'static str {
        match self {
            Self::Kill => "kills",
            Self::PowerLoss => "losses",
        }
    }
}

struct Crashes {
    model: Model,
    site: Arc<Site>,
    ledger: Arc<Ledger>,
    random: StdRng,
    power: Option<Power>,
    rounds: Vec<Round>,
}

/// Crashes the process so often, in lives of so many rounds, each with data and books of its own.
pub(super) async fn run(plan: &Plan, kind: Kind, rounds: u32) -> anyhow::Result<Part> {
    let mut part = Part::new(kind.name());
    let bar = bar(kind.name(), rounds);
    let mut left = rounds;
    for (life, bytes) in (1..).zip(TEXTS.into_iter().cycle()) {
        let rounds = left.min(LIFE);
        left -= rounds;
        if rounds == 0 || !part.failures.is_empty() {
            break;
        }
        let rate = Rate { bytes, ..plan.rate };
        live(plan, kind, life, rate, rounds, &bar, &mut part).await?;
    }
    bar.finish_and_clear();
    if kind == Kind::Kill && part.balance.unmarked > 0 {
        part.failures.push(format!("{} repeats did not say so by their attempt", part.balance.unmarked));
    }
    Ok(part)
}

/// One life: births, then rounds under load.
async fn live(
    plan: &Plan,
    kind: Kind,
    life: u64,
    rate: Rate,
    rounds: u32,
    bar: &ProgressBar,
    part: &mut Part,
) -> anyhow::Result<()> {
    let work = plan.work.join(kind.folder()).join(life.to_string());
    let data = work.join("data");
    make(&data)?;
    let power = (kind == Kind::PowerLoss).then(|| Power::new(&work, &data)).transpose()?;
    let site = Arc::new(Site::new(&plan.nexus, &work, data)?);
    let ledger = Arc::<Ledger>::default();
    let seed = plan.seed.wrapping_add(life << 8).wrapping_add(kind as u64);
    let mut crashes = Crashes {
        model: plan.model,
        site: Arc::clone(&site),
        ledger: Arc::clone(&ledger),
        random: StdRng::seed_from_u64(seed),
        power,
        rounds: Vec::new(),
    };
    let ended = match crashes.births(rounds.div_ceil(BIRTHS_EACH)).await {
        Ok(()) => {
            // Every other life goes on with data that is yet to be made: then its first loss is one under load.
            if life % 2 == 1 {
                crashes.clear()?;
            }
            let agents = Agents::start(&site.doors, &ledger, seed);
            let load = Load::start(&site.doors, &ledger, rate, seed);
            crashes.rounds(rounds, bar, load, &agents).await
        }
        Err(error) => Err(error),
    };
    part.rounds.append(&mut crashes.rounds);
    let at = part.rounds.len() + 1;
    part.failures.extend(ended.err().map(|error| format!("round {at}, life {life}: {error:#}")));
    part.settle(ledger.balance(), &ledger.examples());
    if part.failures.is_empty() {
        folder::remove(&work)?;
    }
    Ok(())
}

impl Crashes {
    /// Crashes the process while it makes its data, so often; it has to start over what is left.
    async fn births(&mut self, times: u32) -> anyhow::Result<()> {
        for _ in 0..times {
            self.clear()?;
            for _ in 0..2 {
                let mut nexus = self.start()?;
                sleep(Duration::from_millis(self.random.random_range(0..EARLY_MS))).await;
                nexus.kill().await?;
                self.lose()?;
            }
            let mut nexus = self.start()?;
            self.site.ready(&mut nexus).await?;
            nexus.kill().await?;
            self.lose()?;
        }
        Ok(())
    }

    fn clear(&mut self) -> anyhow::Result<()> {
        if let Some(power) = &mut self.power {
            power.clear();
        }
        folder::write(&self.site.data, &Content::new())
    }

    /// Crashes the process under load.
    async fn rounds(
        &mut self,
        rounds: u32,
        bar: &ProgressBar,
        load: Load,
        agents: &Agents,
    ) -> anyhow::Result<()> {
        let mut nexus = self.start()?;
        let mut earlier = Accepted::new();
        for number in 1..=rounds {
            let repeats = self.ledger.balance().repeats;
            let engaged = self.until_crash(&mut nexus, number.is_multiple_of(STOPS), agents).await?;
            let credentials = self.credentials()?;
            nexus.kill().await?;
            let before = self.ledger.accepted();
            let mut losses = self.lose()?;
            nexus = self.start()?;
            if self.random.random_bool(EARLY) {
                // A crash while the process starts over what a crash left.
                sleep(Duration::from_millis(self.random.random_range(0..EARLY_MS))).await;
                nexus.kill().await?;
                losses = Losses::sum(losses, self.lose()?);
                nexus = self.start()?;
            }
            self.site.ready(&mut nexus).await?;
            if let Some(engagement) = engaged {
                self.holds(&engagement).await?;
            }
            ensure!(self.credentials()? == credentials, "the agents' credentials changed by the crash");
            self.known(&before, &earlier).await?;
            agents.order(|_| true, Order::Work);
            let missing = self.settled(&mut nexus, &before).await?;
            let balance = self.ledger.balance();
            let accepted = (before.len() - earlier.len()) as u64;
            earlier = before;
            self.rounds.push(Round { accepted, missing, repeats: balance.repeats - repeats, losses });
            bar.set_message(format!("{} accepted, {missing} lost", balance.accepted));
            bar.inc(1);
            ensure!(missing == 0, "{missing} accepted events are lost");
            ensure!(balance.faults.is_empty(), "what must never happen did");
        }
        load.end().await;
        let all = self.ledger.accepted();
        self.settled(&mut nexus, &all).await?;
        nexus.kill().await
    }

    fn start(&self) -> anyhow::Result<Nexus> {
        match &self.power {
            Some(power) => self.site.spawn(&power.environment()),
            None => self.site.spawn(&[]),
        }
    }

    /// Waits for the moment of the crash; the name of the stop that was engaged before it.
    async fn until_crash(
        &mut self,
        nexus: &mut Nexus,
        stops: bool,
        agents: &Agents,
    ) -> anyhow::Result<Option<String>> {
        self.site.ready(nexus).await?;
        let received = self.ledger.counts().received;
        let deadline = Instant::now() + PATIENCE;
        while self.ledger.counts().received < received + UNDER_LOAD {
            alive(nexus)?;
            ensure!(Instant::now() < deadline, "waited {PATIENCE:?} in vain: events flow");
            sleep(LOOK).await;
        }
        sleep(Duration::from_millis(self.random.random_range(0..LATEST_MS))).await;
        if self.random.random_bool(PAUSED) {
            agents.order(|_| true, Order::Pause);
            sleep(Duration::from_millis(self.random.random_range(0..PAUSED_MS))).await;
        }
        if !stops {
            return Ok(None);
        }
        let answer = self.site.cli(&["stop", "--reason", "drill"]).await?;
        let engagement = answer["stops"][0]["engagement"].as_str().context("a stop has a name")?;
        sleep(Duration::from_millis(self.random.random_range(0..20))).await;
        Ok(Some(engagement.to_owned()))
    }

    /// Makes the data what a loss of power leaves of it.
    fn lose(&mut self) -> anyhow::Result<Option<Losses>> {
        let seed = self.random.random();
        let model = self.model;
        self.power.as_mut().map(|power| power.lose(seed, model)).transpose()
    }

    /// Sees that the stop holds, and releases it.
    async fn holds(&self, engagement: &str) -> anyhow::Result<()> {
        let sessions = self.ledger.counts().sessions;
        let status = self.site.cli(&["status"]).await?;
        let held = status["stops"][0]["engagement"].as_str() == Some(engagement);
        ensure!(held, "the stop {engagement} was answered and does not hold after the crash");
        for (tenant, agent) in agents() {
            let (tenant, agent) = (TENANTS[tenant], AGENTS[agent]);
            let refused = self.site.doors.token(tenant, agent, 0).await.err().map(|error| error.to_string());
            let refused = refused.with_context(|| format!("{agent} gets a token while stopped"))?;
            ensure!(refused.contains("temporarily_unavailable"), "{agent} is refused a token: {refused}");
        }
        ensure!(self.ledger.counts().sessions == sessions, "a session was opened while stopped");
        self.site.cli(&["release", engagement]).await?;
        Ok(())
    }

    fn credentials(&self) -> anyhow::Result<Vec<(String, String)>> {
        agents().map(|(tenant, agent)| self.site.doors.credentials(TENANTS[tenant], AGENTS[agent])).collect()
    }

    /// Sees that the log still has what was accepted, delivered or not: all that is new, and some of the rest.
    async fn known(&mut self, all: &Accepted, earlier: &Accepted) -> anyhow::Result<()> {
        let old: Vec<_> = earlier.values().collect();
        let some = (0..OLD_ONES.min(old.len())).map(|_| old[self.random.random_range(0..old.len())]);
        let new = all.iter().filter(|(delivery, _)| !earlier.contains_key(*delivery));
        for event in new.map(|(_, event)| event).chain(some) {
            ensure!(self.site.knows(event).await?, "the log has lost {event}, which was accepted");
        }
        Ok(())
    }

    /// Waits until these events are with all their agents. How many are not when the patience ends.
    async fn settled(&self, nexus: &mut Nexus, all: &Accepted) -> anyhow::Result<u64> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let missing = self.ledger.missing(all) as u64;
            if missing == 0 || Instant::now() > deadline {
                return Ok(missing);
            }
            alive(nexus)?;
            sleep(LOOK * 5).await;
        }
    }
}

fn alive(nexus: &mut Nexus) -> anyhow::Result<()> {
    match nexus.ended()? {
        Some(status) => bail!("nexus ended by itself: {status}"),
        None => Ok(()),
    }
}
