//! An agent's WebSocket, over a stream that knows when its last byte was read.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use crate::frame::SUBPROTOCOL;

/// A connection to the gateway.
pub type Socket = WebSocketStream<Watched>;

/// The latest moment that something happened on any of many sockets.
#[derive(Debug)]
pub struct Latest {
    origin: Instant,
    nanos: AtomicU64,
}

impl Default for Latest {
    fn default() -> Self {
        Self { origin: Instant::now(), nanos: AtomicU64::new(0) }
    }
}

impl Latest {
    /// It happened now.
    pub fn mark(&self) {
        let nanos = u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.nanos.fetch_max(nanos, Ordering::Relaxed);
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
    /// Opens a connection; `closed` is notified when the other side has closed it.
    pub async fn connect(
        gateway: SocketAddr,
        last_byte: Arc<Latest>,
        closed: Arc<Notify>,
    ) -> io::Result<Self> {
        let stream = TcpStream::connect(gateway).await?;
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
    let stream = Watched::connect(gateway, last_byte, Arc::default()).await?;
    let mut request = format!("ws://{gateway}/v1/connect").into_client_request()?;
    let headers = request.headers_mut();
    headers.insert("authorization", HeaderValue::from_str(&format!("Bearer {token}"))?);
    headers.insert("sec-websocket-protocol", HeaderValue::from_static(SUBPROTOCOL));
    Ok(client_async_with_config(request, stream, Some(small_buffers())).await?.0)
}
