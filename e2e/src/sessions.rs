//! Many sessions that are opened, and read until they end: when each read its last byte, and when it was closed. Those whose agents
//! hear of something acknowledge it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use clap::Args;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::tungstenite::Message;

use crate::crowd;
use crate::doors::{Doors, Socket};
use crate::feed::Heard;
use crate::grpc::Call;
use crate::site::PATIENCE;
use crate::webhook::TENANTS;

/// Events that a session takes before it has acknowledged one.
const CREDIT: u32 = 8;

/// How soon one is tried again that was refused or has ended.
const AGAIN: Duration = Duration::from_millis(50);

/// Sessions that are opened at a time.
const OPENING: usize = 32;

/// The sessions that a stop ends, and what flows to them.
#[derive(Debug, Clone, Copy, Args)]
pub struct Many {
    /// Sessions that a stop ends, over two gateways
    #[arg(long, default_value_t = 2000, value_name = "N")]
    pub sessions: usize,
    /// How many of them are over gRPC; all others are over WebSockets [default: a tenth]
    #[arg(long, value_name = "N")]
    pub grpc: Option<usize>,
    /// Webhooks a second whose events go to 4 of the 64 agents that have these sessions; 0 lets all of them idle
    #[arg(long, default_value_t = 100, value_name = "N")]
    pub events: u32,
}

impl Many {
    /// How many are over gRPC.
    #[must_use]
    pub fn over_grpc(&self) -> usize {
        self.grpc.unwrap_or(self.sessions / 10).min(self.sessions)
    }
}

/// How a session speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    /// Over a WebSocket.
    WebSocket,
    /// Over gRPC.
    Grpc,
}

/// A session that is open.
#[derive(Debug)]
pub struct Session {
    /// The gateway that has it.
    pub door: usize,
    /// Whose it is.
    agent: usize,
    line: Line,
}

/// What it goes over.
#[derive(Debug)]
enum Line {
    WebSocket(Box<Socket>),
    Grpc(Box<Call>),
}

/// What one session saw of its end.
#[derive(Debug, Clone, Copy)]
pub struct End {
    /// The gateway that had it.
    pub door: usize,
    /// How it spoke.
    pub transport: Transport,
    /// When it read something last.
    pub last_byte: Instant,
    /// When it was closed.
    pub closed: Instant,
}

/// Opens sessions of a crowd's agents, at all gateways in turn; so many of them over gRPC.
pub async fn open(doors: &Arc<Doors>, sessions: usize, grpc: usize) -> anyhow::Result<Vec<Session>> {
    let places = Arc::new(Semaphore::new(OPENING));
    let mut opening = JoinSet::new();
    for number in 0..sessions {
        let (doors, places) = (Arc::clone(doors), Arc::clone(&places));
        let transport = if number < grpc { Transport::Grpc } else { Transport::WebSocket };
        opening.spawn(async move {
            let _place = places.acquire().await?;
            let began = Instant::now();
            loop {
                match session(&doors, number, transport).await {
                    Ok(session) => return anyhow::Ok(session),
                    // A gateway may see a release a moment later than the other.
                    Err(error) if began.elapsed() > PATIENCE => return Err(error),
                    Err(_) => sleep(AGAIN).await,
                }
            }
        });
    }
    let mut open = Vec::with_capacity(sessions);
    while let Some(session) = opening.join_next().await {
        open.push(session??);
    }
    Ok(open)
}

async fn session(doors: &Doors, number: usize, transport: Transport) -> anyhow::Result<Session> {
    let token = doors.token(TENANTS[0], &crowd::name(number % crowd::AGENTS), number).await?;
    enter(doors, number, &token, transport).await
}

/// Opens a session by a token, at the gateway that the number chooses.
pub async fn enter(
    doors: &Doors,
    number: usize,
    token: &str,
    transport: Transport,
) -> anyhow::Result<Session> {
    let line = match transport {
        Transport::WebSocket => Line::WebSocket(Box::new(doors.enter(number, token, CREDIT).await?)),
        Transport::Grpc => Line::Grpc(Box::new(Call::open(doors.gateway(number), token, CREDIT).await?)),
    };
    Ok(Session { door: number % doors.gateways.len(), agent: number % crowd::AGENTS, line })
}

