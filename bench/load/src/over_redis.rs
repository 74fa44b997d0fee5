//! Nexus as processes over a Redis and the floor as processes over a Redis, in turn, round by round.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use indicatif::ProgressBar;
use serde::Serialize;

use crate::args::{FleetArgs, Fsync, Output};
use crate::compare::{WARM_UP, progress};
use crate::pair::{Pair, Sizes};
use crate::server::Kind;
use crate::site::{ClosedPhase, Cpu, Phase, Site, Target};
use crate::{machine, process, report};

/// What one turn of one pair of processes came to.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Turn {
    pub round: u32,
    pub server: Kind,
    pub appendfsync: Fsync,
    /// Closed loop: deliveries a second.
    pub delivered_per_second: f64,
    /// Whether that counts: all delivered, and less than a second's worth waiting when the time was over.
    pub counts: bool,
    pub backlog: u64,
    pub closed_cpu: Costs,
    /// Open loops, in the order of the rates.
    pub open: Vec<OpenLoop>,
    /// The most that was ever resident.
    pub ingest_peak_bytes: f64,
    pub gateway_peak_bytes: f64,
    pub redis_peak_bytes: f64,
    /// Bytes in Redis' memory for each event that it keeps.
    pub redis_bytes_per_event: f64,
    /// Bytes of an event as it is kept.
    pub sizes: Sizes,
    /// Accepted minus received, over all phases.
    pub missing: u64,
    /// Whether in every phase what was accepted is what was delivered, and each repeat said so.
    pub even: bool,
    /// What did not go as it should.
    pub remarks: Vec<String>,
}

/// CPU seconds per 1,000 events.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Costs {
    /// Ingest and gateway.
    pub roles: f64,
    pub redis: f64,
    /// This tool.
    pub tool: f64,
}

impl Costs {
    /// Ingest, gateway and Redis.
    pub fn all(&self) -> f64 {
        self.roles + self.redis
    }
}

impl From<Cpu> for Costs {
    fn from(Cpu { server, redis, tool }: Cpu) -> Self {
        Self { roles: server, redis, tool }
    }
}

/// An open loop that is over. Times run from when the event was meant to be posted.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OpenLoop {
    pub rate: u32,
    pub answer_p50_ms: f64,
    pub answer_p99_ms: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub p999_ms: f64,
    pub cpu: Costs,
    /// How late this tool was, which is part of the latencies.
    pub tool_lag_p99_ms: f64,
}

impl OpenLoop {
    fn of(rate: u32, phase: &Phase) -> Self {
        let [p50_ms, p99_ms, p999_ms] = phase.ledger.latency_ms([0.5, 0.99, 0.999]);
        Self {
            rate,
            answer_p50_ms: phase.ledger.answer_ms(0.5),
            answer_p99_ms: phase.ledger.answer_ms(0.99),
            p50_ms,
            p99_ms,
            p999_ms,
            cpu: phase.cpu.into(),
            tool_lag_p99_ms: phase.ledger.lag_ms(0.99),
        }
    }
}

/// Runs all rounds and shows a table for each way to write to the disk. Fails if an accepted event was not delivered.
pub async fn run(args: &FleetArgs, output: Output) -> anyhow::Result<()> {
    machine::raise_files(args.agents + args.connections)?;
    let policies = args.appendfsync.each();
    let steps = policies.len() as u64 * u64::from(args.rounds) * 2 * (2 + args.rates.len() as u64);
    let progress = progress(steps)?;
    let mut turns = Vec::new();
    let mut sizes = None;
    for round in 1..=args.rounds {
        for fsync in &policies {
            // Nexus comes first in the first round: the floor keeps events of the sizes that Nexus has.
            let order = if round % 2 == 1 { [Kind::Nexus, Kind::Floor] } else { [Kind::Floor, Kind::Nexus] };
            for kind in order {
                let turn = turn(round, kind, *fsync, args, &mut sizes, &progress).await;
                turns.push(turn.with_context(|| format!("round {round}, {}", kind.name()))?);
            }
        }
    }
    progress.finish_and_clear();
    report::over_redis::show(args, &turns, output)?;
    verdict(turns.iter().map(|turn| (turn.missing, turn.even)))
}

/// Whether every turn delivered what it accepted: of each, what is missing, and whether its books are even.
fn verdict(turns: impl Iterator<Item = (u64, bool)>) -> anyhow::Result<()> {
    let (missing, even) =
        turns.fold((0, true), |(missing, even), (more, also)| (missing + more, even && also));
    ensure!(missing == 0, "{missing} events were accepted and not delivered");
    ensure!(even, "what was delivered is not what was accepted: see the remarks");
    Ok(())
}

