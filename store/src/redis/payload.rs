//! The payloads of events, which stand apart from all that scripts read: a script copies and hashes each byte that it is
//! given or reads, and that would cost more than everything else together.
//!
//! A payload is head, JSON and raw body, one behind the other, under the event's id; JSON and body are packed where that
//! makes them smaller. It is sent just before the script that appends, with a short life that the script makes last: what
//! is never appended is cleared up by the server. Who reads it has its lengths from a script, and a part of it is read by
//! its bounds.

use std::fmt;
use std::str::FromStr;

use bytes::{Bytes, BytesMut};
use fred::clients::{Client, Pipeline};
use fred::interfaces::KeysInterface as _;
use fred::prelude::{Error, FredResult, Value};
use fred::types::{Expiration, SetOptions};
use nexus_core::id::EventId;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::packed::Packed;
use super::prepared::Prepared;

/// The time within which the script must have come, far beyond that of a command.
const SHORT_LIFE_MS: i64 = 600_000;

/// Bytes of JSON that a process keeps of what it read last: it routes an event and hands it out a moment later.
const KEPT_BYTES: u64 = 32 << 20;

/// A guess, to begin with.
const KEPT_EVENTS: usize = 8192;

/// What every entry costs beside its JSON.
const ENTRY_BYTES: u64 = 128;

/// How long the parts of a payload are that come first, in bytes: `head:json`, or `head:kept/json` of JSON that is kept
/// packed. What cannot unpack it cannot read the latter as two numbers either, and leaves the event alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lengths {
    pub(super) head: usize,
    /// Of the JSON as it is kept.
    pub(super) kept: usize,
    /// Of the JSON itself; the same when it is not packed.
    pub(super) json: usize,
}

impl Lengths {
    pub(super) fn of(event: &Prepared) -> Self {
        Self { head: event.head.len(), kept: event.json.kept().len(), json: event.json.len() }
    }
}

impl fmt::Display for Lengths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { head, kept, json } = self;
        if kept == json { write!(f, "{head}:{json}") } else { write!(f, "{head}:{kept}/{json}") }
    }
}

/// Not the lengths of a payload.
#[derive(Debug, thiserror::Error)]
#[error("not the lengths of a payload")]
pub(super) struct NoLengths;

impl FromStr for Lengths {
    type Err = NoLengths;

    fn from_str(text: &str) -> Result<Self, NoLengths> {
        let (head, json) = text.split_once(':').ok_or(NoLengths)?;
        let (kept, json) = json.split_once('/').unwrap_or((json, json));
        let length = |text: &str| text.parse().map_err(|_| NoLengths);
        Ok(Self { head: length(head)?, kept: length(kept)?, json: length(json)? })
    }
}

/// A payload to write.
#[derive(Debug)]
pub(super) struct Payload {
    id: EventId,
    bytes: Bytes,
}

impl Payload {
    pub(super) fn of(event: &Prepared) -> Self {
        let parts = [&event.head, event.json.kept(), &event.raw];
        let mut bytes = BytesMut::with_capacity(parts.iter().map(|part| part.len()).sum());
        parts.into_iter().for_each(|part| bytes.extend_from_slice(part));
        Self { id: event.id, bytes: bytes.freeze() }
    }
}

/// Takes a payload apart into head, JSON and raw body; nothing if it is shorter than that, or its JSON is not what it was.
pub(super) fn split(payload: &Bytes, lengths: Lengths) -> Option<[Bytes; 3]> {
    let Lengths { head, kept, json } = lengths;
    let raw = head.checked_add(kept).filter(|raw| *raw <= payload.len())?;
    let text = Packed::kept_as(payload.slice(head..raw), json).unpack()?;
    Some([payload.slice(..head), text, payload.slice(raw..)])
}

fn key(prefix: &str, id: EventId) -> String {
    format!("{prefix}:v:{}", id.uuid().simple())
}

/// Adds what writes payloads that are not there yet. One that is there lasts already perhaps, and is left alone.
pub(super) async fn put(pipeline: &Pipeline<Client>, prefix: &str, payloads: Vec<Payload>) -> FredResult<()> {
    for Payload { id, bytes } in payloads {
        let (life, absent) = (Some(Expiration::PX(SHORT_LIFE_MS)), Some(SetOptions::NX));
        let _: Value = pipeline.set(key(prefix, id), Value::Bytes(bytes), life, absent, false).await?;
    }
    Ok(())
}

