//! An event as it will be kept: all that costs time was done by the caller. The spool keeps it in this shape too.

use std::time::Duration;

use bytes::Bytes;
use nexus_core::id::EventId;

use super::connection::cannot;
use super::values::{encode_change, short};
use crate::bus::{Append, BusError, Thread};
use crate::embedded::{COMPRESSED_AT_ONCE, Head, encode_event};

/// An event as it will be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Prepared {
    pub(crate) id: EventId,
    pub(crate) delivery_key: String,
    pub(crate) dedupe_for: Duration,
    pub(crate) thread: Thread,
    /// As the script that routes reads it.
    pub(crate) change: String,
    /// When it was received, in microseconds since 1970.
    pub(crate) received: i64,
    /// [`Head::encode`] of it.
    pub(crate) head: Bytes,
    /// The StandardEvent as JSON.
    pub(crate) json: Bytes,
    /// The delivery as it came, compressed.
    pub(crate) raw: Bytes,
    /// Bytes that may wait unacknowledged for the tenant.
    pub(crate) quota: u64,
}

impl Prepared {
    /// Encodes and compresses an event; a large one on a thread where that holds up nobody.
    pub(crate) async fn of(append: Append) -> Result<Self, BusError> {
        if append.raw.body.len() <= COMPRESSED_AT_ONCE {
            return Self::make(append);
        }
        tokio::task::spawn_blocking(move || Self::make(append)).await.map_err(|_| BusError::Closed)?
    }

    fn make(append: Append) -> Result<Self, BusError> {
        let raw = encode_event(&[], &append.raw).map_err(cannot("keep a body of this size"))?;
        let len = u32::try_from(append.event.len()).map_err(cannot("keep an event of this size"))?;
        let change = encode_change(&append.change);
        let head = Head {
            id: append.id,
            thread: Thread::of(&append.thread_key),
            kind: append.kind,
            source: append.source,
            title: append.title,
            received: append.received,
            change: append.change,
            len,
            bytes: (append.event.len() + raw.len()) as u64,
        };
        Ok(Self {
            id: append.id,
            delivery_key: short(&append.delivery_key),
            dedupe_for: append.dedupe_for,
            thread: head.thread,
            change,
            received: append.received.as_microsecond(),
            head: head.encode().map_err(cannot("write an event"))?.into(),
            json: append.event,
            raw: raw.into(),
            quota: append.quota_bytes,
        })
    }

    /// Bytes of payload.
    pub(crate) fn weight(&self) -> usize {
        self.json.len() + self.raw.len()
    }
}
