//! A kind of hostile input: how it is made, how often, and what is documented to come of it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::{frames, requests, tokens};

/// Attempts under way when the honest load ends may take so long to be answered: longer than any deadline.
const LAST_ANSWERS: Duration = Duration::from_secs(16);

/// Outcomes that are told apart; a server that answers more than these is odd enough.
const OUTCOMES: usize = 16;

/// Whom it is aimed at.
pub struct Target {
    pub ingest: SocketAddr,
    pub gateway: SocketAddr,
    /// An access token of an agent that has no honest session.
    pub token: String,
    /// An access token of another tenant's agent.
    pub stranger: String,
}

type Attempt = Pin<Box<dyn Future<Output = anyhow::Result<String>> + Send>>;

/// A kind.
pub struct Attack {
    pub name: &'static str,
    pub expected: &'static str,
    /// The outcomes that are as documented.
    pub accepts: &'static [&'static str],
    /// Attempts at a time.
    pub workers: usize,
    /// Each worker begins an attempt no sooner than this after its last.
    pub every: Duration,
    /// It must go on for at least so long to come to anything.
    pub least: Duration,
    pub attempt: fn(Arc<Target>) -> Attempt,
}

/// All kinds.
pub fn all() -> Vec<Attack> {
    requests::all().into_iter().chain(frames::all()).chain(tokens::all()).collect()
}

/// Makes an attempt out of an async function.
macro_rules! attempt {
    ($function:path) => {
        |target| Box::pin(async move { $function(&target).await })
    };
}
pub(super) use attempt;

impl Attack {
    /// Begins, and goes on until it is ended.
    pub fn start(&self, target: &Arc<Target>) -> Assault {
        let (over, ended) = watch::channel(false);
        let tally = Arc::new(Mutex::new(Tally::default()));
        let mut tasks = JoinSet::new();
        for at in 0..self.workers {
            // So that two thousand connections do not overflow the kernel's queue of new ones.
            let begin = Instant::now() + Duration::from_millis(at as u64);
            let (target, tally, mut ended) = (Arc::clone(target), Arc::clone(&tally), ended.clone());
            let (attempt, every) = (self.attempt, self.every);
            tasks.spawn(async move {
                sleep_until(begin).await;
                while !*ended.borrow() {
                    let next = Instant::now() + every;
                    let outcome = attempt(Arc::clone(&target)).await;
                    let outcome = outcome.unwrap_or_else(|error| format!("error: {error:#}"));
                    tally.lock().unwrap_or_else(PoisonError::into_inner).note(outcome);
                    tokio::select! {
                        () = sleep_until(next) => {}
                        _ = ended.wait_for(|over| *over) => {}
                    }
                }
            });
        }
        Assault { over, tasks, tally }
    }
}

/// An attack under way.
pub struct Assault {
    over: watch::Sender<bool>,
    tasks: JoinSet<()>,
    tally: Arc<Mutex<Tally>>,
}

impl Assault {
    /// Begins nothing new, waits for the last answers, and says what came of it.
    pub async fn end(mut self) -> Tally {
        self.over.send_replace(true);
        let all = async { while self.tasks.join_next().await.is_some() {} };
        let in_time = timeout(LAST_ANSWERS, all).await.is_ok();
        self.tasks.shutdown().await;
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if !in_time {
            tally.note("no answer in time".to_owned());
        }
        tally
    }
}

/// How often each outcome was seen.
#[derive(Debug, Clone, Default)]
pub struct Tally(BTreeMap<String, u64>);

impl Tally {
    fn note(&mut self, outcome: String) {
        let outcome = if self.0.len() < OUTCOMES { outcome } else { "and others".to_owned() };
        *self.0.entry(outcome).or_default() += 1;
    }

    /// All that was tried.
    pub fn attempts(&self) -> u64 {
        self.0.values().sum()
    }

    /// Whether something was seen, and nothing but these.
    pub fn is_only(&self, accepted: &[&str]) -> bool {
        !self.0.is_empty() && self.0.keys().all(|outcome| accepted.contains(&outcome.as_str()))
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (outcome, times)) in self.0.iter().enumerate() {
            let comma = if at > 0 { ", " } else { "" };
            write!(f, "{comma}{outcome} × {times}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_that_is_not_documented_is_seen() {
        let mut tally = Tally::default();
        assert!(!tally.is_only(&["408"]), "nothing was tried");
        tally.note("408".to_owned());
        assert!(tally.is_only(&["408", "413"]));
        tally.note("200".to_owned());
        assert!(!tally.is_only(&["408", "413"]));
        assert_eq!(tally.to_string(), "200 × 1, 408 × 1");
    }
}
