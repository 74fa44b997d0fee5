//! What a session speaks over. An enum, since every variant is ours: WebSocket now, gRPC beside it later.

use std::io;

use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _};
use nexus_wire::agent::v1::{Goodbye, server_frame};
use nexus_wire::frame;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::end::End;
use super::state::Received;

/// Taken for each socket at once; the library's default is 128 KiB. Frames of agents are some hundred bytes, and
/// a longer one gets its room when it comes.
const READ_BUFFER: usize = 2 * 1024;

/// What is gathered before it is written.
const WRITE_BUFFER: usize = 4 * 1024;

/// The most that waits for a socket: one frame of the largest kind and some small ones.
const MAX_WRITE_BUFFER: usize = 2 * 1024 * 1024;

/// The connection broke while something was sent.
#[derive(Debug)]
pub(crate) struct Broken;

/// What a session speaks over.
pub(crate) enum Transport {
    /// A WebSocket over TCP.
    WebSocket {
        stream: WebSocketStream<TcpStream>,
        /// Whether something was handed to the stream that may not have left it.
        unsent: bool,
    },
}

impl Transport {
    /// A WebSocket whose handshake is done; `read` holds what came after it.
    pub(crate) async fn websocket(stream: TcpStream, read: &[u8]) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(WRITE_BUFFER)
            .max_write_buffer_size(MAX_WRITE_BUFFER)
            .max_message_size(Some(frame::MAX_CLIENT_FRAME))
            .max_frame_size(Some(frame::MAX_CLIENT_FRAME));
        let stream =
            WebSocketStream::from_partially_read(stream, read.to_vec(), Role::Server, Some(config)).await;
        Self::WebSocket { stream, unsent: false }
    }

    /// What comes next. Nothing is lost when the call is given up.
    pub(crate) async fn recv(&mut self) -> Received {
        match self {
            Self::WebSocket { stream, .. } => received(stream.next().await),
        }
    }

    /// What has come already.
    pub(crate) fn try_recv(&mut self) -> Option<Received> {
        match self {
            Self::WebSocket { stream, .. } => stream.next().now_or_never().map(received),
        }
    }

    /// Hands a frame over; it leaves by [`Transport::flush`] at the latest. When the call is given up, the
    /// frame may be sent or not, but never by halves followed by another.
    pub(crate) async fn feed(&mut self, json: String) -> Result<(), Broken> {
        match self {
            Self::WebSocket { stream, unsent } => {
                *unsent = true;
                stream.feed(Message::text(json)).await.map_err(|_| Broken)
            }
        }
    }

    /// Sends all that was handed over.
    pub(crate) async fn flush(&mut self) -> Result<(), Broken> {
        match self {
            Self::WebSocket { unsent: false, .. } => Ok(()),
            Self::WebSocket { stream, unsent } => {
                stream.flush().await.map_err(|_| Broken)?;
                *unsent = false;
                Ok(())
            }
        }
    }

    /// Whether something that was handed over may not have been sent.
    pub(crate) fn is_unsent(&self) -> bool {
        match self {
            Self::WebSocket { unsent, .. } => *unsent,
        }
    }

    /// Says goodbye and waits for the agent to close: closing at once, with anything unread, would reset the
    /// connection and could take the goodbye with it. Succeeds only if the agent has closed.
    pub(crate) async fn part(&mut self, end: &End, goodbye: Option<Goodbye>) -> Result<(), Broken> {
        if let Some(goodbye) = goodbye {
            self.feed(frame::to_json(server_frame::Frame::Goodbye(goodbye))).await?;
        }
        match self {
            // The agent closed first: what is left is to send the library's answer.
            Self::WebSocket { stream, .. } if *end == End::PeerClosed => {
                stream.flush().await.map_err(|_| Broken)
            }
            Self::WebSocket { stream, unsent } => {
                *unsent = true;
                let close = CloseFrame { code: close_code(end), reason: end.label().into() };
                stream.close(Some(close)).await.map_err(|_| Broken)?;
                *unsent = false;
                while let Some(message) = stream.next().await {
                    message.map_err(|_| Broken)?;
                }
                if matches!(end, End::ProtocolError(_)) {
                    unread(stream.get_mut()).await?;
                }
                Ok(())
            }
        }
    }

    /// Makes the close that follows drop what the kernel still has to send.
    pub(crate) fn reset(&self) -> io::Result<()> {
        match self {
            Self::WebSocket { stream, .. } => stream.get_ref().set_zero_linger(),
        }
    }
}

/// Takes what is no frame off the socket until the agent closes: a close of ours with anything unread resets the
/// connection, and a reset can take the goodbye with it.
async fn unread(socket: &mut TcpStream) -> Result<(), Broken> {
    socket.shutdown().await.map_err(|_| Broken)?;
    let mut sink = tokio::io::sink();
    tokio::io::copy(socket, &mut sink).await.map_err(|_| Broken)?;
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
