//! The sweep: handled events past their retention, and keys that expired.
//!
//! The caller's side looks for them, a bounded number of records and keys a call; the writer looks at each once more
//! in the batch that removes it, so that nothing goes that came to wait in between. A batch is bounded by the records
//! that the writer has to look at or to remove, whatever number of them one event or one note has: appends wait for
//! it.

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

/// How many events one call looks at, and how many keys; more only by what the last note tells of.
pub(super) const RECORDS_PER_CALL: usize = 10_000;

/// How many records the writer looks at or removes in one batch, unless one event has more.
pub(super) const PER_BATCH: usize = 256;

/// What of an event is looked at or removed beside its copies: head, event, route, id, open copies, queue.
const PER_EVENT: usize = 6;

/// A key, of a delivery or of a change.
type Key = (Space, Vec<u8>);

/// An event that may go.
#[derive(Debug)]
pub(super) struct Victim {
    seq: Seq,
    id: EventId,
    partition: u16,
    bytes: u64,
    copies: Vec<InboxId>,
}

impl Victim {
    /// How many records the writer looks at or removes.
    fn weight(&self) -> usize {
        PER_EVENT + self.copies.len()
    }
}

/// A note of what expires, and the keys that it tells of.
#[derive(Debug)]
pub(super) struct Note {
    key: Slice,
    /// None if it cannot be read, and so has to stay.
    tells: Option<Vec<Key>>,
}

impl Note {
    fn read(tenant: TenantNo, key: Slice, value: &[u8]) -> Self {
        let tells = if key.last() == Some(&DELIVERY) {
            serde_json::from_slice(value).map(|keys: Vec<String>| {
                keys.iter().map(|key| (Space::Seen, keys::delivery(tenant, key))).collect()
            })
        } else {
            serde_json::from_slice(value).map(|claimed: Vec<Claimed>| {
                let pairs = claimed.iter().flat_map(Claimed::pairs);
                pairs.map(|(inbox, change)| (Space::Claims, keys::claim(tenant, inbox, change))).collect()
            })
        };
        Self { key, tells: tells.inspect_err(|_| unreadable("expiry")).ok() }
    }

    /// When what it tells of expired.
    fn at(&self) -> i64 {
        keys::expiry_of(&self.key).unwrap_or_default()
    }
}

/// What the writer does in one batch.
#[derive(Debug, Default)]
pub(super) struct Batch {
    victims: Vec<Victim>,
    /// Keys that may have expired.
    keys: Vec<Key>,
    /// Notes of which nothing is left after these keys.
    notes: Vec<Slice>,
    /// Up to when all notes are done after it.
    pub(super) expired: Option<i64>,
    weight: usize,
}

/// Divides what was found into batches. The keys of a note may be in several; it goes with the last of them.
pub(super) fn batches(victims: Vec<Victim>, notes: Vec<Note>) -> Vec<Batch> {
    let mut batches = vec![Batch::default()];
    for victim in victims {
        room(&mut batches, victim.weight()).victims.push(victim);
    }
    for note in notes {
        let at = note.at();
        if let Some(keys) = note.tells {
            for key in keys {
                room(&mut batches, 1).keys.push(key);
            }
            room(&mut batches, 1).notes.push(note.key);
        }
        room(&mut batches, 0).expired = Some(at);
    }
    batches.retain(|batch| batch.weight > 0 || batch.expired.is_some());
    batches
}

/// The last batch, or a new one, with that much more in it.
fn room(batches: &mut Vec<Batch>, weight: usize) -> &mut Batch {
    let full = |batch: &Batch| batch.weight > 0 && batch.weight + weight > PER_BATCH;
    if batches.last().is_none_or(full) {
        batches.push(Batch::default());
    }
    let last = batches.len() - 1;
    let batch = &mut batches[last];
    batch.weight += weight;
    batch
}

/// Events that may go, and where to look for more.
pub(super) struct Events {
    pub(super) found: Vec<Victim>,
    /// Where the next call begins once these are gone, and where its laps do.
    pub(super) next: Seq,
    pub(super) lap: Seq,
    pub(super) more: bool,
}

/// Notes of keys that may have expired.
pub(super) struct Notes {
    pub(super) found: Vec<Note>,
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
        partition: head.thread.partition(),
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
) -> Result<Notes, BusError> {
    let start = keys::expiry(tenant.number, tenant.expired(), 0, 0);
    let (mut found, mut examined) = (Vec::new(), 0);
    for item in store.from(Space::Expiry, &start, 4) {
        let (key, value) = item?;
        if examined >= records {
            return Ok(Notes { found, more: true });
        }
        let note = Note::read(tenant.number, key, &value);
        if note.at() > now.as_microsecond() {
            break;
        }
        examined += note.tells.as_ref().map_or(1, |keys| keys.len().max(1));
        found.push(note);
    }
    Ok(Notes { found, more: false })
}

