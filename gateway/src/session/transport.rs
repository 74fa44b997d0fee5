//! What a session speaks over. An enum, since every variant is ours: a WebSocket, or a call of gRPC.

mod grpc;
mod pipe;
mod websocket;

use hyper::upgrade::OnUpgrade;
use nexus_wire::agent::v1::{Goodbye, server_frame};
use nexus_wire::frame::Delivery;

pub(crate) use self::grpc::Call;
use self::grpc::Grpc;
use self::websocket::WebSocket;
use super::end::End;
use super::state::Received;

/// The connection broke while something was sent.
#[derive(Debug)]
pub(crate) struct Broken;

/// Why an event was not handed over.
#[derive(Debug)]
pub(crate) enum NotDelivered {
    /// The connection broke.
    Broken,
    /// It cannot be sent to anybody over this transport.
    Undeliverable(&'static str),
}

/// A connection that was admitted, before anything was said over it.
pub(crate) enum Opening {
    WebSocket(OnUpgrade),
    Grpc(Box<Call>),
}

/// What a session speaks over.
pub(crate) enum Transport {
    WebSocket(Box<WebSocket>),
    Grpc(Box<Grpc>),
}

impl Transport {
    /// Takes the connection over from HTTP.
    pub(crate) async fn open(opening: Opening) -> Result<Self, End> {
        match opening {
            Opening::WebSocket(upgrade) => {
                let upgraded = upgrade.await.map_err(|_| End::PeerLost)?;
                // Taken back out of hyper's wrappers: the socket itself can be reset, and needs no dynamic dispatch.
                let (stream, read) = nexus_runtime::server::take_socket(upgraded).ok_or(End::Internal)?;
                Ok(Self::WebSocket(Box::new(WebSocket::new(stream, read).await)))
            }
            Opening::Grpc(call) => Ok(Self::Grpc(Box::new(Grpc::new(*call)))),
        }
    }

    /// A WebSocket whose handshake is done.
    #[cfg(test)]
    pub(crate) async fn websocket(stream: tokio::net::TcpStream) -> Self {
        Self::WebSocket(Box::new(WebSocket::new(stream, Vec::new()).await))
    }

    /// What comes next. Nothing is lost when the call is given up.
    pub(crate) async fn recv(&mut self) -> Received {
        match self {
            Self::WebSocket(socket) => socket.recv().await,
            Self::Grpc(call) => call.recv().await,
        }
    }

    /// What has come already.
    pub(crate) fn try_recv(&mut self) -> Option<Received> {
        match self {
            Self::WebSocket(socket) => socket.try_recv(),
            Self::Grpc(call) => call.try_recv(),
        }
    }

    /// Hands a frame over; it leaves by [`Transport::flush`] at the latest. When the call is given up, the
    /// frame may be sent or not, but never by halves followed by another.
    pub(crate) async fn feed(&mut self, frame: server_frame::Frame) -> Result<(), Broken> {
        match self {
            Self::WebSocket(socket) => socket.feed(frame).await,
            Self::Grpc(call) => call.feed(frame).await,
        }
    }

    /// Hands a Deliver frame over, like [`Transport::feed`].
    pub(crate) async fn deliver(&mut self, delivery: Delivery<'_>) -> Result<(), NotDelivered> {
        match self {
            Self::WebSocket(socket) => socket.deliver(delivery).await,
            Self::Grpc(call) => call.deliver(delivery).await,
        }
    }

    /// Sends all that was handed over.
    pub(crate) async fn flush(&mut self) -> Result<(), Broken> {
        match self {
            Self::WebSocket(socket) => socket.flush().await,
            Self::Grpc(call) => call.flush().await,
        }
    }

    /// Whether something that was handed over may not have been sent.
    pub(crate) fn is_unsent(&self) -> bool {
        match self {
            Self::WebSocket(socket) => socket.is_unsent(),
            Self::Grpc(call) => call.is_unsent(),
        }
    }

    /// Says goodbye, and that nothing more comes.
    pub(crate) async fn say(&mut self, end: &End, goodbye: Option<Goodbye>) -> Result<(), Broken> {
        if let Some(goodbye) = goodbye {
            self.feed(server_frame::Frame::Goodbye(goodbye)).await?;
        }
        match self {
            Self::WebSocket(socket) => socket.say(end).await,
            Self::Grpc(call) => call.say().await,
        }
    }

    /// Waits for the agent to close, after [`Transport::say`]. Succeeds only if it has closed, and so has read all.
    pub(crate) async fn closed(&mut self, end: &End) -> Result<(), Broken> {
        if *end == End::PeerClosed {
            return Ok(());
        }
        match self {
            Self::WebSocket(socket) => socket.closed(end).await,
            Self::Grpc(call) => call.closed().await,
        }
    }

    /// Drops what the agent has not read: whatever of it is with us and, after a stop, with the kernel.
    pub(crate) fn reset(&mut self, end: &End) {
        match self {
            Self::WebSocket(socket) => socket.reset(),
            Self::Grpc(call) => call.reset(end),
        }
    }

    /// Lets go of the connection. After a stop it is closed, unless it carries sessions that go on.
    pub(crate) fn leave(self, end: &End) {
        match self {
            Self::WebSocket(socket) => drop(socket),
            Self::Grpc(call) => call.leave(end),
        }
    }
}

impl From<Broken> for NotDelivered {
    fn from(Broken: Broken) -> Self {
        Self::Broken
    }
}
