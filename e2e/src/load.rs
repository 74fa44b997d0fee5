//! Webhooks at a steady rate: one task for each thread, which posts its replies one after the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use crate::doors::Doors;
use crate::ledger::Ledger;
use crate::webhook::{Delivery, Provider, TENANTS, Thread};

/// Threads of each provider of each tenant: enough for 600 webhooks a second when each answer takes the spool's 50 ms.
const THREADS: u32 = 8;

/// After this long a delivery that was refused or found nobody is sent again.
const AGAIN: Duration = Duration::from_millis(50);

/// The chance that a provider sends again what was not answered.
const SENDS_AGAIN: f64 = 0.5;

/// Posts until it is ended.
pub struct Load {
    over: Arc<AtomicBool>,
    tasks: JoinSet<()>,
}

/// How much is posted.
#[derive(Debug, Clone, Copy)]
pub struct Rate {
    /// Webhooks a second, of all threads.
    pub per_second: u32,
    /// How long a text is at most.
    pub bytes: usize,
}

impl Load {
    /// Starts posting.
    pub fn start(doors: &Arc<Doors>, ledger: &Arc<Ledger>, rate: Rate, seed: u64) -> Self {
        let over = Arc::<AtomicBool>::default();
        let mut tasks = JoinSet::new();
        let threads = (0..TENANTS.len()).flat_map(|tenant| {
            let thread = move |(provider, number)| Thread { tenant, provider, number };
            Provider::ALL
                .into_iter()
                .flat_map(|provider| (1..=THREADS).map(move |number| (provider, number)))
                .map(thread)
        });
        let threads: Vec<_> = threads.collect();
        let every =
            Duration::from_secs(1) * u32::try_from(threads.len()).unwrap_or(1) / rate.per_second.max(1);
        for (number, thread) in threads.into_iter().enumerate() {
            let poster = Poster {
                doors: Arc::clone(doors),
                number,
                ledger: Arc::clone(ledger),
                over: Arc::clone(&over),
                random: StdRng::seed_from_u64(seed ^ number as u64),
                bytes: rate.bytes,
            };
            tasks.spawn(poster.run(thread, every));
        }
        Self { over, tasks }
    }

    /// Posts nothing.
    pub fn none() -> Self {
        Self { over: Arc::default(), tasks: JoinSet::new() }
    }

    /// Lets each task finish what it posts.
    pub async fn end(mut self) {
        self.over.store(true, Ordering::Relaxed);
        while self.tasks.join_next().await.is_some() {}
    }
}

struct Poster {
    doors: Arc<Doors>,
    number: usize,
    ledger: Arc<Ledger>,
    over: Arc<AtomicBool>,
    random: StdRng,
    bytes: usize,
}

/// What came of a posting.
enum Outcome {
    Accepted(String),
    Refused,
    /// Nobody listened.
    Nobody,
    /// The connection broke.
    Silence,
}

impl Poster {
    async fn run(mut self, thread: Thread, every: Duration) {
        let mut tick = interval(every);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut place = 0;
        while !self.over.load(Ordering::Relaxed) {
            tick.tick().await;
            place += 1;
            self.deliver(Delivery { thread, place }).await;
        }
    }

    /// Posts until it is answered, or gives up.
    async fn deliver(&mut self, delivery: Delivery) {
        let filler = self.filler();
        let mut asked = false;
        self.ledger.post(delivery);
        loop {
            let begun = Instant::now();
            match self.post(delivery, &filler).await {
                Outcome::Accepted(id) => {
                    self.ledger.answered(begun.elapsed());
                    return self.ledger.accept(delivery, &id);
                }
                Outcome::Refused => self.ledger.refuse(),
                Outcome::Nobody => {}
                Outcome::Silence => {
                    asked = true;
                    if !self.random.random_bool(SENDS_AGAIN) {
                        return self.ledger.give_up(delivery);
                    }
                    self.ledger.resend(delivery);
                }
            }
            if self.over.load(Ordering::Relaxed) {
                if asked {
                    self.ledger.give_up(delivery);
                }
                return;
            }
            sleep(AGAIN).await;
        }
    }

    /// A text that does not shrink much when it is packed.
    fn filler(&mut self) -> String {
        let words = self.random.random_range(0..=self.bytes / 17);
        (0..words).map(|_| format!("{:x} ", self.random.random::<u64>())).collect()
    }

    async fn post(&self, delivery: Delivery, filler: &str) -> Outcome {
        let answer = match self.doors.deliver(delivery, filler, self.number).await {
            Ok(answer) => answer,
            Err(error) if error.is_connect() => return Outcome::Nobody,
            Err(_) => return Outcome::Silence,
        };
        let status = answer.status();
        let says_when = answer.headers().contains_key("retry-after");
        match answer.json::<Value>().await {
            Ok(answer) if status.is_success() => match answer["event"].as_str() {
                Some(id) => return Outcome::Accepted(id.to_owned()),
                None => self.ledger.fault("200 without an event", || answer.to_string()),
            },
            Ok(_) if status == 503 && says_when => {}
            Ok(answer) => self.ledger.fault("refused for no reason", || format!("{status}: {answer}")),
            Err(_) => return Outcome::Silence,
        }
        Outcome::Refused
    }
}
