//! A server under load: phases, what they came to, and what they cost.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use crate::args::{Common, Transport};
use crate::fleet::Fleet;
use crate::ledger::{Balance, Ledger};
use crate::load::{self, Open, Poster};
use crate::pair::Pair;
use crate::process;
use crate::server::Server;

/// How long what was accepted may take to be delivered after the load has ended.
const DRAIN: Duration = Duration::from_secs(60);

/// Who serves.
pub enum Target {
    /// One process.
    One(Box<Server>),
    /// Two, and a Redis.
    Pair(Box<Pair>),
}

/// CPU seconds: so far, or per 1,000 events.
#[derive(Debug, Clone, Copy)]
pub struct Cpu {
    /// The server's processes.
    pub server: f64,
    /// Redis, and what it forks.
    pub redis: f64,
    /// This tool.
    pub tool: f64,
}

/// A server under load.
pub struct Site {
    pub target: Target,
    tokens: Vec<String>,
    poster: Arc<Poster>,
}

/// A phase that is over: its books, and what it cost per 1,000 events.
pub struct Phase {
    pub ledger: Arc<Ledger>,
    pub balance: Balance,
    pub cpu: Cpu,
}

/// A closed loop that is over.
pub struct ClosedPhase {
    pub phase: Phase,
    pub per_second: f64,
    pub backlog: u64,
}

impl Target {
    fn gateway(&self) -> SocketAddr {
        match self {
            Self::One(server) => server.gateway(Transport::Websocket),
            Self::Pair(pair) => pair.gateway,
        }
    }

    async fn tokens(&self) -> anyhow::Result<Vec<String>> {
        match self {
            Self::One(server) => server.tokens().await,
            Self::Pair(pair) => pair.tokens().await,
        }
    }

    fn cpu(&self) -> anyhow::Result<Cpu> {
        let tool = process::cpu_seconds(std::process::id())?;
        Ok(match self {
            Self::One(server) => Cpu { server: process::cpu_seconds(server.pid)?, redis: 0.0, tool },
            Self::Pair(pair) => {
                let [ingest, gateway, redis] = pair.pids();
                let server = process::cpu_seconds(ingest)? + process::cpu_seconds(gateway)?;
                Cpu { server, redis: process::cpu_seconds_with_children(redis)?, tool }
            }
        })
    }

    async fn quiet(&self) -> anyhow::Result<()> {
        match self {
            Self::One(server) => process::quiet(server.pid).await,
            Self::Pair(pair) => {
                for pid in pair.pids() {
                    process::quiet(pid).await?;
                }
                Ok(())
            }
        }
    }

    fn alive(&mut self) -> anyhow::Result<()> {
        match self {
            Self::One(server) => server.alive(),
            Self::Pair(pair) => pair.alive(),
        }
    }

    fn log(&self) -> String {
        match self {
            Self::One(server) => server.log(),
            Self::Pair(pair) => pair.log(),
        }
    }
}

impl Site {
    /// A server that runs.
    pub async fn over(target: Target, common: &Common) -> anyhow::Result<Self> {
        let tokens = target.tokens().await?;
        let ingest = match &target {
            Target::One(server) => server.ingest,
            Target::Pair(pair) => pair.ingest,
        };
        Ok(Self { target, tokens, poster: Arc::new(Poster::new(ingest, common)?) })
    }

    /// Posts on so many connections, one event at a time on each, for so long.
    pub async fn closed(&mut self, connections: u32, length: Duration) -> anyhow::Result<ClosedPhase> {
        let ledger = Arc::new(Ledger::new(None)?);
        let fleet = self.fleet(&ledger).await?;
        let before = self.target.cpu()?;
        let closed = load::closed(&self.poster, connections, length, &ledger).await;
        Ok(ClosedPhase {
            phase: self.finish(ledger, fleet, before).await?,
            per_second: closed.delivered as f64 / closed.seconds,
            backlog: closed.accepted.saturating_sub(closed.delivered),
        })
    }

    /// Posts so many events a second for so long, whether they are answered or not.
    pub async fn open(&mut self, connections: u32, rate: u32, length: Duration) -> anyhow::Result<Phase> {
        let schedule = self.poster.schedule(rate, length);
        let ledger = Arc::new(Ledger::new(Some(schedule))?);
        let fleet = self.fleet(&ledger).await?;
        ensure!(Instant::now() < schedule.start, "the agents connected too late for the open loop");
        let before = self.target.cpu()?;
        Open::start(&self.poster, connections, schedule, &ledger).finish().await;
        self.finish(ledger, fleet, before).await
    }

    /// One session of each agent.
    async fn fleet(&self, ledger: &Arc<Ledger>) -> anyhow::Result<Fleet> {
        let (gateway, sessions) = (self.target.gateway(), self.tokens.len());
        Fleet::connect(gateway, &self.tokens, sessions, Transport::Websocket, ledger).await
    }

    /// Waits until all is delivered and the server has nothing left to do, then closes the books.
    async fn finish(&mut self, ledger: Arc<Ledger>, fleet: Fleet, before: Cpu) -> anyhow::Result<Phase> {
        load::drained(&ledger, DRAIN).await;
        let Cpu { tool, .. } = self.target.cpu()?;
        self.target.quiet().await?;
        let after = Cpu { tool, ..self.target.cpu()? };
        self.target.alive()?;
        fleet.check().with_context(|| format!("the server's log ends with:\n{}", self.target.log()))?;
        let balance = ledger.balance();
        ensure!(balance.delivered > 0, "nothing was delivered: {}", ledger.complaint().unwrap_or_default());
        let thousands = balance.delivered as f64 / 1e3;
        let cpu = Cpu {
            server: (after.server - before.server) / thousands,
            redis: (after.redis - before.redis) / thousands,
            tool: (after.tool - before.tool) / thousands,
        };
        Ok(Phase { ledger, balance, cpu })
    }

    /// Ends all of its processes.
    pub async fn end(self) -> anyhow::Result<()> {
        match self.target {
            Target::One(server) => server.end().await,
            Target::Pair(pair) => pair.end().await,
        }
    }
}

impl ClosedPhase {
    /// Whether its throughput counts: all delivered, and less than a second's worth waiting when the time was over.
    pub fn counts(&self) -> bool {
        self.phase.balance.is_even() && (self.backlog as f64) < self.per_second
    }
}

impl Phase {
    /// What did not go as it should, if anything.
    pub fn remark(&self, what: &str) -> Option<String> {
        let Balance { accepted, missing, unknown, confused, repeats, unmarked, refused, .. } = self.balance;
        if self.balance.is_even() && repeats == 0 && refused == 0 {
            return None;
        }
        let complaint = self.ledger.complaint().unwrap_or_default();
        Some(format!(
            "{what}: of {accepted} accepted {missing} were not delivered, {unknown} delivered were never accepted, \
             {confused} came under another id, {repeats} came again, {unmarked} of them unmarked, {refused} were refused {complaint}"
        ))
    }
}
