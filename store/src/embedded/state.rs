//! What the writer keeps in memory: counters, cursors, and the copies that are held or delayed. What merely
//! waits is on disk alone.
//!
//! Of each inbox holds: every copy whose place is below `scan_from` is held, delayed or in `ready`. A pull
//! takes from `ready` and then reads on from `scan_from`, so it neither reads acknowledged places again nor
//! needs the backlog in memory. An inbox that has been read to its end is caught up: what comes is `ready` at once.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;
use nexus_core::id::{EventId, InboxId, SessionId, TenantKey};

use super::keys::TenantNo;
use super::records::Counters;
use super::shared::TenantFile;
use crate::bus::{Epoch, Seq, Thread};

/// When more than this many returned copies of an inbox wait, the cursor goes back instead.
const MANY_READY: usize = 4096;

/// One hold of a copy by a session.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hold {
    pub(super) session: SessionId,
    pub(super) thread: Thread,
    pub(super) attempt: u32,
    pub(super) since: Timestamp,
}

/// One copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub(super) inbox: InboxId,
    pub(super) seq: Seq,
}

/// A tenant.
#[derive(Debug)]
pub(super) struct Tenant {
    pub(super) key: TenantKey,
    pub(super) file: Arc<TenantFile>,
    pub(super) counters: Counters,
    /// Bytes of events that wait to be routed, or of which a copy is open or parked.
    pub(super) pending: u64,
    pub(super) unrouted: u64,
    /// Parked copies.
    pub(super) dead: u64,
    /// Bytes of events of which a copy is parked.
    pub(super) dead_bytes: u64,
    pub(super) epochs: BTreeMap<u16, Epoch>,
}

/// An inbox that has copies.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    /// Copies that wait or are held.
    pub(super) copies: u64,
    pub(super) dead: u64,
    pub(super) held: HashMap<Seq, Hold>,
    /// Whose each thread is of which copies are held, and how many these are.
    threads: HashMap<Thread, (SessionId, u32)>,
    /// Whether a pull passed over copies because their thread was another session's.
    passed_over: bool,
    /// Whether a pull came to the end of what it may pass over, and did not see what is behind.
    stopped_short: bool,
    /// By place, with the time at which it is ready again, in microseconds.
    pub(super) delayed: BTreeMap<Seq, i64>,
    pub(super) ready: BTreeSet<Seq>,
    pub(super) scan_from: Seq,
    /// Whether there is nothing from `scan_from` on, so that a pull need not look.
    pub(super) caught_up: bool,
}

impl Inbox {
    /// A copy can be handed out (again).
    pub(super) fn make_ready(&mut self, seq: Seq) {
        if self.caught_up {
            self.scan_from = self.scan_from.max(seq.saturating_add(1));
        }
        if seq < self.scan_from {
            self.ready.insert(seq);
        }
        if self.ready.len() > MANY_READY
            && let Some(first) = self.ready.first()
        {
            self.scan_from = *first;
            self.caught_up = false;
            self.ready.clear();
        }
    }

    /// A copy came into the inbox.
    pub(super) fn add(&mut self, seq: Seq) {
        if self.copies == 0 {
            // Nothing is left below or above: the cursor can stand anywhere.
            self.scan_from = seq;
            self.caught_up = true;
            self.ready.clear();
        }
        self.copies += 1;
        self.make_ready(seq);
    }

    /// A copy stands in the inbox of a log that is being opened; those of lower places were told before.
    pub(super) fn found(&mut self, seq: Seq) {
        if self.copies == 0 {
            self.scan_from = seq;
        }
        self.copies += 1;
    }

    /// A copy left the inbox.
    pub(super) fn leave(&mut self, seq: Seq) {
        self.copies = self.copies.saturating_sub(1);
        self.let_go(seq);
        self.delayed.remove(&seq);
        self.ready.remove(&seq);
    }