impl Turn<'_> {
    pub(super) fn sweep(&mut self, key: &TenantKey, batch: Batch) -> Result<Swept, BusError> {
        let Some(tenant) = self.known(key) else {
            return Ok(Swept::default());
        };
        let mut expired = Vec::with_capacity(batch.keys.len());
        for (space, key) in batch.keys {
            if self.is_expired(space, &key)? {
                expired.push((space, key));
            }
        }
        let mut gone = Vec::with_capacity(batch.victims.len());
        for victim in batch.victims {
            if self.may_go(tenant, &victim)? {
                gone.push(victim);
            }
        }

        for note in batch.notes {
            self.txn.remove(Space::Expiry, note);
        }
        let keys = expired.len() as u64;
        for (space, key) in expired {
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

    /// Whether a delivery key or a change key is there and has expired. It may have been claimed anew since its note
    /// was written; then a later note tells when it expires.
    fn is_expired(&self, space: Space, key: &[u8]) -> Result<bool, BusError> {
        let Some(value) = self.txn.get(space, key)? else {
            return Ok(false);
        };
        let expires = match space {
            Space::Seen => decode_seen(&value).map(|(expires, _)| expires),
            _ => Claim::decode(&value).map(|claim| claim.expires),
        };
        Ok(expires.is_ok_and(|expires| expires <= self.micros()))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn victim(seq: Seq, copies: u8) -> Victim {
        let copies = (0..copies).map(|n| InboxId::from_bytes([n; 16])).collect();
        Victim { seq, id: EventId::from_bytes([0; 16]), partition: 0, bytes: 1, copies }
    }

    /// A note of so many claims, each of three changes in four inboxes.
    fn note(at: i64, claims: usize) -> Note {
        let claimed = Claimed {
            inboxes: (0..4).map(|n| InboxId::from_bytes([n; 16])).collect(),
            keys: (0..3).map(|n| format!("{at}:{n}")).collect(),
        };
        let value = serde_json::to_vec(&vec![claimed; claims]).unwrap();
        let key = keys::expiry(1, at, 1, super::super::expiring::CLAIMS);
        Note::read(1, key.into(), &value)
    }

    #[test]
    fn a_batch_is_bounded_by_what_the_writer_looks_at() {
        let victims = (0..100).map(|seq| victim(seq, 20)).collect();
        let notes: Vec<_> = (0..50).map(|at| note(at, 32)).collect();
        let batches = batches(victims, notes);
        for batch in &batches {
            let events: usize = batch.victims.iter().map(Victim::weight).sum();
            assert!(events + batch.keys.len() + batch.notes.len() <= PER_BATCH);
        }
        let events: usize = batches.iter().map(|batch| batch.victims.len()).sum();
        let keys: usize = batches.iter().map(|batch| batch.keys.len()).sum();
        assert_eq!((events, keys), (100, 50 * 32 * 12));
        assert!(batches.len() <= 100 * 26 / PER_BATCH + keys / PER_BATCH + 4, "they are filled");
    }

    #[test]
    fn a_note_goes_with_the_last_of_its_keys() {
        let batches = batches(Vec::new(), vec![note(7, 32), note(9, 1)]);
        let seen: Vec<_> =
            batches.iter().map(|batch| (batch.keys.len(), batch.notes.len(), batch.expired)).collect();
        assert_eq!(seen, [(256, 0, None), (140, 2, Some(9))]);
    }

    #[test]
    fn one_event_with_many_copies_is_a_batch_by_itself() {
        let many = Victim { copies: vec![InboxId::from_bytes([1; 16]); 1000], ..victim(2, 0) };
        let batches = batches(vec![victim(1, 1), many, victim(3, 1)], Vec::new());
        let sizes: Vec<_> = batches.iter().map(|batch| batch.victims.len()).collect();
        assert_eq!(sizes, [1, 1, 1]);
    }

    #[test]
    fn a_note_that_cannot_be_read_is_passed_over_and_stays() {
        let bad = Note::read(1, keys::expiry(1, 8, 1, DELIVERY).into(), b"no note");
        let batches = batches(Vec::new(), vec![bad]);
        assert!(batches[0].keys.is_empty() && batches[0].notes.is_empty());
        assert_eq!(batches[0].expired, Some(8));
    }
}
