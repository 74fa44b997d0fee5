//! A WebSocket over TCP; each frame is a text message of JSON.

use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _};
use nexus_wire::agent::v1::server_frame;
use nexus_wire::frame::{self, Delivery};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::super::end::End;
use super::super::state::Received;
use super::{Broken, NotDelivered};

/// Taken for each socket at once; the library's default is 128 KiB. Frames of agents are some hundred bytes, and
/// a longer one gets its room when it comes.
const READ_BUFFER: usize = 2 * 1024;

/// What is gathered before it is written.
const WRITE_BUFFER: usize = 4 * 1024;

/// The most that waits for a socket: one frame of the largest kind and some small ones.
const MAX_WRITE_BUFFER: usize = 2 * 1024 * 1024;

pub(crate) struct WebSocket {
    stream: WebSocketStream<TcpStream>,
    /// Whether something was handed to the stream that may not have left it.
    unsent: bool,
}

impl WebSocket {
    /// A WebSocket whose handshake is done; `read` holds what came after it.
    pub(super) async fn new(stream: TcpStream, read: Vec<u8>) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(WRITE_BUFFER)
            .max_write_buffer_size(MAX_WRITE_BUFFER)
            .max_message_size(Some(frame::MAX_CLIENT_FRAME))
            .max_frame_size(Some(frame::MAX_CLIENT_FRAME));
        let stream = WebSocketStream::from_partially_read(stream, read, Role::Server, Some(config)).await;
        Self { stream, unsent: false }
    }

    pub(super) async fn recv(&mut self) -> Received {
        received(self.stream.next().await)
    }

    pub(super) fn try_recv(&mut self) -> Option<Received> {
        self.stream.next().now_or_never().map(received)
    }

    pub(super) async fn feed(&mut self, frame: server_frame::Frame) -> Result<(), Broken> {
        self.feed_text(frame::to_json(frame)).await
    }

    pub(super) async fn deliver(&mut self, delivery: Delivery<'_>) -> Result<(), NotDelivered> {
        let json = frame::deliver_json(delivery)
            .map_err(|_| NotDelivered::Undeliverable("the event is not UTF-8"))?;
        Ok(self.feed_text(json).await?)
    }

    async fn feed_text(&mut self, json: String) -> Result<(), Broken> {
        self.unsent = true;
        self.stream.feed(Message::text(json)).await.map_err(|_| Broken)
    }

    pub(super) async fn flush(&mut self) -> Result<(), Broken> {
        if self.unsent {
            self.stream.flush().await.map_err(|_| Broken)?;
            self.unsent = false;
        }
        Ok(())
    }

    pub(super) fn is_unsent(&self) -> bool {
        self.unsent
    }

    /// Sends all that was handed over, and a Close.
    pub(super) async fn say(&mut self, end: &End) -> Result<(), Broken> {
        if *end == End::PeerClosed {
            // The agent closed first: what is left is to send the library's answer.
            return self.stream.flush().await.map_err(|_| Broken);
        }
        self.unsent = true;
        let close = CloseFrame { code: close_code(end), reason: end.label().into() };
        self.stream.close(Some(close)).await.map_err(|_| Broken)?;
        self.unsent = false;
        Ok(())
    }

    /// Waits for the agent to close: closing at once, with anything unread, would reset the connection and could
    /// take the goodbye with it.
    pub(super) async fn closed(&mut self, end: &End) -> Result<(), Broken> {
        while let Some(message) = self.stream.next().await {
            message.map_err(|_| Broken)?;
        }
        if matches!(end, End::ProtocolError(_)) {
            unread(self.stream.get_mut()).await?;
        }
        Ok(())
    }

    /// Makes the close that follows drop what the kernel still has to send.
    pub(super) fn reset(&self) {
        let _ = self.stream.get_ref().set_zero_linger();
    }
}

/// Takes what is no frame off the socket until the agent closes, for the same reason.
async fn unread(socket: &mut TcpStream) -> Result<(), Broken> {
    socket.shutdown().await.map_err(|_| Broken)?;
    tokio::io::copy(socket, &mut tokio::io::sink()).await.map_err(|_| Broken)?;
    Ok(())
}

fn received(message: Option<Result<Message, Error>>) -> Received {
    match message {
        Some(Ok(Message::Text(text))) => Received::Frame(frame::parse(&text)),
        Some(Ok(Message::Binary(_))) => Received::Binary,
        Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => Received::Sign,
        Some(Ok(Message::Close(_))) | None => Received::Closed,
        Some(Err(Error::Capacity(_))) => {
            Received::Unreadable(format!("a message above {} bytes", frame::MAX_CLIENT_FRAME))
        }
        Some(Err(Error::Utf8(_))) => Received::Unreadable("a text message that is not UTF-8".to_owned()),
        Some(Err(Error::Protocol(error))) if !is_loss(&error) => {
            Received::Unreadable(format!("not the WebSocket protocol: {error}"))
        }
        Some(Err(_)) => Received::Lost,
    }
}

/// Whether the library calls a plain loss of the connection a breach of protocol.
fn is_loss(error: &tokio_tungstenite::tungstenite::error::ProtocolError) -> bool {
    use tokio_tungstenite::tungstenite::error::ProtocolError;
    matches!(error, ProtocolError::ResetWithoutClosingHandshake)
}

fn close_code(end: &End) -> CloseCode {
    match end {
        End::Draining => CloseCode::Restart,
        End::ProtocolError(_) => CloseCode::Protocol,
        End::Internal => CloseCode::Error,
        End::PeerClosed | End::PeerLost => CloseCode::Normal,
        End::Stopped { .. }
        | End::HeartbeatMissed
        | End::TokenExpired
        | End::ProfileRemoved
        | End::TooSlow => CloseCode::Policy,
    }
}
