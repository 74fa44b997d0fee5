//! Copies: how many of an event's are open, and what is written when one comes or goes.

use std::collections::BTreeMap;

use nexus_core::id::EventId;

use super::keys::{self, TenantNo};
use super::records::{Entry, Open};
use super::state::{Place, Tenant};
use super::store::{Space, readable};
use super::turn::Turn;
use crate::bus::{BusError, Seq};

/// The counts of events whose copies a command changes: read first, changed, then written once. One that cannot be
/// read is left as it is, and so its event stays.
#[derive(Default)]
pub(super) struct Opens(BTreeMap<Seq, Option<Count>>);

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
            Some(value) => readable("open", Open::decode(&value)),
            None => Some(Open { open: 0, dead: 0, bytes: bytes() }),
        };
        self.0.insert(seq, before.map(|before| Count { before, after: before }));
        Ok(())
    }

    /// Changes the count of an event that was read.
    pub(super) fn change(&mut self, seq: Seq, open: i32, dead: i32) {
        if let Some(Some(Count { after, .. })) = self.0.get_mut(&seq) {
            after.open = after.open.saturating_add_signed(open);
            after.dead = after.dead.saturating_add_signed(dead);
        }
    }

    /// Writes the counts, and the bytes that are pending more or less.
    pub(super) fn write(self, turn: &mut Turn<'_>, tenant: TenantNo) {
        for (seq, count) in self.0 {
            let Some(Count { before, after }) = count else {
                continue;
            };
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

/// Copies that a command changes.
#[derive(Default)]
pub(super) struct Copies {
    pub(super) entries: Vec<(Place, Entry)>,
    /// Those that stand there and cannot be read.
    pub(super) unread: Vec<(EventId, Place)>,
    /// The counts of their events.
    pub(super) opens: Opens,
}

impl Turn<'_> {
    /// A copy that waits, is held (in [`Space::Inbox`]) or is parked (in [`Space::Dead`]); none if it cannot be read.
    pub(super) fn entry(
        &self,
        space: Space,
        tenant: TenantNo,
        place: Place,
    ) -> Result<Option<Entry>, BusError> {
        let value = self.txn.get(space, &keys::copy(tenant, place.inbox, place.seq))?;
        Ok(value.and_then(|value| readable("copies", Entry::decode(&value))))
    }

    pub(super) fn has_copy(&self, space: Space, tenant: TenantNo, place: Place) -> Result<bool, BusError> {
        Ok(self.txn.get(space, &keys::copy(tenant, place.inbox, place.seq))?.is_some())
    }

    /// The entries of held copies, and the counts of their events.
    pub(super) fn read_copies(
        &self,
        tenant: TenantNo,
        places: impl IntoIterator<Item = (EventId, Place)>,
    ) -> Result<Copies, BusError> {
        let mut copies = Copies::default();
        for (id, place) in places {
            if let Some(entry) = self.entry(Space::Inbox, tenant, place)? {
                copies.opens.read(self, tenant, place.seq, || 0)?;
                copies.entries.push((place, entry));
            } else {
                copies.unread.push((id, place));
            }
        }
        Ok(copies)
    }

    /// Lets go of copies that cannot be read. They wait, and pulls pass over them.
    pub(super) fn leave_unread(&mut self, tenant: TenantNo, unread: Vec<(EventId, Place)>) {
        for (id, place) in unread {
            self.state.let_go(tenant, id, place);
            self.inbox(tenant, place.inbox).make_ready(place.seq);
        }
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
        self.tally.park(entry.id, place.inbox, entry.attempts);
    }

    /// The place of an event.
    pub(super) fn seq(&self, tenant: TenantNo, id: EventId) -> Result<Option<Seq>, BusError> {
        let value = self.txn.get(Space::Ids, &keys::id(tenant, id))?;
        Ok(value.and_then(|value| keys::seq_of(&value)))
    }
}
