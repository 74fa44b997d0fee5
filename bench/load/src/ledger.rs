//! What was accepted and what was delivered, as sets, and how long it took. They are kept by the number that the tool
//! gave each event: an id that comes to stand for two events would hide the loss of one.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use hdrhistogram::Histogram;
use uuid::Uuid;

/// When each event of an open loop is meant to be sent.
#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    pub start: Instant,
    pub interval: Duration,
    pub first: u64,
    pub count: u64,
}

impl Schedule {
    /// When the event of this place is meant to be sent, if it is one of these.
    pub fn intended(&self, seq: u64) -> Option<Instant> {
        let at = seq.checked_sub(self.first).filter(|at| *at < self.count)?;
        Some(self.start + self.interval.mul_f64(at as f64))
    }
}

/// The books of one phase.
pub struct Ledger {
    schedule: Option<Schedule>,
    /// The id that each event was accepted under.
    accepted: Mutex<HashMap<u64, Uuid>>,
    /// The id that each came under first, and how often it came.
    delivered: Mutex<HashMap<u64, (Uuid, u32)>>,
    /// POST to its answer, from the intended time, in microseconds.
    answer: Mutex<Histogram<u64>>,
    /// POST to agent, from the intended time, in microseconds.
    latency: Mutex<Histogram<u64>>,
    /// How late the tool itself was, in microseconds.
    lag: Mutex<Histogram<u64>>,
    accepted_count: AtomicU64,
    delivered_count: AtomicU64,
    unmarked: AtomicU64,
    refused: AtomicU64,
    /// The first refusal or error, for people.
    complaint: Mutex<Option<String>>,
}

/// What the books say in the end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Balance {
    pub accepted: u64,
    pub delivered: u64,
    /// Accepted but not delivered.
    pub missing: u64,
    /// Delivered but never accepted, as far as the sender was told.
    pub unknown: u64,
    /// Delivered under another id than they were accepted under.
    pub confused: u64,
    /// Deliveries beyond the first of an event.
    pub repeats: u64,
    /// Repeats that did not say so, by an attempt above 1.
    pub unmarked: u64,
    /// Not answered 200.
    pub refused: u64,
}

impl Ledger {
    /// Empty books.
    pub fn new(schedule: Option<Schedule>) -> anyhow::Result<Self> {
        let histogram = || Histogram::new_with_bounds(1, 120_000_000, 3).context("no histogram");
        Ok(Self {
            schedule,
            accepted: Mutex::default(),
            delivered: Mutex::default(),
            answer: Mutex::new(histogram()?),
            latency: Mutex::new(histogram()?),
            lag: Mutex::new(histogram()?),
            accepted_count: AtomicU64::new(0),
            delivered_count: AtomicU64::new(0),
            unmarked: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            complaint: Mutex::default(),
        })
    }

