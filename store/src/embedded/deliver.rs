//! Delivery: pull, ack and nack.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use nexus_core::id::{EventId, InboxId, SessionId, TenantKey};

use super::command::{Nack, Pull, Reply};
use super::copies::{Copies, Opens};
use super::keys::{self, TenantNo};
use super::records::Entry;
use super::shared::{Handed, Taken, Unclaimed};
use super::state::{Hold, Place};
use super::store::{Space, unreadable};
use super::turn::Turn;
use super::watches::Topic;
use crate::bus::{BusError, Copy, InboxDepth, MAX_ATTEMPTS, MOST_PASSED_OVER, Rest, Seq};

/// The longest delay that a Nack can ask for.
pub(crate) const LONGEST_DELAY: Duration = Duration::from_secs(3600);

pub(crate) const SESSION_ENDED: &str = "the session ended without an acknowledgement";

/// What a pull decided.
#[derive(Default)]
struct Picks {
    hand: Vec<(Seq, Entry)>,
    park: Vec<(Seq, Entry)>,
    /// Places that stand in `ready` and no longer on disk.
    gone: Vec<Seq>,
    /// How many wait for another session, and those of them that do not stand in `ready`.
    passed: usize,
    passed_over: Vec<Seq>,
    scan_from: Option<Seq>,
    caught_up: bool,
    /// Whether all that could be handed out was looked at.
    exhausted: bool,
    bytes: usize,
}

impl Picks {
    /// Whether there may be more, and none of it in reach: behind so much that was passed over.
    fn stopped_short(&self) -> bool {
        self.hand.is_empty() && self.passed >= MOST_PASSED_OVER
    }

    /// What is left in the inbox. Who only passed over is woken when others let go, and who stopped short when they take.
    fn rest(&self) -> Rest {
        match (self.exhausted || self.stopped_short(), self.passed) {
            (false, _) => Rest::More,
            (true, 0) => Rest::Nothing,
            (true, _) => Rest::Others,
        }
    }

    /// Takes a copy, or says that there is no room for it.
    fn take(&mut self, seq: Seq, entry: Entry, pull: &Pull) -> bool {
        if entry.attempts >= MAX_ATTEMPTS {
            self.park.push((seq, entry));
            return true;
        }
        let bytes = self.bytes.saturating_add(usize::try_from(entry.len).unwrap_or(usize::MAX));
        if self.hand.len() >= pull.max || (!self.hand.is_empty() && bytes > pull.max_bytes) {
            return false;
        }
        self.bytes = bytes;
        self.hand.push((seq, entry));
        true
    }
}