impl Session {
    /// How it speaks.
    #[must_use]
    pub fn transport(&self) -> Transport {
        match self.line {
            Line::WebSocket(_) => Transport::WebSocket,
            Line::Grpc(_) => Transport::Grpc,
        }
    }

    /// Whether its agent hears of anything.
    #[must_use]
    pub fn hears(&self) -> bool {
        self.agent < crowd::HEARERS
    }
}

impl Line {
    /// What comes next: the id of an event, or something else. None when the session has ended.
    async fn next(&mut self) -> Option<Option<String>> {
        match self {
            Self::WebSocket(socket) => Some(event(&socket.next().await?.ok()?)),
            Self::Grpc(call) => call.next().await,
        }
    }

    /// Acknowledges an event, and asks for another.
    async fn done(&mut self, event: String) -> anyhow::Result<()> {
        match self {
            Self::WebSocket(socket) => {
                for frame in [json!({"ack": {"eventId": event}}), json!({"grant": {"credit": 1}})] {
                    socket.send(Message::text(frame.to_string())).await?;
                }
                Ok(())
            }
            Self::Grpc(call) => call.done(event).await,
        }
    }
}

/// The id of the event that a message of a WebSocket delivers.
fn event(message: &Message) -> Option<String> {
    let Message::Text(text) = message else { return None };
    let frame: Value = serde_json::from_str(text).ok()?;
    frame["deliver"]["event"]["id"].as_str().map(str::to_owned)
}

/// Session after session of an agent of the crowd, as agents come back that lose theirs.
pub(crate) async fn hear(doors: Arc<Doors>, number: usize, heard: Arc<Heard>) {
    loop {
        if let Ok(session) = session(&doors, number, Transport::WebSocket).await {
            read(session, Arc::clone(&heard)).await;
        }
        sleep(AGAIN).await;
    }
}

/// Sessions that are read to their ends, from when this is made.
#[derive(Debug)]
pub struct Reading(JoinSet<End>);

impl Reading {
    /// Reads sessions, and tells what they hear.
    #[must_use]
    pub fn start(sessions: Vec<Session>, heard: &Arc<Heard>) -> Self {
        Self(sessions.into_iter().map(|session| read(session, Arc::clone(heard))).collect())
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Waits until all have ended.
    ///
    /// # Errors
    /// When some stay open.
    pub async fn ends(mut self) -> anyhow::Result<Vec<End>> {
        let all = self.0.len();
        let mut ends = Vec::with_capacity(all);
        let read = async {
            while let Some(end) = self.0.join_next().await {
                ends.push(end?);
            }
            anyhow::Ok(())
        };
        match timeout(PATIENCE, read).await {
            Ok(read) => read.map(|()| ends),
            Err(_) => bail!("{} of {all} sessions stay open", all - ends.len()),
        }
    }
}

async fn read(session: Session, heard: Arc<Heard>) -> End {
    let transport = session.transport();
    let Session { door, agent, mut line } = session;
    let mut last_byte = Instant::now();
    while let Some(told) = line.next().await {
        last_byte = Instant::now();
        if let Some(event) = told {
            heard.receive(agent, door, transport, &event);
            // What cannot be sent any more is no reason not to read on.
            let _ = line.done(event).await;
        }
    }
    let (last_byte, closed) = match line {
        Line::WebSocket(_) => (last_byte, Instant::now()),
        Line::Grpc(call) => call.closed().await,
    };
    End { door, transport, last_byte, closed }
}

/// From a moment to the last that these ends have; none where there are none.
pub fn latest<'a>(
    ends: impl IntoIterator<Item = &'a End>,
    of: impl Fn(&End) -> Instant,
    since: Instant,
) -> Option<Duration> {
    ends.into_iter().map(of).max().map(|moment| moment.saturating_duration_since(since))
}
