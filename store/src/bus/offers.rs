//! What sessions that wait would take of what is routed to their inboxes; see `docs/adr/0015-offers.md`.
//!
//! An [`Offerer`] belongs to a session. It has one offer at a time, for all its inboxes. Whoever routes takes it by one of
//! them, as a [`Claimed`], and answers it; an offer that is dropped without an answer has come to nothing.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use nexus_core::id::{InboxId, SessionId, TenantKey};
use tokio::sync::Notify;

use crate::lock;

/// How much a session would take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Most {
    pub(crate) events: usize,
    pub(crate) bytes: usize,
}

/// The offers of a tenant, the first one of each inbox first.
type OfTenant<H> = BTreeMap<(InboxId, u64), Arc<Slot<H>>>;

/// The open offers of one process. `H` is what is handed over.
#[derive(Debug)]
pub(crate) struct Offers<H> {
    /// Bounded by sessions and their inboxes.
    open: Mutex<HashMap<TenantKey, OfTenant<H>>>,
    made: AtomicU64,
}

/// Where the two meet.
#[derive(Debug)]
struct Slot<H> {
    session: SessionId,
    phase: Mutex<Phase<H>>,
    answered: Notify,
}

#[derive(Debug)]
enum Phase<H> {
    Idle,
    /// Under this number among offers.
    Open(u64, Most),
    /// Taken, under this number among pulls.
    Taken(u64),
    /// What came of it; nothing if it failed.
    Answered(Option<(InboxId, H)>),
}

impl<H> Default for Offers<H> {
    fn default() -> Self {
        Self { open: Mutex::default(), made: AtomicU64::new(0) }
    }
}

impl<H> Offers<H> {
    /// Takes the first offer of each of these inboxes, up to so many in all. `number` gives the pull's number to a session
    /// that may take something now.
    pub(crate) fn claim(
        &self,
        tenant: &TenantKey,
        inboxes: impl Iterator<Item = InboxId>,
        most: usize,
        mut number: impl FnMut(SessionId) -> Option<u64>,
    ) -> Vec<Claimed<H>> {
        let mut claimed = Vec::new();
        let mut open = lock(&self.open);
        let Some(of) = open.get_mut(tenant) else { return claimed };
        for inbox in inboxes {
            if claimed.len() >= most || of.is_empty() {
                break;
            }
            claimed.extend(first(of, inbox, &mut number));
        }
        claimed
    }

    fn list(&self, tenant: &TenantKey, inboxes: &[InboxId], offer: u64, slot: &Arc<Slot<H>>) {
        let mut open = lock(&self.open);
        let of = match open.get_mut(tenant) {
            Some(of) => of,
            None => open.entry(tenant.clone()).or_default(),
        };
        of.extend(inboxes.iter().map(|inbox| ((*inbox, offer), Arc::clone(slot))));
    }

    fn unlist(&self, tenant: &TenantKey, inboxes: &[InboxId], offer: u64) {
        let mut open = lock(&self.open);
        let Some(of) = open.get_mut(tenant) else { return };
        inboxes.iter().for_each(|inbox| drop(of.remove(&(*inbox, offer))));
        if of.is_empty() {
            open.remove(tenant);
        }
    }
}

/// Takes the first offer of an inbox.
fn first<H>(
    of: &mut OfTenant<H>,
    inbox: InboxId,
    number: &mut impl FnMut(SessionId) -> Option<u64>,
) -> Option<Claimed<H>> {
    loop {
        let (&key, slot) = of.range((inbox, 0)..=(inbox, u64::MAX)).next()?;
        let slot = Arc::clone(slot);
        let mut phase = lock(&slot.phase);
        // It may have been taken by another inbox, or taken back a moment ago.
        let most = match *phase {
            Phase::Open(offer, most) if offer == key.1 => most,
            _ => {
                drop(phase);
                of.remove(&key);
                continue;
            }
        };
        let number = number(slot.session)?;
        *phase = Phase::Taken(number);
        drop(phase);
        of.remove(&key);
        return Some(Claimed { slot, inbox, number, most });
    }
}

/// An offer that was taken.
#[derive(Debug)]
pub(crate) struct Claimed<H> {
    slot: Arc<Slot<H>>,
    pub(crate) inbox: InboxId,
    /// Of the pull that it is now.
    pub(crate) number: u64,
    pub(crate) most: Most,
}

