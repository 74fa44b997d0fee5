//! One measured run in its own process: closed-loop clients, a bounded channel, one writer that
//! drains what waits, commits it as one group and answers.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::time::{ClockId, clock_gettime};

use crate::engine::{self, Log};
use crate::load::{Batch, Event, repeats};

const GROUP: usize = 512;

/// Ends at `events` or after `millis`, whichever is first.
pub struct Load {
    pub clients: usize,
    pub body: usize,
    pub events: u64,
    pub millis: u64,
}

/// Of a client, or of all of them.
#[derive(Default)]
pub struct Seen {
    pub latencies: Vec<Duration>,
    pub accepted: u64,
    pub cpu: f64,
}

pub struct Outcome {
    pub seen: Seen,
    pub last_new: u64,
    pub durable_commits: u64,
    pub seconds: f64,
    /// CPU seconds of the writer and of the engine's own threads.
    pub engine_cpu: f64,
}

type Delivery = (Event, SyncSender<bool>);

pub fn run(name: &str, dir: &Path, load: &Load) -> Result<Outcome> {
    // Leaked, so that no destructor closes it in order before the process is killed.
    let log: &mut dyn Log = Box::leak(engine::open(name, dir)?);
    let (tx, rx) = sync_channel::<Delivery>(GROUP);
    let (tickets, begun, cpu) = (AtomicU64::new(0), Instant::now(), cpu_seconds(ClockId::ProcessCPUTime));
    thread::scope(|scope| {
        let spawn = |_| {
            let (tx, tickets) = (tx.clone(), &tickets);
            scope.spawn(move || client(&tx, tickets, load, begun))
        };
        let clients: Vec<_> = (0..load.clients).map(spawn).collect();
        drop(tx);
        let (last_new, durable_commits) = write(log, &rx)?;
        let mut seen = Seen::default();
        for client in clients {
            let mut one = client.join().expect("a client does not panic")?;
            seen.latencies.append(&mut one.latencies);
            seen.accepted += one.accepted;
            seen.cpu += one.cpu;
        }
        let expected = (0..seen.latencies.len() as u64).filter(|&n| !repeats(n)).count() as u64;
        ensure!(seen.accepted == expected, "{name} accepted {} deliveries of {expected}", seen.accepted);
        seen.latencies.sort_unstable();
        let engine_cpu = cpu_seconds(ClockId::ProcessCPUTime) - cpu - seen.cpu;
        Ok(Outcome { seen, last_new, durable_commits, seconds: begun.elapsed().as_secs_f64(), engine_cpu })
    })
}

fn client(tx: &SyncSender<Delivery>, tickets: &AtomicU64, load: &Load, begun: Instant) -> Result<Seen> {
    let (answer, answered) = sync_channel(1);
    let mut seen = Seen::default();
    while begun.elapsed() < Duration::from_millis(load.millis) {
        let n = tickets.fetch_add(1, Ordering::Relaxed);
        if n >= load.events {
            break;
        }
        let event = Event::new(n, load.body);
        let sent = Instant::now();
        tx.send((event, answer.clone())).ok().context("the writer ended")?;
        seen.accepted += u64::from(answered.recv()?);
        seen.latencies.push(sent.elapsed());
    }
    seen.cpu = cpu_seconds(ClockId::ThreadCPUTime);
    Ok(seen)
}

/// The writer. Events are routed after they are answered, and acked one group later. Returns the
/// last new event and the number of durable commits.
fn write(log: &mut dyn Log, rx: &Receiver<Delivery>) -> Result<(u64, u64)> {
    let (mut next, mut last_new, mut commits, mut routed) = (0, 0, 0, Vec::new());
    while let Ok(first) = rx.recv() {
        let (events, answers): (Vec<_>, Vec<_>) = std::iter::once(first).chain(rx.try_iter().take(GROUP - 1)).unzip();
        let accepted = log.commit(&Batch { first: next, appends: &events, ..Batch::default() }, true)?;
        commits += 1;
        for (answer, &new) in answers.iter().zip(&accepted) {
            answer.send(new).ok().context("a client left")?;
        }
        let new: Vec<u64> = (next..).zip(&accepted).filter_map(|(seq, new)| new.then_some(seq)).collect();
        log.commit(&Batch { routes: &new, acks: &routed, ..Batch::default() }, false)?;
        last_new = new.last().copied().unwrap_or(last_new);
        routed = new;
        next += events.len() as u64;
    }
    Ok((last_new, commits))
}

fn cpu_seconds(clock: ClockId) -> f64 {
    let time = clock_gettime(clock);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
