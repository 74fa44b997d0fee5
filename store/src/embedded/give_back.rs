//! What comes back: from a session that ends, from one that did not send it, from a pull that reached nobody.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use nexus_core::id::{EventId, InboxId, SessionId, TenantKey};

use super::deliver::SESSION_ENDED;
use super::shared::{Taken, Unclaimed};
use super::state::Place;
use super::turn::Turn;
use super::watches::Topic;
use crate::bus::{BusError, MAX_ATTEMPTS};

const UNREADABLE: &str = "the event cannot be read from the log";

/// How long an event waits whose record could not be read: 5 s, 20 s, 80 s, 320 s. A disk that fails for a moment
/// parks nothing.
fn delay_unread(attempts: u32) -> Duration {
    Duration::from_secs(5) * 4_u32.pow(attempts.clamp(1, MAX_ATTEMPTS) - 1)
}

impl Turn<'_> {
    pub(super) fn end_session(&mut self, key: &TenantKey, session: SessionId) -> Result<usize, BusError> {
        let Some(tenant) = self.known(key) else {
            return Ok(0);
        };
        let held = self.state.sessions.get(&(tenant, session)).cloned().unwrap_or_default();
        let places: Vec<Place> = held.into_values().flatten().collect();
        let (entries, mut opens) = self.read_copies(tenant, &places)?;
        for (place, entry) in entries {
            self.state.let_go(tenant, entry.id, place);
            if entry.attempts >= MAX_ATTEMPTS {
                self.park(tenant, place, entry, SESSION_ENDED.to_owned());
                opens.change(place.seq, -1, 1);
            } else {
                self.inbox(tenant, place.inbox).make_ready(place.seq);
                self.wake(tenant, Topic::Inbox(place.inbox));
            }
        }
        opens.write(self, tenant);
        Ok(places.len())
    }

    /// Takes back copies that a session has and tried nothing with.
    pub(super) fn release(
        &mut self,
        key: &TenantKey,
        session: SessionId,
        ids: &[EventId],
    ) -> Result<usize, BusError> {
        let Some(tenant) = self.known(key) else {
            return Ok(0);
        };
        let mut by_inbox: BTreeMap<InboxId, Vec<Taken>> = BTreeMap::new();
        for id in ids {
            for place in self.state.held(tenant, session, *id) {
                let state = self.state.inboxes.get(&(tenant, place.inbox));
                if let Some(hold) = state.and_then(|state| state.held.get(&place.seq)) {
                    let taken = Taken { seq: place.seq, id: *id, attempt: hold.attempt, replay: false };
                    let copies = by_inbox.entry(place.inbox).or_default();
                    if copies.iter().all(|other| other.seq != taken.seq) {
                        copies.push(taken);
                    }
                }
            }
        }
        let mut released = 0;
        for (inbox, copies) in by_inbox {
            released += self.put_back(&Unclaimed { tenant, inbox, session, copies, refund: true })?;
        }
        Ok(released)
    }

    /// Takes back copies that were handed out and reached nobody; says how many.
    pub(super) fn put_back(&mut self, unclaimed: &Unclaimed) -> Result<usize, BusError> {
        let (tenant, inbox) = (unclaimed.tenant, unclaimed.inbox);
        // An end of the session may have been faster, and another session may hold it by now.
        let held = |taken: &&Taken| {
            let places = self.state.held(tenant, unclaimed.session, taken.id);
            places.iter().any(|place| place.inbox == inbox && place.seq == taken.seq)
        };
        let attempts: HashMap<_, _> =
            unclaimed.copies.iter().filter(held).map(|taken| (taken.seq, taken.attempt)).collect();
        let places: Vec<_> = attempts.keys().map(|seq| Place { inbox, seq: *seq }).collect();
        let (entries, mut opens) = self.read_copies(tenant, &places)?;
        let count = entries.len();
        for (place, mut entry) in entries {
            self.state.let_go(tenant, entry.id, place);
            if unclaimed.refund {
                // From what was handed out, not from what is written: after a failed batch this may come twice.
                let attempt = attempts.get(&place.seq).copied().unwrap_or(entry.attempts);
                entry.attempts = attempt.saturating_sub(1);
                self.put_entry(tenant, place, &entry);
                self.inbox(tenant, inbox).make_ready(place.seq);
            } else if entry.attempts >= MAX_ATTEMPTS {
                self.park(tenant, place, entry, UNREADABLE.to_owned());
                opens.change(place.seq, -1, 1);
            } else {
                let until = self.now.saturating_add(delay_unread(entry.attempts));
                UNREADABLE.clone_into(&mut entry.reason);
                entry.not_before = until.unwrap_or(self.now).as_microsecond();
                self.put_entry(tenant, place, &entry);
                self.state.delay(tenant, place, entry.not_before);
            }
            // Also when it is delayed: what is behind it has not been handed out.
            self.wake(tenant, Topic::Inbox(inbox));
        }
        opens.write(self, tenant);
        Ok(count)
    }
}
