//! Append: dedupe by delivery key, quota and write are one step.

use std::sync::Arc;

use metrics::counter;
use nexus_core::id::TenantKey;

use super::command::Prepared;
use super::records::{Waiting, decode_seen, encode_seen};
use super::store::{Space, readable};
use super::turn::Turn;
use super::watches::Topic;
use super::{keys, recent};
use crate::bus::{Appended, BusError, Epoch, cannot};

impl Turn<'_> {
    pub(super) fn append(&mut self, key: &TenantKey, event: Prepared) -> Result<Appended, BusError> {
        let number = self.number(key);
        let delivery = keys::delivery(number, &event.delivery_key);
        let seen = self.txn.get(Space::Seen, &delivery)?;
        // One that cannot be read is as good as forgotten: rather an event twice than none.
        let seen = seen.and_then(|seen| readable("seen", decode_seen(&seen)));
        if let Some((_, id)) = seen.filter(|(expires, _)| *expires > self.micros()) {
            self.tally.duplicates += 1;
            return Ok(Appended::Duplicate(id));
        }
        let bytes = event.head.bytes;
        let pending = self.state.tenants.get(&number).map_or(0, |tenant| tenant.pending);
        if pending.saturating_add(bytes) > event.quota_bytes {
            counter!("nexus_bus_appended_total", "outcome" => "quota").increment(1);
            return Err(BusError::Quota { tenant: key.clone(), pending, quota: event.quota_bytes });
        }
        let head = event.head.encode().map_err(cannot("write an event"))?;
        let Some(tenant) = self.state.tenants.get_mut(&number) else {
            return Err(BusError::Closed);
        };

        tenant.counters.last += 1;
        tenant.counters.stored += bytes;
        tenant.pending += bytes;
        tenant.unrouted += 1;
        let seq = tenant.counters.last;
        let counters = tenant.counters.encode();
        let file = Arc::clone(&tenant.file);

        let id = event.head.id;
        let dedupe_for = i64::try_from(event.dedupe_for.as_micros()).unwrap_or(i64::MAX);
        let expires = self.micros().saturating_add(dedupe_for);
        let at = keys::event(number, seq);
        self.txn.put(Space::Meta, keys::counters(number), counters);
        self.txn.put(Space::Seen, delivery, encode_seen(expires, id));
        self.expiring.delivery(number, expires, seq, event.delivery_key);
        self.txn.put(Space::Ids, keys::id(number, id), seq.to_be_bytes());
        self.txn.put(Space::Heads, at, head);
        self.txn.put(Space::Events, at, event.kept);
        let queue = keys::queue(number, event.head.thread.partition(), seq);
        self.txn.put(Space::Queue, queue, Waiting { bytes, id }.encode());
        self.must_last();
        self.wake(number, Topic::Unrouted(event.head.thread.partition()));
        self.will_have(file, seq, recent::Appended { head: Arc::new(event.head), json: event.json });
        self.tally.stored += 1;
        Ok(Appended::Stored(seq))
    }

    pub(super) fn acquire(&mut self, key: &TenantKey, partition: u16) -> Epoch {
        let number = self.number(key);
        let epoch = self.state.tenants.get_mut(&number).map_or(1, |tenant| {
            let epoch = tenant.epochs.entry(partition).or_default();
            *epoch += 1;
            *epoch
        });
        self.txn.put(Space::Meta, keys::epoch(number, partition), epoch.to_be_bytes());
        self.must_last();
        // A new owner looks at what its predecessor left.
        self.wake(number, Topic::Unrouted(partition));
        epoch
    }
}
