//! Nexus and the floor in turn, round by round, under the same load by the same code.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::args::{Common, CompareArgs, Output, Transport};
use crate::fleet::Fleet;
use crate::ledger::{Balance, Ledger};
use crate::load::{self, Open, Poster};
use crate::server::{Kind, Server};
use crate::{idle, machine, process, report};

/// How long what was accepted may take to be delivered after the load has ended.
const DRAIN: Duration = Duration::from_secs(60);

/// The load that warms a server up before anything is measured.
const WARM_UP: Duration = Duration::from_secs(1);

/// What one turn of one server came to.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Turn {
    pub round: u32,
    pub server: Kind,
    /// Closed loop: deliveries a second.
    pub delivered_per_second: f64,
    /// Whether that counts: all delivered, and less than a second's worth waiting when the time was over.
    pub counts: bool,
    pub backlog: u64,
    pub closed_cpu_seconds: f64,
    /// Open loop: from the intended time of the POST to its answer.
    pub answer_p50_ms: f64,
    pub answer_p99_ms: f64,
    /// Open loop: from the intended time of the POST to the agent's reading it.
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub p999_ms: f64,
    /// Open loop: how late this tool was, which is part of the latencies.
    pub tool_lag_p99_ms: f64,
    /// The tool's own CPU seconds per 1,000 events of the open loop.
    pub tool_cpu_seconds: f64,
    pub open_cpu_seconds: f64,
    pub peak_bytes: f64,
    /// An idle WebSocket.
    pub idle_bytes: f64,
    /// An idle gRPC connection; the floor's is a bare tonic stream.
    pub idle_grpc_bytes: f64,
    /// What did not go as it should.
    pub remarks: Vec<String>,
}

/// Runs all rounds and shows the table.
pub async fn run(args: &CompareArgs, output: Output) -> anyhow::Result<()> {
    let common = &args.common;
    machine::raise_files(args.idle + common.agents + common.connections)?;
    ensure_room(args.idle + common.agents, common.agents)?;
    let progress = progress(u64::from(args.rounds) * 10)?;
    let mut turns = Vec::new();
    for round in 1..=args.rounds {
        let order = if round % 2 == 1 { [Kind::Nexus, Kind::Floor] } else { [Kind::Floor, Kind::Nexus] };
        for kind in order {
            let turn = turn(round, kind, args, &progress).await;
            turns.push(turn.with_context(|| format!("round {round}, {}", kind.name()))?);
        }
    }
    progress.finish_and_clear();
    report::compare(args, &turns, output)
}

/// Fails early where the gateway would refuse sessions.
pub fn ensure_room(sessions: u32, agents: u32) -> anyhow::Result<()> {
    let needed = sessions.div_ceil(250);
    ensure!(agents >= needed, "{sessions} sessions need --agents {needed}: one agent may have 256");
    Ok(())
}

/// A bar of so many steps, with the present one in words.
pub fn progress(steps: u64) -> anyhow::Result<ProgressBar> {
    let bar = ProgressBar::new(steps);
    bar.set_style(ProgressStyle::with_template("{elapsed_precise} {bar:30} {pos}/{len} {msg}")?);
    bar.enable_steady_tick(Duration::from_millis(200));
    Ok(bar)
}

async fn turn(round: u32, kind: Kind, args: &CompareArgs, progress: &ProgressBar) -> anyhow::Result<Turn> {
    let common = &args.common;
    let step = |what: &str| {
        progress.inc(1);
        progress.set_message(format!("round {round}, {}: {what}", kind.name()));
    };
    step("start and warm-up");
    let mut site = Site::start(kind, common).await?;
    site.closed(common, WARM_UP).await?;
    step("closed loop");
    let closed = site.closed(common, Duration::from_secs(args.closed_seconds.into())).await?;
    step("open loop");
    let open = site.open(common, Duration::from_secs(args.open_seconds.into())).await?;
    let peak_bytes = process::peak_bytes(site.server.pid)?;
    site.server.end().await?;
    step("idle connections");
    let idle = |transport| Box::pin(idle::measure(kind, common, args.idle, transport));
    let idle_bytes = idle(Transport::Websocket).await?;
    step("idle gRPC connections");
    let idle_grpc_bytes = idle(Transport::Grpc).await?;
    let [p50_ms, p99_ms, p999_ms] = open.ledger.latency_ms([0.5, 0.99, 0.999]);
    Ok(Turn {
        round,
        server: kind,
        delivered_per_second: closed.per_second,
        counts: closed.phase.is_even() && (closed.backlog as f64) < closed.per_second,
        backlog: closed.backlog,
        closed_cpu_seconds: closed.phase.cpu_seconds,
        answer_p50_ms: open.ledger.answer_ms(0.5),
        answer_p99_ms: open.ledger.answer_ms(0.99),
        p50_ms,
        p99_ms,
        p999_ms,
        tool_lag_p99_ms: open.ledger.lag_ms(0.99),
        tool_cpu_seconds: open.tool_cpu_seconds,
        open_cpu_seconds: open.cpu_seconds,
        peak_bytes,
        idle_bytes,
        idle_grpc_bytes,
        remarks: [closed.phase.remark("closed loop"), open.remark("open loop")]
            .into_iter()
            .flatten()
            .collect(),
    })
}

