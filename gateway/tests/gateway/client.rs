//! An agent, over either transport.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use futures_util::{SinkExt as _, StreamExt as _};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::TokioIo;
use nexus_core::id::EventId;
use nexus_wire::agent::v1::agents_client::AgentsClient;
use nexus_wire::agent::v1::{ClientFrame, ServerFrame};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tonic::{Code, Request, Status, Streaming};

use crate::support::PATIENCE;

/// What agents of a test speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speaks {
    WebSocket,
    Grpc,
}

/// Makes two tests of each function: one over each transport.
macro_rules! over_both {
    ($($name:ident),* $(,)?) => {
        mod over_websocket {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name($crate::client::Speaks::WebSocket).await;
            })*
        }
        mod over_grpc {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name($crate::client::Speaks::Grpc).await;
            })*
        }
    };
}
pub(crate) use over_both;

/// An agent.
pub(crate) enum Client {
    WebSocket(Box<WebSocketStream<TcpStream>>),
    Grpc(Box<Call>),
}

/// A call of Agents/Connect.
pub(crate) struct Call {
    /// None once the agent has ended its side.
    frames: Option<mpsc::Sender<ClientFrame>>,
    answers: Streaming<ServerFrame>,
    /// How the call ended.
    status: Option<Status>,
    /// Its connection, if it is its own.
    pub(crate) connection: Option<Connection>,
}

impl Call {
    /// Ends the agent's side of the call.
    pub(crate) fn hang_up(&mut self) {
        self.frames = None;
    }
}

impl Client {
    pub(crate) async fn hello(&mut self, credit: u32) {
        self.send(json!({"hello": {"credit": credit}})).await;
        let welcome = self.next().await;
        assert!(welcome.get("welcome").is_some(), "{welcome}");
    }

    pub(crate) async fn send(&mut self, frame: Value) {
        match self {
            Self::WebSocket(stream) => stream.send(Message::text(frame.to_string())).await.unwrap(),
            Self::Grpc(call) => {
                let frames = call.frames.as_ref().unwrap();
                frames.send(serde_json::from_value(frame).unwrap()).await.unwrap();
            }
        }
    }

    /// What only a WebSocket has.
    pub(crate) fn websocket(&mut self) -> &mut WebSocketStream<TcpStream> {
        match self {
            Self::WebSocket(stream) => stream,
            Self::Grpc(_) => panic!("this test is about WebSockets"),
        }
    }

    /// What only a call has.
    pub(crate) fn call(&mut self) -> &mut Call {
        match self {
            Self::Grpc(call) => call,
            Self::WebSocket(_) => panic!("this test is about gRPC"),
        }
    }

    /// How a call ended.
    pub(crate) fn status(&self) -> Option<&Status> {
        match self {
            Self::Grpc(call) => call.status.as_ref(),
            Self::WebSocket(_) => None,
        }
    }

    /// The next frame; none once the gateway has ended the session.
    pub(crate) async fn try_next(&mut self) -> Option<Value> {
        match self {
            Self::WebSocket(stream) => loop {
                let message = timeout(PATIENCE, stream.next()).await.expect("a message in time");
                match message {
                    Some(Ok(Message::Text(text))) => return Some(serde_json::from_str(&text).unwrap()),
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                    Some(Ok(other)) => panic!("not a text: {other:?}"),
                }
            },
            Self::Grpc(call) => {
                match timeout(PATIENCE, call.answers.message()).await.expect("a message in time") {
                    Ok(Some(frame)) => return Some(serde_json::to_value(frame).unwrap()),
                    Ok(None) => call.status = Some(Status::ok("")),
                    Err(status) => call.status = Some(status),
                }
                None
            }
        }
    }

    pub(crate) async fn next(&mut self) -> Value {
        match self.try_next().await {
            Some(frame) => frame,
            None => panic!("the session ended: {:?}", self.status()),
        }
    }

    /// The next frame, which is a Deliver: the event's id and the attempt.
    pub(crate) async fn delivered(&mut self) -> (EventId, u64) {
        let frame = self.next().await;
        let deliver = &frame["deliver"];
        assert!(deliver.is_object(), "{frame}");
        let id = deliver["event"]["id"].as_str().unwrap().parse().unwrap();
        (id, deliver["attempt"].as_u64().unwrap())
    }

    /// The next frame, which is a Goodbye with this reason, after which the session ends in order.
    pub(crate) async fn goodbye(&mut self, reason: &str) -> Value {
        let frame = self.next().await;
        let goodbye = frame["goodbye"].clone();
        assert_eq!(goodbye["reason"], format!("GOODBYE_REASON_{reason}"), "{frame}");
        assert_eq!(self.try_next().await, None);
        assert!(self.status().is_none_or(|status| status.code() == Code::Ok), "{:?}", self.status());
        goodbye
    }

