//! An HTTP server with deadlines and bounds, for every port of every role.

mod connection;
#[cfg(test)]
mod http2_tests;
mod streams;

use std::future::{Future as _, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

pub use self::connection::{Connection, Hold, take_socket};
use self::connection::{Order, Socket};
pub use self::streams::Stream;
use self::streams::{Spawn, Streams};

/// The most bytes of headers, and of what is read ahead of a body.
const MAX_HEADERS: usize = 64 * 1024;

/// The most bytes of headers of one HTTP/2 request.
const MAX_HEADER_LIST: u32 = 16 * 1024;

/// The most requests at a time of one HTTP/2 connection; what RFC 9113, section 6.5.2, calls the least that
/// allows for parallelism.
const MAX_STREAMS: u32 = 100;

/// The most bytes of a body that an HTTP/2 client may send before they are read: of one stream, and of all.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 256 * 1024;

/// The most bytes that wait for an HTTP/2 client on one stream before more is asked for.
const MAX_SEND_BUFFER: usize = 32 * 1024;

/// Streams that a client has reset and nobody has looked at yet: more of them, and the connection ends.
const MAX_PENDING_RESETS: usize = 20;

/// Streams that we had to reset for errors of the client: more of them, and the connection ends.
const MAX_ERROR_RESETS: usize = 100;

/// A silent HTTP/2 client is asked this often whether it lives, and has so long to answer.
const PING_EVERY: Duration = Duration::from_secs(60);
const PING_DEADLINE: Duration = Duration::from_secs(20);

/// A connection that is to end in order has so long for it.
const CLOSE_DEADLINE: Duration = Duration::from_millis(250);

/// Bounds of a server.
#[derive(Debug, Clone, Copy)]
pub struct ServerLimits {
    /// The longest time from the first to the last byte of a request's headers; also how long an idle
    /// connection may stay.
    pub header_deadline: Duration,
    /// The most open connections; beyond them new ones wait in the kernel's queue.
    pub connections: usize,
    /// How long requests under way may take to end in a drain.
    pub drain: Duration,
    /// Whether HTTP/2 is served beside HTTP/1, to clients that begin with its preface. A connection that nothing
    /// holds ([`Connection::hold`]) is then closed when it brings no request for the header deadline.
    pub http2: bool,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            header_deadline: Duration::from_secs(10),
            connections: 16_384,
            drain: Duration::from_secs(10),
            http2: false,
        }
    }
}

/// Serves a router on a listener until drained. Owns every connection; upgraded ones are the upgrader's.
///
/// # Errors
/// Never for a single connection; accepting goes on after errors such as too many open files.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: ServerLimits,
    drain: CancellationToken,
) -> io::Result<()> {
    let permits = Arc::new(Semaphore::new(limits.connections));
    let mut connections = JoinSet::new();
    loop {
        let permit = tokio::select! {
            () = drain.cancelled() => break,
            permit = Arc::clone(&permits).acquire_owned() => permit.map_err(io::Error::other)?,
            Some(_) = connections.join_next() => continue,
        };
        let (stream, peer) = tokio::select! {
            () = drain.cancelled() => break,
            accepted = accept(&listener) => accepted,
        };
        // Frames are small and wait for nothing.
        let _ = stream.set_nodelay(true);
        let (router, drain) = (router.clone(), drain.clone());
        if limits.http2 {
            let handle = Connection::new(permit, Arc::clone(&permits));
            connections.spawn(either(stream, peer, router, limits, handle, drain));
        } else {
            connections.spawn(http1(stream, peer, router, limits, permit, drain));
        }
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    let all = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(limits.drain, all).await.is_err() {
        connections.shutdown().await;
    }
    Ok(())
}

/// The next connection. Errors of accept are of single connections or pass, so it goes on after a pause.
async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) => {
                metrics::counter!("nexus_http_accept_errors_total").increment(1);
                tracing::warn!(%error, "cannot accept a connection; trying again");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// One HTTP/1 connection, until it ends: with the peer, a deadline, an upgrade, or after its last request in a
/// drain.
async fn http1(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    limits: ServerLimits,
    _permit: OwnedSemaphorePermit,
    drain: CancellationToken,
) {
    let service = hyper::service::service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        router.clone().oneshot(request)
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_deadline)
        .max_buf_size(MAX_HEADERS)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = drain.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "connection ended");
    }
}

