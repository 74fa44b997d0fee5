//! Nexus and the floor in turn, round by round, under the same load by the same code.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::args::{CompareArgs, Output, Transport};
use crate::server::{Kind, Server};
use crate::site::{Site, Target};
use crate::{idle, machine, process, report};

/// The load that warms a server up before anything is measured.
pub const WARM_UP: Duration = Duration::from_secs(1);

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
    let server = Server::start(kind, common).await?;
    let pid = server.pid;
    let mut site = Site::over(Target::One(Box::new(server)), common).await?;
    site.closed(common.connections, WARM_UP).await?;
    step("closed loop");
    let closed = site.closed(common.connections, Duration::from_secs(args.closed_seconds.into())).await?;
    step("open loop");
    let length = Duration::from_secs(args.open_seconds.into());
    let open = site.open(common.connections, common.rate, length).await?;
    let peak_bytes = process::peak_bytes(pid)?;
    site.end().await?;
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
        counts: closed.counts(),
        backlog: closed.backlog,
        closed_cpu_seconds: closed.phase.cpu.server,
        answer_p50_ms: open.ledger.answer_ms(0.5),
        answer_p99_ms: open.ledger.answer_ms(0.99),
        p50_ms,
        p99_ms,
        p999_ms,
        tool_lag_p99_ms: open.ledger.lag_ms(0.99),
        tool_cpu_seconds: open.cpu.tool,
        open_cpu_seconds: open.cpu.server,
        peak_bytes,
        idle_bytes,
        idle_grpc_bytes,
        remarks: [closed.phase.remark("closed loop"), open.remark("open loop")]
            .into_iter()
            .flatten()
            .collect(),
    })
}
