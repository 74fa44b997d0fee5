//! The sweep: handled events past their retention, and keys that expired.
//!
//! The caller's side looks for them, a bounded number of records a call; the writer looks at each once more in
//! the batch that removes it, so that nothing goes that came to wait in between.

use std::time::Duration;

use fjall::Slice;
use jiff::Timestamp;
use nexus_core::id::{EventId, InboxId, TenantKey};

use super::expiring::DELIVERY;
use super::keys::{self, TenantNo};
use super::records::{Claim, Claimed, Head, Routed, decode_seen};
use super::shared::TenantFile;
use super::store::{Space, Store, unreadable};
use super::turn::Turn;
use crate::bus::{BusError, Seq, Swept};

/// How many records one call looks at, of events and of keys each.
pub(super) const RECORDS_PER_CALL: usize = 10_000;

/// How many of them the writer removes in one batch, so that appends do not wait long. A note tells of several keys.
pub(super) const PER_BATCH: usize = 64;

/// Keys that have expired.
type Gone = Vec<(Space, Vec<u8>)>;

/// An event that may go.
#[derive(Debug)]
pub(super) struct Victim {
    seq: Seq,
    id: EventId,
    partition: u16,
    bytes: u64,
    copies: Vec<InboxId>,
}

/// A key that may have expired.
#[derive(Debug)]
pub(super) struct Expired {
    key: Slice,
    value: Slice,
}

impl Expired {
    /// When it expired.
    pub(super) fn at(&self) -> i64 {
        keys::expiry_of(&self.key).unwrap_or_default()
    }
}

/// Events that may go, and where to look for more.
pub(super) struct Events {
    pub(super) found: Vec<Victim>,
    /// Where the next call begins once these are gone, and where its laps do.
    pub(super) next: Seq,
    pub(super) lap: Seq,
    pub(super) more: bool,
}

/// Keys that may have expired.
pub(super) struct Keys {
    pub(super) found: Vec<Expired>,
    pub(super) more: bool,
}

/// Looks for events that may go, from where the last call ended.
pub(super) fn find_events(
    store: &Store,
    tenant: &TenantFile,
    now: Timestamp,
    retention: Duration,
    records: usize,
) -> Result<Events, BusError> {
    let cutoff = now.saturating_sub(retention).unwrap_or(Timestamp::MIN);
    let (from, mut lap) = tenant.sweep_from();
    let mut begins_lap = from == lap;
    let mut victims = Vec::new();
    let mut next = None;
    let start = keys::event(tenant.number, from);
    for (examined, item) in store.from(Space::Heads, &start, 4).enumerate() {
        let (key, value) = item?;
        let Some(seq) = keys::seq_of(&key) else {
            continue;
        };
        let full = examined >= records;
        // What cannot be read stays, and what is behind it is looked at.
        let head = Head::decode(&value).inspect_err(|_| unreadable("heads")).ok();
        // Events are received in bus order, near enough: behind a young one an old one waits a little longer.
        let young = head.as_ref().is_some_and(|head| head.received > cutoff);
        let victim = match head {
            Some(head) if !full && !young => victim(store, tenant.number, seq, &head)?,
            _ => None,
        };
        if victim.is_none() && begins_lap {
            // What is before has gone, and its tombstones need not be read again.
            lap = seq;
            begins_lap = false;
        }
        victims.extend(victim);
        if full {
            next = Some(seq);
        }
        if full || young {
            break;
        }
    }
    Ok(Events { found: victims, next: next.unwrap_or(lap), lap, more: next.is_some() })
}

/// The event, if it was handled and no copy is parked.
fn victim(store: &Store, tenant: TenantNo, seq: Seq, head: &Head) -> Result<Option<Victim>, BusError> {
    let at = keys::event(tenant, seq);
    if store.get(Space::Open, &at)?.is_some() {
        return Ok(None);
    }
    let Some(routed) = store.get(Space::Routes, &at)? else {
        return Ok(None);
    };
    let Ok(routed) = Routed::decode(&routed).inspect_err(|_| unreadable("routes")) else {
        return Ok(None);
    };
    Ok(Some(Victim {
        seq,
        id: head.id,
        partition: head.partition,
        bytes: head.bytes,
        copies: routed.copies.into_iter().map(|(inbox, _)| inbox).collect(),
    }))
}

/// Looks for keys that expired, from where the last call ended.
pub(super) fn find_keys(
    store: &Store,
    tenant: &TenantFile,
    now: Timestamp,
    records: usize,
) -> Result<Keys, BusError> {
    let start = keys::expiry(tenant.number, tenant.expired(), 0, 0);
    let mut found = Vec::new();
    for item in store.from(Space::Expiry, &start, 4).take(records) {
        let (key, value) = item?;
        let expired = Expired { key, value };
        if expired.at() > now.as_microsecond() {
            break;
        }
        found.push(expired);
    }
    let more = found.len() >= records;
    Ok(Keys { found, more })
}

