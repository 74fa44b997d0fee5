//! The floor over Redis: one stream, one consumer group.
//!
//! Append: one XADD an event, of as many bytes as Nexus keeps. Take: XREADGROUP, which Redis keeps as well. Ack: XACK.
//! What waits goes in one batch with one write; the next batch is made while Redis does the one before.

use std::net::SocketAddr;

use anyhow::Context as _;
use bytes::{Bytes, BytesMut};
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::{Append, Event};
use crate::redis::{Batch, Replies, Reply, Sender, ask, connect};

/// The stream, its group and the only consumer.
const NAME: &str = "floor";

/// The most in one batch, as Nexus has it.
const GROUP: usize = 256;

/// Batches that wait for their answers, beside the one whose answers are being read.
const SENT: usize = 1;

/// Who waits for the answers to a batch.
type Waiting = Vec<(Uuid, oneshot::Sender<Uuid>)>;

/// Makes the stream and its group.
pub(super) async fn prepare(redis: SocketAddr) -> anyhow::Result<()> {
    ask(&mut connect(redis).await?, &["XGROUP", "CREATE", NAME, NAME, "0", "MKSTREAM"]).await?;
    Ok(())
}

/// Appends for ever. An event is two fields: what the agent is sent, and the rest of what Nexus keeps.
pub(super) async fn append(
    redis: SocketAddr,
    event_bytes: usize,
    raw_bytes: usize,
    appends: mpsc::Receiver<Append>,
) -> anyhow::Result<()> {
    let (sender, replies) = connect(redis).await?;
    let (sent, answered) = mpsc::channel(SENT);
    let padding = vec![b'a'; event_bytes];
    tokio::try_join!(send(sender, appends, sent, &padding, raw_bytes), answer(replies, answered))?;
    Ok(())
}

async fn send(
    mut redis: Sender,
    mut appends: mpsc::Receiver<Append>,
    sent: mpsc::Sender<Waiting>,
    padding: &[u8],
    raw_bytes: usize,
) -> anyhow::Result<()> {
    let (mut group, mut batch, mut event) = (Vec::with_capacity(GROUP), Batch::default(), Vec::new());
    loop {
        // First, so that the group gathers meanwhile.
        let place = sent.reserve().await?;
        if appends.recv_many(&mut group, GROUP).await == 0 {
            return Ok(());
        }
        let mut waiting = Vec::with_capacity(group.len());
        for Append { body, done } in group.drain(..) {
            // In order of the batch: Redis takes only ids that rise.
            let id = Uuid::now_v7();
            make_event(&body, padding, &mut event)?;
            let raw = &body[..raw_bytes.min(body.len())];
            batch.begin(7);
            for word in [b"XADD", NAME.as_bytes(), place_of(id).as_bytes(), b"e", &event, b"r", raw] {
                batch.word(word);
            }
            waiting.push((id, done));
        }
        redis.send(&mut batch).await?;
        place.send(waiting);
    }
}

async fn answer(mut redis: Replies, mut answered: mpsc::Receiver<Waiting>) -> anyhow::Result<()> {
    while let Some(waiting) = answered.recv().await {
        for (id, done) in waiting {
            redis.next().await?;
            // Whoever hung up before the answer has still left an event.
            let _ = done.send(id);
        }
    }
    Ok(())
}