    /// The next frame, which is an Error with this code.
    pub(crate) async fn error(&mut self, code: &str) {
        let frame = self.next().await;
        assert_eq!(frame["error"]["code"], code, "{frame}");
    }

    pub(crate) async fn ack(&mut self, id: EventId) {
        self.send(json!({"ack": {"eventId": id.to_string()}})).await;
    }

    pub(crate) async fn grant(&mut self, credit: u32) {
        self.send(json!({"grant": {"credit": credit}})).await;
    }

    /// Sends a Ping and expects that nothing else comes before its Pong.
    pub(crate) async fn quiet(&mut self) {
        self.send(json!({"ping": {}})).await;
        assert_eq!(self.next().await, json!({"pong": {}}));
    }
}

/// An HTTP/2 connection to the gateway.
pub(crate) struct Connection {
    sender: http2::SendRequest<tonic::body::Body>,
    origin: http::Uri,
    /// The same socket once more, to see how it ends.
    raw: std::net::TcpStream,
    tasks: Tasks,
}

/// Runs what the client's library has to run.
#[derive(Debug, Clone, Default)]
struct Tasks(Arc<Mutex<JoinSet<()>>>);

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Tasks {
    fn execute(&self, task: F) {
        self.0.lock().unwrap().spawn(task);
    }
}

/// A connection as the library's client calls it.
#[derive(Debug, Clone)]
pub(crate) struct Channel(http2::SendRequest<tonic::body::Body>);

impl Connection {
    pub(crate) async fn over(stream: TcpStream) -> Self {
        let origin = format!("http://{}", stream.peer_addr().unwrap()).parse().unwrap();
        let stream = stream.into_std().unwrap();
        let raw = stream.try_clone().unwrap();
        let io = TokioIo::new(TcpStream::from_std(stream).unwrap());
        let tasks = Tasks::default();
        let (sender, connection) = http2::Builder::new(tasks.clone())
            // As small as they may be, so that an agent that does not read is noticed soon.
            .initial_stream_window_size(65_535)
            .initial_connection_window_size(65_535)
            .handshake(io)
            .await
            .unwrap();
        tasks.0.lock().unwrap().spawn(async move { drop(connection.await) });
        Self { sender, origin, raw, tasks }
    }

    pub(crate) fn channel(&self) -> Channel {
        Channel(self.sender.clone())
    }

    pub(crate) fn origin(&self) -> http::Uri {
        self.origin.clone()
    }

    /// Opens a session with the headers that are given.
    pub(crate) async fn connect(&self, headers: &[(&'static str, &str)]) -> Result<Client, Status> {
        let (frames, outgoing) = mpsc::channel(64);
        let mut request = Request::new(ReceiverStream::new(outgoing));
        for (name, value) in headers {
            request.metadata_mut().insert(*name, value.parse().unwrap());
        }
        let mut agents = AgentsClient::with_origin(self.channel(), self.origin());
        let answers = timeout(PATIENCE, agents.connect(request)).await.expect("an answer in time")?;
        Ok(Client::Grpc(Box::new(Call {
            frames: Some(frames),
            answers: answers.into_inner(),
            status: None,
            connection: None,
        })))
    }

    pub(crate) async fn connect_with(&self, token: &str) -> Result<Client, Status> {
        self.connect(&[("authorization", &format!("Bearer {token}"))]).await
    }

    /// Keeps the socket and neither reads from it nor writes to it any more.
    pub(crate) async fn stop_reading(&self) {
        let mut tasks = std::mem::take(&mut *self.tasks.0.lock().unwrap());
        tasks.shutdown().await;
    }

    /// Waits until the gateway tells the library that the connection ends, and then ends it.
    pub(crate) async fn closed(self) {
        let mut tasks = std::mem::take(&mut *self.tasks.0.lock().unwrap());
        let all = async { while tasks.join_next().await.is_some() {} };
        timeout(PATIENCE, all).await.expect("the library learns that the connection ends");
        drop(self.cut().await);
    }

    /// Waits until the gateway ends the connection of an agent that does nothing any more: what was still to be
    /// read, and the error if it was reset.
    pub(crate) async fn cut(self) -> (Vec<u8>, std::io::Result<()>) {
        self.stop_reading().await;
        let mut raw = TcpStream::from_std(self.raw).unwrap();
        let mut rest = Vec::new();
        let end = timeout(PATIENCE, raw.read_to_end(&mut rest)).await.expect("the gateway closes the socket");
        (rest, end.map(drop))
    }
}

impl tonic::codegen::Service<http::Request<tonic::body::Body>> for Channel {
    type Response = http::Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = hyper::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}
