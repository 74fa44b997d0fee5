//! Many idle sessions, which come back when they lose theirs.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_tungstenite::tungstenite::Message;

use crate::doors::Doors;
use crate::webhook::TENANTS;

/// The agents of a crowd, of the first tenant. A gateway takes 256 sessions of each.
pub const AGENTS: usize = 64;

/// The first of them hear of issues that are closed, of which nobody else does. The rest hear of nothing.
pub const HEARERS: usize = 4;

/// How long one waits at most before it comes back, when nobody said how long; twice as long each time it fails.
const PAUSE_MS: u64 = 1000;
const LONGEST_MS: u64 = 8000;

/// The name of an agent of a crowd.
pub fn name(number: usize) -> String {
    format!("crowd-{number}")
}

/// The profile of an agent of a crowd, in the namespace of its tenant's name.
pub fn profile(tenant: &str, agent: &str) -> String {
    let hears = (0..HEARERS).any(|number| name(number) == agent);
    let subscriptions = if hears { ", subscriptions: [{kinds: [WorkItemClosed]}]" } else { "" };
    format!(
        "---\napiVersion: nexus.dev/v1alpha1\nkind: AgentProfile\n\
         metadata: {{name: {agent}, namespace: {tenant}}}\nspec: {{tenant: {tenant}{subscriptions}}}\n"
    )
}

/// Sessions that run until this is dropped.
pub struct Crowd {
    seen: Arc<Mutex<Seen>>,
    _tasks: JoinSet<()>,
}

#[derive(Debug, Default)]
struct Seen {
    /// Which sessions are open, and at which door.
    open: HashMap<usize, usize>,
    /// When sessions were opened.
    opened: Vec<Instant>,
}

impl Crowd {
    /// Starts so many sessions, all at this door first.
    pub fn start(doors: &Arc<Doors>, sessions: usize, door: usize) -> Self {
        let seen = Arc::<Mutex<Seen>>::default();
        let mut tasks = JoinSet::new();
        let tokens = Arc::<tokio::sync::Mutex<HashMap<String, String>>>::default();
        for number in 0..sessions {
            let member = Member {
                number,
                door,
                doors: Arc::clone(doors),
                tokens: Arc::clone(&tokens),
                seen: Arc::clone(&seen),
            };
            tasks.spawn(async move {
                // They do not all come in one moment.
                sleep(Duration::from_millis(number as u64)).await;
                member.run().await;
            });
        }
        Self { seen, _tasks: tasks }
    }

    /// How many sessions are open at a door.
    pub fn open_at(&self, door: usize) -> usize {
        self.look(|seen| seen.open.values().filter(|at| **at == door).count())
    }

    /// The most sessions that were opened within one second since this moment.
    pub fn peak_since(&self, moment: Instant) -> usize {
        let opened: Vec<_> =
            self.look(|seen| seen.opened.iter().filter(|at| **at >= moment).copied().collect());
        let within = |from: &Instant| {
            opened.iter().filter(|at| **at >= *from && **at < *from + Duration::from_secs(1)).count()
        };
        opened.iter().map(within).max().unwrap_or_default()
    }

    fn look<T>(&self, with: impl FnOnce(&mut Seen) -> T) -> T {
        with(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

struct Member {
    number: usize,
    door: usize,
    doors: Arc<Doors>,
    tokens: Arc<tokio::sync::Mutex<HashMap<String, String>>>,
    seen: Arc<Mutex<Seen>>,
}

impl Member {
    fn look<T>(&self, with: impl FnOnce(&mut Seen) -> T) -> T {
        with(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// One session after the other, each at the next door: who said when to come back does not listen any more then.
    async fn run(mut self) {
        let mut most = PAUSE_MS;
        loop {
            let pause = self.session().await.unwrap_or_default();
            let was_open = self.look(|seen| seen.open.remove(&self.number)).is_some();
            most = if was_open { PAUSE_MS } else { (most * 2).min(LONGEST_MS) };
            let jitter = Duration::from_millis(rand::random_range(0..most));
            self.door += 1;
            sleep(pause.unwrap_or(jitter)).await;
        }
    }

    async fn token(&self) -> anyhow::Result<String> {
        let agent = name(self.number % AGENTS);
        let mut tokens = self.tokens.lock().await;
        if let Some(token) = tokens.get(&agent) {
            return Ok(token.clone());
        }
        let token = self.doors.token(TENANTS[0], &agent, self.door).await?;
        tokens.insert(agent, token.clone());
        Ok(token)
    }

    /// One session; how long to wait before the next one, if it was told.
    async fn session(&self) -> anyhow::Result<Option<Duration>> {
        let mut socket = self.doors.connect(self.door, &self.token().await?).await?;
        socket.send(Message::text(json!({"hello": {"credit": 0}}).to_string())).await?;
        loop {
            let Message::Text(text) = socket.next().await.context("closed")?? else { continue };
            let frame: Value = serde_json::from_str(&text)?;
            if frame.get("welcome").is_some() {
                let door = self.door % self.doors.gateways.len();
                self.look(|seen| {
                    seen.open.insert(self.number, door);
                    seen.opened.push(Instant::now());
                });
            }
            if let Some(goodbye) = frame.get("goodbye") {
                let after = goodbye["reconnectAfter"].as_str().and_then(|text| text.strip_suffix('s'));
                return Ok(after.and_then(|text| text.parse().ok()).map(Duration::from_secs_f64));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;
    use tokio_tungstenite::accept_hdr_async;
    use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};

    use super::*;

    #[expect(clippy::result_large_err, reason = "the library's type")]
    fn speaks(_: &Request, mut answer: Response) -> Result<Response, ErrorResponse> {
        answer.headers_mut().insert("sec-websocket-protocol", "nexus.v1+json".parse().unwrap());
        Ok(answer)
    }

    #[tokio::test]
    async fn who_was_told_when_to_come_back_goes_to_the_next_door_then() {
        let here = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let next = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let ports = [&here, &next].map(|door| door.local_addr().unwrap().port());
        let doors = Arc::new(Doors::new(Vec::new(), ports.to_vec(), "".into()).unwrap());
        let tokens = HashMap::from([(name(0), "token".to_owned())]);
        let tokens = Arc::new(tokio::sync::Mutex::new(tokens));
        let member = Member { number: 0, door: 0, doors, tokens, seen: Arc::default() };
        let mut tasks = JoinSet::new();
        tasks.spawn(member.run());
        let mut session = accept_hdr_async(here.accept().await.unwrap().0, speaks).await.unwrap();
        let goodbye = json!({"goodbye": {"reason": "DRAINING", "reconnectAfter": "0s"}});
        session.send(Message::text(goodbye.to_string())).await.unwrap();
        tokio::select! {
            came = next.accept() => drop(came.unwrap()),
            again = here.accept() => panic!("it came back to the same door: {again:?}"),
        }
    }
}
