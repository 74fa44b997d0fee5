//! A stop comes in the middle of something else, and wins: no session of who is stopped stays, none comes, nobody else is
//! held up, and all that was accepted meanwhile arrives after the release.

mod amid;
mod scaled;
mod stop;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use kube::Client;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::json;
use tokio::time::{Instant, sleep};

use self::stop::{Stop, Stopped};
use super::stage::Stage;
use super::{Plan, Seen};
use crate::agents::Agents;
use crate::fleet::GATEWAYS;
use crate::ledger::Ledger;
use crate::load::{Load, Rate};
use crate::site::{LOOK, PATIENCE, until};
use crate::webhook::TENANTS;

/// Webhooks that come meanwhile.
const RATE: Rate = Rate { per_second: 300, bytes: 500 };

/// Deliveries to a tenant's agents after which events count as flowing to them.
const FLOWING: u64 = 40;

/// How long is watched, after all is as it was but for the stop, that it holds.
const WATCHED: Duration = Duration::from_secs(3);

/// The tenant that is stopped, and the one that is not.
const STOPPED: usize = 0;
const SPARED: usize = 1;

/// What a stop comes amid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Amid {
    Drain,
    Replay,
    ScaleUp,
    Start,
    Change,
}

impl Amid {
    const ALL: [Self; 5] = [Self::Drain, Self::Replay, Self::ScaleUp, Self::Start, Self::Change];

    const fn name(self) -> &'static str {
        match self {
            Self::Drain => "gateways drained one after the other",
            Self::Replay => "what was spooled is replayed",
            Self::ScaleUp => "somebody scales up",
            Self::Start => "a gateway starts",
            Self::Change => "a new operator, a new agent",
        }
    }

    /// The latest moment of the stop, in milliseconds.
    const fn latest_ms(self) -> u64 {
        match self {
            Self::Drain => 8000,
            Self::Replay => 1500,
            Self::ScaleUp => 1000,
            Self::Start => 1200,
            Self::Change => 4000,
        }
    }
}

pub(super) async fn play(plan: &Plan, folder: &Path) -> anyhow::Result<Seen> {
    let mut races = Races::begin(plan, folder).await?;
    let mut seen = Seen::default();
    for amid in Amid::ALL {
        let mut stops = Vec::new();
        for round in 0..plan.settings.races {
            let stopped = races.round(amid, round as usize).await;
            stops.push(stopped.with_context(|| format!("{}, round {round}", amid.name()))?);
            seen.times += 1;
        }
        seen.figures.push(figure(amid, &stops));
    }
    seen.figures.push(races.end().await?);
    Ok(seen)
}

fn figure(amid: Amid, stops: &[(Stopped, Duration)]) -> String {
    let most = |of: fn(&(Stopped, Duration)) -> Duration| stops.iter().map(of).max().unwrap_or_default();
    let notes: Vec<_> = stops.iter().filter_map(|(stopped, _)| stopped.note.clone()).collect();
    format!(
        "{}: {} stops, the last session gone after {:.1?} at most; after the release all arrived within {:.1?}{}{}",
        amid.name(),
        stops.len(),
        most(|(stopped, _)| stopped.closes),
        most(|(_, arrives)| *arrives),
        if notes.is_empty() { "" } else { "; " },
        notes.join(", ")
    )
}

/// A system under load.
struct Races {
    stage: Stage,
    ledger: Arc<Ledger>,
    client: Client,
    random: StdRng,
    /// The replicas that the last stop recorded amid others' writes.
    recorded: i64,
    load: Load,
    _agents: Agents,
}

impl Races {
    /// A system under load, with a Deployment of an agent that is to be stopped, and a policy that means its tenant.
    async fn begin(plan: &Plan, folder: &Path) -> anyhow::Result<Self> {
        let stage = Stage::empty(&plan.nexus, folder).await?;
        let tenants = json!([{"namespace": TENANTS[STOPPED], "name": TENANTS[STOPPED]}]);
        stage.operated.patch_stop(&json!({"targets": {"tenants": tenants}}))?;
        let mut races = Self {
            client: stage.operated.cluster.client().await?,
            stage,
            ledger: Arc::new(Ledger::behind_a_spool()),
            random: StdRng::seed_from_u64(plan.seed),
            recorded: 0,
            load: Load::none(),
            _agents: Agents::none(),
        };
        races.make_deployment()?;
        races.stage.start_operator(0)?;
        races.stage.operated.start_pods().await?;
        races.stage.ready().await?;
        let doors = &races.stage.operated.fleet.doors;
        races._agents = Agents::start(doors, &races.ledger, plan.seed);
        races.load = Load::start(doors, &races.ledger, RATE, plan.seed);
        Ok(races)
    }

