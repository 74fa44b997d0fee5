//! Many sessions of agents: they connect, take what comes, acknowledge it and grant as much again.

mod session;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _};
use nexus_wire::agent::v1::{self, server_frame};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_tungstenite::tungstenite::Message;
use uuid::Uuid;

use crate::args::Transport;
use crate::body::FIRST_NUMBER;
use crate::frame::{Deliver, ServerFrame};
use crate::grpc;
use crate::ledger::Ledger;
use crate::socket::{Latest, Socket};

use session::{Refused, Session};

/// So many sessions connect at a time.
const AT_ONCE: usize = 64;

/// A sign of life, well within the heartbeat of 30 s.
const PING: Duration = Duration::from_secs(20);

/// The longest that connecting all sessions may take.
const PATIENCE: Duration = Duration::from_secs(90);

/// Sessions from one address: an address has some 28,000 ports.
const PER_SOURCE: usize = 10_000;

/// Sessions that run until this is dropped or they are closed by the server.
pub struct Fleet {
    shared: Arc<Shared>,
    sessions: usize,
    tasks: JoinSet<()>,
}

struct Shared {
    gateway: SocketAddr,
    ledger: Arc<Ledger>,
    gate: Semaphore,
    open: AtomicUsize,
    last_byte: Arc<Latest>,
    last_deliver: Latest,
    last_closed: Latest,
    goodbye: Latest,
    opened: Mutex<Vec<std::time::Instant>>,
    goodbyes: Mutex<BTreeMap<String, u64>>,
    failure: Mutex<Option<anyhow::Error>>,
}

impl Fleet {
    /// Connects so many sessions, spread over the agents that these tokens are of, and waits until all are open.
    pub async fn connect(
        gateway: SocketAddr,
        tokens: &[String],
        sessions: usize,
        transport: Transport,
        ledger: &Arc<Ledger>,
    ) -> anyhow::Result<Self> {
        let shared = Arc::new(Shared {
            gateway,
            ledger: Arc::clone(ledger),
            gate: Semaphore::new(AT_ONCE),
            open: AtomicUsize::new(0),
            last_byte: Arc::default(),
            last_deliver: Latest::default(),
            last_closed: Latest::default(),
            goodbye: Latest::default(),
            opened: Mutex::default(),
            goodbyes: Mutex::default(),
            failure: Mutex::default(),
        });
        let mut tasks = JoinSet::new();
        for (at, token) in tokens.iter().cycle().take(sessions).enumerate() {
            let (shared, token) = (Arc::clone(&shared), token.clone());
            // Each agent has sessions of both kinds.
            let turn = (at / tokens.len() + at % tokens.len()).is_multiple_of(2);
            let by_grpc = transport == Transport::Grpc || (transport == Transport::Both && turn);
            let source = source(at);
            tasks.spawn(async move { shared.run(&token, by_grpc, source).await });
        }
        let fleet = Self { shared, sessions, tasks };
        let deadline = Instant::now() + PATIENCE;
        while fleet.open() < sessions {
            if let Some(failure) = lock(&fleet.shared.failure).take() {
                return Err(failure.context("a session cannot be opened"));
            }
            ensure!(
                Instant::now() < deadline,
                "{} of {sessions} sessions opened in {PATIENCE:?}",
                fleet.open()
            );
            sleep(Duration::from_millis(10)).await;
        }
        Ok(fleet)
    }

    /// Sessions that are open.
    pub fn open(&self) -> usize {
        self.shared.open.load(Ordering::Relaxed)
    }

    /// Fails if a session ended or was told of an error.
    pub fn check(&self) -> anyhow::Result<()> {
        if let Some(failure) = lock(&self.shared.failure).take() {
            return Err(failure);
        }
        ensure!(
            self.open() == self.sessions,
            "{} of {} sessions are open; goodbyes: {:?}",
            self.open(),
            self.sessions,
            self.goodbyes()
        );
        Ok(())
    }

    /// Waits until the server has closed every session.
    pub async fn closed(&mut self, patience: Duration) -> anyhow::Result<()> {
        let all = async { while self.tasks.join_next().await.is_some() {} };
        let in_time = timeout(patience, all).await.is_ok();
        ensure!(in_time, "{} of {} sessions are still open after {patience:?}", self.open(), self.sessions);
        Ok(())
    }

    /// How often each goodbye was read.
    pub fn goodbyes(&self) -> BTreeMap<String, u64> {
        lock(&self.shared.goodbyes).clone()
    }

    /// When each session was opened.
    pub fn opened(&self) -> Vec<std::time::Instant> {
        lock(&self.shared.opened).clone()
    }

    /// When any agent read a goodbye.
    pub fn goodbye(&self) -> &Latest {
        &self.shared.goodbye
    }

    /// When any agent read a byte last.
    pub fn last_byte(&self) -> &Latest {
        &self.shared.last_byte
    }

    /// When any agent read an event last.
    pub fn last_deliver(&self) -> &Latest {
        &self.shared.last_deliver
    }

    /// When a session was closed last.
    pub fn last_closed(&self) -> &Latest {
        &self.shared.last_closed
    }
}

impl Shared {
    async fn run(&self, token: &str, by_grpc: bool, source: Ipv4Addr) {
        match Box::pin(self.open_session(token, by_grpc, source)).await {
            Ok(session) => {
                let ended = self.work(session).await;
                self.ended(ended);
            }
            Err(error) => self.failed(error),
        }
    }

    fn ended(&self, ended: anyhow::Result<()>) {
        self.last_closed.mark();
        self.open.fetch_sub(1, Ordering::Relaxed);
        if let Err(error) = ended {
            self.failed(error);
        }
    }

    fn failed(&self, error: anyhow::Error) {
        lock(&self.failure).get_or_insert(error);
    }

