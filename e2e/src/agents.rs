//! Agents: they connect again and again, acknowledge what comes, some of it late, and some only the second time.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use futures_util::stream::FuturesUnordered;
use futures_util::{SinkExt as _, StreamExt as _};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_tungstenite::tungstenite::Message;

use crate::doors::{Doors, Socket};
use crate::ledger::{AGENTS, Agent, Ledger, SLOW, agents};
use crate::webhook::{Delivery, TENANTS};

/// As much as `maxInFlight` allows for.
const CREDIT: u32 = 64;

/// The bytes that the kernel keeps for the slow agent at most.
const NARROW: u32 = 64 << 10;

/// What the slow agent does of what comes first: this part late, this part only the second time.
const LATE: f64 = 0.2;
const NACKED: f64 = 0.02;

/// How late that is at most.
const LATEST_MS: u64 = 200;

/// What an agent is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Take what comes, and acknowledge it.
    Work,
    /// Read nothing, and let events wait.
    Pause,
    /// Take what comes, and acknowledge nothing.
    Hold,
    /// End the session, and open none.
    Leave,
}

/// Agents that run until this is dropped, one session each.
pub struct Agents {
    ledger: Arc<Ledger>,
    orders: HashMap<Agent, watch::Sender<Order>>,
    _tasks: JoinSet<()>,
}

impl Agents {
    /// Starts all agents of all tenants.
    pub fn start(doors: &Arc<Doors>, ledger: &Arc<Ledger>, seed: u64) -> Self {
        let mut orders = HashMap::new();
        let mut tasks = JoinSet::new();
        for (number, agent) in agents().enumerate() {
            let order = watch::Sender::new(Order::Work);
            let worker = Worker {
                doors: Arc::clone(doors),
                door: number,
                ledger: Arc::clone(ledger),
                agent,
                order: order.subscribe(),
                random: StdRng::seed_from_u64(seed.wrapping_add(1 + number as u64)),
            };
            tasks.spawn(worker.run());
            orders.insert(agent, order);
        }
        Self { ledger: Arc::clone(ledger), orders, _tasks: tasks }
    }

    /// No agents.
    pub fn none() -> Self {
        Self { ledger: Arc::default(), orders: HashMap::new(), _tasks: JoinSet::new() }
    }

    /// Orders agents to do something. Only who works is expected to receive something all the time.
    pub fn order(&self, which: impl Fn(Agent) -> bool, order: Order) {
        for (agent, of_agent) in self.orders.iter().filter(|(agent, _)| which(**agent)) {
            self.ledger.expect(*agent, order == Order::Work);
            of_agent.send_replace(order);
        }
    }
}

/// Whether an agent is one named [`SLOW`].
pub fn is_slow((_, agent): Agent) -> bool {
    AGENTS[agent] == SLOW
}

struct Worker {
    doors: Arc<Doors>,
    /// Which of the gateways it goes to; the next one when that refuses it.
    door: usize,
    ledger: Arc<Ledger>,
    agent: Agent,
    order: watch::Receiver<Order>,
    random: StdRng,
}

impl Worker {
    async fn run(mut self) {
        while self.order.wait_for(|order| *order != Order::Leave).await.is_ok() {
            match Box::pin(self.connect()).await {
                // How a session ends is the business of whoever kills the process.
                Ok(socket) => {
                    drop(self.session(socket).await);
                    self.ledger.close(self.agent);
                }
                Err(_) => self.door += 1,
            }
            sleep(Duration::from_millis(30)).await;
        }
    }

    async fn connect(&self) -> anyhow::Result<Socket> {
        let token = self.doors.token(TENANTS[self.agent.0], AGENTS[self.agent.1], self.door).await?;
        match is_slow(self.agent) {
            // Else the kernel would take in what it does not read for longer than it does not read.
            true => self.doors.connect_narrow(self.door, &token, NARROW).await,
            false => self.doors.connect(self.door, &token).await,
        }
    }

    async fn session(&mut self, mut socket: Socket) -> anyhow::Result<()> {
        send(&mut socket, &json!({"hello": {"credit": CREDIT}})).await?;
        let mut late = FuturesUnordered::new();
        loop {
            let order = *self.order.borrow_and_update();
            if order == Order::Leave {
                return Ok(socket.close(None).await?);
            }
            tokio::select! {
                changed = self.order.changed() => changed?,
                message = socket.next(), if order != Order::Pause => {
                    let Message::Text(text) = message.context("closed")?? else { continue };
                    let frame: Value = serde_json::from_str(&text)?;
                    if frame.get("welcome").is_some() {
                        self.ledger.open(self.agent);
                    }
                    if let Some(wait) = self.take(&mut socket, &frame["deliver"], order).await? {
                        late.push(wait);
                    }
                }
                Some(id) = late.next(), if order == Order::Work => self.ack(&mut socket, &id).await?,
            }
        }
    }

    /// Takes a delivery; what to acknowledge later, if it is not done now.
    async fn take(
        &mut self,
        socket: &mut Socket,
        deliver: &Value,
        order: Order,
    ) -> anyhow::Result<Option<impl Future<Output = String> + use<>>> {
        let Some(id) = deliver["event"]["id"].as_str() else {
            return Ok(None);
        };
        let attempt = deliver["attempt"].as_u64().unwrap_or(1);
        match deliver["event"]["data"]["text"].as_str().unwrap_or_default().parse::<Delivery>() {
            Ok(delivery) => {
                let door = self.door % self.doors.gateways.len();
                self.ledger.receive(self.agent, door, delivery, id, attempt);
            }
            Err(error) => self.ledger.fault("an event that was never posted", || error.to_string()),
        }
        let slow = is_slow(self.agent) && attempt == 1;
        if order == Order::Hold {
            return Ok(None);
        }
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