    /// One stop, from events that flow to events that flow again; how it went, and how long what waited took to arrive.
    async fn round(&mut self, amid: Amid, round: usize) -> anyhow::Result<(Stopped, Duration)> {
        for tenant in [STOPPED, SPARED] {
            self.flow(tenant).await?;
        }
        let stop = Stop {
            client: self.client.clone(),
            ledger: Arc::clone(&self.ledger),
            after: Duration::from_millis(self.random.random_range(0..amid.latest_ms())),
        };
        let stopped = match amid {
            Amid::Drain => self.drain(stop).await?,
            Amid::Replay => self.replay(stop).await?,
            Amid::ScaleUp => self.scale_up(stop).await?,
            Amid::Start => self.start(stop, round % GATEWAYS).await?,
            Amid::Change => self.change(stop, round).await?,
        };
        self.holds(&stopped)
            .await
            .with_context(|| format!("the stop came {:?} after it began", stopped.after))?;
        let accepted = self.ledger.accepted();
        until("the stop has a name", PATIENCE, async || {
            Ok(self.stage.stop_status()?["engagement"].is_string())
        })
        .await?;
        self.stage.release()?;
        let begun = Instant::now();
        self.arrived(&accepted).await?;
        let arrives = begun.elapsed();
        until(
            "the release is told",
            PATIENCE,
            async || Ok(self.stage.stop_status()?["engagement"].is_null()),
        )
        .await?;
        match amid {
            Amid::ScaleUp => self.scaled_back().await?,
            Amid::Change => self.newcomer_comes(round).await?,
            _ => {}
        }
        self.stage.check()?;
        Ok((stopped, arrives))
    }

    /// All runs again, and still nobody is admitted who is stopped, and others are.
    async fn holds(&mut self, stopped: &Stopped) -> anyhow::Result<()> {
        self.flow(SPARED).await.context("who is not stopped")?;
        let begun = Instant::now();
        while begun.elapsed() < WATCHED {
            stopped.holds(&self.ledger)?;
            sleep(LOOK).await;
        }
        for gateway in 0..GATEWAYS {
            self.stage.refused(gateway).await?;
            let spared = &self.stage.operated.fleet.doors;
            spared
                .token(TENANTS[SPARED], crate::ledger::AGENTS[0], gateway)
                .await
                .context("who is not stopped")?;
        }
        stopped.holds(&self.ledger)?;
        self.stage.check()
    }

    /// Waits until events flow to a tenant's agents.
    async fn flow(&mut self, tenant: usize) -> anyhow::Result<()> {
        let goal = self.ledger.receipts_of(tenant) + FLOWING;
        until("events flow", PATIENCE, async || {
            self.stage.check()?;
            Ok(self.ledger.receipts_of(tenant) >= goal)
        })
        .await?;
        Ok(())
    }

    /// Waits until these are with all of their agents.
    async fn arrived(&self, all: &crate::ledger::Accepted) -> anyhow::Result<()> {
        let mut left: Vec<_> = all.keys().copied().collect();
        let arrive = until("all accepted events arrive", PATIENCE, async || {
            self.ledger.strike(&mut left);
            Ok(left.is_empty())
        })
        .await;
        let missing = self.ledger.missing(all);
        arrive.map(drop).with_context(|| format!("{missing} of {} are missing", all.len()))
    }

    /// Ends the load, and compares the books.
    async fn end(mut self) -> anyhow::Result<String> {
        std::mem::replace(&mut self.load, Load::none()).end().await;
        self.arrived(&self.ledger.accepted()).await?;
        let balance = self.ledger.balance();
        let mut failures = Vec::new();
        balance.complain(&self.ledger.examples(), &mut failures);
        if !failures.is_empty() {
            bail!("{}", failures.join("; "));
        }
        ensure!(balance.accepted > 0, "nothing was accepted");
        Ok(format!(
            "{} events accepted, {} missing, {} repeated; nobody else was stopped",
            balance.accepted, balance.missing, balance.repeats
        ))
    }
}
