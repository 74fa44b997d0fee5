//! An agent's gRPC session, on a connection of its own that knows when its last byte was read.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use hyper_util::rt::TokioIo;
use nexus_wire::agent::v1::agents_client::AgentsClient;
use nexus_wire::agent::v1::{Ack, ClientFrame, Grant, Hello, Ping, ServerFrame, client_frame};
use tokio::sync::{Notify, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status, Streaming};

use crate::folder::IN_FLIGHT;
use crate::socket::{Latest, Watched};

/// Frames that may wait to be sent: an Ack and a Grant for each event that the session may hold.
const WAITING: usize = 2 * IN_FLIGHT as usize + 8;

/// A session.
pub struct Stream {
    up: mpsc::Sender<ClientFrame>,
    pub down: Streaming<ServerFrame>,
    /// Notified when the server has closed the connection itself.
    pub closed: Arc<Notify>,
    /// Keeps the connection open for as long as the server does.
    _client: AgentsClient<Channel>,
}

/// Why a session could not be opened.
#[derive(Debug)]
pub enum ConnectError {
    /// The connection.
    Transport(tonic::transport::Error),
    /// The call was refused.
    Status(Box<Status>),
}

impl ConnectError {
    /// What the server answered, if it did.
    pub fn code(&self) -> Option<Code> {
        match self {
            Self::Status(status) => Some(status.code()),
            Self::Transport(_) => None,
        }
    }
}

impl std::fmt::Display for ConnectError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Transport(error) => write!(f, "no connection: {error}"),
            Self::Status(status) => write!(f, "{:?}: {}", status.code(), status.message()),
        }
    }
}

impl std::error::Error for ConnectError {}

/// Opens a connection and a session on it, with a Hello.
pub async fn connect(
    gateway: SocketAddr,
    token: &str,
    last_byte: Arc<Latest>,
) -> Result<Stream, ConnectError> {
    let closed = Arc::<Notify>::default();
    let connector = tower::service_fn({
        let closed = Arc::clone(&closed);
        move |_| {
            let watched =
                Watched::connect(Ipv4Addr::LOCALHOST, gateway, Arc::clone(&last_byte), Arc::clone(&closed));
            async move { watched.await.map(TokioIo::new) }
        }
    });
    let endpoint = Endpoint::from_shared(format!("http://{gateway}")).map_err(ConnectError::Transport)?;
    let channel = endpoint.connect_with_connector(connector).await.map_err(ConnectError::Transport)?;
    let mut client = AgentsClient::new(channel);
    let (up, frames) = mpsc::channel(WAITING);
    let status = |status| ConnectError::Status(Box::new(status));
    let hello = client_frame::Frame::Hello(Hello { credit: IN_FLIGHT });
    up.try_send(frame(hello)).map_err(|_| status(Status::internal("no room for Hello")))?;
    let mut request = Request::new(ReceiverStream::new(frames));
    let bearer = format!("Bearer {token}").parse();
    request
        .metadata_mut()
        .insert("authorization", bearer.map_err(|_| status(Status::internal("a token that is no header")))?);
    let down = client.connect(request).await.map_err(status)?.into_inner();
    Ok(Stream { up, down, closed, _client: client })
}

impl Stream {
    /// Acknowledges an event and grants as much again. False when the session is over.
    pub async fn done(&self, event_id: String) -> bool {
        let ack = client_frame::Frame::Ack(Ack { event_id });
        let grant = client_frame::Frame::Grant(Grant { credit: 1 });
        self.send(ack).await && self.send(grant).await
    }

    /// Shows a sign of life. False when the session is over.
    pub async fn ping(&self) -> bool {
        self.send(client_frame::Frame::Ping(Ping {})).await
    }

    async fn send(&self, frame_: client_frame::Frame) -> bool {
        self.up.send(frame(frame_)).await.is_ok()
    }
}

fn frame(frame: client_frame::Frame) -> ClientFrame {
    ClientFrame { frame: Some(frame) }
}
