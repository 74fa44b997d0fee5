//! Both ends in one process, over connections in memory.

mod files;
mod pods;
mod sequences;
mod streams;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use futures_util::StreamExt as _;
use hyper_util::rt::TokioIo;
use nexus_core::id::TenantKey;
use nexus_core::secret::Secret;
use nexus_core::snapshot::{GatewaySnapshot, Heartbeat, IngestSnapshot, Storage};
use tokio::io::DuplexStream;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Status, Streaming};

use super::subscriber::Operators;
use super::v1::configuration_client::ConfigurationClient;
use super::*;

/// The longest that anything is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// A token is `role`, or `role:pod`.
#[derive(Clone)]
struct Tokens;

impl Identify for Tokens {
    async fn identify(&self, token: &str) -> Result<Identity, Unidentified> {
        let (role, pod) = token.split_once(':').map_or((token, None), |(role, pod)| (role, Some(pod)));
        let role = match role {
            "ingest" => Role::Ingest,
            "gateway" => Role::Gateway,
            "away" => return Err(Unidentified::Unavailable("nobody is there".into())),
            _ => return Err(Unidentified::Refused("nobody's".into())),
        };
        Ok(Identity { role, pod: pod.map(str::to_owned) })
    }
}

/// Replicas of the operator by address, each of which serves connections in memory.
#[derive(Clone, Default)]
struct Replicas {
    doors: Arc<Mutex<BTreeMap<SocketAddr, mpsc::Sender<DuplexStream>>>>,
    token: &'static str,
}

fn address(port: u16) -> SocketAddr {
    ([127, 0, 0, 1], port).into()
}

impl Replicas {
    fn of(token: &'static str) -> Self {
        Self { token, ..Self::default() }
    }

    fn serve(&self, port: u16, publisher: &Publisher, tasks: &mut JoinSet<()>) {
        let (door, connections) = mpsc::channel(16);
        self.doors.lock().unwrap().insert(address(port), door);
        let incoming = ReceiverStream::new(connections).map(Ok::<_, io::Error>);
        let server = Server::builder().add_service(publisher.service(Tokens));
        tasks.spawn(async move { server.serve_with_incoming(incoming).await.unwrap() });
    }
}

impl Operators for Replicas {
    async fn addresses(&self) -> Result<Vec<SocketAddr>, Box<dyn std::error::Error + Send + Sync>> {
        Ok(self.doors.lock().unwrap().keys().copied().collect())
    }

    async fn connect(
        &self,
        address: SocketAddr,
    ) -> Result<Channel, Box<dyn std::error::Error + Send + Sync>> {
        let door = self.doors.lock().unwrap().get(&address).cloned().ok_or("nobody is there")?;
        let connector = tower::service_fn(move |_| {
            let door = door.clone();
            async move {
                let (ours, theirs) = tokio::io::duplex(64 << 10);
                door.send(theirs).await.map_err(|_| io::Error::other("nobody takes it"))?;
                Ok::<_, io::Error>(TokioIo::new(ours))
            }
        });
        Ok(Endpoint::from_static("http://operator").connect_with_connector(connector).await?)
    }

    async fn token(&self) -> Result<Secret, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Secret::new(self.token))
    }
}

/// A pod: what it holds, what it tells, and its subscriber, which a test runs.
struct TestPod {
    stage: Stage,
    standing: watch::Sender<Standing>,
    subscriber: Arc<Subscriber>,
}

impl TestPod {
    fn new(role: Role, pod: &str) -> Self {
        let (standing, told) = watch::channel(Standing::default());
        let stage = Stage::new(Held::new(role), |_| {});
        let subscriber = Subscriber { role, pod: pod.into(), stage: stage.clone(), standing: told };
        Self { stage, standing, subscriber: Arc::new(subscriber) }
    }

    fn run(&self, replicas: &Replicas, tasks: &mut JoinSet<()>) -> tokio::task::AbortHandle {
        let (subscriber, replicas) = (Arc::clone(&self.subscriber), replicas.clone());
        tasks.spawn(async move { match subscriber.run(&replicas).await {} })
    }

