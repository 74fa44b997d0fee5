//! HTTP/2 beside HTTP/1, and which connections stay.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use axum::Extension;
use axum::body::Body;
use axum::http::Request;
use axum::routing::get;
use bytes::Bytes;
use h2::client::SendRequest;
use http_body::Frame;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::*;

/// Nothing that a test waits for takes this long.
const PATIENCE: Duration = Duration::from_secs(20);

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];

struct Server {
    address: SocketAddr,
    drain: CancellationToken,
    tasks: JoinSet<io::Result<()>>,
    /// What `/hold` took.
    holds: Arc<Mutex<Vec<Hold>>>,
    /// What `/pieces` took.
    streams: mpsc::Receiver<Stream>,
    /// Closed when the body of `/endless` was dropped.
    endless: mpsc::Receiver<()>,
}

/// A body that never says anything.
struct Endless(#[expect(dead_code, reason = "tells by its drop")] mpsc::Sender<()>);

impl http_body::Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        std::task::Poll::Pending
    }
}

/// A body that always has more.
struct Pieces;

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        std::task::Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[b'x'; 16 * 1024])))))
    }
}

async fn start(limits: ServerLimits) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let drain = CancellationToken::new();
    let holds = Arc::new(Mutex::new(Vec::new()));
    let taken = Arc::clone(&holds);
    let (guard, endless) = mpsc::channel(1);
    let guard = Arc::new(Mutex::new(Some(guard)));
    let (stream, streams) = mpsc::channel(1);
    let router = Router::new()
        .route("/", get(|| async { "hello" }))
        .route(
            "/hold",
            get(move |Extension(connection): Extension<Connection>| async move {
                taken.lock().unwrap().push(connection.hold());
            }),
        )
        .route(
            "/pieces",
            get(move |Extension(found): Extension<Stream>| async move {
                stream.send(found).await.unwrap();
                Body::new(Pieces)
            }),
        )
        .route(
            "/endless",
            get(move || {
                let guard = guard.lock().unwrap().take().unwrap();
                async move { Body::new(Endless(guard)) }
            }),
        );
    let mut tasks = JoinSet::new();
    tasks.spawn(serve(listener, router, limits, drain.clone()));
    Server { address, drain, tasks, holds, streams, endless }
}

/// Limits under which idle connections end at once.
fn brief() -> ServerLimits {
    ServerLimits { header_deadline: Duration::from_secs(1), http2: true, ..ServerLimits::default() }
}

/// Limits under which no deadline passes.
fn lasting() -> ServerLimits {
    let hour = Duration::from_secs(3600);
    ServerLimits { header_deadline: hour, drain: hour, http2: true, ..ServerLimits::default() }
}

/// An HTTP/2 client; the task ends with its connection.
async fn client(address: SocketAddr) -> (SendRequest<Bytes>, JoinSet<Result<(), h2::Error>>) {
    let stream = TcpStream::connect(address).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(connection);
    (client, tasks)
}

async fn ask(client: &SendRequest<Bytes>, path: &str) -> Result<h2::RecvStream, h2::Error> {
    let request = Request::get(format!("http://x{path}")).body(()).unwrap();
    let mut client = client.clone().ready().await?;
    let (answer, _) = client.send_request(request, true)?;
    Ok(answer.await?.into_body())
}

async fn hello(client: &SendRequest<Bytes>) {
    let mut body = ask(client, "/").await.unwrap();
    assert_eq!(body.data().await.unwrap().unwrap(), "hello");
}

async fn read_to_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut read = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut read)).await.expect("the server closes").unwrap();
    read
}

#[tokio::test]
async fn both_versions_are_served_on_one_port() {
    let server = start(lasting()).await;
    let (client, _tasks) = client(server.address).await;
    hello(&client).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let answer = String::from_utf8(read_to_end(&mut stream).await).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("hello"), "{answer}");
}

#[tokio::test]
async fn a_server_without_http2_speaks_none() {
    let server = start(ServerLimits { http2: false, ..lasting() }).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(PREFACE).await.unwrap();
    stream.write_all(SETTINGS).await.unwrap();
    let mut read = Vec::new();
    // The preface is no request of HTTP/1: the connection ends, in whatever way, without a word of HTTP/2.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut read)).await.expect("the server closes");
    assert!(read.is_empty(), "{read:?}");
}

#[tokio::test]
async fn whoever_begins_no_request_in_time_is_cut_off() {
    let server = start(brief()).await;
    let mut streams = Vec::new();
    for begun in [&b""[..], b"P", b"PRI * HTTP/2.0\r\n", b"POST", b"GET / HTTP/1.1\r\nhost:", PREFACE] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(begun).await.unwrap();
        streams.push(stream);
    }
    for mut stream in streams {
        read_to_end(&mut stream).await;
    }
}

#[tokio::test]
async fn an_idle_http2_connection_is_told_to_go_and_closed() {
    let server = start(brief()).await;
    let (client, mut tasks) = client(server.address).await;
    hello(&client).await;
    let ended = timeout(PATIENCE, tasks.join_next()).await.expect("the server says that it ends");
    ended.unwrap().unwrap().expect("it ends in order");
    // One that does not answer is not waited for.
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(PREFACE).await.unwrap();
    stream.write_all(SETTINGS).await.unwrap();
    // HEADERS of stream 1 with END_STREAM and END_HEADERS: GET http://x/ in HPACK's static table.
    let request = [0, 0, 6, 1, 5, 0, 0, 0, 1, 0x82, 0x86, 0x84, 0x41, 1, b'x'];
    stream.write_all(&request).await.unwrap();
    read_to_end(&mut stream).await;
}

