//! A gateway as it is shipped, on a port of its own, over a real bus.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use biscuit_auth::{BlockBuilder, UnverifiedBiscuit};
use bytes::Bytes;
use jiff::Timestamp;
use nexus_core::change::ChangeKey;
use nexus_core::clock::{Clock, ManualClock};
use nexus_core::event::{DataContentType, EventData, Provider, SpecVersion, StandardEvent};
use nexus_core::id::{AgentId, EventId, InboxId, TenantKey};
use nexus_core::kind::{Kind, Rank};
use nexus_core::mention::Mentions;
use nexus_core::secret::Secret;
use nexus_core::selector::Labels;
use nexus_core::snapshot::{Agent, Alias, Delivery, GatewaySnapshot, Heartbeat};
use nexus_core::stop::{Mirror, Policy, Targets, Workloads};
use nexus_gateway::token::{Claims, credential_mark};
use nexus_gateway::{Gateway, GatewayConfig, GatewayDeps, GatewaySettings, Presence, TokenKeys};
use nexus_runtime::Drain;
use nexus_runtime::lane::StopLane;
use nexus_runtime::tasks::TaskEnded;
use nexus_store::bus::{Append, Appended, Bus, InboxDepth, Raw};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tonic::Status;
use uuid::Uuid;

use crate::client::{Client, Connection, Speaks};
use crate::server::Server;

/// The thread of most events.
const THREAD: &str = "github:acme/shop#12";

/// Nothing that a test waits for takes this long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The time of day when a test begins.
const NOW: &str = "2026-11-24T07:00:00Z";

/// Secrets of agents are their names with this behind.
const SECRET: &str = "-secret-of-at-least-32-characters";

pub(crate) fn tenant() -> TenantKey {
    "acme/acme".parse().unwrap()
}

pub(crate) fn agent_id(name: &str) -> AgentId {
    AgentId::of(&tenant(), name)
}

pub(crate) fn secret(name: &str) -> String {
    format!("{name}{SECRET}")
}

/// How a token names the secret that it was issued for.
pub(crate) fn mark(name: &str) -> String {
    credential_mark(Secret::new(secret(name)).digest())
}

/// A tenant to be changed by tests: its agents, each heard of by its name.
pub(crate) fn snapshot(names: &[&str]) -> GatewaySnapshot {
    let agent = |name: &&str| {
        let agent = Agent {
            id: agent_id(name),
            display_name: (*name).to_owned(),
            role: None,
            owner: None,
            labels: Labels::new(),
            aliases: vec![],
            subscriptions: vec![],
            max_in_flight: 10,
            credential: Some(Secret::new(secret(name)).digest()),
            shared_inboxes: vec![],
        };
        ((*name).to_owned(), agent)
    };
    GatewaySnapshot {
        tenant: tenant(),
        agents: names.iter().map(agent).collect(),
        aliases: vec![],
        heartbeat: Heartbeat::default(),
    }
}

/// A token to which its holder has added a block.
pub(crate) fn attenuated(token: &str, code: &str) -> String {
    let block = BlockBuilder::new().code(code).unwrap();
    let token = UnverifiedBiscuit::from_base64(token).unwrap();
    token.append(block).unwrap().to_base64().unwrap()
}

/// Adds an alias with one shared inbox.
pub(crate) fn share(snapshot: &mut GatewaySnapshot, alias: &str, members: &[&str]) {
    snapshot.aliases.push(Alias {
        name: alias.to_owned(),
        handles: BTreeMap::new(),
        members: members.iter().map(|&name| name.to_owned()).collect(),
        delivery: Delivery::Any,
    });
    for name in members {
        let agent = snapshot.agents.get_mut(*name).unwrap();
        agent.shared_inboxes.push(InboxId::of_alias(&tenant(), alias));
    }
}

/// A running gateway.
pub(crate) struct World {
    pub(crate) bus: Bus,
    pub(crate) lane: StopLane,
    pub(crate) config: watch::Sender<Arc<GatewayConfig>>,
    pub(crate) keys: TokenKeys,
    pub(crate) address: SocketAddr,
    pub(crate) presence: Presence,
    pub(crate) drain: Drain,
    pub(crate) running: JoinSet<Result<(), TaskEnded>>,
    /// Stands still until a test moves it.
    pub(crate) time: ManualClock,
    pub(crate) clock: Clock,
    /// What agents speak that connect.
    pub(crate) speaks: Speaks,
    _folder: tempfile::TempDir,
}

