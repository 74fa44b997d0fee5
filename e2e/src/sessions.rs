//! Many sessions that are opened, and read until they end: when each read its last byte, and when it was closed.

use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use futures_util::StreamExt as _;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::crowd;
use crate::doors::{Doors, Socket};
use crate::site::PATIENCE;
use crate::webhook::TENANTS;

/// Sessions that are opened at a time.
const OPENING: usize = 32;

/// A session that is open.
#[derive(Debug)]
pub struct Session {
    /// The gateway that has it.
    pub door: usize,
    socket: Socket,
}

/// What one session saw of its end.
#[derive(Debug, Clone, Copy)]
pub struct End {
    /// The gateway that had it.
    pub door: usize,
    /// When it read something last.
    pub last_byte: Instant,
    /// When it was closed.
    pub closed: Instant,
}

/// Opens sessions of a crowd's agents, at all gateways in turn.
pub async fn open(doors: &Arc<Doors>, sessions: usize) -> anyhow::Result<Vec<Session>> {
    let places = Arc::new(Semaphore::new(OPENING));
    let mut opening = JoinSet::new();
    for number in 0..sessions {
        let (doors, places) = (Arc::clone(doors), Arc::clone(&places));
        opening.spawn(async move {
            let _place = places.acquire().await?;
            let began = Instant::now();
            loop {
                match session(&doors, number).await {
                    Ok(session) => return anyhow::Ok(session),
                    // A gateway may see a release a moment later than the other.
                    Err(error) if began.elapsed() > PATIENCE => return Err(error),
                    Err(_) => sleep(Duration::from_millis(50)).await,
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

async fn session(doors: &Doors, number: usize) -> anyhow::Result<Session> {
    let token = doors.token(TENANTS[0], &crowd::name(number % crowd::AGENTS), number).await?;
    enter(doors, number, &token).await
}

/// Opens a session by a token, at the gateway that the number chooses.
pub async fn enter(doors: &Doors, number: usize, token: &str) -> anyhow::Result<Session> {
    Ok(Session { door: number % doors.gateways.len(), socket: doors.enter(number, token, 1).await? })
}

/// Sessions that are read to their ends, from when this is made.
#[derive(Debug)]
pub struct Reading(JoinSet<End>);

impl Reading {
    /// Reads sessions.
    #[must_use]
    pub fn start(sessions: Vec<Session>) -> Self {
        Self(sessions.into_iter().map(read).collect())
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

async fn read(Session { door, mut socket }: Session) -> End {
    let mut last_byte = Instant::now();
    while let Some(Ok(_)) = socket.next().await {
        last_byte = Instant::now();
    }
    End { door, last_byte, closed: Instant::now() }
}
