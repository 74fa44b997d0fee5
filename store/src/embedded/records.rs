//! Values of the keyspaces. What is written for every copy has a fixed shape of a few bytes; what is written
//! once an event is JSON, so that a later version can add to it.

use bytes::Bytes;
use jiff::Timestamp;
use nexus_core::change::ChangeKey;
use nexus_core::id::{EventId, InboxId};
use nexus_core::kind::{Kind, Rank};
use serde::{Deserialize, Serialize};

use crate::bus::{Append, BusError, Raw, Seq, Thread, cannot};

/// A raw body larger than this is neither kept nor unpacked. Ingest ends at 25 MiB.
pub(super) const LARGEST_BODY: usize = 64 << 20;

/// Reasons are for people; more of one is cut.
const LONGEST_REASON: usize = 1024;

/// A value that is not what this version, or an earlier one, wrote.
#[derive(Debug, thiserror::Error)]
#[error("a record of `{0}` has an unknown shape")]
pub(crate) struct Malformed(pub(crate) &'static str);

/// Takes numbers off the front of a value.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_be_bytes)
    }

    fn part(&mut self, len: usize) -> Option<&'a [u8]> {
        let (part, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(part)
    }
}

/// What is kept of an event beside its JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Head {
    pub(crate) id: EventId,
    pub(crate) thread: Thread,
    pub(crate) kind: Kind,
    pub(crate) source: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) title: Option<String>,
    pub(crate) received: Timestamp,
    pub(crate) change: ChangeKey,
    /// Length of the event's JSON.
    pub(crate) len: u32,
    /// All that it takes: event and packed raw.
    pub(crate) bytes: u64,
}

impl Head {
    /// What is kept of an event that takes so many bytes in all.
    pub(crate) fn of(append: Append, bytes: u64) -> Result<Self, BusError> {
        let len = u32::try_from(append.event.len()).map_err(cannot("keep an event of this size"))?;
        Ok(Self {
            id: append.id,
            thread: Thread::of(&append.thread_key),
            kind: append.kind,
            source: append.source,
            title: append.title,
            received: append.received,
            change: append.change,
            len,
            bytes,
        })
    }

    pub(crate) fn encode(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }

    pub(crate) fn decode(value: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(value)
    }
}

/// A tenant's counters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counters {
    /// The last place given.
    pub(super) last: Seq,
    /// Bytes of all events that are kept.
    pub(super) stored: u64,
}

impl Counters {
    pub(super) fn encode(self) -> Vec<u8> {
        [self.last.to_be_bytes(), self.stored.to_be_bytes()].concat()
    }

    pub(super) fn decode(value: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader(value);
        let mut read = || {
            let (last, stored) = (reader.u64()?, reader.u64()?);
            Some(Self { last, stored })
        };
        read().ok_or(Malformed("counters"))
    }
}

/// An event that waits to be routed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Waiting {
    pub(super) bytes: u64,
    pub(super) id: EventId,
}

impl Waiting {
    pub(super) fn encode(self) -> Vec<u8> {
        [&self.bytes.to_be_bytes()[..], self.id.as_bytes()].concat()
    }

    pub(super) fn decode(value: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader(value);
        let mut read = || {
            let (bytes, id) = (reader.u64()?, EventId::from_bytes(reader.array()?));
            Some(Self { bytes, id })
        };
        read().ok_or(Malformed("queue"))
    }
}

/// A copy in an inbox, waiting or held, or parked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) id: EventId,
    pub(super) thread: Thread,
    /// How often it was handed out.
    pub(super) attempts: u32,
    /// Length of the event's JSON, so that a pull can count bytes without reading events.
    pub(super) len: u32,
    pub(super) replay: bool,
    /// Microseconds since 1970; 0 when it is not delayed. Of a parked copy: when it was parked.
    pub(super) not_before: i64,
    /// When the event was received.
    pub(super) received: i64,
    /// Why it was refused last, or parked.
    pub(super) reason: String,
}

