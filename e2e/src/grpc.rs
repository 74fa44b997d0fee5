//! An agent's session over gRPC, and when its connection was read last and closed.
//!
//! Of the published protocol (`nexus.agent.v1`) it has the few fields that it needs.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use anyhow::{Context as _, ensure};
use futures_util::stream::unfold;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Request, Streaming};
use tonic_prost::ProstCodec;
use tower::service_fn;

/// The call.
const CONNECT: &str = "/nexus.agent.v1.Agents/Connect";

/// Frames that wait to be sent.
const WAITING: usize = 16;

/// A frame from an agent.
#[derive(Clone, PartialEq, prost::Message)]
struct ClientFrame {
    #[prost(oneof = "Up", tags = "1, 3, 5")]
    frame: Option<Up>,
}

/// What it holds.
#[derive(Clone, PartialEq, prost::Oneof)]
enum Up {
    #[prost(message, tag = "1")]
    Hello(Credit),
    #[prost(message, tag = "3")]
    Ack(Ack),
    #[prost(message, tag = "5")]
    Grant(Credit),
}

/// Hello and Grant.
#[derive(Clone, PartialEq, prost::Message)]
struct Credit {
    #[prost(uint32, tag = "1")]
    credit: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Ack {
    #[prost(string, tag = "1")]
    event_id: String,
}

/// A frame to an agent.
#[derive(Clone, PartialEq, prost::Message)]
struct ServerFrame {
    #[prost(message, optional, tag = "1")]
    welcome: Option<Welcome>,
    #[prost(message, optional, tag = "3")]
    deliver: Option<Deliver>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Welcome {
    #[prost(string, tag = "2")]
    agent: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Deliver {
    #[prost(message, optional, tag = "1")]
    event: Option<Event>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Event {
    #[prost(string, tag = "2")]
    id: String,
}

/// What was seen of a connection.
#[derive(Debug, Clone, Copy)]
struct Seen {
    last_byte: Instant,
    closed: Option<Instant>,
}

/// A session.
#[derive(Debug)]
pub struct Call {
    up: mpsc::Sender<ClientFrame>,
    down: Streaming<ServerFrame>,
    /// Whoever lets go of it closes the connection.
    channel: Channel,
    seen: watch::Receiver<Seen>,
}

impl Call {
    /// Opens a session at a gateway over a connection of its own, with so much credit.
    ///
    /// # Errors
    /// When it is refused, or does not begin with a Welcome.
    pub async fn open(gateway: SocketAddr, token: &str, credit: u32) -> anyhow::Result<Self> {
        let (seen, seeing) = watch::channel(Seen { last_byte: Instant::now(), closed: None });
        let seen = Arc::new(seen);
        let connector = service_fn(move |_: Uri| connect(gateway, Arc::clone(&seen)));
        let endpoint = Endpoint::from_shared(format!("http://{gateway}"))?;
        let channel = endpoint.connect_with_connector(connector).await?;
        let (up, sent) = mpsc::channel(WAITING);
        let hello = Up::Hello(Credit { credit });
        up.send(ClientFrame { frame: Some(hello) }).await?;
        let frames = unfold(sent, |mut sent: mpsc::Receiver<_>| async { Some((sent.recv().await?, sent)) });
        let mut request = Request::new(frames);
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse()?);
        let mut client = tonic::client::Grpc::new(channel.clone());
        client.ready().await?;
        let path = PathAndQuery::from_static(CONNECT);
        let codec = ProstCodec::<ClientFrame, ServerFrame>::default();
        let mut down = client.streaming(request, path, codec).await?.into_inner();
        let first = down.message().await?.context("the call ends at once")?;
        ensure!(first.welcome.is_some(), "no Welcome: {first:?}");
        Ok(Self { up, down, channel, seen: seeing })
    }

    /// What comes next: the id of an event, or something else. None when the call has ended.
    pub async fn next(&mut self) -> Option<Option<String>> {
        let frame = self.down.message().await.ok().flatten()?;
        Some(frame.deliver.map(|deliver| deliver.event.unwrap_or_default().id))
    }

    /// Acknowledges an event, and asks for another.
    ///
    /// # Errors
    /// When the call has ended.
    pub async fn done(&mut self, event: String) -> anyhow::Result<()> {
        for frame in [Up::Ack(Ack { event_id: event }), Up::Grant(Credit { credit: 1 })] {
            self.up.send(ClientFrame { frame: Some(frame) }).await?;
        }
        Ok(())
    }

    /// Ends this side of the call, and waits until its connection is closed, which is the gateway's business; when anything was
    /// read last, and when it was closed.
    pub async fn closed(self) -> (Instant, Instant) {
        let Self { up, down, channel, mut seen } = self;
        drop((up, down));
        // Without a sender the connection is gone as well.
        let _ = seen.wait_for(|seen| seen.closed.is_some()).await;
        drop(channel);
        let Seen { last_byte, closed } = *seen.borrow();
        (last_byte, closed.unwrap_or_else(Instant::now))
    }
}

async fn connect(gateway: SocketAddr, seen: Arc<watch::Sender<Seen>>) -> io::Result<TokioIo<Watched>> {
    let stream = TcpStream::connect(gateway).await?;
    stream.set_nodelay(true)?;
    Ok(TokioIo::new(Watched { stream, seen }))
}

/// A connection that is watched: below HTTP/2, so that nothing which comes over it is left out.
struct Watched {
    stream: TcpStream,
    seen: Arc<watch::Sender<Seen>>,
}

impl Watched {
    fn close(&self) {
        self.seen.send_modify(|seen| seen.closed = seen.closed.or_else(|| Some(Instant::now())));
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.close();
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = bytes.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, bytes);
        match &read {
            Poll::Ready(Ok(())) if bytes.filled().len() > before => {
                self.seen.send_modify(|seen| seen.last_byte = Instant::now());
            }
            Poll::Ready(_) => self.close(),
            Poll::Pending => {}
        }
        read
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    /// As the published protocol writes them.
    #[test]
    fn frames_are_those_of_the_protocol() {
        let hello = ClientFrame { frame: Some(Up::Hello(Credit { credit: 4 })) };
        assert_eq!(hello.encode_to_vec(), [0x0a, 2, 0x08, 4]);
        let ack = ClientFrame { frame: Some(Up::Ack(Ack { event_id: "e".to_owned() })) };
        assert_eq!(ack.encode_to_vec(), [0x1a, 3, 0x0a, 1, b'e']);
        // Deliver { event: { specversion: "1.0", id: "e" }, attempt: 1 }
        let deliver = [0x1a, 12, 0x0a, 8, 0x0a, 3, b'1', b'.', b'0', 0x12, 1, b'e', 0x10, 1];
        let frame = ServerFrame::decode(&deliver[..]).unwrap();
        assert_eq!(frame.deliver.unwrap().event.unwrap().id, "e");
        // Goodbye { reason: STOPPED }
        let goodbye = ServerFrame::decode(&[0x2a, 2, 0x08, 1][..]).unwrap();
        assert_eq!(goodbye, ServerFrame::default());
    }
}