#[tokio::test]
async fn a_response_that_never_ends_keeps_no_connection() {
    let mut server = start(brief()).await;
    let (client, mut tasks) = client(server.address).await;
    let mut body = ask(&client, "/endless").await.unwrap();
    assert!(timeout(PATIENCE, body.data()).await.unwrap().is_none_or(|data| data.is_err()));
    timeout(PATIENCE, tasks.join_next()).await.expect("the server closes").unwrap().unwrap().ok();
    // Its task ends with it.
    assert_eq!(timeout(PATIENCE, server.endless.recv()).await.unwrap(), None);
}

#[tokio::test]
async fn a_connection_that_is_held_stays() {
    let server = start(brief()).await;
    let (held, _held) = client(server.address).await;
    drop(ask(&held, "/hold").await.unwrap());
    let (idle, mut tasks) = client(server.address).await;
    hello(&idle).await;
    timeout(PATIENCE, tasks.join_next()).await.expect("the idle one is closed").unwrap().unwrap().unwrap();
    hello(&held).await;
}

#[tokio::test]
async fn a_held_connection_gives_its_place_to_another_and_ends_if_there_is_none_later() {
    let server = start(ServerLimits { connections: 1, ..lasting() }).await;
    let (held, mut tasks) = client(server.address).await;
    drop(ask(&held, "/hold").await.unwrap());
    let (other, _other) = client(server.address).await;
    timeout(PATIENCE, hello(&other)).await.expect("there is room again");
    server.holds.lock().unwrap().clear();
    timeout(PATIENCE, tasks.join_next()).await.expect("the first has no place").unwrap().unwrap().unwrap();
    hello(&other).await;
}

#[tokio::test]
async fn a_connection_closes_once_the_last_hold_is_gone_that_asked_for_it() {
    let server = start(lasting()).await;
    let (client, mut tasks) = client(server.address).await;
    drop(ask(&client, "/hold").await.unwrap());
    drop(ask(&client, "/hold").await.unwrap());
    let (first, last) = {
        let mut holds = server.holds.lock().unwrap();
        (holds.remove(0), holds.remove(0))
    };
    first.close();
    hello(&client).await;
    drop(last);
    timeout(PATIENCE, tasks.join_next()).await.expect("it is closed").unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn a_drain_lets_http2_requests_end_and_cuts_off_the_rest() {
    let limits = ServerLimits { drain: Duration::from_secs(1), ..lasting() };
    let mut server = start(limits).await;
    let (idle, mut tasks) = client(server.address).await;
    hello(&idle).await;
    let (busy, mut cut) = client(server.address).await;
    let body = ask(&busy, "/endless").await.unwrap();
    server.drain.cancel();
    timeout(PATIENCE, tasks.join_next()).await.expect("told to go").unwrap().unwrap().unwrap();
    timeout(PATIENCE, cut.join_next()).await.expect("cut off").unwrap().unwrap().ok();
    drop(body);
    timeout(PATIENCE, server.tasks.join_next()).await.unwrap().unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn a_stream_can_be_cut_whose_client_takes_nothing() {
    let mut server = start(lasting()).await;
    let (client, mut tasks) = client(server.address).await;
    let mut body = ask(&client, "/pieces").await.unwrap();
    let mut read = 0;
    // What is not given back shuts the window.
    while read < 65_535 {
        read += body.data().await.unwrap().unwrap().len();
    }
    server.streams.recv().await.unwrap().cut();
    let end = timeout(PATIENCE, body.data()).await.expect("the client is told").unwrap().unwrap_err();
    assert_eq!(end.reason(), Some(h2::Reason::CANCEL));
    // Nor does it hold up a drain, which no deadline ends here.
    drop((client, body));
    server.drain.cancel();
    timeout(PATIENCE, server.tasks.join_next()).await.expect("drained").unwrap().unwrap().unwrap();
    timeout(PATIENCE, tasks.join_next()).await.expect("told to go").unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn a_client_that_resets_what_it_asks_for_is_cut_off() {
    let server = start(lasting()).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let mut attack = [PREFACE, SETTINGS].concat();
    for n in 0..1000u32 {
        let id = (2 * n + 1).to_be_bytes();
        // HEADERS with END_HEADERS, then RST_STREAM with CANCEL.
        attack.extend([0, 0, 6, 1, 4]);
        attack.extend(id);
        attack.extend([0x82, 0x86, 0x84, 0x41, 1, b'x']);
        attack.extend([0, 0, 4, 3, 0]);
        attack.extend(id);
        attack.extend([0, 0, 0, 8]);
    }
    let _ = stream.write_all(&attack).await;
    let mut read = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut read)).await.expect("the server closes");
    let goaway_calm = [0, 0, 0, 11];
    assert!(read.windows(4).any(|bytes| bytes == goaway_calm), "{read:?}");
}