/// Why a session was not opened.
#[derive(Debug)]
pub(crate) enum Refused {
    Http(Answer),
    Grpc(Status),
}

impl Refused {
    pub(crate) fn http(self) -> Answer {
        match self {
            Self::Http(answer) => answer,
            Self::Grpc(status) => panic!("not over HTTP: {status:?}"),
        }
    }

    pub(crate) fn grpc(self) -> Status {
        match self {
            Self::Grpc(status) => status,
            Self::Http(answer) => panic!("not over gRPC: {answer:?}"),
        }
    }

    /// Whether it passes.
    pub(crate) fn passes(&self) -> bool {
        match self {
            Self::Http(answer) => answer.status == 503,
            Self::Grpc(status) => status.code() == tonic::Code::Unavailable,
        }
    }
}

impl World {
    pub(crate) async fn new(snapshot: GatewaySnapshot) -> Self {
        Self::with(snapshot, |_| {}).await
    }

    pub(crate) async fn with(snapshot: GatewaySnapshot, change: impl FnOnce(&mut GatewaySettings)) -> Self {
        let (folder, time) = (tempfile::tempdir().unwrap(), ManualClock::at(NOW.parse().unwrap()));
        let bus = Bus::open_embedded(&folder.path().join("bus"), time.clock()).unwrap();
        Self::over(bus, time, folder, snapshot, change).await
    }

    /// Over a Redis of its own, whose files are in this folder.
    pub(crate) async fn redis(snapshot: GatewaySnapshot) -> (Self, Server, PathBuf) {
        let (folder, time) = (tempfile::tempdir().unwrap(), ManualClock::at(NOW.parse().unwrap()));
        let path = folder.path().join("redis");
        std::fs::create_dir(&path).unwrap();
        let server = Server::start(&path, &[]).await;
        let bus = Bus::open_redis(server.url().parse().unwrap(), time.clock()).await.unwrap();
        (Self::over(bus, time, folder, snapshot, |_| {}).await, server, path)
    }

    async fn over(
        bus: Bus,
        time: ManualClock,
        folder: tempfile::TempDir,
        snapshot: GatewaySnapshot,
        change: impl FnOnce(&mut GatewaySettings),
    ) -> Self {
        let clock = time.clock();
        let lane = StopLane::open(&folder.path().join("latch.json")).unwrap();
        lane.observe(&[]).unwrap();
        let config = watch::Sender::new(Arc::new(configure(snapshot)));
        let mut world = Self {
            bus,
            lane,
            config,
            keys: TokenKeys::generate(),
            address: ([127, 0, 0, 1], 0).into(),
            presence: Presence::default(),
            drain: Drain::new(),
            running: JoinSet::new(),
            time,
            clock,
            speaks: Speaks::WebSocket,
            _folder: folder,
        };
        let mut settings = GatewaySettings::at(world.address);
        change(&mut settings);
        (world.address, world.presence) = world.start(settings).await;
        world
    }

    /// The same, whose agents speak this.
    pub(crate) fn speaking(mut self, speaks: Speaks) -> Self {
        self.speaks = speaks;
        self
    }

    pub(crate) fn deps(&self) -> GatewayDeps {
        GatewayDeps {
            bus: self.bus.clone(),
            gate: self.lane.gate(),
            config: self.config.subscribe(),
            keys: self.keys.clone(),
            clock: self.clock.clone(),
        }
    }

    /// Starts a gateway; a second one in the same world shares the bus with the first.
    pub(crate) async fn start(&mut self, settings: GatewaySettings) -> (SocketAddr, Presence) {
        let bound = Gateway::bind(self.deps(), settings).await.unwrap();
        let at = (bound.address(), bound.presence());
        self.running.spawn(bound.run(self.drain.clone()));
        at
    }

    pub(crate) fn configure(&self, snapshot: GatewaySnapshot) {
        self.config.send_replace(Arc::new(configure(snapshot)));
    }

    /// A token as the key holder can make it, for tests of tokens themselves.
    pub(crate) fn token_until(&self, name: &str, expires: Timestamp) -> String {
        let claims = Claims { tenant: tenant(), agent: agent_id(name), credential: mark(name), expires };
        self.keys.issue(&claims).unwrap()
    }