    /// An event was accepted under this id.
    pub fn accept(&self, id: Uuid, seq: u64, now: Instant) {
        self.time(&self.answer, seq, now);
        if lock(&self.accepted).insert(seq, id).is_none() {
            self.accepted_count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A webhook was not accepted.
    pub fn refuse(&self, why: String) {
        self.refused.fetch_add(1, Ordering::Relaxed);
        lock(&self.complaint).get_or_insert(why);
    }

    /// An agent read an event.
    pub fn deliver(&self, id: Uuid, seq: u64, attempt: u32, now: Instant) {
        let times = {
            let mut delivered = lock(&self.delivered);
            let (_, times) = delivered.entry(seq).or_insert((id, 0));
            *times += 1;
            *times
        };
        if times > 1 {
            self.unmarked.fetch_add(u64::from(attempt <= 1), Ordering::Relaxed);
            return;
        }
        self.delivered_count.fetch_add(1, Ordering::Relaxed);
        self.time(&self.latency, seq, now);
    }

    fn time(&self, histogram: &Mutex<Histogram<u64>>, seq: u64, now: Instant) {
        if let Some(intended) = self.schedule.and_then(|schedule| schedule.intended(seq)) {
            record(histogram, now.saturating_duration_since(intended));
        }
    }

    /// The tool sent an event so much later than it was meant to.
    pub fn lag(&self, late: Duration) {
        record(&self.lag, late);
    }

    /// Accepted and delivered so far.
    pub fn counts(&self) -> (u64, u64) {
        (self.accepted_count.load(Ordering::Relaxed), self.delivered_count.load(Ordering::Relaxed))
    }

    /// The first refusal or error.
    pub fn complaint(&self) -> Option<String> {
        lock(&self.complaint).clone()
    }

    /// Latencies in milliseconds at these quantiles.
    pub fn latency_ms(&self, quantiles: [f64; 3]) -> [f64; 3] {
        let latency = lock(&self.latency);
        quantiles.map(|quantile| latency.value_at_quantile(quantile) as f64 / 1e3)
    }

    /// Time to the answer, in milliseconds, at a quantile.
    pub fn answer_ms(&self, quantile: f64) -> f64 {
        lock(&self.answer).value_at_quantile(quantile) as f64 / 1e3
    }

    /// How late the tool was, in milliseconds, at a quantile.
    pub fn lag_ms(&self, quantile: f64) -> f64 {
        lock(&self.lag).value_at_quantile(quantile) as f64 / 1e3
    }

    /// Compares the sets.
    pub fn balance(&self) -> Balance {
        let (accepted, delivered) = (lock(&self.accepted), lock(&self.delivered));
        let count = |n: usize| n as u64;
        let is_other = |seq: &u64, id: &Uuid| accepted.get(seq).is_some_and(|accepted| accepted != id);
        Balance {
            accepted: count(accepted.len()),
            delivered: count(delivered.len()),
            missing: count(accepted.keys().filter(|seq| !delivered.contains_key(seq)).count()),
            unknown: count(delivered.keys().filter(|seq| !accepted.contains_key(seq)).count()),
            confused: count(delivered.iter().filter(|(seq, (id, _))| is_other(seq, id)).count()),
            repeats: delivered.values().map(|(_, times)| u64::from(times - 1)).sum(),
            unmarked: self.unmarked.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
        }
    }
}

impl Balance {
    /// Whether what was accepted is what was delivered.
    pub fn is_even(&self) -> bool {
        self.missing == 0 && self.unknown == 0 && self.confused == 0
    }
}

fn record(histogram: &Mutex<Histogram<u64>>, took: Duration) {
    lock(histogram).saturating_record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1));
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sets_are_compared() {
        let ledger = Ledger::new(None).unwrap();
        let [a, b, c] = [1, 2, 3].map(Uuid::from_u128);
        ledger.accept(a, 0, Instant::now());
        ledger.accept(b, 1, Instant::now());
        for (id, seq) in [(a, 0), (a, 0), (c, 2)] {
            ledger.deliver(id, seq, 1, Instant::now());
        }
        let expected = Balance {
            accepted: 2,
            delivered: 2,
            missing: 1,
            unknown: 1,
            confused: 0,
            repeats: 1,
            unmarked: 1,
            refused: 0,
        };
        assert_eq!(ledger.balance(), expected);
        assert!(!expected.is_even());
    }

    /// A wrong dedupe: the second is answered with the id of the first, and dropped.
    #[test]
    fn what_was_taken_for_another_is_missing() {
        let ledger = Ledger::new(None).unwrap();
        let a = Uuid::from_u128(1);
        ledger.accept(a, 0, Instant::now());
        ledger.accept(a, 1, Instant::now());
        ledger.deliver(a, 0, 1, Instant::now());
        assert_eq!((ledger.balance().accepted, ledger.balance().missing), (2, 1));
    }

    #[test]
    fn an_event_that_comes_under_another_id_is_not_even() {
        let ledger = Ledger::new(None).unwrap();
        ledger.accept(Uuid::from_u128(1), 0, Instant::now());
        ledger.deliver(Uuid::from_u128(2), 0, 1, Instant::now());
        assert_eq!(ledger.balance().confused, 1);
        assert!(!ledger.balance().is_even());
    }

    #[test]
    fn latency_counts_from_the_intended_time() {
        let start = Instant::now();
        let schedule = Schedule { start, interval: Duration::from_millis(2), first: 10, count: 5 };
        let ledger = Ledger::new(Some(schedule)).unwrap();
        ledger.deliver(Uuid::from_u128(1), 12, 1, start + Duration::from_millis(9));
        let [p50, ..] = ledger.latency_ms([0.5, 0.9, 1.0]);
        assert!((p50 - 5.0).abs() < 0.02, "{p50}");
        assert_eq!(schedule.intended(15), None);
    }
}