/// JSON that was read a moment ago, bounded in bytes.
#[derive(Debug)]
pub(super) struct Payloads(Cache<EventId, Bytes, Weight>);

#[derive(Debug, Clone)]
struct Weight;

impl Weighter<EventId, Bytes> for Weight {
    fn weight(&self, _: &EventId, json: &Bytes) -> u64 {
        ENTRY_BYTES + json.len() as u64
    }
}

impl Default for Payloads {
    fn default() -> Self {
        Self(Cache::with_weighter(KEPT_EVENTS, KEPT_BYTES, Weight))
    }
}

impl Payloads {
    /// The JSON of events, in their order; empty of one that has none, or none that can be
    /// unpacked. What is not kept is read, and kept.
    pub(super) async fn read(
        &self,
        client: &Client,
        prefix: &str,
        events: &[(EventId, Lengths)],
    ) -> FredResult<Vec<Bytes>> {
        let mut found: Vec<Option<Bytes>> = events.iter().map(|(id, _)| self.0.get(id)).collect();
        let missing: Vec<usize> = (0..events.len()).filter(|at| found[*at].is_none()).collect();
        if !missing.is_empty() {
            let pipeline = client.pipeline();
            for at in &missing {
                let (id, Lengths { head, kept, .. }) = events[*at];
                let end = (head + kept).saturating_sub(1);
                let _: Value = pipeline.getrange(key(prefix, id), head, end).await?;
            }
            let answers: Vec<Result<Bytes, Error>> = pipeline.try_all().await;
            for (at, answer) in missing.into_iter().zip(answers) {
                // A copy of its own: what is answered shares one buffer with all that came with it.
                let (id, Lengths { json, .. }) = events[at];
                let json = Packed::kept_as(answer?, json).unpack().unwrap_or_default();
                if !json.is_empty() {
                    self.0.insert(id, json.clone());
                }
                found[at] = Some(json);
            }
        }
        Ok(found.into_iter().map(Option::unwrap_or_default).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_read_as_they_are_written() {
        let plain = Lengths { head: 12, kept: 3456, json: 3456 };
        let packed = Lengths { head: 12, kept: 345, json: 3456 };
        for (lengths, text) in [(plain, "12:3456"), (packed, "12:345/3456")] {
            assert_eq!(lengths.to_string(), text);
            assert_eq!(text.parse::<Lengths>().unwrap(), lengths);
        }
        for text in ["", "1", "1:", ":1", "1:x", "-1:2", "1:2:3", "1:2/", "1:/2", "1:2/3/4"] {
            assert!(text.parse::<Lengths>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_payload_comes_apart_only_where_it_is_long_enough() {
        let payload = Bytes::from_static(b"headjsonraw");
        let split = |head, json| split(&payload, Lengths { head, kept: json, json });
        assert_eq!(split(4, 4).unwrap(), [&b"head"[..], b"json", b"raw"].map(Bytes::from_static));
        assert!(split(4, 8).is_none());
        assert!(split(usize::MAX, 2).is_none());
    }

    #[test]
    fn packed_json_comes_out_as_it_was() {
        let json = Bytes::from("x".repeat(1000));
        let packed = Packed::of(json.clone());
        let payload: Bytes = [b"head", &packed.kept()[..], b"raw"].concat().into();
        let lengths = Lengths { head: 4, kept: packed.kept().len(), json: 1000 };
        assert_eq!(split(&payload, lengths).unwrap(), [Bytes::from("head"), json, Bytes::from("raw")]);
        assert!(split(&payload, Lengths { json: 999, ..lengths }).is_none());
    }

    #[test]
    fn what_is_kept_is_bounded_in_bytes() {
        let payloads = Payloads::default();
        let json = Bytes::from(vec![b'x'; 1 << 20]);
        for n in 0..200_u128 {
            payloads.0.insert(EventId::from_bytes(n.to_be_bytes()), json.clone());
        }
        assert!(payloads.0.weight() <= KEPT_BYTES && payloads.0.len() > 8);
    }
}
