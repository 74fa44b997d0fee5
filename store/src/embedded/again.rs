//! Replay, and dead letters that wait again or are given up.

use std::collections::BTreeSet;

use nexus_core::id::{EventId, InboxId, TenantKey};

use super::copies::Opens;
use super::keys::{self, TenantNo};
use super::records::{Entry, Head, Routed};
use super::state::Place;
use super::store::{Space, readable};
use super::turn::Turn;
use super::watches::Topic;
use crate::bus::{BusError, Copy, Seq, cannot};

/// What will be written of one replayed event.
struct Plan {
    seq: Seq,
    head: Head,
    routed: Routed,
    /// The inboxes that get a copy, and whether theirs was parked.
    copies: Vec<(InboxId, bool)>,
}

impl Turn<'_> {
    pub(super) fn replay(
        &mut self,
        key: &TenantKey,
        ids: &[EventId],
        inboxes: &[InboxId],
    ) -> Result<usize, BusError> {
        let Some(tenant) = self.known(key) else {
            return Ok(0);
        };
        let inboxes: BTreeSet<_> = inboxes.iter().copied().collect();
        let ids: BTreeSet<_> = ids.iter().copied().collect();
        let mut plans = Vec::new();
        let mut opens = Opens::default();
        for id in ids {
            if let Some(plan) = self.plan_replay(tenant, id, &inboxes)? {
                opens.read(self, tenant, plan.seq, || plan.head.bytes)?;
                plans.push(plan);
            }
        }

        // Bus order, whatever the order of the ids.
        plans.sort_unstable_by_key(|plan| plan.seq);
        let mut count = 0;
        for plan in plans {
            let seq = plan.seq;
            for (inbox, parked) in &plan.copies {
                let place = Place { inbox: *inbox, seq };
                opens.change(seq, 1, -i32::from(*parked));
                self.add_again(tenant, place, &Entry::fresh(&plan.head, true), *parked);
                count += 1;
            }
            self.txn.put(Space::Routes, keys::event(tenant, seq), plan.routed.encode());
        }
        opens.write(self, tenant);
        if count > 0 {
            self.must_last();
        }
        Ok(count)
    }

    /// Which copies a replay makes; none of an event that is unknown, cannot be read, or is not routed yet, which will be.
    fn plan_replay(
        &self,
        tenant: TenantNo,
        id: EventId,
        inboxes: &BTreeSet<InboxId>,
    ) -> Result<Option<Plan>, BusError> {
        let Some(seq) = self.seq(tenant, id)? else {
            return Ok(None);
        };
        let Some(head) = self.head(tenant, seq)? else {
            return Ok(None);
        };
        let Some(routed) = self.txn.get(Space::Routes, &keys::event(tenant, seq))? else {
            return Ok(None);
        };
        let Some(mut routed) = readable("routes", Routed::decode(&routed)) else {
            return Ok(None);
        };
        let mut copies = Vec::new();
        for inbox in inboxes.iter().copied() {
            let place = Place { inbox, seq };
            if !self.has_copy(Space::Inbox, tenant, place)? {
                copies.push((inbox, self.has_copy(Space::Dead, tenant, place)?));
                routed.copies.retain(|(other, _)| *other != inbox);
                routed.copies.push((inbox, false));
            }
        }
        Ok((!copies.is_empty()).then_some(Plan { seq, head, routed, copies }))
    }

    /// Puts a copy into an inbox where there is none.
    fn add_again(&mut self, tenant: TenantNo, place: Place, entry: &Entry, parked: bool) {
        self.put_entry(tenant, place, entry);
        let inbox = self.inbox(tenant, place.inbox);
        inbox.add(place.seq);
        if parked {
            inbox.dead = inbox.dead.saturating_sub(1);
            self.txn.remove(Space::Dead, keys::copy(tenant, place.inbox, place.seq));
        }
        self.wake(tenant, Topic::Inbox(place.inbox));
    }

    pub(super) fn requeue(
        &mut self,
        key: &TenantKey,
        inbox: InboxId,
        ids: &[EventId],
    ) -> Result<usize, BusError> {
        let Some(tenant) = self.known(key) else {
            return Ok(0);
        };
        let (found, mut opens) = self.find_dead(tenant, inbox, ids)?;
        let count = found.len();
        for (seq, mut entry) in found {
            entry.attempts = 0;
            entry.not_before = 0;
            entry.reason.clear();
            opens.change(seq, 1, -1);
            self.add_again(tenant, Place { inbox, seq }, &entry, true);
        }
        opens.write(self, tenant);
        if count > 0 {
            self.must_last();
        }
        Ok(count)
    }

    /// The parked copies of these events in an inbox, in bus order, and the counts of their events.
    fn find_dead(
        &self,
        tenant: TenantNo,
        inbox: InboxId,
        ids: &[EventId],
    ) -> Result<(Vec<(Seq, Entry)>, Opens), BusError> {
        let mut opens = Opens::default();
        let mut found = Vec::new();
        for id in ids.iter().copied().collect::<BTreeSet<_>>() {
            if let Some(seq) = self.seq(tenant, id)?
                && let Some(entry) = self.entry(Space::Dead, tenant, Place { inbox, seq })?
            {
                opens.read(self, tenant, seq, || 0)?;
                found.push((seq, entry));
            }
        }
        found.sort_unstable_by_key(|(seq, _)| *seq);
        Ok((found, opens))
    }

    pub(super) fn drop_dead(
        &mut self,
        key: &TenantKey,
        inbox: InboxId,
        ids: &[EventId],
    ) -> Result<usize, BusError> {
        let Some(tenant) = self.known(key) else {
            return Ok(0);
        };
        let (found, mut opens) = self.find_dead(tenant, inbox, ids)?;
        let mut receipts = Vec::with_capacity(found.len());
        for (seq, entry) in found {
            let copy = Copy::Dropped { attempts: entry.attempts, reason: entry.reason, dropped: self.now };
            receipts.push((seq, serde_json::to_vec(&copy).map_err(cannot("write a receipt"))?));
        }

        let count = receipts.len();
        self.tally.dropped += count as u64;
        for (seq, receipt) in receipts {
            self.txn.remove(Space::Dead, keys::copy(tenant, inbox, seq));
            self.txn.put(Space::Receipts, keys::receipt(tenant, seq, inbox), receipt);
            let state = self.inbox(tenant, inbox);
            state.dead = state.dead.saturating_sub(1);
            opens.change(seq, 0, -1);
        }
        opens.write(self, tenant);
        self.state.tidy(tenant, inbox);
        if count > 0 {
            self.must_last();
        }
        Ok(count)
    }
}