    /// Whether another session holds a copy of this thread: what comes later waits for it.
    pub(super) fn is_of_another(&self, thread: Thread, session: SessionId) -> bool {
        self.threads.get(&thread).is_some_and(|(holder, _)| *holder != session)
    }

    /// A pull passed over copies: it is to be woken when a thread is free.
    pub(super) const fn pass_over(&mut self) {
        self.passed_over = true;
    }

    /// A pull stopped short, or took something. True if what others could not see may have come into their view.
    pub(super) const fn comes_into_view(&mut self, stopped_short: bool, took: bool) -> bool {
        let comes = self.stopped_short && took;
        self.stopped_short = stopped_short || (self.stopped_short && !took);
        comes
    }

    fn hold(&mut self, seq: Seq, hold: Hold) {
        self.ready.remove(&seq);
        self.held.insert(seq, hold);
        self.threads.entry(hold.thread).or_insert((hold.session, 0)).1 += 1;
    }

    /// Whether somebody waited for this one, too.
    fn let_go(&mut self, seq: Seq) -> Option<(Hold, bool)> {
        let hold = self.held.remove(&seq)?;
        let mut free = false;
        if let Entry::Occupied(mut entry) = self.threads.entry(hold.thread) {
            entry.get_mut().1 -= 1;
            free = entry.get().1 == 0;
            if free {
                entry.remove();
            }
        }
        Some((hold, free && std::mem::take(&mut self.passed_over)))
    }

    /// Whether a copy that stands on disk is not to be handed out now.
    pub(super) fn is_busy(&self, seq: Seq) -> bool {
        self.held.contains_key(&seq) || self.delayed.contains_key(&seq)
    }
}

/// What a session holds, by event. One event can reach it through two inboxes.
pub(super) type Session = HashMap<EventId, Vec<Place>>;

/// A change of who holds what, to be undone when the batch fails.
#[derive(Debug)]
pub(super) enum HoldChange {
    Took(TenantNo, EventId, Place),
    LetGo(TenantNo, EventId, Place, Hold),
}

/// All of it.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) numbers: HashMap<TenantKey, TenantNo>,
    pub(super) tenants: BTreeMap<TenantNo, Tenant>,
    pub(super) inboxes: HashMap<(TenantNo, InboxId), Inbox>,
    pub(super) sessions: HashMap<(TenantNo, SessionId), Session>,
    /// Delays by when they end.
    pub(super) due: BTreeSet<(i64, TenantNo, InboxId, Seq)>,
    changes: Vec<HoldChange>,
    /// Inboxes of which a thread is free again that a pull passed over.
    freed: Vec<(TenantNo, InboxId)>,
}

impl State {
    pub(super) fn hold(&mut self, tenant: TenantNo, id: EventId, place: Place, hold: Hold) {
        self.changes.push(HoldChange::Took(tenant, id, place));
        self.insert_hold(tenant, id, place, hold);
    }

    fn insert_hold(&mut self, tenant: TenantNo, id: EventId, place: Place, hold: Hold) {
        let inbox = self.inboxes.entry((tenant, place.inbox)).or_default();
        inbox.hold(place.seq, hold);
        let session = self.sessions.entry((tenant, hold.session)).or_default();
        session.entry(id).or_default().push(place);
    }

    /// The session lets go of a copy, whatever becomes of it then.
    pub(super) fn let_go(&mut self, tenant: TenantNo, id: EventId, place: Place) -> Option<Hold> {
        let hold = self.remove_hold(tenant, id, place)?;
        self.changes.push(HoldChange::LetGo(tenant, id, place, hold));
        Some(hold)
    }

    fn remove_hold(&mut self, tenant: TenantNo, id: EventId, place: Place) -> Option<Hold> {
        let (hold, waited) = self.inboxes.get_mut(&(tenant, place.inbox))?.let_go(place.seq)?;
        if waited {
            self.freed.push((tenant, place.inbox));
        }
        let key = (tenant, hold.session);
        if let Some(session) = self.sessions.get_mut(&key) {
            if let Some(places) = session.get_mut(&id) {
                places.retain(|held| *held != place);
                if places.is_empty() {
                    session.remove(&id);
                }
            }
            if session.is_empty() {
                self.sessions.remove(&key);
            }
        }
        Some(hold)
    }