    async fn holds(&self, what: &str, is: impl Fn(&Held) -> bool) -> Held {
        wait(what, &mut self.stage.held(), is).await
    }
}

async fn wait<T: Clone>(what: &str, watched: &mut watch::Receiver<T>, is: impl Fn(&T) -> bool) -> T {
    let found = tokio::time::timeout(PATIENCE, watched.wait_for(is)).await;
    found.unwrap_or_else(|_| panic!("waited for {what}")).unwrap().clone()
}

fn tenant(name: &str) -> TenantKey {
    format!("acme/{name}").parse().unwrap()
}

fn named(kind: ResourceType, name: &str) -> ResourceName {
    ResourceName { kind, tenant: tenant(name) }
}

fn ingest(name: &str, quota_bytes: u64) -> Resource {
    let storage = Storage { quota_bytes, ..Storage::default() };
    let snapshot = IngestSnapshot { tenant: tenant(name), sources: BTreeMap::new(), storage };
    Resource::of(named(ResourceType::Ingest, name), &snapshot).unwrap()
}

fn gateway(name: &str, misses: u32) -> Resource {
    let snapshot = GatewaySnapshot {
        tenant: tenant(name),
        agents: BTreeMap::new(),
        aliases: vec![],
        heartbeat: Heartbeat { misses, ..Heartbeat::default() },
    };
    Resource::of(named(ResourceType::Gateway, name), &snapshot).unwrap()
}

fn signing(name: &str, secret: &str) -> Resource {
    let secrets = [("github".to_owned(), vec![Secret::new(secret)])].into();
    Resource::signing(tenant(name), &secrets).unwrap()
}

/// One that no pod takes.
fn strange(kind: ResourceType, name: &str) -> Resource {
    Resource::of(named(kind, name), &[1]).unwrap()
}

fn digests(resources: &[Resource]) -> BTreeMap<ResourceName, Digest> {
    resources.iter().map(|resource| (resource.name().clone(), resource.digest())).collect()
}

fn held(held: &Held) -> BTreeMap<ResourceName, Digest> {
    held.versions().map(|(name, digest)| (name.clone(), digest)).collect()
}

/// A stream by hand: what a pod could send, message by message.
struct Raw {
    up: mpsc::Sender<v1::PodMessage>,
    down: Streaming<v1::OperatorMessage>,
}

fn hello(role: Role, held: &[Resource]) -> v1::Hello {
    let versions = digests(held);
    let held = report::versions_proto(versions.iter().map(|(name, digest)| (name, *digest)));
    v1::Hello { role: role.proto().into(), pod: "pod".into(), held, configure: true }
}

impl Raw {
    async fn open(replicas: &Replicas, token: &str, hello: v1::Hello) -> Result<Self, Status> {
        let channel = replicas.connect(address(1)).await.unwrap();
        let (up, messages) = mpsc::channel(4);
        let message = Some(v1::pod_message::Message::Hello(hello));
        up.send(v1::PodMessage { message }).await.unwrap();
        let mut request = Request::new(ReceiverStream::new(messages));
        if !token.is_empty() {
            request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        }
        let down = ConfigurationClient::new(channel).stream(request).await?.into_inner();
        Ok(Self { up, down })
    }

    async fn update(&mut self) -> v1::Update {
        let message = tokio::time::timeout(PATIENCE, self.down.message()).await.expect("an Update comes");
        let Some(v1::operator_message::Message::Update(update)) = message.unwrap().unwrap().message else {
            panic!("it is an Update")
        };
        update
    }

    async fn answer(&self, nonce: u64) {
        let message = Some(v1::pod_message::Message::Answer(v1::Answer { nonce, refused: vec![] }));
        self.up.send(v1::PodMessage { message }).await.unwrap();
    }

    /// Whether an hour passes without an Update.
    async fn silent(&mut self) -> bool {
        tokio::time::timeout(Duration::from_secs(3600), self.down.message()).await.is_err()
    }
}
