//! What scripts are given and what they answer, as bytes and back.

use bytes::Bytes;
use fred::prelude::Value;
use jiff::Timestamp;
use nexus_core::change::ChangeKey;
use nexus_core::id::{EventId, SessionId};
use nexus_core::kind::Rank;
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_128;

use crate::bus::{BusError, Copy, cannot};

/// Reasons are for people; more of one is cut.
const LONGEST_REASON: usize = 1024;

/// Texts longer than this are cut and get a digest, so that keys stay short.
const LONGEST_TEXT: usize = 512;

/// An answer, or a record, that is not what this version's scripts write.
#[derive(Debug, thiserror::Error)]
#[error("{0} has an unknown shape")]
pub(super) struct Malformed(pub(super) &'static str);

/// A value that cannot be read is an error of the storage.
pub(super) fn malformed(doing: &'static str) -> BusError {
    cannot(doing)(Malformed("an answer of Redis"))
}

pub(super) fn text(text: impl Into<String>) -> Value {
    Value::from(text.into())
}

pub(super) fn number(number: u64) -> Value {
    text(number.to_string())
}

pub(super) fn bytes(bytes: impl Into<Bytes>) -> Value {
    Value::Bytes(bytes.into())
}

/// An id as scripts know it.
pub(super) fn id(uuid: Uuid) -> Value {
    text(uuid.simple().to_string())
}

pub(super) fn uuid_of(value: &Value) -> Option<Uuid> {
    Uuid::try_parse_ascii(value.as_bytes()?).ok()
}

pub(super) fn event_of(value: &Value) -> Option<EventId> {
    uuid_of(value).map(EventId::from)
}

pub(super) fn str_of(value: &Value) -> Option<&str> {
    std::str::from_utf8(value.as_bytes()?).ok()
}

/// A number, however it was answered.
pub(super) fn number_of(value: &Value) -> Option<u64> {
    match value {
        Value::Integer(number) => u64::try_from(*number).ok(),
        other => str_of(other)?.parse().ok(),
    }
}

pub(super) fn count_of(value: &Value) -> Option<usize> {
    usize::try_from(number_of(value)?).ok()
}

/// The parts of an answer.
pub(super) fn parts(value: Value) -> Option<Vec<Value>> {
    match value {
        Value::Array(parts) => Some(parts),
        _ => None,
    }
}

/// The parts of an answer that has so many.
pub(super) fn exactly<const N: usize>(value: Value) -> Option<[Value; N]> {
    parts(value)?.try_into().ok()
}

pub(super) fn cut(reason: &str) -> &str {
    &reason[..reason.floor_char_boundary(LONGEST_REASON)]
}

/// A text of others, as part of a key.
pub(super) fn short(text: &str) -> String {
    if text.len() <= LONGEST_TEXT {
        return text.to_owned();
    }
    format!("{}#{:032x}", &text[..text.floor_char_boundary(LONGEST_TEXT)], xxh3_128(text.as_bytes()))
}

/// The changes that an event tells of, as the script that routes reads them.
pub(super) fn encode_change(change: &ChangeKey) -> String {
    let mut out = String::from(match change.rank {
        Rank::Update => "0",
        Rank::Birth => "1",
    });
    let kinds = [('k', &change.keys), ('c', &change.covers)];
    for (kind, key) in kinds.iter().flat_map(|(kind, keys)| keys.iter().map(move |key| (kind, key))) {
        let key = short(key);
        out.push(*kind);
        out.push_str(&key.len().to_string());
        out.push(':');
        out.push_str(&key);
    }
    out
}

/// A copy's state; nothing if this version cannot read it.
pub(super) fn decode_copy(state: &str) -> Option<Copy> {
    let mut letters = state.chars();
    let letter = letters.next()?;
    if letter == 'c' {
        return Some(Copy::Coalesced);
    }
    let mut fields = letters.as_str().splitn(4, ':');
    let attempts = fields.next()?.parse().ok()?;
    let _replay = fields.next()?;
    let micros: i64 = fields.next()?.parse().ok()?;
    let time = Timestamp::from_microsecond(micros).ok()?;
    let rest = fields.next()?;
    Some(match letter {
        'w' => Copy::Waiting { attempts, not_before: (micros != 0).then_some(time) },
        'h' => {
            let session = SessionId::from(Uuid::try_parse(rest.split_once(':')?.0).ok()?);
            Copy::Held { session, attempt: attempts, since: time }
        }
        'd' => {
            let (took, session) = rest.split_once(':')?;
            let took = took.parse::<i64>().ok()?.checked_mul(1000)?;
            let acked = micros.checked_add(took)?;
            Copy::Done {
                session: SessionId::from(Uuid::try_parse(session).ok()?),
                attempts,
                delivered: time,
                acked: Timestamp::from_microsecond(acked).ok()?,
            }
        }
        'x' => Copy::Dead { attempts, reason: rest.to_owned() },
        'g' => Copy::Dropped { attempts, reason: rest.to_owned(), dropped: time },
        _ => return None,
    })
}

/// When a parked copy was parked.
pub(super) fn parked_at(state: &str) -> Option<Timestamp> {
    Timestamp::from_microsecond(state.split(':').nth(2)?.parse().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_told_with_their_lengths() {
        let change = ChangeKey {
            keys: vec!["task:1".into(), "ü".into()],
            covers: vec!["k3:x".into()],
            rank: Rank::Birth,
        };
        assert_eq!(encode_change(&change), "1k6:task:1k2:üc4:k3:x");
    }

    #[test]
    fn long_texts_stay_apart_and_short() {
        let [a, b] = ["a", "b"].map(|end| short(&format!("{}{end}", "ü".repeat(100_000))));
        assert_ne!(a, b);
        assert!(a.len() < 600);
        assert_eq!(short("short"), "short");
    }

    #[test]
    fn a_copy_of_an_unknown_state_is_not_guessed() {
        let dead = Copy::Dead { attempts: 5, reason: "a:b:c".into() };
        assert_eq!(decode_copy("x5:0:7:a:b:c"), Some(dead));
        assert_eq!(decode_copy("w1:0:0:"), Some(Copy::Waiting { attempts: 1, not_before: None }));
        let session = "0123456789abcdef0123456789abcdef";
        let Some(Copy::Done { delivered, acked, .. }) = decode_copy(&format!("d1:0:7000000:-250:{session}"))
        else {
            panic!("a receipt");
        };
        assert_eq!((delivered.as_microsecond(), acked.as_microsecond()), (7_000_000, 6_750_000));
        for state in ["", "w", "w1:0", "z1:0:0:", "h1:0:0:session", "wx:0:0:"] {
            assert_eq!(decode_copy(state), None, "{state}");
        }
    }
}