impl Turn<'_> {
    pub(super) fn answer_pull(&mut self, tenant: &TenantKey, pull: Pull, reply: Reply<Handed>) {
        if reply.is_closed() {
            return;
        }
        match self.pull(tenant, pull) {
            Ok(unclaimed) => {
                let (shared, writer) = (Arc::clone(self.shared), self.writer.clone());
                // If the caller is gone by now, dropping the answer puts the copies back.
                self.defer(move |written| {
                    drop(reply.send(written.map(|()| Handed::new(&shared, &writer, unclaimed))));
                });
            }
            Err(error) => drop(reply.send(Err(error))),
        }
    }

    fn pull(&mut self, key: &TenantKey, pull: Pull) -> Result<Unclaimed, BusError> {
        let (inbox, session) = (pull.inbox, pull.session);
        let mut handed = Unclaimed {
            tenant: self.known(key).unwrap_or_default(),
            inbox,
            session,
            copies: Vec::new(),
            rest: Rest::Others,
            refund: true,
        };
        let Some(tenant) = self.known(key) else {
            handed.rest = Rest::Nothing;
            return Ok(handed);
        };
        if pull.max == 0 {
            return Ok(handed);
        }
        let picks = self.pick(tenant, &pull)?;
        handed.rest = picks.rest();
        let mut opens = Opens::default();
        for (seq, _) in &picks.park {
            opens.read(self, tenant, *seq, || 0)?;
        }

        if let Some(state) = self.state.inboxes.get_mut(&(tenant, inbox)) {
            if let Some(scan_from) = picks.scan_from {
                state.scan_from = scan_from;
                state.caught_up = picks.caught_up;
            }
            state.ready.retain(|seq| !picks.gone.contains(seq));
            if picks.passed > 0 {
                state.pass_over();
            }
            picks.passed_over.iter().for_each(|seq| state.make_ready(*seq));
            let took = !picks.hand.is_empty() || !picks.park.is_empty();
            if state.comes_into_view(picks.stopped_short(), took) {
                self.wake(tenant, Topic::Inbox(inbox));
            }
        }
        for (seq, entry) in picks.park {
            let reason =
                if entry.reason.is_empty() { SESSION_ENDED.to_owned() } else { entry.reason.clone() };
            self.park(tenant, Place { inbox, seq }, entry, reason);
            opens.change(seq, -1, 1);
        }
        opens.write(self, tenant);
        for (seq, mut entry) in picks.hand {
            entry.attempts += 1;
            entry.not_before = 0;
            let place = Place { inbox, seq };
            self.put_entry(tenant, place, &entry);
            let hold = Hold { session, thread: entry.thread, attempt: entry.attempts, since: self.now };
            self.state.hold(tenant, entry.id, place, hold);
            handed.copies.push(Taken { seq, id: entry.id, attempt: entry.attempts, replay: entry.replay });
        }
        self.tally.handed += handed.copies.len() as u64;
        Ok(handed)
    }

    /// Chooses what to hand out: what came back first, then what never was out, each in bus order.
    fn pick(&self, tenant: TenantNo, pull: &Pull) -> Result<Picks, BusError> {
        let mut picks = Picks::default();
        let Some(inbox) = self.state.inboxes.get(&(tenant, pull.inbox)) else {
            picks.exhausted = true;
            return Ok(picks);
        };
        for seq in inbox.ready.iter().copied() {
            let Some(value) = self.txn.get(Space::Inbox, &keys::copy(tenant, pull.inbox, seq))? else {
                picks.gone.push(seq);
                continue;
            };
            // One that cannot be read stays, and what is behind it is handed out.
            let Ok(entry) = Entry::decode(&value).inspect_err(|_| unreadable("copies")) else {
                continue;
            };
            if inbox.is_of_another(entry.thread, pull.session) {
                picks.passed += 1;
                if picks.passed >= MOST_PASSED_OVER {
                    return Ok(picks);
                }
            } else if !picks.take(seq, entry, pull) {
                return Ok(picks);
            }
        }
        if picks.hand.len() >= pull.max || inbox.caught_up {
            picks.exhausted = inbox.caught_up;
            return Ok(picks);
        }
        picks.caught_up = true;
        let mut next = inbox.scan_from;
        let start = keys::copy(tenant, pull.inbox, next);
        for item in self.txn.store().from(Space::Inbox, &start, 20) {
            let (key, value) = item?;
            let Some(seq) = keys::seq_of(&key) else {
                continue;
            };
            if !inbox.is_busy(seq) {
                let entry = Entry::decode(&value).inspect_err(|_| unreadable("copies"));
                if let Ok(entry) = entry {
                    if inbox.is_of_another(entry.thread, pull.session) {
                        picks.passed += 1;
                        picks.passed_over.push(seq);
                    } else if !picks.take(seq, entry, pull) {
                        next = seq;
                        picks.caught_up = false;
                        break;
                    }
                }
            }
            next = seq + 1;
            if picks.passed >= MOST_PASSED_OVER {
                picks.caught_up = false;
                break;
            }
        }
        picks.scan_from = Some(next);
        picks.exhausted = picks.caught_up;
        Ok(picks)
    }

    pub(super) fn ack(
        &mut self,
        key: &TenantKey,
        session: SessionId,
        ids: &[EventId],
    ) -> Result<usize, BusError> {
        let Some(tenant) = self.known(key) else {
            return Ok(0);
        };
        let mut opens = Opens::default();
        for place in ids.iter().flat_map(|id| self.state.held(tenant, session, *id)) {
            opens.read(self, tenant, place.seq, || 0)?;
        }
        let mut done = 0;
        for id in ids {
            for place in self.state.held(tenant, session, *id).to_vec() {
                let Some(hold) = self.state.let_go(tenant, *id, place) else {
                    continue;
                };
                self.put_receipt(tenant, place, hold);
                opens.change(place.seq, -1, 0);
                done += 1;
            }
        }
        opens.write(self, tenant);
        self.tally.acked += done as u64;
        Ok(done)
    }

    fn put_receipt(&mut self, tenant: TenantNo, place: Place, hold: Hold) {
        let receipt = Copy::Done {
            session: hold.session,
            attempts: hold.attempt,
            delivered: hold.since,
            acked: self.now,
        };
        self.txn.remove(Space::Inbox, keys::copy(tenant, place.inbox, place.seq));
        if let Ok(receipt) = serde_json::to_vec(&receipt) {
            let key = keys::receipt(tenant, place.seq, place.inbox);
            self.txn.put(Space::Receipts, key, receipt);
        }
        self.inbox(tenant, place.inbox).leave(place.seq);
        self.state.tidy(tenant, place.inbox);
    }

    pub(super) fn nack(&mut self, key: &TenantKey, nack: Nack) -> Result<bool, BusError> {
        let Some(tenant) = self.known(key) else {
            return Ok(false);
        };
        let places = self.state.held(tenant, nack.session, nack.id).to_vec();
        let held = places.iter().map(|place| (nack.id, *place));
        let Copies { entries, unread, mut opens } = self.read_copies(tenant, held)?;
        self.leave_unread(tenant, unread);
        let delay = nack.retry_after.min(LONGEST_DELAY);
        let until = self.now.saturating_add(delay).unwrap_or(self.now);
        for (place, mut entry) in entries {
            self.state.let_go(tenant, nack.id, place);
            if entry.attempts >= MAX_ATTEMPTS {
                self.park(tenant, place, entry, nack.reason.clone());
                opens.change(place.seq, -1, 1);
                continue;
            }
            entry.reason.clone_from(&nack.reason);
            entry.not_before = if delay.is_zero() { 0 } else { until.as_microsecond() };
            self.put_entry(tenant, place, &entry);
            if delay.is_zero() {
                self.inbox(tenant, place.inbox).make_ready(place.seq);
                self.wake(tenant, Topic::Inbox(place.inbox));
            } else {
                self.state.delay(tenant, place, entry.not_before);
            }
        }
        opens.write(self, tenant);
        self.tally.nacked += places.len() as u64;
        Ok(!places.is_empty())
    }

    pub(super) fn holds(&self, key: &TenantKey, seq: Seq, inboxes: Vec<InboxId>) -> Vec<(InboxId, Hold)> {
        let Some(tenant) = self.known(key) else {
            return Vec::new();
        };
        let hold = |inbox: InboxId| {
            let state = self.state.inboxes.get(&(tenant, inbox))?;
            state.held.get(&seq).map(|hold| (inbox, *hold))
        };
        inboxes.into_iter().filter_map(hold).collect()
    }

    pub(super) fn inbox_depth(&self, key: &TenantKey, inbox: InboxId) -> Result<InboxDepth, BusError> {
        let Some(tenant) = self.known(key) else {
            return Ok(InboxDepth::default());
        };
        let Some(state) = self.state.inboxes.get(&(tenant, inbox)) else {
            return Ok(InboxDepth::default());
        };
        let held = state.held.len() as u64;
        let oldest = match self.oldest(tenant, inbox)? {
            Some(seq) => self.entry(Space::Inbox, tenant, Place { inbox, seq })?,
            None => None,
        };
        Ok(InboxDepth {
            waiting: state.copies.saturating_sub(held),
            held,
            dead: state.dead,
            oldest: oldest.and_then(|entry| Timestamp::from_microsecond(entry.received).ok()),
        })
    }

    /// The first place that waits.
    fn oldest(&self, tenant: TenantNo, inbox: InboxId) -> Result<Option<Seq>, BusError> {
        let Some(state) = self.state.inboxes.get(&(tenant, inbox)) else {
            return Ok(None);
        };
        let known = state.ready.first().into_iter().chain(state.delayed.keys().next());
        let known = known.min().copied();
        let start = keys::copy(tenant, inbox, state.scan_from);
        for item in self.txn.store().from(Space::Inbox, &start, 20) {
            let (key, _) = item?;
            if let Some(seq) = keys::seq_of(&key).filter(|seq| !state.held.contains_key(seq)) {
                return Ok(Some(known.map_or(seq, |known| known.min(seq))));
            }
        }
        Ok(known)
    }
}