    /// Opens a session. A server that is busy is asked again.
    async fn open_session(&self, token: &str, by_grpc: bool, source: Ipv4Addr) -> anyhow::Result<Session> {
        let _turn = self.gate.acquire().await?;
        let deadline = Instant::now() + PATIENCE;
        let mut session = loop {
            match Session::connect(by_grpc, source, self.gateway, token, Arc::clone(&self.last_byte)).await {
                Ok(session) => break session,
                Err(Refused { busy: true, .. }) if Instant::now() < deadline => {
                    sleep(Duration::from_millis(100)).await;
                }
                Err(Refused { error, .. }) => return Err(error),
            }
        };
        timeout(PATIENCE, session.welcome()).await??;
        lock(&self.opened).push(std::time::Instant::now());
        self.open.fetch_add(1, Ordering::Relaxed);
        Ok(session)
    }

    /// Works until the server has ended the session.
    async fn work(&self, session: Session) -> anyhow::Result<()> {
        match session {
            Session::WebSocket(socket) => self.websocket_session(*socket).await,
            Session::Grpc(mut stream) => {
                let ended = self.grpc_session(&mut stream).await;
                // The end of a stream leaves its connection: it counts when that is closed, too.
                stream.closed.notified().await;
                ended
            }
        }
    }

    /// Works until the server ends the stream.
    async fn grpc_session(&self, stream: &mut grpc::Stream) -> anyhow::Result<()> {
        let mut ping_at = Instant::now() + PING;
        loop {
            tokio::select! {
                message = stream.down.message() => {
                    let Ok(Some(message)) = message else { return Ok(()) };
                    if let Some(id) = self.grpc_frame(message)? && !stream.done(id).await {
                        return Ok(());
                    }
                }
                () = sleep_until(ping_at) => {
                    ping_at = Instant::now() + PING;
                    if !stream.ping().await {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Takes in a frame; an event that is done is answered by its id.
    fn grpc_frame(&self, frame: v1::ServerFrame) -> anyhow::Result<Option<String>> {
        match frame.frame.context("an empty frame")? {
            server_frame::Frame::Deliver(deliver) => {
                self.last_deliver.mark();
                let event = deliver.event.context("a Deliver without an event")?;
                let item = event.data.and_then(|data| data.item).context("an event without an item")?;
                self.note(&event.id, item.number.into(), deliver.attempt)?;
                Ok(Some(event.id))
            }
            server_frame::Frame::Goodbye(goodbye) => {
                let reason = goodbye.reason().as_str_name().to_owned();
                self.goodbye.mark();
                *lock(&self.goodbyes).entry(reason).or_default() += 1;
                Ok(None)
            }
            server_frame::Frame::Error(v1::Error { code, message }) => {
                bail!("the gateway says {code}: {message}")
            }
            server_frame::Frame::Welcome(_) | server_frame::Frame::Pong(_) => Ok(None),
        }
    }

    /// Works until the server closes the connection.
    async fn websocket_session(&self, mut socket: Socket) -> anyhow::Result<()> {
        let mut ping_at = Instant::now() + PING;
        loop {
            tokio::select! {
                message = socket.next() => {
                    let Some(Ok(message)) = message else { return Ok(()) };
                    if self.take(&mut socket, message).await?.is_none() {
                        return Ok(());
                    }
                }
                () = sleep_until(ping_at) => {
                    ping_at = Instant::now() + PING;
                    if socket.send(Message::text(r#"{"ping":{}}"#)).await.is_err() {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Takes in a message and all that came with it, and answers them together. None when the connection is over.
    async fn take(&self, socket: &mut Socket, first: Message) -> anyhow::Result<Option<()>> {
        let mut next = Some(Some(Ok(first)));
        while let Some(message) = next {
            let Some(Ok(message)) = message else { return Ok(None) };
            if let Message::Text(text) = &message {
                for answer in self.frame(text)? {
                    if socket.feed(answer).await.is_err() {
                        return Ok(None);
                    }
                }
            }
            next = socket.next().now_or_never();
        }
        Ok(socket.flush().await.ok())
    }

    fn frame(&self, text: &str) -> anyhow::Result<Vec<Message>> {
        match serde_json::from_str(text)
            .with_context(|| format!("a frame that is not understood: {text:.200}"))?
        {
            ServerFrame::Deliver(deliver) => {
                self.last_deliver.mark();
                self.done(&deliver)
            }
            ServerFrame::Goodbye { reason } => {
                self.goodbye.mark();
                *lock(&self.goodbyes).entry(reason).or_default() += 1;
                Ok(Vec::new())
            }
            ServerFrame::Error { code, message } => bail!("the gateway says {code}: {message}"),
            ServerFrame::Welcome {} | ServerFrame::Pong {} => Ok(Vec::new()),
        }
    }

    fn done(&self, deliver: &Deliver<'_>) -> anyhow::Result<Vec<Message>> {
        let event = &deliver.event;
        self.note(event.id, event.data.item.number, deliver.attempt)?;
        let ack = format!(r#"{{"ack":{{"eventId":"{}"}}}}"#, event.id);
        Ok(vec![Message::text(ack), Message::text(r#"{"grant":{"credit":1}}"#)])
    }

    fn note(&self, id: &str, number: u64, attempt: u32) -> anyhow::Result<()> {
        let seq = number.checked_sub(FIRST_NUMBER).context("an issue that this tool never opened")?;
        self.ledger.deliver(Uuid::parse_str(id)?, seq, attempt, std::time::Instant::now());
        Ok(())
    }
}

/// The address that a session connects from: all of 127.0.0.0/8 are this machine's.
fn source(at: usize) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 0, u8::try_from(1 + at / PER_SOURCE).unwrap_or(u8::MAX))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