impl Turn<'_> {
    pub(super) fn sweep(
        &mut self,
        key: &TenantKey,
        victims: Vec<Victim>,
        expired: &[Expired],
    ) -> Result<Swept, BusError> {
        let Some(tenant) = self.known(key) else {
            return Ok(Swept::default());
        };
        let mut keys_gone = Vec::new();
        let mut notes_gone = Vec::with_capacity(expired.len());
        for expired in expired {
            if self.find_expired(tenant, expired, &mut keys_gone)? {
                notes_gone.push(expired.key.clone());
            }
        }
        let mut gone = Vec::with_capacity(victims.len());
        for victim in victims {
            if self.may_go(tenant, &victim)? {
                gone.push(victim);
            }
        }

        for note in notes_gone {
            self.txn.remove(Space::Expiry, note);
        }
        let keys = keys_gone.len() as u64;
        for (space, key) in keys_gone {
            self.txn.remove(space, key);
        }
        for victim in &gone {
            self.remove_event(tenant, victim);
        }
        if let Some(tenant) = self.state.tenants.get_mut(&tenant).filter(|_| !gone.is_empty()) {
            let bytes: u64 = gone.iter().map(|victim| victim.bytes).sum();
            tenant.counters.stored = tenant.counters.stored.saturating_sub(bytes);
            let (key, counters) = (keys::counters(tenant.file.number), tenant.counters.encode());
            self.txn.put(Space::Meta, key, counters);
        }
        self.tally.swept += gone.len() as u64;
        Ok(Swept { events: gone.len() as u64, keys, more: false })
    }

    /// The keys that a note tells of; false if it cannot be read, and so has to stay. A key may have been claimed anew
    /// since its note was written; then a later note tells when it expires.
    fn find_expired(&self, tenant: TenantNo, expired: &Expired, gone: &mut Gone) -> Result<bool, BusError> {
        let found = if expired.key.last() == Some(&DELIVERY) {
            serde_json::from_slice(&expired.value).map(|keys| self.expired_deliveries(tenant, keys))
        } else {
            serde_json::from_slice(&expired.value).map(|claimed| self.expired_claims(tenant, claimed))
        };
        let Ok(found) = found else {
            unreadable("expiry");
            return Ok(false);
        };
        gone.extend(found?);
        Ok(true)
    }

    fn expired_deliveries(&self, tenant: TenantNo, delivery_keys: Vec<String>) -> Result<Gone, BusError> {
        let mut gone = Vec::new();
        for key in delivery_keys {
            let key = keys::delivery(tenant, &key);
            if let Some(seen) = self.txn.get(Space::Seen, &key)?
                && decode_seen(&seen).is_ok_and(|(expires, _)| expires <= self.micros())
            {
                gone.push((Space::Seen, key));
            }
        }
        Ok(gone)
    }

    fn expired_claims(&self, tenant: TenantNo, claimed: Vec<Claimed>) -> Result<Gone, BusError> {
        let mut gone = Vec::new();
        for claimed in claimed {
            for (inbox, change) in claimed.pairs() {
                let key = keys::claim(tenant, inbox, change);
                if let Some(claim) = self.txn.get(Space::Claims, &key)?
                    && Claim::decode(&claim).is_ok_and(|claim| claim.expires <= self.micros())
                {
                    gone.push((Space::Claims, key));
                }
            }
        }
        Ok(gone)
    }

    fn may_go(&self, tenant: TenantNo, victim: &Victim) -> Result<bool, BusError> {
        let at = keys::event(tenant, victim.seq);
        let queue = keys::queue(tenant, victim.partition, victim.seq);
        Ok(self.txn.get(Space::Heads, &at)?.is_some()
            && self.txn.get(Space::Open, &at)?.is_none()
            && self.txn.get(Space::Queue, &queue)?.is_none())
    }

    fn remove_event(&mut self, tenant: TenantNo, victim: &Victim) {
        let at = keys::event(tenant, victim.seq);
        for space in [Space::Heads, Space::Events, Space::Routes] {
            self.txn.remove(space, at);
        }
        self.txn.remove(Space::Ids, keys::id(tenant, victim.id));
        for inbox in &victim.copies {
            let receipt = keys::receipt(tenant, victim.seq, *inbox);
            self.txn.remove(Space::Receipts, receipt);
        }
    }
}
