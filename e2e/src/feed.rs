//! Webhooks at a steady rate, and how their events reach those of a crowd that hear of them: while a stop comes, it has something
//! to freeze, and what was queued in it flows after the release.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::crowd::HEARERS;
use crate::doors::Doors;
use crate::sessions::{self, Reading, Session, Transport};
use crate::site::{PATIENCE, until};
use crate::webhook::Issue;

/// Webhooks that wait for their answers at a time at most: enough for 300 a second when each takes the spool's 50 ms.
const POSTING: usize = 16;

/// The number of the first issue: no other proof tells of one so high.
const FIRST_ISSUE: u64 = 1_000_000;

/// Events flow as long as one comes within this.
const FLOWING: Duration = Duration::from_secs(1);

/// Where an event came in: the gateway, and how the session speaks.
type Place = (usize, Transport);

/// Webhooks. Dropping it ends them.
#[derive(Debug)]
pub struct Feed {
    doors: Arc<Doors>,
    rate: u32,
    heard: Arc<Heard>,
    flows: watch::Sender<bool>,
    _task: JoinSet<()>,
}

impl Feed {
    /// Makes ready to post so many a second to the source of a path, signed by a secret.
    #[must_use]
    pub fn new(doors: &Arc<Doors>, path: &'static str, secret: &str, rate: u32) -> Self {
        let (heard, flows) = (Arc::<Heard>::default(), watch::Sender::new(false));
        let mut task = JoinSet::new();
        if rate > 0 {
            let (doors, heard, secret) = (Arc::clone(doors), Arc::clone(&heard), secret.to_owned());
            let poster = Arc::new(Poster { doors, heard, path, secret });
            task.spawn(poster.run(Duration::from_secs(1) / rate, flows.subscribe()));
        }
        Self { doors: Arc::clone(doors), rate, heard, flows, _task: task }
    }

    /// Opens sessions of a crowd, and reads them to their ends; gives them when events flow to all that hear.
    ///
    /// # Errors
    /// When they cannot be opened, or no events flow.
    pub async fn open(&self, sessions: usize, grpc: usize) -> anyhow::Result<Reading> {
        let sessions = sessions::open(&self.doors, sessions, grpc).await?;
        let hear = sessions.iter().filter(|session| session.hears());
        let places: HashSet<Place> =
            hear.map(|session: &Session| (session.door, session.transport())).collect();
        let reading = Reading::start(sessions, &self.heard);
        if self.rate > 0 {
            self.flows.send_replace(true);
            let since = Instant::now();
            until("events flow to sessions over both transports at both gateways", PATIENCE, async || {
                Ok(self.heard.books(|books| books.since(since).is_superset(&places)))
            })
            .await?;
        }
        Ok(reading)
    }

    /// Fails if nothing has flowed lately.
    ///
    /// # Errors
    /// When that is so.
    pub fn check(&self) -> anyhow::Result<()> {
        let now = Instant::now();
        let lately = now.checked_sub(FLOWING);
        let flows = lately.is_none_or(|lately| !self.heard.books(|books| books.since(lately).is_empty()));
        let told = || self.heard.books(|books| books.tell(now));
        ensure!(self.rate == 0 || flows, "no event reached a session within {FLOWING:?}: {}", told());
        Ok(())
    }

    /// Posts no more, and waits until all that hear have all that was accepted; how long that took.
    ///
    /// # Errors
    /// When something is lost, or a webhook was refused.
    pub async fn drain(&self) -> anyhow::Result<Duration> {
        self.flows.send_replace(false);
        let begun = Instant::now();
        // Dropping them ends their sessions.
        let _hearers: JoinSet<()> = (0..HEARERS)
            .map(|number| sessions::hear(Arc::clone(&self.doors), number, Arc::clone(&self.heard)))
            .collect();
        let drained =
            until("all that hear have what was accepted", PATIENCE, async || self.heard.is_drained());
        let missing = || format!("{} of the events did not come", self.heard.books(|books| books.missing()));
        drained.await.with_context(missing)?;
        Ok(begun.elapsed())
    }

    /// How many webhooks were accepted so far.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.heard.books(|books| books.accepted)
    }

    /// How many events sessions received so far, repeats included.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.heard.books(|books| books.received)
    }
}

/// What was posted, and what was heard of it.
#[derive(Debug, Default)]
pub struct Heard(Mutex<Books>);

#[derive(Debug, Default)]
struct Books {
    /// Webhooks without an answer yet, and those with one.
    posting: u64,
    accepted: u64,
    /// The first that was refused or not answered.
    wrong: Option<String>,
    /// By the id of its event, what some have not received that should, or was not answered yet.
    open: HashMap<String, Open>,
    received: u64,
    /// When something came in last.
    last: HashMap<Place, Instant>,
}

#[derive(Debug, Default)]
struct Open {
    accepted: bool,
    with: HashSet<usize>,
}

