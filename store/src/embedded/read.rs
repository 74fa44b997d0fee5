//! What is read past the writer: unrouted events, and all of one event.

use bytes::Bytes;
use nexus_core::id::{EventId, InboxId};

use super::keys;
use super::list::summary;
use super::records::{Entry, Head, Routed, Waiting, decode_json, decode_raw};
use super::shared::{Shared, TenantFile};
use super::state::Hold;
use super::store::{Space, Store, unreadable};
use crate::bus::{BusError, Copy, MAX_UNROUTED_BYTES, Part, Record, Seq, Unrouted, cannot};

pub(super) fn unrouted(
    store: &Store,
    tenant: &TenantFile,
    partition: u16,
    after: Seq,
    limit: usize,
) -> Result<Part<Unrouted>, BusError> {
    if limit == 0 {
        return Ok(Part { items: Vec::new(), more: true });
    }
    // Read before the scan: what it does not find up to here will never be unrouted again.
    let committed = tenant.committed();
    let floor = tenant.floor(partition);
    let wanted = after.saturating_add(1);
    let start = keys::queue(tenant.number, partition, wanted.max(floor));
    let mut first = None;
    let (mut found, mut bytes, mut more) = (Vec::new(), 0, false);
    for item in store.from(Space::Queue, &start, 6) {
        let (key, value) = item?;
        let Some(seq) = keys::seq_of(&key) else {
            continue;
        };
        let waiting = match Waiting::decode(&value) {
            Ok(waiting) if !tenant.is_unreadable(seq) => waiting,
            Ok(_) => continue,
            Err(_) => {
                unreadable("queue");
                continue;
            }
        };
        first.get_or_insert(seq);
        // The scan sees whole batches, so it is missing only if it was routed and swept meanwhile.
        if let Some(event) = json(store, tenant, seq)? {
            bytes += event.len();
            if bytes > MAX_UNROUTED_BYTES && !found.is_empty() {
                more = true;
                break;
            }
            let id = waiting.id;
            found.push(Unrouted { seq, id, event });
        }
        if found.len() >= limit {
            more = true;
            break;
        }
    }
    if wanted <= floor.max(1) {
        let next = committed.saturating_add(1);
        tenant.raise_floor(partition, first.unwrap_or(next).min(next));
    }
    Ok(Part { items: found, more })
}

/// The same without a read, if what waits after a place came a moment ago.
pub(super) fn unrouted_in_memory(
    shared: &Shared,
    tenant: &TenantFile,
    partition: u16,
    after: Seq,
    limit: usize,
) -> Option<Part<Unrouted>> {
    let from = after.saturating_add(1).max(tenant.floor(partition));
    let waiting = tenant.unrouted(partition)?.list(from, limit)?;
    let (mut found, mut bytes) = (Vec::with_capacity(waiting.len()), 0);
    let mut more = waiting.len() >= limit;
    for (seq, id) in waiting {
        let event = shared.recent.get(tenant.number, seq)?.json;
        bytes += event.len();
        if bytes > MAX_UNROUTED_BYTES && !found.is_empty() {
            more = true;
            break;
        }
        found.push(Unrouted { seq, id, event });
    }
    Some(Part { items: found, more })
}

/// The StandardEvent of a place.
pub(super) fn json(store: &Store, tenant: &TenantFile, seq: Seq) -> Result<Option<Bytes>, BusError> {
    let value = store.get(Space::Events, &keys::event(tenant.number, seq))?;
    let json = value.map(|value| decode_json(&value));
    json.transpose().map_err(cannot("read an event"))
}

/// Where an event is, and which inboxes it went to.
pub(super) fn find(
    store: &Store,
    tenant: &TenantFile,
    id: EventId,
) -> Result<Option<(Seq, Vec<InboxId>)>, BusError> {
    let place = store.get(Space::Ids, &keys::id(tenant.number, id))?;
    let Some(seq) = place.and_then(|place| keys::seq_of(&place)) else {
        return Ok(None);
    };
    let inboxes = match store.get(Space::Routes, &keys::event(tenant.number, seq))? {
        Some(routed) => {
            let routed = Routed::decode(&routed).map_err(cannot("read a decision"))?;
            routed.copies.into_iter().map(|(inbox, _)| inbox).collect()
        }
        None => Vec::new(),
    };
    Ok(Some((seq, inboxes)))
}

/// All that is kept of an event; `holds` is who held copies a moment ago.
pub(super) fn record(
    store: &Store,
    tenant: &TenantFile,
    seq: Seq,
    holds: &[(InboxId, Hold)],
) -> Result<Option<Record>, BusError> {
    let snapshot = store.snapshot();
    let at = keys::event(tenant.number, seq);
    let Some(head) = snapshot.get(Space::Heads, &at)? else {
        return Ok(None);
    };
    let head = Head::decode(&head).map_err(cannot("read an event"))?;
    let Some(kept) = snapshot.get(Space::Events, &at)? else {
        return Ok(None);
    };
    let routed = snapshot
        .get(Space::Routes, &at)?
        .map(|routed| Routed::decode(&routed).map_err(cannot("read a decision")))
        .transpose()?;
    let mut copies = Vec::new();
    for (inbox, coalesced) in routed.iter().flat_map(|routed| &routed.copies) {
        let key = keys::copy(tenant.number, *inbox, seq);
        let entry = |space| {
            let entry = snapshot.get(space, &key)?;
            let entry = entry.map(|entry| Entry::decode(&entry).map_err(cannot("read a copy")));
            entry.transpose()
        };
        let copy = if *coalesced {
            Some(Copy::Coalesced)
        } else if let Some(entry) = entry(Space::Inbox)? {
            let hold = holds.iter().find(|(other, _)| other == inbox);
            Some(open_copy(&entry, hold.map(|(_, hold)| hold)))
        } else if let Some(entry) = entry(Space::Dead)? {
            Some(Copy::Dead { attempts: entry.attempts, reason: entry.reason })
        } else {
            let receipt = snapshot.get(Space::Receipts, &keys::receipt(tenant.number, seq, *inbox))?;
            let receipt =
                receipt.map(|receipt| serde_json::from_slice(&receipt).map_err(cannot("read a receipt")));
            receipt.transpose()?
        };
        copies.extend(copy.map(|copy| (*inbox, copy)));
    }
    Ok(Some(Record {
        summary: summary(seq, head, routed.is_some()),
        raw: decode_raw(&kept).map_err(cannot("unpack a delivery"))?,
        event: decode_json(&kept).map_err(cannot("read an event"))?,
        decision: routed.map(|routed| routed.decision),
        copies,
    }))
}

fn open_copy(entry: &Entry, hold: Option<&Hold>) -> Copy {
    match hold.filter(|hold| hold.attempt == entry.attempts) {
        Some(hold) => Copy::Held { session: hold.session, attempt: hold.attempt, since: hold.since },
        None => Copy::Waiting {
            attempts: entry.attempts,
            not_before: Some(entry.not_before)
                .filter(|at| *at != 0)
                .and_then(|at| jiff::Timestamp::from_microsecond(at).ok()),
        },
    }
}
