//! An event as it will be kept: all that costs time was done by the caller. The spool keeps it in this shape too.

use std::time::Duration;

use bytes::Bytes;
use nexus_core::id::EventId;

use super::packed::Packed;
use super::values::{encode_change, short};
use crate::bus::{Append, BusError, Thread, cannot};
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
    pub(crate) json: Packed,
    /// The delivery as it came, compressed.
    pub(crate) raw: Bytes,
    /// Bytes that may wait unacknowledged for the tenant.
    pub(crate) quota: u64,
}

impl Prepared {
    /// Encodes and compresses an event; a large one on a thread where that holds up nobody.
    pub(crate) async fn of(append: Append) -> Result<Self, BusError> {
        if append.raw.body.len().max(append.event.len()) <= COMPRESSED_AT_ONCE {
            return Self::make(append);
        }
        tokio::task::spawn_blocking(move || Self::make(append)).await.map_err(|_| BusError::Closed)?
    }

    fn make(append: Append) -> Result<Self, BusError> {
        let raw = encode_event(&[], &append.raw).map_err(cannot("keep a body of this size"))?;
        let (delivery_key, change) = (short(&append.delivery_key), encode_change(&append.change));
        let (dedupe_for, quota, json) =
            (append.dedupe_for, append.quota_bytes, Packed::of(append.event.clone()));
        let head = Head::of(append, (json.len() + raw.len()) as u64)?;
        Ok(Self {
            id: head.id,
            delivery_key,
            dedupe_for,
            thread: head.thread,
            change,
            received: head.received.as_microsecond(),
            head: head.encode().map_err(cannot("write an event"))?.into(),
            json,
            raw: raw.into(),
            quota,
        })
    }

    /// What the event counts for, whatever its JSON is packed to: bytes of JSON and raw body.
    pub(crate) fn weight(&self) -> usize {
        self.json.len() + self.raw.len()
    }
}
