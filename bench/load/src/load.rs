//! Posting webhooks: a closed loop, where each connection waits for its answer, and an open one, where events come
//! at their times whether the server is ready or not.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use hyper::Method;
use serde::Deserialize;
use tokio::task::JoinSet;
use tokio::time::sleep;
use uuid::Uuid;

use crate::args::Common;
use crate::body::Bodies;
use crate::folder::TENANT;
use crate::http::Conn;
use crate::ledger::{Ledger, Schedule};

/// How long a failed post waits before its connection tries the next.
const PAUSE: Duration = Duration::from_millis(20);

/// The time from making a schedule to its first event, in which agents connect.
pub const LEAD: Duration = Duration::from_secs(1);

/// Who posts to one server.
pub struct Poster {
    address: SocketAddr,
    path: String,
    bodies: Bodies,
    next: AtomicU64,
}

#[derive(Deserialize)]
struct Accepted {
    event: Uuid,
}

impl Poster {
    /// Posts to this address.
    pub fn new(address: SocketAddr, common: &Common) -> anyhow::Result<Self> {
        let bodies = Bodies::new(common.body_bytes as usize, common.agents)?;
        let path = format!("/hooks/{TENANT}/{TENANT}/github");
        Ok(Self { address, path, bodies, next: AtomicU64::new(0) })
    }

    /// A schedule of events that begins after [`LEAD`].
    pub fn schedule(&self, rate: u32, length: Duration) -> Schedule {
        let count = (f64::from(rate) * length.as_secs_f64()) as u64;
        let first = self.next.fetch_add(count, Ordering::Relaxed);
        let start = Instant::now() + LEAD;
        Schedule { start, interval: Duration::from_secs(1) / rate, first, count }
    }

    /// Posts one event and books the answer.
    async fn post(&self, conn: &mut Conn, seq: u64, ledger: &Ledger) {
        match self.accepted(conn, seq).await {
            Ok(id) => ledger.accept(id, seq, Instant::now()),
            Err(error) => {
                ledger.refuse(format!("{error:#}"));
                sleep(PAUSE).await;
            }
        }
    }

    async fn accepted(&self, conn: &mut Conn, seq: u64) -> anyhow::Result<Uuid> {
        let webhook = self.bodies.webhook(seq);
        let headers = [
            ("content-type", "application/json"),
            ("user-agent", "GitHub-Hookshot/load"),
            ("x-github-event", "issues"),
            ("x-github-hook-id", "1"),
            ("x-github-delivery", &webhook.guid),
            ("x-hub-signature-256", &webhook.signature),
        ];
        let (status, answer) = conn.send(Method::POST, &self.path, &headers, webhook.body).await?;
        ensure!(status == 200, "{status}: {}", String::from_utf8_lossy(&answer));
        let accepted: Accepted =
            serde_json::from_slice(&answer).context("an answer without an event's id")?;
        Ok(accepted.event)
    }
}

/// What a closed loop came to when its time was over.
pub struct Closed {
    pub accepted: u64,
    pub delivered: u64,
    pub seconds: f64,
}

/// Posts on so many connections, one event at a time on each, for so long.
pub async fn closed(
    poster: &Arc<Poster>,
    connections: u32,
    length: Duration,
    ledger: &Arc<Ledger>,
) -> Closed {
    let begun = Instant::now();
    let deadline = begun + length;
    let mut workers = JoinSet::new();
    for _ in 0..connections {
        let (poster, ledger) = (Arc::clone(poster), Arc::clone(ledger));
        workers.spawn(async move {
            let mut conn = Conn::new(poster.address);
            while Instant::now() < deadline {
                let seq = poster.next.fetch_add(1, Ordering::Relaxed);
                poster.post(&mut conn, seq, &ledger).await;
            }
        });
    }
    tokio::time::sleep_until(deadline.into()).await;
    let (accepted, delivered) = ledger.counts();
    let seconds = begun.elapsed().as_secs_f64();
    while workers.join_next().await.is_some() {}
    Closed { accepted, delivered, seconds }
}

/// An open loop under way.
pub struct Open {
    ended: Arc<AtomicBool>,
    tasks: JoinSet<()>,
}

impl Open {
    /// Posts each event at its time, on whichever connection is free. Events that find none wait, and their wait
    /// counts: latency is measured from the intended time.
    pub fn start(poster: &Arc<Poster>, connections: u32, schedule: Schedule, ledger: &Arc<Ledger>) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let (due, next) =
            async_channel::bounded::<u64>(usize::try_from(schedule.count).unwrap_or(usize::MAX).max(1));
        let mut tasks = JoinSet::new();
        for _ in 0..connections {
            let (poster, ledger, next) = (Arc::clone(poster), Arc::clone(ledger), next.clone());
            tasks.spawn(async move {
                let mut conn = Conn::new(poster.address);
                while let Ok(seq) = next.recv().await {
                    if let Some(intended) = schedule.intended(seq) {
                        ledger.lag(intended.elapsed());
                    }
                    poster.post(&mut conn, seq, &ledger).await;
                }
            });
        }
        let over = Arc::clone(&ended);
        tasks.spawn_blocking(move || tick(schedule, &due, &over));
        Self { ended, tasks }
    }

    /// Waits until all events were posted and answered.
    pub async fn finish(mut self) {
        while self.tasks.join_next().await.is_some() {}
    }

    /// Posts no more, and waits for the answers to what was.
    pub async fn end(self) {
        self.ended.store(true, Ordering::Relaxed);
        self.finish().await;
    }
}

/// Hands out places at their times. A thread of its own: the runtime's timer is no finer than a millisecond.
fn tick(schedule: Schedule, due: &async_channel::Sender<u64>, over: &AtomicBool) {
    for seq in schedule.first..schedule.first + schedule.count {
        let Some(intended) = schedule.intended(seq) else { return };
        while let Some(early) =
            intended.checked_duration_since(Instant::now()).filter(|early| !early.is_zero())
        {
            std::thread::park_timeout(early.min(Duration::from_millis(100)));
            if over.load(Ordering::Relaxed) {
                return;
            }
        }
        if over.load(Ordering::Relaxed) || due.try_send(seq).is_err() {
            return;
        }
    }
}

/// Waits until all that was accepted is delivered, or for so long. Says whether it is.
pub async fn drained(ledger: &Ledger, patience: Duration) -> bool {
    let deadline = Instant::now() + patience;
    loop {
        let (accepted, delivered) = ledger.counts();
        if delivered >= accepted {
            return true;
        }
        if Instant::now() > deadline {
            return false;
        }
        sleep(Duration::from_millis(5)).await;
    }
}
