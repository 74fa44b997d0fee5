//! Agents: they connect again and again, acknowledge what comes, some of it late, and some only the second time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use futures_util::stream::FuturesUnordered;
use futures_util::{SinkExt as _, StreamExt as _};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::doors::Doors;
use crate::ledger::{AGENTS, Agent, Ledger, SLOW, agents};
use crate::site::LOOK;
use crate::webhook::{Delivery, TENANTS};

const CREDIT: u32 = 32;

/// What the slow agent does of what comes first: this part late, this part only the second time.
const LATE: f64 = 0.2;
const NACKED: f64 = 0.02;

/// How late that is at most.
const LATEST_MS: u64 = 200;

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Agents that run until this is dropped, one session each.
pub struct Agents {
    pause: Arc<AtomicBool>,
    pause_slow: Arc<AtomicBool>,
    _tasks: JoinSet<()>,
}

impl Agents {
    /// Starts all agents of all tenants.
    pub fn start(doors: &Arc<Doors>, ledger: &Arc<Ledger>, seed: u64) -> Self {
        let (pause, pause_slow) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let mut tasks = JoinSet::new();
        for (number, agent) in agents().enumerate() {
            let worker = Worker {
                doors: Arc::clone(doors),
                door: number,
                ledger: Arc::clone(ledger),
                agent,
                pause: Arc::clone(&pause),
                pause_slow: (AGENTS[agent.1] == SLOW).then(|| Arc::clone(&pause_slow)),
                random: StdRng::seed_from_u64(seed.wrapping_add(1 + number as u64)),
            };
            tasks.spawn(worker.run());
        }
        Self { pause, pause_slow, _tasks: tasks }
    }

    /// While paused, agents named [`SLOW`] read nothing.
    pub fn pause_slow(&self, pause: bool) {
        self.pause_slow.store(pause, Ordering::Relaxed);
    }

    /// While paused, agents read nothing, and events wait for them.
    pub fn pause(&self, pause: bool) {
        self.pause.store(pause, Ordering::Relaxed);
    }
}

struct Worker {
    doors: Arc<Doors>,
    /// Which of the gateways it goes to; the next one when that refuses it.
    door: usize,
    ledger: Arc<Ledger>,
    agent: Agent,
    pause: Arc<AtomicBool>,
    pause_slow: Option<Arc<AtomicBool>>,
    random: StdRng,
}

impl Worker {
    fn is_paused(&self) -> bool {
        let slow = self.pause_slow.as_ref().is_some_and(|pause| pause.load(Ordering::Relaxed));
        slow || self.pause.load(Ordering::Relaxed)
    }

    async fn run(mut self) {
        loop {
            match Box::pin(self.connect()).await {
                // How a session ends is the business of whoever kills the process.
                Ok(socket) => drop(self.session(socket).await),
                Err(_) => self.door += 1,
            }
            sleep(Duration::from_millis(30)).await;
        }
    }

    async fn connect(&self) -> anyhow::Result<Socket> {
        let token = self.doors.token(TENANTS[self.agent.0], AGENTS[self.agent.1], self.door).await?;
        let mut request = self.doors.socket(self.door).into_client_request()?;
        request.headers_mut().insert("authorization", format!("Bearer {token}").parse()?);
        request.headers_mut().insert("sec-websocket-protocol", "nexus.v1+json".parse()?);
        Ok(connect_async(request).await?.0)
    }

    async fn session(&mut self, mut socket: Socket) -> anyhow::Result<()> {
        send(&mut socket, &json!({"hello": {"credit": CREDIT}})).await?;
        let mut late = FuturesUnordered::new();
        loop {
            while self.is_paused() {
                sleep(LOOK).await;
            }
            tokio::select! {
                message = socket.next() => {
                    let Message::Text(text) = message.context("closed")?? else { continue };
                    let frame: Value = serde_json::from_str(&text)?;
                    if frame.get("welcome").is_some() {
                        self.ledger.open();
                    }
                    if let Some(wait) = self.take(&mut socket, &frame["deliver"]).await? {
                        late.push(wait);
                    }
                }
                Some(id) = late.next() => self.ack(&mut socket, &id).await?,
            }
        }
    }

    /// Takes a delivery; what to acknowledge later, if it is not done now.
    async fn take(
        &mut self,
        socket: &mut Socket,
        deliver: &Value,
    ) -> anyhow::Result<Option<impl Future<Output = String> + use<>>> {
        let Some(id) = deliver["event"]["id"].as_str() else {
            return Ok(None);
        };
        let attempt = deliver["attempt"].as_u64().unwrap_or(1);
        match deliver["event"]["data"]["text"].as_str().unwrap_or_default().parse::<Delivery>() {
            Ok(delivery) => self.ledger.receive(self.agent, delivery, id, attempt),
            Err(error) => self.ledger.fault("an event that was never posted", || error.to_string()),
        }
        let slow = AGENTS[self.agent.1] == SLOW && attempt == 1;
        if slow && self.random.random_bool(NACKED) {
            let nack = json!({"nack": {"eventId": id, "retryAfter": "0.1s", "reason": "busy"}});
            send(socket, &nack).await?;
            send(socket, &json!({"grant": {"credit": 1}})).await?;
        } else if slow && self.random.random_bool(LATE) {
            let wait = Duration::from_millis(self.random.random_range(1..LATEST_MS));
            let id = id.to_owned();
            return Ok(Some(async move {
                sleep(wait).await;
                id
            }));
        } else {
            self.ack(socket, id).await?;
        }
        Ok(None)
    }

    async fn ack(&self, socket: &mut Socket, id: &str) -> anyhow::Result<()> {
        send(socket, &json!({"ack": {"eventId": id}})).await?;
        self.ledger.ack(self.agent, id);
        send(socket, &json!({"grant": {"credit": 1}})).await
    }
}

async fn send(socket: &mut Socket, frame: &Value) -> anyhow::Result<()> {
    Ok(socket.send(Message::text(frame.to_string())).await?)
}
