//! The floor: a webhook is verified, kept and handed to an agent with nothing in between. No routing, no dedupe,
//! no token is checked, nothing is handed out twice. What Nexus costs beyond this is what its logic costs.
//!
//! POST → HMAC over the body → one segment, written by one thread with one fdatasync a group → 200, and at the same
//! time → a queue → whichever session has credit → WebSocket → its ack, noted without a sync.
//!
//! As two processes ([`stream`]) it keeps events in a stream of Redis instead: one process is posted to, the other
//! has the sessions.

mod bare;
mod door;
mod session;
mod stream;
mod writer;

use std::fs::File;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use hmac::{Hmac, KeyInit as _};
use hyper_util::rt::{TokioIo, TokioTimer};
use sha2::Sha256;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::args::{FloorArgs, FloorGatewayArgs, FloorIngestArgs};
use crate::machine;

/// Events that may wait for a session; beyond them the writer waits, and so do webhooks.
const WAITING: usize = 4096;

/// Appends that may wait for the writer.
const APPENDS: usize = 1024;

/// The longest time to the end of a request's headers, as Nexus has it.
const HEADERS: Duration = Duration::from_secs(10);

/// An event that was kept.
struct Event {
    id: Uuid,
    body: Bytes,
}

/// Something to keep.
struct Append {
    body: Bytes,
    /// Told, with the event's id, when it is kept.
    done: oneshot::Sender<Uuid>,
}

/// Where acks go.
enum Acks {
    /// Into the page cache, with no sync: this does not wait for the disk.
    Noted(File),
    /// To Redis.
    Written(mpsc::Sender<Uuid>),
}

/// What all connections share.
struct Floor {
    mac: Hmac<Sha256>,
    appends: mpsc::Sender<Append>,
    ready: async_channel::Receiver<Event>,
    acks: Acks,
}

/// Serves until the process is ended.
pub async fn run(args: &FloorArgs) -> anyhow::Result<()> {
    machine::raise_files(0)?;
    std::fs::create_dir_all(&args.data).with_context(|| format!("cannot make {}", args.data.display()))?;
    let (kept, ready) = async_channel::bounded(WAITING);
    let (appends, received) = mpsc::channel(APPENDS);
    let floor = Arc::new(Floor {
        mac: Hmac::new_from_slice(args.secret.as_bytes())?,
        appends,
        ready,
        acks: Acks::Noted(writer::create(&args.data.join("acks"))?),
    });
    let segment = writer::create(&args.data.join("segment"))?;
    let mut tasks = JoinSet::new();
    if let Some(grpc) = args.grpc {
        tasks.spawn(bare::serve(grpc));
    }
    tasks.spawn_blocking(move || writer::run(segment, received, &kept));
    accept(args.listen, &floor, tasks).await
}

/// Serves the ingest half, which appends to Redis, until the process is ended.
pub async fn ingest(args: &FloorIngestArgs) -> anyhow::Result<()> {
    machine::raise_files(0)?;
    let (appends, received) = mpsc::channel(APPENDS);
    // There are no sessions here.
    let (_, ready) = async_channel::bounded(1);
    let (acks, _) = mpsc::channel(1);
    let mac = Hmac::new_from_slice(args.secret.as_bytes())?;
    let floor = Arc::new(Floor { mac, appends, ready, acks: Acks::Written(acks) });
    let mut tasks = JoinSet::new();
    tasks.spawn(stream::append(args.redis, args.event_bytes, args.raw_bytes, received));
    accept(args.listen, &floor, tasks).await
}

/// Serves the gateway half, which takes from Redis, until the process is ended.
pub async fn gateway(args: &FloorGatewayArgs) -> anyhow::Result<()> {
    machine::raise_files(0)?;
    stream::prepare(args.redis).await?;
    let (kept, ready) = async_channel::bounded(WAITING);
    let (acks, acked) = mpsc::channel(WAITING);
    // There are no webhooks here.
    let (appends, _) = mpsc::channel(1);
    let floor =
        Arc::new(Floor { mac: Hmac::new_from_slice(&[])?, appends, ready, acks: Acks::Written(acks) });
    let mut tasks = JoinSet::new();
    tasks.spawn(stream::take(args.redis, kept));
    tasks.spawn(stream::ack(args.redis, acked));
    accept(args.listen, &floor, tasks).await
}

/// Takes connections for as long as all tasks run.
async fn accept(
    listen: SocketAddr,
    floor: &Arc<Floor>,
    mut tasks: JoinSet<anyhow::Result<()>>,
) -> anyhow::Result<()> {
    let listener = TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?;
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, _) = accepted.context("cannot accept a connection")?;
                stream.set_nodelay(true)?;
                connections.spawn(connection(stream, Arc::clone(floor)));
            }
            Some(_) = connections.join_next() => {}
            Some(ended) = tasks.join_next() => return ended?.context("the floor failed"),
        }
    }
}

/// One connection: requests, then perhaps a session. The HTTP part is boxed, so that a session holds none of it.
async fn connection(stream: TcpStream, floor: Arc<Floor>) {
    if let Some((stream, read)) = Box::pin(requests(stream, &floor)).await {
        // The peer is gone; nobody is left to be told.
        let _ = session::run(stream, read, &floor).await;
    }
}

/// Serves requests. The stream comes back, with what was read of it too early, when it was upgraded.
async fn requests(stream: TcpStream, floor: &Arc<Floor>) -> Option<(TcpStream, Bytes)> {
    let (upgraded, mut upgrade) = mpsc::channel(1);
    let service = hyper::service::service_fn(move |request| {
        let (floor, upgraded) = (Arc::clone(floor), upgraded.clone());
        async move { Ok::<_, std::convert::Infallible>(door::answer(request, &floor, &upgraded).await) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await;
    served.ok()?;
    let upgraded: hyper::upgrade::OnUpgrade = upgrade.try_recv().ok()?;
    let parts = upgraded.await.ok()?.downcast::<TokioIo<TcpStream>>().ok()?;
    Some((parts.io.into_inner(), parts.read_buf))
}