impl<H> Claimed<H> {
    pub(crate) fn session(&self) -> SessionId {
        self.slot.session
    }

    /// What is handed over. It is dropped if the session waits for it no more.
    pub(crate) fn answer(&self, handed: H) {
        self.end(Some((self.inbox, handed)));
    }

    fn end(&self, answer: Option<(InboxId, H)>) {
        let mut phase = lock(&self.slot.phase);
        if matches!(*phase, Phase::Taken(number) if number == self.number) {
            *phase = Phase::Answered(answer);
            drop(phase);
            self.slot.answered.notify_one();
        }
    }
}

impl<H> Drop for Claimed<H> {
    fn drop(&mut self) {
        self.end(None);
    }
}

/// A session's side.
#[derive(Debug)]
pub(crate) struct Offerer<H> {
    offers: Arc<Offers<H>>,
    tenant: TenantKey,
    slot: Arc<Slot<H>>,
    /// The number under which it is listed, and where.
    listed: Option<(u64, Box<[InboxId]>)>,
}

impl<H> Offerer<H> {
    pub(crate) fn new(offers: &Arc<Offers<H>>, tenant: &TenantKey, session: SessionId) -> Self {
        let slot = Slot { session, phase: Mutex::new(Phase::Idle), answered: Notify::new() };
        Self { offers: Arc::clone(offers), tenant: tenant.clone(), slot: Arc::new(slot), listed: None }
    }

    pub(crate) fn tenant(&self) -> &TenantKey {
        &self.tenant
    }

    pub(crate) fn session(&self) -> SessionId {
        self.slot.session
    }

    /// Offers to take so much from any of these inboxes, which are the same until it is taken back. One that is taken
    /// stays as it is.
    pub(crate) fn offer(&mut self, inboxes: impl IntoIterator<Item = InboxId>, most: Most) {
        {
            let mut phase = lock(&self.slot.phase);
            match &mut *phase {
                Phase::Open(_, known) => return *known = most,
                Phase::Taken(_) | Phase::Answered(_) => return,
                Phase::Idle => {}
            }
        }
        self.unlist();
        let inboxes: Box<[_]> = inboxes.into_iter().collect();
        let offer = self.offers.made.fetch_add(1, Ordering::Relaxed);
        *lock(&self.slot.phase) = Phase::Open(offer, most);
        self.offers.list(&self.tenant, &inboxes, offer, &self.slot);
        self.listed = Some((offer, inboxes));
    }

    /// Takes the offer back, if there is one; false if it was taken before.
    pub(crate) fn withdraw(&mut self) -> bool {
        let mut phase = lock(&self.slot.phase);
        if matches!(*phase, Phase::Taken(_) | Phase::Answered(_)) {
            return false;
        }
        *phase = Phase::Idle;
        drop(phase);
        self.unlist();
        true
    }

    /// Waits until an offer was taken and answered, and gives what was handed over; nothing if that failed. Nothing is lost
    /// when the call is given up.
    pub(crate) async fn answered(&mut self) -> Option<(InboxId, H)> {
        loop {
            if let Some(answer) = self.take_answer() {
                return answer;
            }
            self.slot.answered.notified().await;
        }
    }

    fn take_answer(&mut self) -> Option<Option<(InboxId, H)>> {
        let mut phase = lock(&self.slot.phase);
        if !matches!(*phase, Phase::Answered(_)) {
            return None;
        }
        let Phase::Answered(answer) = std::mem::replace(&mut *phase, Phase::Idle) else { return None };
        Some(answer)
    }

    /// Gives the offer up, also one that was taken: whatever comes of that is dropped. Gives the number of a pull whose
    /// answer is open.
    pub(crate) fn give_up(&mut self) -> Option<u64> {
        let phase = std::mem::replace(&mut *lock(&self.slot.phase), Phase::Idle);
        self.unlist();
        match phase {
            Phase::Taken(number) => Some(number),
            // What was handed over is dropped here, without the lock.
            Phase::Idle | Phase::Open(..) | Phase::Answered(_) => None,
        }
    }

    fn unlist(&mut self) {
        if let Some((offer, inboxes)) = self.listed.take() {
            self.offers.unlist(&self.tenant, &inboxes, offer);
        }
    }
}

impl<H> Drop for Offerer<H> {
    fn drop(&mut self) {
        self.give_up();
    }
}

#[cfg(test)]
#[path = "offers_tests.rs"]
mod tests;