    pub(crate) fn in_seconds(&self, seconds: u64) -> Timestamp {
        self.clock.now() + Duration::from_secs(seconds)
    }

    /// A token as agents get it.
    pub(crate) async fn token(&self, name: &str) -> String {
        let answer = self.ask_token(name).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()["access_token"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn ask_token(&self, name: &str) -> Answer {
        let basic = BASE64_STANDARD.encode(format!("{}:{}", agent_id(name), secret(name)));
        let headers = format!("authorization: Basic {basic}\r\n");
        self.post_form("/oauth/token", &headers, "grant_type=client_credentials").await
    }

    pub(crate) async fn post_form(&self, path: &str, headers: &str, form: &str) -> Answer {
        let headers = format!("content-type: application/x-www-form-urlencoded\r\n{headers}");
        self.http("POST", path, &headers, form).await
    }

    pub(crate) async fn http(&self, method: &str, path: &str, headers: &str, body: &str) -> Answer {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: gateway.test\r\nconnection: close\r\n\
             content-length: {length}\r\n{headers}\r\n{body}"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        timeout(PATIENCE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
        Answer::parse(&answer)
    }

    /// Connects as an agent does.
    pub(crate) async fn connect(&self, name: &str) -> Client {
        let token = self.token(name).await;
        self.connect_with(&token).await.unwrap()
    }

    /// Connects and says Hello.
    pub(crate) async fn open(&self, name: &str, credit: u32) -> Client {
        let mut client = self.connect(name).await;
        client.hello(credit).await;
        client
    }

    pub(crate) async fn connect_with(&self, token: &str) -> Result<Client, Refused> {
        let bearer = format!("Bearer {token}");
        match self.speaks {
            Speaks::WebSocket => {
                let headers =
                    [("authorization", bearer.as_str()), ("sec-websocket-protocol", "nexus.v1+json")];
                self.connect_headers(&headers).await.map_err(Refused::Http)
            }
            Speaks::Grpc => {
                let connection = Connection::over(self.socket(None).await).await;
                let mut client = connection.connect_with(token).await.map_err(Refused::Grpc)?;
                client.call().connection = Some(connection);
                Ok(client)
            }
        }
    }

    /// Connects by WebSocket with these headers.
    pub(crate) async fn connect_headers(&self, headers: &[(&'static str, &str)]) -> Result<Client, Answer> {
        self.connect_over(self.socket(None).await, headers).await
    }

    /// A connection by TCP, which may take in next to nothing before it is read.
    pub(crate) async fn socket(&self, receive_buffer: Option<u32>) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        if let Some(size) = receive_buffer {
            socket.set_recv_buffer_size(size).unwrap();
        }
        let stream = socket.connect(self.address).await.unwrap();
        // An Ack and the Grant behind it are two small writes.
        stream.set_nodelay(true).unwrap();
        stream
    }

    /// Connects by WebSocket and says Hello, over a socket that takes in next to nothing before it is read.
    pub(crate) async fn open_narrow(&self, name: &str, credit: u32) -> Client {
        let bearer = format!("Bearer {}", self.token(name).await);
        let client = self.connect_over(self.socket(Some(4096)).await, &[("authorization", &bearer)]).await;
        let mut client = client.unwrap();
        client.hello(credit).await;
        client
    }

    async fn connect_over(
        &self,
        stream: TcpStream,
        headers: &[(&'static str, &str)],
    ) -> Result<Client, Answer> {
        let url = format!("ws://{}/v1/connect", self.address);
        let mut request = url.into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        match tokio_tungstenite::client_async(request, stream).await {
            Ok((stream, response)) => {
                let asked = headers.iter().any(|(name, _)| *name == "sec-websocket-protocol");
                let told = response.headers().contains_key("sec-websocket-protocol");
                assert_eq!(asked, told);
                Ok(Client::WebSocket(Box::new(stream)))
            }
            Err(Error::Http(response)) => Err(Answer {
                status: response.status().as_u16(),
                headers: response
                    .headers()
                    .iter()
                    .map(|(name, value)| format!("{name}: {}\r\n", value.to_str().unwrap()))
                    .collect(),
                body: String::from_utf8(response.into_body().unwrap_or_default()).unwrap(),
            }),
            Err(error) => panic!("no answer: {error}"),
        }
    }

    /// Appends an event whose text is this.
    pub(crate) async fn append(&self, text: &str) -> EventId {
        self.append_to(THREAD, text).await
    }

    /// Of another thread.
    pub(crate) async fn append_to(&self, thread: &str, text: &str) -> EventId {
        let id = EventId::from(Uuid::now_v7());
        let event = serde_json::to_vec(&event(id, text)).unwrap();
        self.append_of(thread, id, event).await
    }

    pub(crate) async fn append_raw(&self, id: EventId, event: Vec<u8>) -> EventId {
        self.append_of(THREAD, id, event).await
    }

    async fn append_of(&self, thread: &str, id: EventId, event: Vec<u8>) -> EventId {
        let append = Append {
            id,
            delivery_key: id.to_string(),
            dedupe_for: Duration::from_secs(3600),
            thread_key: thread.into(),
            kind: Kind::NewMessage,
            source: "github".into(),
            title: None,
            received: self.clock.now(),
            change: ChangeKey::single(id.to_string(), Rank::Update),
            event: Bytes::from(event),
            raw: Raw { headers: vec![], body: Bytes::new() },
            quota_bytes: 1 << 30,
        };
        let appended = self.bus.append(&tenant(), append).await.unwrap();
        assert!(matches!(appended, Appended::Stored(_)));
        id
    }

    /// Waits until an agent's inbox is as it should be.
    pub(crate) async fn inbox_until(&self, name: &str, wanted: impl Fn(&InboxDepth) -> bool) -> InboxDepth {
        let (tenant, inbox) = (tenant(), agent_id(name).inbox());
        until(async || {
            let depth = self.bus.inbox_depth(&tenant, inbox).await.unwrap();
            wanted(&depth).then_some(depth)
        })
        .await
    }
}

fn configure(snapshot: GatewaySnapshot) -> GatewayConfig {
    GatewayConfig::new([(snapshot.tenant.clone(), Arc::new(snapshot))].into())
}

/// Waits until a condition yields something.
pub(crate) async fn until<T>(mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let wait = async {
        loop {
            if let Some(value) = condition().await {
                return value;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, wait).await.expect("the condition holds in time")
}

pub(crate) fn event(id: EventId, text: &str) -> StandardEvent {
    let mut mentions = Mentions::default();
    mentions.scan(text);
    let now: Timestamp = NOW.parse().unwrap();
    StandardEvent {
        specversion: SpecVersion::V1,
        id,
        source: "/hooks/acme/acme/github".into(),
        kind: Kind::NewMessage,
        subject: None,
        time: now,
        datacontenttype: DataContentType::Json,
        tenant: tenant(),
        receivedtime: now,
        data: EventData {
            provider: Provider::GitHub,
            provider_event: "x".into(),
            actor: None,
            title: None,
            text: Some(text.to_owned()),
            url: None,
            mentions: mentions.into_vec(),
            thread_key: THREAD.into(),
            project_key: None,
            labels: vec![],
            links: vec![],
            enriched: true,
            change: ChangeKey::single(id.to_string(), Rank::Update),
            item: None,
            changes: vec![],
            push: None,
            outcome: None,
            reaction: None,
        },
    }
}

pub(crate) fn stop_all(generation: u64, stop: bool, release: Option<&str>) -> Policy {
    Policy {
        name: "stop-all".into(),
        uid: "1f2e3d4c-0000-4000-8000-000000000001".into(),
        generation,
        stop,
        release: release.map(Into::into),
        reason: Some("drill".into()),
        targets: Targets::default(),
        workloads: Workloads::default(),
        mirror: Mirror::default(),
    }
}

/// An answer of the gateway over HTTP.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: String,
    pub(crate) body: String,
}

impl Answer {
    fn parse(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let (status, headers) = head.split_once("\r\n").unwrap();
        Self {
            status: status.split(' ').nth(1).unwrap().parse().unwrap(),
            headers: format!("{headers}\r\n").to_ascii_lowercase(),
            body: body.to_owned(),
        }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn error(&self) -> String {
        self.json()["error"].as_str().unwrap_or_default().to_owned()
    }

    pub(crate) fn says(&self, text: &str) -> bool {
        self.json()["error_description"].as_str().unwrap_or_default().contains(text)
    }
}
