//! A stop under load: how long agents go on reading, how long sockets stay open, and whether the queue flows again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use hyper::Method;
use serde::Serialize;
use serde_json::json;
use tokio::time::sleep;
use tokio_tungstenite::tungstenite::Error;

use crate::args::{Output, StopArgs, Transport};
use crate::compare::{ensure_room, progress};
use crate::fleet::Fleet;
use crate::folder::POLICY;
use crate::http::Conn;
use crate::ledger::Ledger;
use crate::load::{self, Open, Poster};
use crate::server::{Kind, Server};
use crate::socket::{Latest, connect};
use crate::{grpc, machine, process, report};

/// How long sockets may take to close before the run fails.
const CLOSE: Duration = Duration::from_secs(20);

/// How long the queue may take to flow off.
const DRAIN: Duration = Duration::from_secs(60);

/// Events flow for so long before the stop, and are accepted for so long after it.
const FLOW: Duration = Duration::from_secs(2);

/// What one stop came to.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    pub run: u32,
    pub sessions: usize,
    /// From sending the request to the last event that any agent read; 0 when none was read after it.
    pub last_event_ms: f64,
    /// To the last byte, the goodbye's and the closing handshake's among them.
    pub last_byte_ms: f64,
    /// To the last socket closed.
    pub last_closed_ms: f64,
    /// To the stop's own answer.
    pub answer_ms: f64,
    /// Agents that were told why.
    pub goodbyes: u64,
    /// Events that were accepted and waited.
    pub waited: u64,
    /// Webhooks that were not answered 200.
    pub refused: u64,
    /// From the release to the last waiting event delivered, reconnecting included.
    pub flowed_ms: f64,
    /// From the release until all sessions were open again.
    pub reopened_ms: f64,
    /// Events that were accepted and never delivered.
    pub missing: u64,
    /// Deliveries beyond the first of an event, so far.
    pub repeats: u64,
    /// Those of them that did not say so.
    pub unmarked: u64,
}

/// Runs all stops on one server and shows the table.
pub async fn run(args: &StopArgs, output: Output) -> anyhow::Result<()> {
    let common = &args.common;
    machine::raise_files(args.sessions + common.connections)?;
    ensure_room(args.sessions, common.agents)?;
    let progress = progress(u64::from(args.runs) + 1)?;
    progress.set_message("start");
    let server = Server::start(Kind::Nexus, common).await?;
    let ledger = Arc::new(Ledger::new(None)?);
    let poster = Arc::new(server.poster(common)?);
    let mut drill = Drill { args, server, ledger, poster };
    let mut fleet = drill.fleet().await?;
    let mut runs = Vec::new();
    for run in 1..=args.runs {
        progress.inc(1);
        progress.set_message(format!("stop {run}"));
        let (result, next) = drill
            .once(run, fleet)
            .await
            .with_context(|| format!("stop {run}; the server's log ends with:\n{}", drill.server.log()))?;
        runs.push(result);
        fleet = next;
    }
    progress.finish_and_clear();
    drop(fleet);
    drill.server.end().await?;
    report::stop(args, &runs, output)
}

struct Drill<'a> {
    args: &'a StopArgs,
    server: Server,
    ledger: Arc<Ledger>,
    poster: Arc<Poster>,
}

impl Drill<'_> {
    async fn fleet(&self) -> anyhow::Result<Fleet> {
        let tokens = self.server.tokens().await?;
        let transport = self.args.transport;
        let gateway = self.server.gateway(transport);
        Fleet::connect(gateway, &tokens, self.args.sessions as usize, transport, &self.ledger).await
    }

    /// Stops, releases, and connects the sessions of the next run.
    async fn once(&mut self, run: u32, mut fleet: Fleet) -> anyhow::Result<(Run, Fleet)> {
        let common = &self.args.common;
        let tokens = self.server.tokens().await?;
        // So that the CPU which connecting took is not in the way.
        process::quiet(self.server.pid).await?;
        let schedule = self.poster.schedule(common.rate, Duration::from_secs(120));
        let load = Open::start(&self.poster, common.connections, schedule, &self.ledger);
        sleep(load::LEAD + FLOW).await;
        fleet.check()?;
        let refused = self.ledger.balance().refused;

        let (begun, answer, engagement) = self.stop().await?;
        fleet.closed(CLOSE).await?;
        sleep(FLOW).await;
        self.ensure_refused(&tokens).await?;
        load.end().await;
        let (accepted, delivered) = self.ledger.counts();

        let released = Instant::now();
        self.release(&engagement).await?;
        let next = self.fleet().await?;
        let reopened = released.elapsed();
        ensure!(
            load::drained(&self.ledger, DRAIN).await,
            "the queue does not flow off: {:?}",
            self.ledger.balance()
        );
        let flowed = next.last_deliver().since(released).unwrap_or_default();
        next.check()?;
        let balance = self.ledger.balance();
        let ms = |latest: &Latest| latest.since(begun).map_or(0.0, millis);
        let result = Run {
            run,
            sessions: self.args.sessions as usize,
            last_event_ms: ms(fleet.last_deliver()),
            last_byte_ms: ms(fleet.last_byte()),
            last_closed_ms: ms(fleet.last_closed()),
            answer_ms: millis(answer),
            goodbyes: fleet.goodbyes().values().sum(),
            waited: accepted.saturating_sub(delivered),
            refused: balance.refused - refused,
            flowed_ms: millis(flowed),
            reopened_ms: millis(reopened),
            missing: balance.missing,
            repeats: balance.repeats,
            unmarked: balance.unmarked,
        };
        Ok((result, next))
    }

    /// Pulls the switch: when it was sent, how long its answer took, and the engagement's name.
    async fn stop(&self) -> anyhow::Result<(Instant, Duration, String)> {
        let mut admin = Conn::new(self.server.admin);
        admin.open().await?;
        let body = Bytes::from(json!({"reason": "drill"}).to_string());
        let begun = Instant::now();
        let answer = admin.json(Method::POST, &format!("/api/v1/policies/{POLICY}/stop"), body).await?;
        let took = begun.elapsed();
        let engagement = answer["stops"][0]["engagement"].as_str();
        let engagement = engagement.with_context(|| format!("no engagement in {answer}"))?;
        Ok((begun, took, engagement.to_owned()))
    }

    async fn release(&self, engagement: &str) -> anyhow::Result<()> {
        let body = Bytes::from(json!({"engagement": engagement}).to_string());
        let path = format!("/api/v1/policies/{POLICY}/release");
        Conn::new(self.server.admin).json(Method::POST, &path, body).await?;
        Ok(())
    }

    /// While a stop holds, nobody may connect.
    async fn ensure_refused(&self, tokens: &[String]) -> anyhow::Result<()> {
        let token = tokens.first().context("no agent")?;
        let gateway = self.server.gateway(Transport::Both);
        let answer = connect(gateway, token, Arc::default()).await;
        ensure!(matches!(answer, Err(Error::Http(_))), "an agent could connect while a stop holds");
        let answer = grpc::connect(gateway, token, Arc::default()).await.err();
        let refused = answer.is_some_and(|error| error.code() == Some(tonic::Code::Unavailable));
        ensure!(refused, "an agent could connect by gRPC while a stop holds");
        Ok(())
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
