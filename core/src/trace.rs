//! The trace of an event: every id of it follows from the event's own, so that who records one step knows the
//! ids of the steps before it, over restarts and without anything being stored or carried along.
//!
//! `receive` is the root; `append` and `route` are its children; a `deliver` is a child of `route`, and what the
//! agent answered is a child of its `deliver`. Sources: W3C Trace Context; Langfuse's ids from a seed.

use std::fmt;

use sha2::{Digest as _, Sha256};

use crate::id::{EventId, InboxId, SessionId};

/// A trace's id, 16 bytes that are not all zero. Shown as 32 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceId([u8; 16]);

/// A span's id, 8 bytes that are not all zero. Shown as 16 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpanId([u8; 8]);

/// One handing out of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Delivery {
    /// The inbox that it was drawn from.
    pub inbox: InboxId,
    /// From 1; how often it was handed out.
    pub attempt: u32,
    /// Whether it is a replay: its attempts are counted from 1 again.
    pub replay: bool,
    /// The session that it was handed to.
    pub session: SessionId,
}

/// A step of an event's life that has a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// It was taken in.
    Receive,
    /// The provider sent it once more; by the id that this delivery would have had.
    ReceiveAgain(EventId),
    /// It was written.
    Append,
    /// It was put into inboxes.
    Route,
    /// It was sent to an agent.
    Deliver(Delivery),
    /// The agent acknowledged it.
    Ack(Delivery),
    /// The agent refused it.
    Nack(Delivery),
}

impl TraceId {
    /// The trace of an event.
    #[must_use]
    pub fn of(event: EventId) -> Self {
        Self::from_seed(&event.to_string())
    }

    /// The trace that a seed stands for: the first half of its SHA-256.
    #[must_use]
    pub fn from_seed(seed: &str) -> Self {
        Self(first(&Sha256::digest(seed)))
    }

    /// Its bytes.
    #[must_use]
    pub const fn bytes(self) -> [u8; 16] {
        self.0
    }
}

impl SpanId {
    /// The span of a step of an event.
    #[must_use]
    pub fn of(event: EventId, step: Step) -> Self {
        let mut hash = Sha256::new();
        hash.update(event.as_bytes());
        match step {
            Step::Receive => hash.update("receive"),
            Step::ReceiveAgain(id) => {
                hash.update("receive");
                hash.update(id.as_bytes());
            }
            Step::Append => hash.update("append"),
            Step::Route => hash.update("route"),
            Step::Deliver(delivery) => delivery.hash_into(&mut hash, "deliver"),
            Step::Ack(delivery) => delivery.hash_into(&mut hash, "ack"),
            Step::Nack(delivery) => delivery.hash_into(&mut hash, "nack"),
        }
        Self(first(&hash.finalize()))
    }

    /// Its bytes.
    #[must_use]
    pub const fn bytes(self) -> [u8; 8] {
        self.0
    }
}

impl Delivery {
    fn hash_into(&self, hash: &mut Sha256, step: &str) {
        hash.update(step);
        hash.update(self.inbox.as_bytes());
        hash.update(self.attempt.to_be_bytes());
        hash.update([u8::from(self.replay)]);
        hash.update(self.session.as_bytes());
    }
}

impl Step {
    /// The step that caused this one.
    #[must_use]
    pub const fn parent(self) -> Option<Self> {
        match self {
            Self::Receive => None,
            Self::ReceiveAgain(_) | Self::Append | Self::Route => Some(Self::Receive),
            Self::Deliver(_) => Some(Self::Route),
            Self::Ack(delivery) | Self::Nack(delivery) => Some(Self::Deliver(delivery)),
        }
    }
}

/// Which traces are recorded. It asks the trace's id only, so that all spans of an event agree, whichever process
/// records them and when.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampler {
    /// Traces below this are recorded, by 63 bits of their id.
    below: u64,
}

/// 2^63: one above the greatest value of a trace's 63 bits.
const ALL: u64 = 1 << 63;

impl Sampler {
    /// Records everything.
    pub const ALWAYS: Self = Self { below: ALL };

    /// Records nothing.
    pub const NEVER: Self = Self { below: 0 };

    /// Records this share of all traces; none if it is not between 0 and 1. It agrees with the sampler
    /// `traceidratio` of OpenTelemetry's SDKs in Rust and Go.
    #[must_use]
    pub fn ratio(share: f64) -> Option<Self> {
        if !(0.0..=1.0).contains(&share) {
            return None;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a share of 2^63 is between 0 and 2^63"
        )]
        let below = (share * ALL as f64) as u64;
        Some(Self { below })
    }

    /// Whether a trace is recorded.
    #[must_use]
    pub fn samples(self, trace: TraceId) -> bool {
        let [.., a, b, c, d, e, f, g, h] = trace.0;
        (u64::from_be_bytes([a, b, c, d, e, f, g, h]) >> 1) < self.below
    }
}

/// The W3C trace context of a delivery: its span is the parent of what the agent does on account of it.
#[must_use]
pub fn traceparent(event: EventId, delivery: Delivery, sampler: Sampler) -> String {
    let trace = TraceId::of(event);
    let flags = if sampler.samples(trace) { "01" } else { "00" };
    format!("00-{trace}-{}-{flags}", SpanId::of(event, Step::Deliver(delivery)))
}

/// A trace context that somebody else sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remote {
    /// Their trace.
    pub trace: TraceId,
    /// Their span.
    pub span: SpanId,
    /// Whether they record it.
    pub sampled: bool,
}

impl Remote {
    /// Reads a `traceparent`; none if it is not one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let version = hex_bytes::<1>(version)?;
        // 255 is forbidden; only later versions may have more parts.
        if version == [0xff] || (version == [0] && parts.next().is_some()) {
            return None;
        }
        let (trace, span, [flags]) = (hex_bytes::<16>(trace)?, hex_bytes::<8>(span)?, hex_bytes::<1>(flags)?);
        (trace != [0; 16] && span != [0; 8]).then_some(Self {
            trace: TraceId(trace),
            span: SpanId(span),
            sampled: flags & 1 == 1,
        })
    }
}

/// Lower-case hex digits, as the specification demands.
fn hex_bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let lower = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (lower && hex::decode_to_slice(text, &mut bytes).is_ok()).then_some(bytes)
}

/// The first bytes of a hash; never all zero, which would mean no id.
fn first<const N: usize>(hash: &[u8]) -> [u8; N] {
    let mut id = [0; N];
    id.copy_from_slice(&hash[..N]);
    if id == [0; N] {
        id[N - 1] = 1;
    }
    id
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

#[cfg(test)]
#[path = "trace_tests.rs"]
mod tests;
