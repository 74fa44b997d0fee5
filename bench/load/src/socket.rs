//! An agent's WebSocket, over a stream that knows when its last byte was read.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Notify;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use crate::frame::SUBPROTOCOL;

/// A connection to the gateway.
pub type Socket = WebSocketStream<Watched>;

/// The first and the latest moment that something happened on any of many sockets.
#[derive(Debug)]
pub struct Latest {
    origin: Instant,
    first: AtomicU64,
    nanos: AtomicU64,
}

impl Default for Latest {
    fn default() -> Self {
        Self { origin: Instant::now(), first: AtomicU64::new(u64::MAX), nanos: AtomicU64::new(0) }
    }
}

impl Latest {
    /// It happened now.
    pub fn mark(&self) {
        let nanos = u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.first.fetch_min(nanos, Ordering::Relaxed);
        self.nanos.fetch_max(nanos, Ordering::Relaxed);
    }

    /// How long after a moment it happened first; none if never, or if it was before.
    pub fn first_since(&self, moment: Instant) -> Option<Duration> {
        let first = self.first.load(Ordering::Relaxed);
        let first = (first < u64::MAX).then(|| self.origin + Duration::from_nanos(first))?;
        first.checked_duration_since(moment)
    }

    /// How long after a moment it happened last; none if it was before.
    pub fn since(&self, moment: Instant) -> Option<Duration> {
        let last = self.origin + Duration::from_nanos(self.nanos.load(Ordering::Relaxed));
        last.checked_duration_since(moment)
    }
}

/// A stream that marks each read of at least one byte, and its end.
#[derive(Debug)]
pub struct Watched {
    stream: TcpStream,
    last_byte: Arc<Latest>,
    closed: Arc<Notify>,
}

impl Watched {
    /// Opens a connection from this address; `closed` is notified when the other side has closed it.
    pub async fn connect(
        source: Ipv4Addr,
        gateway: SocketAddr,
        last_byte: Arc<Latest>,
        closed: Arc<Notify>,
    ) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        if source != Ipv4Addr::LOCALHOST {
            socket.bind((source, 0).into())?;
        }
        let stream = socket.connect(gateway).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, last_byte, closed })
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, buf));
        if buf.filled().len() > before {
            self.last_byte.mark();
        } else {
            self.closed.notify_one();
        }
        Poll::Ready(read)
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Buffers far below the library's own of 128 KiB for each direction, at both ends.
pub fn small_buffers() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(4 << 10)
        .write_buffer_size(4 << 10)
        .max_write_buffer_size(2 << 20)
}

/// Opens a connection.
pub async fn connect(gateway: SocketAddr, token: &str, last_byte: Arc<Latest>) -> Result<Socket, Error> {
    connect_from(Ipv4Addr::LOCALHOST, gateway, token, last_byte).await
}

/// Opens a connection from this address.
pub async fn connect_from(
    source: Ipv4Addr,
    gateway: SocketAddr,
    token: &str,
    last_byte: Arc<Latest>,
) -> Result<Socket, Error> {
    let stream = Watched::connect(source, gateway, last_byte, Arc::default()).await?;
    let mut request = format!("ws://{gateway}/v1/connect").into_client_request()?;
    let headers = request.headers_mut();
    headers.insert("authorization", HeaderValue::from_str(&format!("Bearer {token}"))?);
    headers.insert("sec-websocket-protocol", HeaderValue::from_static(SUBPROTOCOL));
    Ok(client_async_with_config(request, stream, Some(small_buffers())).await?.0)
}
