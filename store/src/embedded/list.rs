//! Lists, read past the writer: events, dead letters.

use std::time::Duration;

use jiff::Timestamp;
use nexus_core::id::InboxId;

use super::keys;
use super::records::{Entry, Head, Open};
use super::shared::TenantFile;
use super::store::{Space, Store, readable, unreadable};
use crate::bus::{BusError, DeadLetter, EventPage, Page, Seq, Summary};

/// How many records one call looks at.
pub(super) const RECORDS_PER_CALL: usize = 2000;

/// How far the clock may have gone back without hiding anything from a list that ends at a time.
const CLOCK_STEP: Duration = Duration::from_secs(300);

pub(super) fn events(store: &Store, tenant: &TenantFile, page: &Page) -> Result<EventPage, BusError> {
    let mut found = EventPage::default();
    let before = page.before.unwrap_or(Seq::MAX);
    if page.limit == 0 {
        found.next = Some(before);
        return Ok(found);
    }
    let first = keys::event(tenant.number, 0);
    let last = keys::event(tenant.number, before);
    let since = page.filter.since;
    let ends = since.map(|since| since.saturating_sub(CLOCK_STEP).unwrap_or(Timestamp::MIN));
    for (examined, item) in store.back(Space::Heads, &first, &last).enumerate() {
        let (key, value) = item?;
        let Some(seq) = keys::seq_of(&key) else {
            continue;
        };
        if found.events.len() >= page.limit || examined >= RECORDS_PER_CALL {
            found.next = Some(seq.saturating_add(1));
            break;
        }
        let Ok(head) = Head::decode(&value) else {
            unreadable("heads");
            found.unreadable.push(seq);
            continue;
        };
        if ends.is_some_and(|ends| head.received < ends) {
            break;
        }
        if page.filter.wants(head.kind, &head.source, head.received) {
            let queue = keys::queue(tenant.number, head.thread.partition(), seq);
            let routed = store.get(Space::Queue, &queue)?.is_none();
            found.events.push(summary(seq, head, routed));
        }
    }
    Ok(found)
}

pub(super) fn summary(seq: Seq, head: Head, routed: bool) -> Summary {
    Summary {
        seq,
        id: head.id,
        kind: head.kind,
        source: head.source,
        title: head.title,
        received: head.received,
        routed,
        bytes: head.bytes,
    }
}

pub(super) fn dead(
    store: &Store,
    tenant: &TenantFile,
    inbox: InboxId,
    after: Option<Seq>,
    limit: usize,
) -> Result<Vec<DeadLetter>, BusError> {
    let start = keys::copy(tenant.number, inbox, after.map_or(0, |after| after.saturating_add(1)));
    let mut found = Vec::new();
    // Only a list that is shorter than `limit` is at its end, so what cannot be read does not count.
    for item in store.from(Space::Dead, &start, 20) {
        if found.len() >= limit {
            break;
        }
        let (key, value) = item?;
        let (Some(seq), Some(entry)) = (keys::seq_of(&key), readable("copies", Entry::decode(&value))) else {
            continue;
        };
        let open = store.get(Space::Open, &keys::event(tenant.number, seq))?;
        let open = open.and_then(|open| readable("open", Open::decode(&open)));
        found.push(DeadLetter {
            seq,
            id: entry.id,
            attempts: entry.attempts,
            reason: entry.reason,
            parked: Timestamp::from_microsecond(entry.not_before).unwrap_or_default(),
            // None if it was taken out meanwhile.
            bytes: open.map_or(0, |open| open.bytes),
        });
    }
    Ok(found)
}