/// A server under load.
struct Site {
    server: Server,
    tokens: Vec<String>,
    poster: Arc<Poster>,
}

/// A phase that is over: its books, and what it cost per 1,000 events.
struct Phase {
    ledger: Arc<Ledger>,
    balance: Balance,
    cpu_seconds: f64,
    tool_cpu_seconds: f64,
}

struct ClosedPhase {
    phase: Phase,
    per_second: f64,
    backlog: u64,
}

impl Site {
    async fn start(kind: Kind, common: &Common) -> anyhow::Result<Self> {
        let server = Server::start(kind, common).await?;
        let tokens = server.tokens().await?;
        let poster = Arc::new(server.poster(common)?);
        Ok(Self { server, tokens, poster })
    }

    async fn closed(&mut self, common: &Common, length: Duration) -> anyhow::Result<ClosedPhase> {
        let ledger = Arc::new(Ledger::new(None)?);
        let fleet = self.fleet(&ledger).await?;
        let before = self.cpu()?;
        let closed = load::closed(&self.poster, common.connections, length, &ledger).await;
        Ok(ClosedPhase {
            phase: self.finish(ledger, fleet, before).await?,
            per_second: closed.delivered as f64 / closed.seconds,
            backlog: closed.accepted.saturating_sub(closed.delivered),
        })
    }

    async fn open(&mut self, common: &Common, length: Duration) -> anyhow::Result<Phase> {
        let schedule = self.poster.schedule(common.rate, length);
        let ledger = Arc::new(Ledger::new(Some(schedule))?);
        let fleet = self.fleet(&ledger).await?;
        ensure!(
            std::time::Instant::now() < schedule.start,
            "the agents connected too late for the open loop"
        );
        let before = self.cpu()?;
        Open::start(&self.poster, common.connections, schedule, &ledger).finish().await;
        self.finish(ledger, fleet, before).await
    }

    /// One session of each agent.
    async fn fleet(&self, ledger: &Arc<Ledger>) -> anyhow::Result<Fleet> {
        let transport = Transport::Websocket;
        let gateway = self.server.gateway(transport);
        Fleet::connect(gateway, &self.tokens, self.tokens.len(), transport, ledger).await
    }

    /// CPU seconds of the server and of this tool.
    fn cpu(&self) -> anyhow::Result<[f64; 2]> {
        Ok([process::cpu_seconds(self.server.pid)?, process::cpu_seconds(std::process::id())?])
    }

    /// Waits until all is delivered and the server has nothing left to do, then closes the books.
    async fn finish(&mut self, ledger: Arc<Ledger>, fleet: Fleet, before: [f64; 2]) -> anyhow::Result<Phase> {
        load::drained(&ledger, DRAIN).await;
        let [_, tool] = self.cpu()?;
        process::quiet(self.server.pid).await?;
        let [served, _] = self.cpu()?;
        self.server.alive()?;
        fleet.check().with_context(|| format!("the server's log ends with:\n{}", self.server.log()))?;
        let balance = ledger.balance();
        ensure!(balance.delivered > 0, "nothing was delivered: {}", ledger.complaint().unwrap_or_default());
        let thousands = balance.delivered as f64 / 1e3;
        let [cpu_seconds, tool_cpu_seconds] =
            [served - before[0], tool - before[1]].map(|cpu| cpu / thousands);
        Ok(Phase { ledger, balance, cpu_seconds, tool_cpu_seconds })
    }
}

impl Phase {
    fn is_even(&self) -> bool {
        self.balance.is_even()
    }

    /// What did not go as it should, if anything.
    fn remark(&self, what: &str) -> Option<String> {
        let Balance { accepted, missing, unknown, repeats, unmarked, refused, .. } = self.balance;
        if self.balance.is_even() && repeats == 0 && refused == 0 {
            return None;
        }
        let complaint = self.ledger.complaint().unwrap_or_default();
        Some(format!(
            "{what}: of {accepted} accepted {missing} were not delivered, {unknown} delivered were never accepted, \
             {repeats} came again, {unmarked} of them unmarked, {refused} were refused {complaint}"
        ))
    }
}