    /// Where a session holds an event.
    pub(super) fn held(&self, tenant: TenantNo, session: SessionId, id: EventId) -> &[Place] {
        self.sessions.get(&(tenant, session)).and_then(|session| session.get(&id)).map_or(&[], Vec::as_slice)
    }

    pub(super) fn delay(&mut self, tenant: TenantNo, place: Place, until: i64) {
        let inbox = self.inboxes.entry((tenant, place.inbox)).or_default();
        inbox.delayed.insert(place.seq, until);
        self.due.insert((until, tenant, place.inbox, place.seq));
    }

    /// Ends the delays that are over, and says in which inboxes.
    ///
    /// `latest` is the longest that a delay can last from now: one beyond it is of a clock that went back.
    pub(super) fn end_delays(&mut self, now: i64, latest: i64) -> HashSet<(TenantNo, InboxId)> {
        let mut woken = HashSet::new();
        let mut ended = Vec::new();
        while let Some(first) = self.due.first().copied().filter(|due| due.0 <= now) {
            self.due.remove(&first);
            ended.push(first);
        }
        while let Some(last) = self.due.last().copied().filter(|due| due.0 > latest) {
            self.due.remove(&last);
            ended.push(last);
        }
        for (until, tenant, inbox, seq) in ended {
            let Some(state) = self.inboxes.get_mut(&(tenant, inbox)) else {
                continue;
            };
            // The copy may have left the inbox, or have been delayed anew, since.
            if state.delayed.get(&seq) == Some(&until) {
                state.delayed.remove(&seq);
                state.make_ready(seq);
                woken.insert((tenant, inbox));
            }
        }
        woken
    }

    /// Inboxes that are to be looked at again.
    pub(super) fn take_freed(&mut self) -> Vec<(TenantNo, InboxId)> {
        std::mem::take(&mut self.freed)
    }

    /// The batch is written.
    pub(super) fn keep_changes(&mut self) {
        self.changes.clear();
    }

    /// What was held before the batch that failed.
    pub(super) fn holds_before(mut self) -> Vec<(TenantNo, EventId, Place, Hold)> {
        while let Some(change) = self.changes.pop() {
            match change {
                HoldChange::Took(tenant, id, place) => {
                    self.remove_hold(tenant, id, place);
                }
                HoldChange::LetGo(tenant, id, place, hold) => self.insert_hold(tenant, id, place, hold),
            }
        }
        let mut holds = Vec::new();
        for ((tenant, _), session) in &self.sessions {
            for (id, places) in session {
                for place in places {
                    let inbox = self.inboxes.get(&(*tenant, place.inbox));
                    if let Some(hold) = inbox.and_then(|inbox| inbox.held.get(&place.seq)) {
                        holds.push((*tenant, *id, *place, *hold));
                    }
                }
            }
        }
        holds
    }

    /// Takes holds over from a state that was lost, as far as their copies are still there.
    pub(super) fn resume(
        &mut self,
        holds: Vec<(TenantNo, EventId, Place, Hold)>,
        stands: impl Fn(TenantNo, Place) -> bool,
    ) {
        for (tenant, id, place, hold) in holds {
            if self.tenants.contains_key(&tenant) && stands(tenant, place) {
                self.insert_hold(tenant, id, place, hold);
                if let Some(inbox) = self.inboxes.get_mut(&(tenant, place.inbox)) {
                    inbox.delayed.remove(&place.seq);
                }
            }
        }
    }

    /// Forgets an inbox that has nothing.
    pub(super) fn tidy(&mut self, tenant: TenantNo, inbox: InboxId) {
        let key = (tenant, inbox);
        if self.inboxes.get(&key).is_some_and(|state| state.copies == 0 && state.dead == 0) {
            self.inboxes.remove(&key);
        }
    }
}