impl Entry {
    pub(super) fn fresh(head: &Head, replay: bool) -> Self {
        Self {
            id: head.id,
            thread: head.thread,
            attempts: 0,
            len: head.len,
            replay,
            not_before: 0,
            received: head.received.as_microsecond(),
            reason: String::new(),
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(49 + self.reason.len());
        out.extend_from_slice(self.id.as_bytes());
        out.extend_from_slice(&self.thread.0.to_be_bytes());
        out.extend_from_slice(&self.attempts.to_be_bytes());
        out.extend_from_slice(&self.len.to_be_bytes());
        out.push(u8::from(self.replay));
        out.extend_from_slice(&self.not_before.to_be_bytes());
        out.extend_from_slice(&self.received.to_be_bytes());
        let cut = self.reason.floor_char_boundary(LONGEST_REASON);
        out.extend_from_slice(&self.reason.as_bytes()[..cut]);
        out
    }

    pub(super) fn decode(value: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader(value);
        let mut read = || {
            Some(Self {
                id: EventId::from_bytes(reader.array()?),
                thread: Thread(reader.u64()?),
                attempts: reader.u32()?,
                len: reader.u32()?,
                replay: reader.array::<1>()? != [0],
                not_before: reader.i64()?,
                received: reader.i64()?,
                reason: String::from_utf8_lossy(reader.0).into_owned(),
            })
        };
        read().ok_or(Malformed("copies"))
    }
}

/// How many copies of a routed event are not done. There is no record when none is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Open {
    /// Copies that wait or are held.
    pub(super) open: u32,
    /// Copies that are parked.
    pub(super) dead: u32,
    /// What the event takes.
    pub(super) bytes: u64,
}

impl Open {
    /// Whether nobody waits for any copy.
    pub(super) const fn is_over(self) -> bool {
        self.open == 0 && self.dead == 0
    }

    pub(super) fn encode(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(16);
        out.extend_from_slice(&self.open.to_be_bytes());
        out.extend_from_slice(&self.dead.to_be_bytes());
        out.extend_from_slice(&self.bytes.to_be_bytes());
        out
    }

    pub(super) fn decode(value: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader(value);
        let mut read = || {
            let (open, dead, bytes) = (reader.u32()?, reader.u32()?, reader.u64()?);
            Some(Self { open, dead, bytes })
        };
        read().ok_or(Malformed("open"))
    }
}

/// Where an event went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Routed {
    /// Each inbox, and whether the event was left out there.
    pub(super) copies: Vec<(InboxId, bool)>,
    pub(super) decision: Bytes,
}

impl Routed {
    pub(super) fn encode(&self) -> Vec<u8> {
        let count = u32::try_from(self.copies.len()).unwrap_or(u32::MAX);
        let mut out = Vec::with_capacity(4 + 17 * self.copies.len() + self.decision.len());
        out.extend_from_slice(&count.to_be_bytes());
        for (inbox, coalesced) in &self.copies {
            out.extend_from_slice(inbox.as_bytes());
            out.push(u8::from(*coalesced));
        }
        out.extend_from_slice(&self.decision);
        out
    }

    pub(super) fn decode(value: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader(value);
        let mut read = || {
            let count = reader.u32()?;
            let mut copies = Vec::new();
            for _ in 0..count {
                let inbox = InboxId::from_bytes(reader.array()?);
                copies.push((inbox, reader.array::<1>()? != [0]));
            }
            let decision = Bytes::copy_from_slice(reader.0);
            Some(Self { copies, decision })
        };
        read().ok_or(Malformed("routes"))
    }
}

/// Who sent a delivery key first, and how long that is remembered.
pub(super) fn encode_seen(expires: i64, id: EventId) -> Vec<u8> {
    [&expires.to_be_bytes()[..], id.as_bytes()].concat()
}

pub(super) fn decode_seen(value: &[u8]) -> Result<(i64, EventId), Malformed> {
    let mut reader = Reader(value);
    let mut read = || Some((reader.i64()?, EventId::from_bytes(reader.array()?)));
    read().ok_or(Malformed("seen"))
}

/// A change that an inbox was told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) rank: Rank,
    pub(super) expires: i64,
}

impl Claim {
    pub(super) fn encode(self) -> Vec<u8> {
        let rank = match self.rank {
            Rank::Update => 0,
            Rank::Birth => 1,
        };
        [&[rank], &self.expires.to_be_bytes()[..]].concat()
    }

    pub(super) fn decode(value: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader(value);
        let mut read = || {
            let rank = match reader.array::<1>()? {
                [0] => Rank::Update,
                [1] => Rank::Birth,
                _ => return None,
            };
            let expires = reader.i64()?;
            Some(Self { rank, expires })
        };
        read().ok_or(Malformed("claims"))
    }
}

/// The claims of one routed event, so that they can be found when they expire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Claimed {
    pub(super) inboxes: Vec<InboxId>,
    pub(super) keys: Vec<String>,
}

impl Claimed {
    /// Each inbox with each change that it was told of.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (InboxId, &str)> {
        let changes = |inbox| self.keys.iter().map(move |change| (inbox, change.as_str()));
        self.inboxes.iter().copied().flat_map(changes)
    }
}

const PLAIN: u8 = 0;
const LZ4: u8 = 1;