impl Books {
    /// Where something came in since a moment.
    fn since(&self, moment: Instant) -> HashSet<Place> {
        self.last.iter().filter(|(_, last)| **last >= moment).map(|(place, _)| *place).collect()
    }

    /// What is known, for who finds that nothing flows.
    fn tell(&self, now: Instant) -> String {
        let ages = self.last.iter().map(|((door, transport), last)| {
            format!(", gateway {door} over {transport:?} {:.1?} ago", now.saturating_duration_since(*last))
        });
        let mut ages: Vec<_> = ages.collect();
        ages.sort();
        let Self { posting, accepted, received, .. } = self;
        format!(
            "{accepted} webhooks accepted, {posting} without an answer, {} that agents lack; {received} events received{}; first \
             refusal: {}",
            self.missing(),
            ages.concat(),
            self.wrong.as_deref().unwrap_or("none"),
        )
    }

    fn missing(&self) -> usize {
        self.open.values().filter(|open| open.accepted).count()
    }

    /// Keeps something of an event, until all of it is known.
    fn note(&mut self, event: &str, what: impl FnOnce(&mut Open)) {
        let open = self.open.entry(event.to_owned()).or_default();
        what(open);
        if open.accepted && open.with.len() == HEARERS {
            self.open.remove(event);
        }
    }
}

impl Heard {
    fn books<T>(&self, with: impl FnOnce(&mut Books) -> T) -> T {
        with(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// An agent of the crowd has received an event.
    pub(crate) fn receive(&self, agent: usize, door: usize, transport: Transport, event: &str) {
        self.books(|books| {
            books.received += 1;
            books.last.insert((door, transport), Instant::now());
            books.note(event, |open| open.with.extend([agent]));
        });
    }

    fn answer(&self, answer: anyhow::Result<String>) {
        self.books(|books| {
            books.posting -= 1;
            match answer {
                Ok(event) => {
                    books.accepted += 1;
                    books.note(&event, |open| open.accepted = true);
                }
                Err(error) => drop(books.wrong.get_or_insert_with(|| format!("{error:#}"))),
            }
        });
    }

    /// Whether nothing is under way any more.
    fn is_drained(&self) -> anyhow::Result<bool> {
        self.books(|books| {
            if let Some(wrong) = &books.wrong {
                bail!("a webhook was not accepted: {wrong}");
            }
            Ok(books.posting == 0 && books.missing() == 0)
        })
    }
}

/// Posts webhooks, each about an issue of its own.
struct Poster {
    doors: Arc<Doors>,
    heard: Arc<Heard>,
    path: &'static str,
    secret: String,
}

impl Poster {
    async fn run(self: Arc<Self>, every: Duration, mut flows: watch::Receiver<bool>) {
        let mut tick = interval(every);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut posting = JoinSet::new();
        for issue in FIRST_ISSUE.. {
            tick.tick().await;
            while posting.try_join_next().is_some() {}
            if posting.len() >= POSTING {
                posting.join_next().await;
            }
            if flows.wait_for(|flows| *flows).await.is_err() {
                return;
            }
            self.heard.books(|books| books.posting += 1);
            let poster = Arc::clone(&self);
            posting.spawn(async move { poster.heard.answer(poster.post(issue).await) });
        }
    }

    /// Gives the id of the event.
    async fn post(&self, number: u64) -> anyhow::Result<String> {
        let issue = Issue { action: "closed", number, title: "Done" };
        let answer = self.doors.tell(self.path, &self.secret, issue, 0).await?;
        let status = answer.status();
        let said: Value = answer.json().await?;
        match said["event"].as_str() {
            Some(event) if status.is_success() => Ok(event.to_owned()),
            _ => bail!("{status}: {said}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_missing_until_all_that_hear_have_it() {
        let heard = Heard::default();
        heard.books(|books| books.posting = 2);
        heard.receive(0, 0, Transport::Grpc, "early");
        assert!(!heard.is_drained().unwrap());
        heard.answer(Ok("early".to_owned()));
        heard.answer(Ok("late".to_owned()));
        let all =
            || ["early", "late"].into_iter().flat_map(|event| (0..HEARERS).map(move |agent| (agent, event)));
        for (agent, event) in all() {
            assert!(!heard.is_drained().unwrap());
            heard.receive(agent, 1, Transport::WebSocket, event);
        }
        assert!(heard.is_drained().unwrap());
        heard.books(|books| books.posting = 1);
        heard.answer(Err(anyhow::anyhow!("503")));
        assert!(heard.is_drained().unwrap_err().to_string().contains("503"));
        let told = heard.books(|books| books.tell(Instant::now()));
        assert!(
            told.starts_with("2 webhooks accepted, 0 without an answer, 0 that agents lack; 9 events"),
            "{told}"
        );
        assert!(told.contains(", gateway 0 over Grpc ") && told.ends_with("first refusal: 503"), "{told}");
    }
}
