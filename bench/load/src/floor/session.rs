//! The floor's side of a session: events against credit, and a note of each ack.

use std::io::Write as _;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;
use uuid::Uuid;

use super::{Acks, Event, Floor};
use crate::frame::ClientFrame;
use crate::socket::small_buffers;

type Socket = WebSocketStream<TcpStream>;

/// What the agent may still be sent, and what it has just done.
#[derive(Default)]
struct State {
    credit: u32,
    acks: Vec<Uuid>,
}

/// Works until the agent leaves.
pub(super) async fn run(stream: TcpStream, read: Bytes, floor: &Floor) -> anyhow::Result<()> {
    let config = Some(small_buffers());
    let mut socket = WebSocketStream::from_partially_read(stream, read.to_vec(), Role::Server, config).await;
    // It keeps a buffer of the HTTP side alive.
    drop(read);
    let mut state = State::default();
    loop {
        tokio::select! {
            message = socket.next() => Box::pin(receive(&mut socket, message, &mut state, floor)).await?,
            event = floor.ready.recv(), if state.credit > 0 => Box::pin(deliver(&mut socket, event?, &mut state, floor)).await?,
        }
    }
}

/// Sends an event and all others that wait, as far as credit goes.
async fn deliver(socket: &mut Socket, first: Event, state: &mut State, floor: &Floor) -> anyhow::Result<()> {
    let mut next = Some(first);
    while let Some(event) = next {
        socket.feed(Message::text(frame(&event)?)).await?;
        state.credit -= 1;
        next = if state.credit > 0 { floor.ready.try_recv().ok() } else { None };
    }
    Ok(socket.flush().await?)
}

fn frame(event: &Event) -> anyhow::Result<String> {
    let mut frame = Vec::with_capacity(event.body.len() + 128);
    write!(frame, r#"{{"deliver":{{"event":{{"id":"{}","data":"#, event.id)?;
    frame.extend_from_slice(&event.body);
    frame.extend_from_slice(br#"},"attempt":1}}"#);
    String::from_utf8(frame).context("a body that is not UTF-8")
}

/// Takes in a message and all that came with it; acks are noted together.
async fn receive(
    socket: &mut Socket,
    first: Option<Result<Message, tokio_tungstenite::tungstenite::Error>>,
    state: &mut State,
    floor: &Floor,
) -> anyhow::Result<()> {
    let mut next = Some(first);
    while let Some(message) = next {
        match message.context("the agent left")?? {
            Message::Text(text) => {
                if let Some(answer) = understand(&text, state)? {
                    socket.feed(Message::text(answer)).await?;
                }
            }
            Message::Close(_) => bail!("the agent left"),
            _ => {}
        }
        next = socket.next().now_or_never();
    }
    if !state.acks.is_empty() {
        keep(&floor.acks, &mut state.acks).await?;
    }
    Ok(socket.flush().await?)
}

async fn keep(acks: &Acks, done: &mut Vec<Uuid>) -> anyhow::Result<()> {
    match acks {
        Acks::Noted(file) => {
            let bytes: Vec<u8> = done.drain(..).flat_map(Uuid::into_bytes).collect();
            (&*file).write_all(&bytes)?;
        }
        Acks::Written(acks) => {
            for id in done.drain(..) {
                acks.send(id).await?;
            }
        }
    }
    Ok(())
}

fn understand(text: &str, state: &mut State) -> anyhow::Result<Option<String>> {
    match serde_json::from_str(text)? {
        ClientFrame::Hello { credit } => {
            state.credit += credit;
            let session = Uuid::new_v4();
            let welcome = format!(
                r#"{{"welcome":{{"agent":"floor","session":"{session}","heartbeat":"30s","maxInFlight":{credit}}}}}"#
            );
            return Ok(Some(welcome));
        }
        ClientFrame::Ping {} => return Ok(Some(r#"{"pong":{}}"#.to_owned())),
        ClientFrame::Ack { event_id } => state.acks.push(Uuid::parse_str(event_id)?),
        ClientFrame::Grant { credit } => state.credit += credit,
    }
    Ok(None)
}
