//! An event as bytes in a segment, and back.
//!
//! A record is its length, its place and a checksum of both and of what follows, each big-endian, then the payload. So
//! a record that was cut, moved or changed anywhere is not taken for one.

use std::time::Duration;

use bytes::{Buf as _, BufMut as _, Bytes};
use nexus_core::id::{EventId, TenantKey};
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::bus::Thread;
use crate::redis::{Packed, Prepared};

/// Length, place, checksum.
pub(super) const HEAD: usize = 4 + 8 + 8;

/// No record is longer: ingest ends at bodies of 25 MiB, and events are shorter than their bodies.
const LONGEST: usize = 64 << 20;

/// A record's beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    /// Bytes of the payload.
    pub(super) len: usize,
    pub(super) place: u64,
    sum: u64,
}

impl Head {
    /// Reads a beginning; none if the bytes can be no record's.
    pub(super) fn read(mut bytes: &[u8]) -> Option<Self> {
        let len = usize::try_from(bytes.try_get_u32().ok()?).ok().filter(|len| *len <= LONGEST)?;
        let (place, sum) = (bytes.try_get_u64().ok()?, bytes.try_get_u64().ok()?);
        (len > 0).then_some(Self { len, place, sum })
    }

    /// Whether it is the beginning of this payload.
    pub(super) fn vouches_for(self, payload: &[u8]) -> bool {
        payload.len() == self.len && sum(self.place, payload) == self.sum
    }
}

fn sum(place: u64, payload: &[u8]) -> u64 {
    xxh3_64_with_seed(payload, place.rotate_left(32) ^ payload.len() as u64)
}

/// Writes a record.
pub(super) fn put(out: &mut Vec<u8>, place: u64, payload: &[u8]) {
    // Longer ones were refused by `encode`.
    out.put_u32(u32::try_from(payload.len()).unwrap_or(u32::MAX));
    out.put_u64(place);
    out.put_u64(sum(place, payload));
    out.extend_from_slice(payload);
}

/// The payload; none if it would be too long.
pub(super) fn encode(tenant: &TenantKey, event: &Prepared) -> Option<Vec<u8>> {
    let tenant = tenant.to_string();
    let parts: [&[u8]; 6] = [
        tenant.as_bytes(),
        event.delivery_key.as_bytes(),
        event.change.as_bytes(),
        &event.head,
        event.json.kept(),
        &event.raw,
    ];
    let len = parts.iter().map(|part| 4 + part.len()).sum::<usize>() + 16 + 5 * 8;
    let mut out = Vec::with_capacity(len);
    for part in parts {
        out.put_u32(u32::try_from(part.len()).ok()?);
        out.extend_from_slice(part);
    }
    out.extend_from_slice(event.id.as_bytes());
    out.put_u64(u64::try_from(event.dedupe_for.as_millis()).unwrap_or(u64::MAX));
    out.put_u64(event.thread.0);
    out.put_i64(event.received);
    out.put_u64(event.quota);
    out.put_u64(event.json.len() as u64);
    (out.len() <= LONGEST).then_some(out)
}

/// The tenant whose payload begins so.
pub(super) fn tenant_of(mut payload: &[u8]) -> Option<TenantKey> {
    let len = usize::try_from(payload.try_get_u32().ok()?).ok()?;
    std::str::from_utf8(payload.get(..len)?).ok()?.parse().ok()
}

/// What a payload holds; none if this version did not write it.
pub(super) fn decode(mut payload: Bytes) -> Option<(TenantKey, Prepared)> {
    let tenant = tenant_of(&payload)?;
    let mut part = || {
        let len = usize::try_from(payload.try_get_u32().ok()?).ok()?;
        (len <= payload.len()).then(|| payload.split_to(len))
    };
    let [_, delivery_key, change, head, json, raw] = [part()?, part()?, part()?, part()?, part()?, part()?];
    let text = |bytes: Bytes| String::from_utf8(bytes.into()).ok();
    let mut id = uuid::Bytes::default();
    payload.try_copy_to_slice(&mut id).ok()?;
    let (dedupe_for, thread) = (payload.try_get_u64().ok()?, payload.try_get_u64().ok()?);
    let (received, quota) = (payload.try_get_i64().ok()?, payload.try_get_u64().ok()?);
    // Earlier versions packed no JSON, and wrote no length of it.
    let json_len =
        if payload.is_empty() { json.len() } else { payload.try_get_u64().ok()?.try_into().ok()? };
    let event = Prepared {
        id: EventId::from(Uuid::from_bytes(id)),
        delivery_key: text(delivery_key)?,
        change: text(change)?,
        head,
        json: Packed::kept_as(json, json_len),
        raw,
        dedupe_for: Duration::from_millis(dedupe_for),
        thread: Thread(thread),
        received,
        quota,
    };
    payload.is_empty().then_some((tenant, event))
}
