//! The floor: a webhook is verified, kept and handed to an agent with nothing in between. No routing, no dedupe,
//! no token is checked, nothing is handed out twice. What Nexus costs beyond this is what its logic costs.
//!
//! POST → HMAC over the body → one segment, written by one thread with one fdatasync a group → 200, and at the same
//! time → a queue → whichever session has credit → WebSocket → its ack, noted without a sync.

mod bare;
mod door;
mod session;
mod writer;

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use hmac::{Hmac, KeyInit as _};
use hyper_util::rt::{TokioIo, TokioTimer};
use sha2::Sha256;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::args::FloorArgs;
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

/// What all connections share.
struct Floor {
    mac: Hmac<Sha256>,
    appends: mpsc::Sender<writer::Append>,
    ready: async_channel::Receiver<Event>,
    acks: File,
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
        acks: writer::create(&args.data.join("acks"))?,
    });
    let segment = writer::create(&args.data.join("segment"))?;
    let mut tasks = JoinSet::new();
    if let Some(grpc) = args.grpc {
        tasks.spawn(bare::serve(grpc));
    }
    tasks.spawn_blocking(move || writer::run(segment, received, &kept));
    let listener =
        TcpListener::bind(args.listen).await.with_context(|| format!("cannot listen on {}", args.listen))?;
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, _) = accepted.context("cannot accept a connection")?;
                stream.set_nodelay(true)?;
                connections.spawn(connection(stream, Arc::clone(&floor)));
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
