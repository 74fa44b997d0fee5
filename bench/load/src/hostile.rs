//! Hostile input of every kind, one kind at a time, while honest events flow: each attempt must be refused as
//! documented, and the honest agents' latency must stay near what it was a moment before.

mod attack;
mod frames;
mod requests;
mod tokens;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde::Serialize;

use crate::args::{Common, HostileArgs, Output, Transport};
use crate::compare::progress;
use crate::fleet::Fleet;
use crate::ledger::Ledger;
use crate::load::{self, Open, Poster};
use crate::server::{Kind, Server};
use crate::{machine, report};

use attack::{Attack, Target};

/// How long what was accepted may take to be delivered.
const DRAIN: Duration = Duration::from_secs(30);

/// Honest events flow for so long before anything is measured.
const WARM_UP: Duration = Duration::from_secs(3);

/// What one kind of hostile input came to.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Trial {
    pub name: &'static str,
    /// What is documented.
    pub expected: &'static str,
    /// What was seen, and how often.
    pub seen: String,
    /// Whether nothing else was seen, and at least one attempt was answered.
    pub as_documented: bool,
    pub attempts: u64,
    /// Honest latency, POST to agent, just before.
    pub before_p99_ms: f64,
    /// And during.
    pub during_p99_ms: f64,
    pub ratio: f64,
    /// Honest events that were accepted and not delivered, or not accepted.
    pub missing: u64,
    pub refused: u64,
}

/// Runs all kinds and shows the table; fails when one was not refused as documented or an honest event was lost.
pub async fn run(args: &HostileArgs, output: Output) -> anyhow::Result<()> {
    machine::raise_files(8_192)?;
    ensure!(args.common.agents >= 2, "--agents must be 2 or more: the last one is the attackers'");
    let attacks: Vec<_> = attack::all().into_iter().filter(|attack| args.chooses(attack.name)).collect();
    let names: Vec<_> = attack::all().iter().map(|attack| attack.name).collect();
    ensure!(!attacks.is_empty(), "no such kind; there are: {}", names.join(", "));
    let progress = progress(attacks.len() as u64 * 2 + 1)?;
    progress.set_message("start and warm-up");
    let site = Site::start(&args.common).await?;
    site.honest(&args.common, WARM_UP).await?;
    let mut trials = Vec::new();
    for attack in &attacks {
        let length = Duration::from_secs(args.seconds.into()).max(attack.least);
        progress.inc(1);
        progress.set_message(format!("before {}", attack.name));
        let before = site.honest(&args.common, length).await?;
        progress.inc(1);
        progress.set_message(attack.name);
        trials.push(site.under(attack, &args.common, length, &before).await.context(attack.name)?);
    }
    progress.finish_and_clear();
    site.server.end().await?;
    report::hostile(args, &trials, output)?;
    let wrong: Vec<_> = trials.iter().filter(|trial| !trial.holds()).map(|trial| trial.name).collect();
    ensure!(wrong.is_empty(), "not as documented: {}", wrong.join(", "));
    Ok(())
}

impl Trial {
    fn holds(&self) -> bool {
        self.as_documented && self.missing == 0 && self.refused == 0
    }
}

struct Site {
    server: Server,
    target: Arc<Target>,
    tokens: Vec<String>,
    poster: Arc<Poster>,
}

impl Site {
    async fn start(common: &Common) -> anyhow::Result<Self> {
        let server = Server::start(Kind::Nexus, common).await?;
        let tokens = server.tokens().await?;
        let target = Target {
            ingest: server.ingest,
            gateway: server.gateway(Transport::Both),
            token: tokens.last().context("no agent")?.clone(),
            stranger: server.stranger().await?,
        };
        // The last agent is the attackers': no event is for it.
        let honest = Common { agents: common.agents - 1, ..common.clone() };
        let poster = Arc::new(server.poster(&honest)?);
        Ok(Self { server, target: Arc::new(target), tokens, poster })
    }

    /// Honest events in an open loop for so long; all of them must arrive.
    async fn honest(&self, common: &Common, length: Duration) -> anyhow::Result<Arc<Ledger>> {
        let schedule = self.poster.schedule(common.rate, length);
        let ledger = Arc::new(Ledger::new(Some(schedule))?);
        let honest = &self.tokens[..self.tokens.len() - 1];
        let gateway = self.server.gateway(Transport::Websocket);
        let fleet = Fleet::connect(gateway, honest, honest.len(), Transport::Websocket, &ledger).await?;
        Open::start(&self.poster, common.connections, schedule, &ledger).finish().await;
        load::drained(&ledger, DRAIN).await;
        fleet.check().with_context(|| format!("the server's log ends with:\n{}", self.server.log()))?;
        Ok(ledger)
    }

    async fn under(
        &self,
        attack: &Attack,
        common: &Common,
        length: Duration,
        before: &Ledger,
    ) -> anyhow::Result<Trial> {
        let assault = attack.start(&self.target);
        let during = self.honest(common, length).await?;
        let tally = assault.end().await;
        let p99 = |ledger: &Ledger| ledger.latency_ms([0.5, 0.99, 0.999])[1];
        let balance = during.balance();
        Ok(Trial {
            name: attack.name,
            expected: attack.expected,
            seen: tally.to_string(),
            as_documented: tally.is_only(attack.accepts),
            attempts: tally.attempts(),
            before_p99_ms: p99(before),
            during_p99_ms: p99(&during),
            ratio: p99(&during) / p99(before),
            missing: balance.missing,
            refused: balance.refused,
        })
    }
}
