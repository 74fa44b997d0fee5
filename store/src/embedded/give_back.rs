//! What comes back: from a session that ends, from a pull that reached nobody.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use nexus_core::id::{EventId, SessionId, TenantKey};

use super::copies::Copies;
use super::deliver::SESSION_ENDED;
use super::keys::TenantNo;
use super::records::Entry;
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
    /// Takes back all that a session has, in one step; with what it never sent, nothing was tried.
    pub(super) fn end_session(
        &mut self,
        key: &TenantKey,
        session: SessionId,
        unsent: &[EventId],
    ) -> Result<usize, BusError> {
        let Some(tenant) = self.known(key) else {
            return Ok(0);
        };
        let held = self.state.sessions.get(&(tenant, session)).cloned().unwrap_or_default();
        let unsent: HashSet<_> = unsent.iter().copied().collect();
        let held = held.into_iter().flat_map(|(id, places)| places.into_iter().map(move |place| (id, place)));
        let Copies { entries, unread, mut opens } = self.read_copies(tenant, held)?;
        let count = entries.len() + unread.len();
        self.leave_unread(tenant, unread);
        for (place, entry) in entries {
            let hold = self.state.let_go(tenant, entry.id, place);
            if unsent.contains(&entry.id) {
                self.refund(tenant, place, entry, hold.map(|hold| hold.attempt));
            } else if entry.attempts >= MAX_ATTEMPTS {
                self.park(tenant, place, entry, SESSION_ENDED.to_owned());
                opens.change(place.seq, -1, 1);
                continue;
            } else {
                self.inbox(tenant, place.inbox).make_ready(place.seq);
            }
            self.wake(tenant, Topic::Inbox(place.inbox));
        }
        opens.write(self, tenant);
        Ok(count)
    }

    /// Lets a copy wait as if it had not been handed out.
    fn refund(&mut self, tenant: TenantNo, place: Place, mut entry: Entry, handed: Option<u32>) {
        // From what was handed out, not from what is written: after a failed batch this may come twice.
        entry.attempts = handed.unwrap_or(entry.attempts).saturating_sub(1);
        self.put_entry(tenant, place, &entry);
        self.inbox(tenant, place.inbox).make_ready(place.seq);
    }

    /// Takes back copies that were handed out and reached nobody.
    pub(super) fn put_back(&mut self, unclaimed: &Unclaimed) -> Result<(), BusError> {
        let (tenant, inbox) = (unclaimed.tenant, unclaimed.inbox);
        // An end of the session may have been faster, and another session may hold it by now.
        let held = |taken: &&Taken| {
            let places = self.state.held(tenant, unclaimed.session, taken.id);
            places.iter().any(|place| place.inbox == inbox && place.seq == taken.seq)
        };
        let taken: HashMap<_, _> =
            unclaimed.copies.iter().filter(held).map(|taken| (taken.seq, *taken)).collect();
        let places = taken.values().map(|taken| (taken.id, Place { inbox, seq: taken.seq }));
        let Copies { entries, unread, mut opens } = self.read_copies(tenant, places)?;
        self.leave_unread(tenant, unread);
        for (place, mut entry) in entries {
            self.state.let_go(tenant, entry.id, place);
            if unclaimed.refund {
                self.refund(tenant, place, entry, taken.get(&place.seq).map(|taken| taken.attempt));
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
        Ok(())
    }
}
