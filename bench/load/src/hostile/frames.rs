//! Hostile frames on the agents' port, from an agent that was admitted.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bytes::{Buf as _, BufMut as _, Bytes};
use futures_util::{SinkExt as _, StreamExt as _};
use nexus_wire::agent::v1::{ServerFrame, server_frame};
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Endpoint;
use tonic::{Request, Status};

use super::attack::{Attack, Target, attempt};
use super::requests::outcome;
use crate::socket::{Latest, Socket, connect};

const PATIENCE: Duration = Duration::from_secs(15);

const TEN_MIB: usize = 10 << 20;

/// Frames that are none: each is answered with an error, and one more than ten ends the session.
const TOO_MANY: usize = 11;

pub fn all() -> Vec<Attack> {
    let kind = |name, expected, accepts, attempt| Attack {
        name,
        expected,
        accepts,
        workers: 4,
        every: Duration::from_millis(200),
        least: Duration::ZERO,
        attempt,
    };
    let protocol_error: &[&str] = &["GOODBYE_REASON_PROTOCOL_ERROR"];
    let ended = "Goodbye PROTOCOL_ERROR";
    vec![
        kind("WebSocket: no JSON, 11 times", ended, protocol_error, attempt!(no_json)),
        kind("WebSocket: random bytes", ended, protocol_error, attempt!(random_bytes)),
        kind(
            "WebSocket: a frame of 10 MiB",
            "closed, told PROTOCOL_ERROR if it reads",
            &["GOODBYE_REASON_PROTOCOL_ERROR", "closed"],
            attempt!(large_frame),
        ),
        kind("gRPC: no protobuf, 11 times", ended, protocol_error, attempt!(no_protobuf)),
        kind("gRPC: a frame of 10 MiB", ended, protocol_error, attempt!(large_message)),
        kind("HTTP/2: random bytes", "closed", &["closed"], attempt!(random_http2)),
    ]
}

/// Bytes that mean nothing, the same each time.
fn noise() -> impl Iterator<Item = u8> {
    (0..4096_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8)
}

/// Connects and says Hello.
pub(super) async fn agent(target: &Target) -> anyhow::Result<Socket> {
    let socket = connect(target.gateway, &target.token, Arc::new(Latest::default())).await;
    let mut socket = socket.context("the attacker cannot connect")?;
    socket.send(Message::text(r#"{"hello":{"credit":0}}"#)).await?;
    let welcome = timeout(PATIENCE, socket.next()).await?.context("closed before Welcome")??;
    anyhow::ensure!(welcome.to_text()?.contains("welcome"), "{welcome:?} instead of Welcome");
    Ok(socket)
}

/// Reads to the end, and says what the last words were.
async fn last_words(socket: &mut Socket) -> anyhow::Result<String> {
    let mut words = "closed".to_owned();
    loop {
        match timeout(PATIENCE, socket.next()).await {
            Err(_) => return Ok("left open".to_owned()),
            Ok(Some(Ok(Message::Text(text)))) => {
                let frame: Value = serde_json::from_str(&text)?;
                if let Some(reason) = frame["goodbye"]["reason"].as_str() {
                    words = reason.to_owned();
                }
            }
            Ok(Some(Ok(_))) => {}
            Ok(None | Some(Err(_))) => return Ok(words),
        }
    }
}

async fn no_json(target: &Target) -> anyhow::Result<String> {
    let mut socket = agent(target).await?;
    for _ in 0..TOO_MANY {
        if socket.send(Message::text("][ no frame")).await.is_err() {
            break;
        }
    }
    last_words(&mut socket).await
}

async fn random_bytes(target: &Target) -> anyhow::Result<String> {
    let mut socket = agent(target).await?;
    // A reserved opcode with reserved bits: no WebSocket frame, whatever follows.
    let noise: Vec<_> = noise().map(|byte| byte | 0x73).collect();
    let _ = socket.get_mut().write_all(&noise).await;
    last_words(&mut socket).await
}

async fn large_frame(target: &Target) -> anyhow::Result<String> {
    let mut socket = agent(target).await?;
    // By hand, for the library would not buffer it: final, text, masked with zeros, eight bytes of length. Whoever
    // announces too much is cut off while it still sends, so sending it all is not waited for.
    let head = [&[0x81, 0xff], (TEN_MIB as u64).to_be_bytes().as_slice(), &[0; 4]].concat();
    let frame = [head, vec![b'x'; TEN_MIB]].concat();
    let _ = timeout(Duration::from_millis(100), socket.get_mut().write_all(&frame)).await;
    last_words(&mut socket).await
}

/// Protobuf that is none: field 1 announces more bytes than there are.
async fn no_protobuf(target: &Target) -> anyhow::Result<String> {
    grpc(target, [const { Bytes::from_static(&[0x0a, 0x7f, 0xff, 0xff]) }; TOO_MANY]).await
}

async fn large_message(target: &Target) -> anyhow::Result<String> {
    grpc(target, [Bytes::from(vec![0; TEN_MIB])]).await
}

/// Says Hello, sends each of these as a message, and reads to the end.
async fn grpc<const N: usize>(target: &Target, messages: [Bytes; N]) -> anyhow::Result<String> {
    let endpoint = Endpoint::from_shared(format!("http://{}", target.gateway))?;
    let mut client = tonic::client::Grpc::new(endpoint.connect().await?);
    client.ready().await?;
    // Hello{credit: 0} is field 1 with nothing in it.
    let hello = Bytes::from_static(&[0x0a, 0x00]);
    let frames = tokio_stream::iter(std::iter::once(hello).chain(messages));
    let mut request = Request::new(frames.chain(futures_util::stream::pending()));
    request.metadata_mut().insert("authorization", format!("Bearer {}", target.token).parse()?);
    let path = PathAndQuery::from_static("/nexus.agent.v1.Agents/Connect");
    let mut words = "closed".to_owned();
    let mut answers = match timeout(PATIENCE, client.streaming(request, path, Raw)).await? {
        Ok(answer) => answer.into_inner(),
        Err(status) => return Ok(format!("{:?}", status.code())),
    };
    loop {
        match timeout(PATIENCE, answers.message()).await {
            Err(_) => return Ok("left open".to_owned()),
            Ok(Ok(Some(frame))) => {
                if let Some(server_frame::Frame::Goodbye(goodbye)) = frame.frame {
                    words = goodbye.reason().as_str_name().to_owned();
                }
            }
            Ok(Ok(None)) => return Ok(words),
            Ok(Err(status)) if words == "closed" => return Ok(format!("{:?}", status.code())),
            Ok(Err(_)) => return Ok(words),
        }
    }
}

/// Bytes up as they are, frames down.
#[derive(Debug, Clone, Copy, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = ServerFrame;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = ServerFrame;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<ServerFrame>, Status> {
        let bytes = from.copy_to_bytes(from.remaining());
        let frame = prost::Message::decode(bytes);
        frame.map(Some).map_err(|error| Status::internal(error.to_string()))
    }
}

async fn random_http2(target: &Target) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(target.gateway).await?;
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await?;
    let _ = stream.write_all(&noise().collect::<Vec<_>>()).await;
    // What it says before it closes is HTTP/2 and of no interest.
    match outcome(&mut stream).await?.as_str() {
        "left open" => Ok("left open".to_owned()),
        _ => Ok("closed".to_owned()),
    }
}
