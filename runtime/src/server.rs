//! An HTTP server with deadlines and bounds, for every port of every role.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

/// The most bytes of headers, and of what is read ahead of a body.
const MAX_HEADERS: usize = 64 * 1024;

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
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self { header_deadline: Duration::from_secs(10), connections: 16_384, drain: Duration::from_secs(10) }
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
        connections.spawn(connection(stream, peer, router.clone(), limits, permit, drain.clone()));
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

/// One connection, until it ends: with the peer, a deadline, an upgrade, or after its last request in a drain.
async fn connection(
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