async fn turn(
    round: u32,
    kind: Kind,
    fsync: Fsync,
    args: &FleetArgs,
    sizes: &mut Option<Sizes>,
    progress: &ProgressBar,
) -> anyhow::Result<Turn> {
    let step = |what: &str| {
        progress.inc(1);
        progress.set_message(format!("round {round}, {fsync:?}, {}: {what}", kind.name()));
    };
    step("start and warm-up");
    let common = args.common();
    let kept = sizes.unwrap_or(Sizes { event: 0, rest: 0 });
    let pair = Pair::start(kind, &common, fsync, kept).await?;
    let empty = pair.redis.used_memory().await?;
    let mut site = Site::over(Target::Pair(Box::new(pair)), &common).await?;
    let warm_up = site.closed(args.connections, WARM_UP).await?;
    if kind == Kind::Nexus {
        *sizes = Some(pair_of(&site)?.sizes().await?);
    }
    step("closed loop");
    let closed = site.closed(args.connections, Duration::from_secs(args.closed_seconds.into())).await?;
    let mut open = Vec::new();
    for rate in &args.rates {
        step(&format!("{rate} events/s"));
        let length = Duration::from_secs(args.open_seconds.into());
        open.push((*rate, site.open(args.connections, *rate, length).await?));
    }
    let phases = Phases { warm_up, closed, open };
    let pair = pair_of(&site)?;
    let used = pair.redis.used_memory().await? - empty;
    let peaks = pair.pids().map(process::peak_bytes);
    let turn = phases.turn((round, kind, fsync), peaks, used, sizes.unwrap_or(kept))?;
    site.end().await?;
    Ok(turn)
}

/// The phases of a turn, which are over.
struct Phases {
    warm_up: ClosedPhase,
    closed: ClosedPhase,
    open: Vec<(u32, Phase)>,
}

impl Phases {
    fn named(&self) -> Vec<(String, &Phase)> {
        let closed = [("warm-up", &self.warm_up), ("closed loop", &self.closed)];
        let closed = closed.map(|(name, closed)| (name.to_owned(), &closed.phase));
        let open = self.open.iter().map(|(rate, phase)| (format!("{rate} events/s"), phase));
        closed.into_iter().chain(open).collect()
    }

    /// What they came to, with the peaks of memory of ingest, gateway and Redis, and what Redis uses for the events.
    fn turn(
        &self,
        (round, server, appendfsync): (u32, Kind, Fsync),
        [ingest, gateway, redis]: [anyhow::Result<f64>; 3],
        used: f64,
        sizes: Sizes,
    ) -> anyhow::Result<Turn> {
        let (phases, closed) = (self.named(), &self.closed);
        let accepted: u64 = phases.iter().map(|(_, phase)| phase.balance.accepted).sum();
        Ok(Turn {
            round,
            server,
            appendfsync,
            delivered_per_second: closed.per_second,
            counts: closed.counts(),
            backlog: closed.backlog,
            closed_cpu: closed.phase.cpu.into(),
            open: self.open.iter().map(|(rate, phase)| OpenLoop::of(*rate, phase)).collect(),
            ingest_peak_bytes: ingest?,
            gateway_peak_bytes: gateway?,
            redis_peak_bytes: redis?,
            redis_bytes_per_event: used / accepted as f64,
            sizes,
            missing: phases.iter().map(|(_, phase)| phase.balance.missing).sum(),
            even: phases.iter().all(|(_, phase)| phase.balance.is_even() && phase.balance.unmarked == 0),
            remarks: phases.iter().filter_map(|(name, phase)| phase.remark(name)).collect(),
        })
    }
}

fn pair_of(site: &Site) -> anyhow::Result<&Pair> {
    match &site.target {
        Target::Pair(pair) => Ok(pair),
        Target::One(_) => anyhow::bail!("one process instead of two"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_event_missing_or_too_many_in_any_turn_is_a_failure() {
        assert!(verdict([(0, true), (0, true)].into_iter()).is_ok());
        let missing = verdict([(0, true), (1, false), (2, false)].into_iter()).unwrap_err();
        assert!(missing.to_string().starts_with("3 events"), "{missing}");
        assert!(verdict([(0, false), (0, true)].into_iter()).is_err());
    }
}