/// One connection of either version of HTTP, until it ends: in a way that [`http1`] has, or because its handle
/// says so or nothing holds it.
async fn either(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    limits: ServerLimits,
    handle: Connection,
    drain: CancellationToken,
) {
    let of_requests = handle.clone();
    let service = hyper::service::service_fn(move |mut request: hyper::Request<Incoming>| {
        of_requests.requested(request.version());
        request.extensions_mut().insert(ConnectInfo(peer));
        request.extensions_mut().insert(of_requests.clone());
        let router = router.clone();
        async move {
            // Known within its task only.
            if let Some(stream) = Stream::current() {
                request.extensions_mut().insert(stream);
            }
            router.oneshot(request).await
        }
    });
    // Dropped last, and with it all streams.
    let streams = Streams::default();
    let builder = builder(limits, streams.spawner());
    let socket = TokioIo::new(Socket::new(stream, handle.clone()));
    let mut connection = std::pin::pin!(builder.serve_connection_with_upgrades(socket, service));
    let mut drained = false;
    let mut closing = None;
    loop {
        let deadline = closing.or_else(|| handle.deadline(limits.header_deadline));
        let mut close = false;
        tokio::select! {
            biased;
            () = handle.changed() => match handle.order() {
                Order::Reset => return,
                Order::Close => close = true,
                Order::End => {
                    // Once more, for what waits to be sent.
                    let _ = poll_fn(|cx| Poll::Ready(connection.as_mut().poll(cx))).await;
                    if streams.are_done() {
                        return;
                    }
                    // Other calls, whose peer must know which of them were taken.
                    close = true;
                }
                Order::Keep => {}
            },
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%peer, error, "connection ended");
                }
                return;
            }
            () = drain.cancelled(), if !drained => {
                drained = true;
                connection.as_mut().graceful_shutdown();
            }
            () = passed(deadline) => {
                let idle = handle.deadline(limits.header_deadline).is_some_and(|at| at <= Instant::now());
                let ends = idle || matches!(handle.order(), Order::Close | Order::End);
                if handle.is_mute() || (closing.is_some() && ends) {
                    return;
                }
                // It may have been held or have brought a request since, and then ends with that.
                closing = None;
                close = ends;
            }
        }
        if close && closing.is_none() {
            closing = Some(Instant::now() + CLOSE_DEADLINE);
            connection.as_mut().graceful_shutdown();
        }
    }
}

async fn passed(deadline: Option<Instant>) {
    match deadline {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

fn builder(limits: ServerLimits, spawn: Spawn) -> auto::Builder<Spawn> {
    let mut builder = auto::Builder::new(spawn);
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_deadline)
        .max_buf_size(MAX_HEADERS);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADER_LIST)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(MAX_SEND_BUFFER)
        .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
        .max_local_error_reset_streams(MAX_ERROR_RESETS)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_DEADLINE);
    builder
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    async fn start(limits: ServerLimits) -> (SocketAddr, CancellationToken, JoinSet<io::Result<()>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let drain = CancellationToken::new();
        let router = Router::new().route("/", get(|| async { "hello" }));
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(listener, router, limits, drain.clone()));
        (address, drain, tasks)
    }

    #[tokio::test]
    async fn a_request_is_answered_and_the_drain_ends_the_server() {
        let (address, drain, mut tasks) = start(ServerLimits::default()).await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("hello"), "{answer}");
        drain.cancel();
        tasks.join_next().await.unwrap().unwrap().unwrap();
    }

    #[tokio::test]
    async fn slow_headers_are_cut_off() {
        let limits = ServerLimits { header_deadline: Duration::from_millis(100), ..ServerLimits::default() };
        let (address, _drain, _tasks) = start(limits).await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nhost:").await.unwrap();
        let mut rest = Vec::new();
        let read = stream.read_to_end(&mut rest);
        tokio::time::timeout(Duration::from_secs(5), read).await.expect("the server closes").unwrap();
    }
}