/// An event as it is kept: the length of its JSON, the JSON, and the delivery that it came from. A body that does not
/// get smaller is not packed.
pub(crate) fn encode_event(json: &[u8], raw: &Raw) -> Result<Vec<u8>, Malformed> {
    let len = |part: &[u8]| u32::try_from(part.len()).map(u32::to_be_bytes).map_err(|_| Malformed("events"));
    if raw.body.len() > LARGEST_BODY {
        return Err(Malformed("events"));
    }
    let headers = serde_json::to_vec(&raw.headers).map_err(|_| Malformed("events"))?;
    let packed = lz4_flex::block::compress(&raw.body);
    let (how, body) = if packed.len() < raw.body.len() { (LZ4, &packed[..]) } else { (PLAIN, &raw.body[..]) };
    Ok([&len(json)?, json, &[how], &len(&raw.body)?, &len(&headers)?, &headers, body].concat())
}

/// The event's JSON, copied out: whoever keeps it would otherwise keep the delivery as well, which may be large.
pub(super) fn decode_json(value: &[u8]) -> Result<Bytes, Malformed> {
    let mut reader = Reader(value);
    let mut read = || {
        let len = usize::try_from(reader.u32()?).ok()?;
        reader.part(len).map(Bytes::copy_from_slice)
    };
    read().ok_or(Malformed("events"))
}

/// The delivery that the event came from.
pub(crate) fn decode_raw(value: &[u8]) -> Result<Raw, Malformed> {
    let mut reader = Reader(value);
    let mut read = || {
        let json = usize::try_from(reader.u32()?).ok()?;
        reader.part(json)?;
        let [how] = reader.array::<1>()?;
        let len = usize::try_from(reader.u32()?).ok()?;
        let headers = usize::try_from(reader.u32()?).ok()?;
        let headers = serde_json::from_slice(reader.part(headers)?).ok()?;
        let body = match how {
            PLAIN => Bytes::copy_from_slice(reader.0),
            // What it unpacks to is bounded by what was packed, and that by the cap.
            LZ4 if len <= LARGEST_BODY => lz4_flex::block::decompress(reader.0, len).ok()?.into(),
            _ => return None,
        };
        (body.len() == len).then_some(Raw { headers, body })
    };
    read().ok_or(Malformed("events"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_as_they_were() {
        let entry = Entry {
            id: EventId::from_bytes([7; 16]),
            thread: Thread(8),
            attempts: 3,
            len: 9000,
            replay: true,
            not_before: -1,
            received: i64::MAX,
            reason: "busy".into(),
        };
        assert_eq!(Entry::decode(&entry.encode()).unwrap(), entry);
        let open = Open { open: 1, dead: 2, bytes: 3 };
        assert_eq!(Open::decode(&open.encode()).unwrap(), open);
        let routed = Routed {
            copies: vec![(InboxId::from_bytes([1; 16]), true), (InboxId::from_bytes([2; 16]), false)],
            decision: Bytes::from_static(b"{}"),
        };
        assert_eq!(Routed::decode(&routed.encode()).unwrap(), routed);
        let claim = Claim { rank: Rank::Birth, expires: 4 };
        assert_eq!(Claim::decode(&claim.encode()).unwrap(), claim);
        let counters = Counters { last: 5, stored: 6 };
        assert_eq!(Counters::decode(&counters.encode()).unwrap(), counters);
        let id = EventId::from_bytes([9; 16]);
        assert_eq!(decode_seen(&encode_seen(8, id)).unwrap(), (8, id));
    }

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        let entry = Entry {
            id: EventId::from_bytes([7; 16]),
            thread: Thread(8),
            attempts: 0,
            len: 0,
            replay: false,
            not_before: 0,
            received: 0,
            reason: "ü".repeat(4000),
        };
        let reason = Entry::decode(&entry.encode()).unwrap().reason;
        assert_eq!(reason, "ü".repeat(512));
    }

    #[test]
    fn raw_deliveries_are_packed_where_it_helps() {
        let raw = |body: Vec<u8>| Raw {
            headers: vec![("x-github-event".into(), "push".into())],
            body: body.into(),
        };
        let text = raw(b"0123456789".repeat(1000));
        for (raw, most) in [(text, 1000), (raw(vec![1, 2, 3]), 100)] {
            let kept = encode_event(b"{}", &raw).unwrap();
            assert!(kept.len() < most);
            assert_eq!(decode_raw(&kept).unwrap(), raw);
            assert_eq!(decode_json(&kept).unwrap(), "{}");
        }
    }

    #[test]
    fn what_is_cut_or_unpacks_to_more_than_it_says_is_refused() {
        let raw = Raw { headers: vec![], body: vec![0; 100_000].into() };
        let kept = encode_event(b"{}", &raw).unwrap();
        let mut says_less = kept.clone();
        says_less[7..11].copy_from_slice(&10u32.to_be_bytes());
        assert!(decode_raw(&says_less).is_err());
        for end in 0..kept.len() {
            assert!(decode_raw(&kept[..end]).is_err());
            assert_eq!(decode_json(&kept[..end]).is_ok(), end >= 6);
        }
    }
}
