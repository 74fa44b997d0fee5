//! Copies: how many of an event's are open, and what is written when one comes or goes.

use std::collections::BTreeMap;

use nexus_core::id::EventId;

use super::keys::{self, TenantNo};
use super::records::{Entry, Open};
use super::state::{Place, Tenant};
use super::store::{Space, cannot};
use super::turn::Turn;
use crate::bus::{BusError, Seq};

/// The counts of events whose copies a command changes: read first, changed, then written once.
#[derive(Default)]
pub(super) struct Opens(BTreeMap<Seq, Count>);

/// The count of an event, as it was and as it is to be.
struct Count {
    before: Open,
    after: Open,
}

impl Opens {
    /// Reads the count of an event, if it was not read yet. `bytes` is what the event takes.
    pub(super) fn read(
        &mut self,
        turn: &Turn<'_>,
        tenant: TenantNo,
        seq: Seq,
        bytes: impl FnOnce() -> u64,
    ) -> Result<(), BusError> {
        if self.0.contains_key(&seq) {
            return Ok(());
        }
        let before = match turn.txn.get(Space::Open, &keys::event(tenant, seq))? {
            Some(value) => Open::decode(&value).map_err(cannot("read the copies of an event"))?,
            None => Open { open: 0, dead: 0, bytes: bytes() },
        };
        self.0.insert(seq, Count { before, after: before });
        Ok(())
    }

    /// Changes the count of an event that was read.
    pub(super) fn change(&mut self, seq: Seq, open: i32, dead: i32) {
        if let Some(Count { after, .. }) = self.0.get_mut(&seq) {
            after.open = after.open.saturating_add_signed(open);
            after.dead = after.dead.saturating_add_signed(dead);
        }
    }

    /// Writes the counts, and the bytes that are pending more or less.
    pub(super) fn write(self, turn: &mut Turn<'_>, tenant: TenantNo) {
        for (seq, Count { before, after }) in self.0 {
            let at = keys::event(tenant, seq);
            if after.is_over() {
                turn.txn.remove(Space::Open, at);
            } else if after != before {
                turn.txn.put(Space::Open, at, after.encode());
            }
            if let Some(tenant) = turn.state.tenants.get_mut(&tenant) {
                tenant.count_copies(before, after);
            }
        }
    }
}

impl Tenant {
    /// The copies of a routed event changed.
    pub(super) fn count_copies(&mut self, before: Open, after: Open) {
        let bytes = after.bytes;
        let change = |sum: u64, was: bool, is: bool| match (was, is) {
            (true, false) => sum.saturating_sub(bytes),
            (false, true) => sum.saturating_add(bytes),
            _ => sum,
        };
        self.pending = change(self.pending, !before.is_over(), !after.is_over());
        self.dead_bytes = change(self.dead_bytes, before.dead > 0, after.dead > 0);
        self.dead = self.dead.saturating_sub(before.dead.into()) + u64::from(after.dead);
    }
}

impl Turn<'_> {
    pub(super) fn entry(&self, tenant: TenantNo, place: Place) -> Result<Option<Entry>, BusError> {
        self.read_entry(Space::Inbox, tenant, place)
    }

    pub(super) fn dead_entry(&self, tenant: TenantNo, place: Place) -> Result<Option<Entry>, BusError> {
        self.read_entry(Space::Dead, tenant, place)
    }

    fn read_entry(&self, space: Space, tenant: TenantNo, place: Place) -> Result<Option<Entry>, BusError> {
        let value = self.txn.get(space, &keys::copy(tenant, place.inbox, place.seq))?;
        value.map(|value| Entry::decode(&value).map_err(cannot("read a copy"))).transpose()
    }

    pub(super) fn put_entry(&mut self, tenant: TenantNo, place: Place, entry: &Entry) {
        let key = keys::copy(tenant, place.inbox, place.seq);
        self.txn.put(Space::Inbox, key, entry.encode());
    }

    /// Moves a copy that nobody holds from its inbox to the dead letters.
    pub(super) fn park(&mut self, tenant: TenantNo, place: Place, mut entry: Entry, reason: String) {
        let key = keys::copy(tenant, place.inbox, place.seq);
        entry.reason = reason;
        entry.not_before = self.micros();
        self.txn.remove(Space::Inbox, key);
        self.txn.put(Space::Dead, key, entry.encode());
        let inbox = self.inbox(tenant, place.inbox);
        inbox.leave(place.seq);
        inbox.dead += 1;
        self.tally.parked += 1;
        tracing::warn!(
            event = %entry.id,
            inbox = %place.inbox,
            attempts = entry.attempts,
            reason = entry.reason,
            "an event was parked as a dead letter"
        );
    }

    /// The place of an event.
    pub(super) fn seq(&self, tenant: TenantNo, id: EventId) -> Result<Option<Seq>, BusError> {
        let value = self.txn.get(Space::Ids, &keys::id(tenant, id))?;
        Ok(value.and_then(|value| keys::seq_of(&value)))
    }
}