/// What an agent is sent: the issue's number, found without reading the body, and as many bytes as Nexus sends.
fn make_event(body: &[u8], padding: &[u8], event: &mut Vec<u8>) -> anyhow::Result<()> {
    const FIELD: &[u8] = b"\"number\":";
    let at = memchr::memmem::find(body, FIELD).context("a body without a number")?;
    let digits = &body[at + FIELD.len()..];
    let digits = &digits[..digits.iter().take_while(|byte| byte.is_ascii_digit()).count()];
    event.clear();
    event.extend_from_slice(br#"{"item":{"number":"#);
    event.extend_from_slice(digits);
    event.extend_from_slice(br#","text":""#);
    const END: &[u8] = br#""}}"#;
    let room = padding.len().saturating_sub(event.len() + END.len());
    event.extend_from_slice(&padding[..room]);
    event.extend_from_slice(END);
    Ok(())
}

/// Takes for ever.
pub(super) async fn take(redis: SocketAddr, kept: async_channel::Sender<Event>) -> anyhow::Result<()> {
    let (mut sender, mut replies) = connect(redis).await?;
    let mut batch = Batch::default();
    loop {
        let count = GROUP.to_string();
        batch.command(&[
            "XREADGROUP",
            "GROUP",
            NAME,
            NAME,
            "COUNT",
            &count,
            "BLOCK",
            "0",
            "STREAMS",
            NAME,
            ">",
        ]);
        sender.send(&mut batch).await?;
        for event in events(replies.next().await?)? {
            kept.send(event).await?;
        }
    }
}

/// The events of an answer to XREADGROUP: of each stream its name and its entries, of each entry its id and its fields.
fn events(answer: Reply) -> anyhow::Result<Vec<Event>> {
    let mut events = Vec::new();
    for stream in answer.list()? {
        let entries = stream.list()?.pop().context("a stream without entries")?;
        for entry in entries.list()? {
            let [id, fields] = entry.list()?.try_into().ok().context("an entry without fields")?;
            let [_, event, ..] = &fields.list()?[..] else { anyhow::bail!("an entry without an event") };
            events.push(Event { id: id_of(&id.bytes()?)?, body: owned(event.clone().bytes()?) });
        }
    }
    Ok(events)
}

/// A copy of its own, so that one event does not keep the whole answer alive.
fn owned(bytes: Bytes) -> Bytes {
    BytesMut::from(&bytes[..]).freeze()
}

/// Writes acks for ever.
pub(super) async fn ack(redis: SocketAddr, mut acked: mpsc::Receiver<Uuid>) -> anyhow::Result<()> {
    let (mut sender, mut replies) = connect(redis).await?;
    let (mut group, mut batch) = (Vec::with_capacity(GROUP), Batch::default());
    while acked.recv_many(&mut group, GROUP).await > 0 {
        batch.begin(3 + group.len());
        ["XACK", NAME, NAME].iter().for_each(|word| batch.word(word.as_bytes()));
        group.drain(..).for_each(|id| batch.word(place_of(id).as_bytes()));
        sender.send(&mut batch).await?;
        replies.next().await?;
    }
    Ok(())
}

/// An id of the stream is two numbers of 64 bits: those of the event's id.
fn place_of(id: Uuid) -> String {
    let (high, low) = id.as_u64_pair();
    format!("{high}-{low}")
}

fn id_of(place: &[u8]) -> anyhow::Result<Uuid> {
    let (high, low) = std::str::from_utf8(place)?.split_once('-').context("an id of a stream")?;
    Ok(Uuid::from_u64_pair(high.parse()?, low.parse()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_has_its_number_and_its_length() {
        let mut event = Vec::new();
        make_event(br#"{"issue":{"id":7,"number":123,"x":1}}"#, &[b'a'; 400], &mut event).unwrap();
        assert_eq!(event.len(), 400);
        let event: serde_json::Value = serde_json::from_slice(&event).unwrap();
        assert_eq!(event["item"]["number"], 123);
    }

    #[test]
    fn places_rise_as_ids_do_and_lead_back() {
        let ids: Vec<_> = (0..1000).map(|_| Uuid::now_v7()).collect();
        assert!(ids.is_sorted_by(|a, b| a.as_u64_pair() < b.as_u64_pair()));
        for id in ids {
            assert_eq!(id_of(place_of(id).as_bytes()).unwrap(), id);
        }
    }

    #[test]
    fn an_answer_of_redis_is_taken_apart() {
        let text = |text: &'static str| Reply::Bytes(Bytes::from(text));
        let id = Uuid::now_v7();
        let place = Reply::Bytes(Bytes::from(place_of(id)));
        let fields = Reply::List(vec![text("e"), text("event"), text("r"), text("raw")]);
        let entries = Reply::List(vec![Reply::List(vec![place, fields])]);
        let taken = events(Reply::List(vec![Reply::List(vec![text("floor"), entries])])).unwrap();
        assert_eq!((taken.len(), taken[0].id, &taken[0].body[..]), (1, id, &b"event"[..]));
    }
}
