//! Who is told that an inbox may have something: one of those who wait, not all of them.
//!
//! Many sessions may draw from one inbox. To tell each of them of each event would have them all look for what one of
//! them gets. So a ring wakes one who waits, and who looks says what is left: nothing, and nobody needs to look until
//! the next ring; more, and two others are told, in case they have not looked since the ring; something that is not for
//! everybody, and all look, once a ring. A look that comes to no end counts as the last. Who does not wait misses nothing:
//! it sees before it waits again that there was a ring.
//!
//! What holds at any time, and lets a listener that has heard of ring `r` sleep until the next one: it looked after `r` at
//! all that it could have, or it failed and looks again by itself. Whatever else comes within its reach rings: what is put
//! in or comes back, what a holder lets go of, and what comes into view because another took what hid it.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::Notify;

/// What a pull leaves in its inbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rest {
    /// Nothing waits there, for whoever asks.
    Nothing,
    /// What waits is for sessions that hold earlier events of its threads, or it was not looked at.
    Others,
    /// There may be more for the session that asked.
    More,
}

/// The bus has ended: there will be nothing more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the bus has ended")]
pub struct Ended;

/// What the listeners of one inbox share. Rings are numbered from 1.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    rung: AtomicU64,
    /// Who looked after this ring left nothing.
    emptied: AtomicU64,
    /// On account of this ring all were told to look.
    told_all: AtomicU64,
    ended: AtomicBool,
    waiting: Notify,
}

impl Bell {
    /// There may be something.
    pub(crate) fn ring(&self) {
        self.rung.fetch_add(1, Ordering::SeqCst);
        self.waiting.notify_one();
    }

    /// There will be nothing more.
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::SeqCst);
        self.waiting.notify_waiters();
    }

    /// A listener that was told of all rings so far.
    pub(crate) fn listen(self: &Arc<Self>) -> InboxWatch {
        InboxWatch { heard: self.rung.load(Ordering::SeqCst), bell: Arc::clone(self) }
    }

    fn tell_all(&self, ring: u64) {
        // More than once it would have those who could not have it call each other for ever.
        if self.told_all.fetch_max(ring, Ordering::SeqCst) < ring {
            self.waiting.notify_waiters();
        }
    }
}

/// Listens to an inbox. See [`crate::bus::Bus::watch_inbox`].
#[derive(Debug, Clone)]
pub struct InboxWatch {
    bell: Arc<Bell>,
    /// The last ring that this one looked after.
    heard: u64,
}

impl InboxWatch {
    /// Whether there was a ring since this one looked, and since anybody found nothing left.
    ///
    /// # Errors
    /// The bus has ended.
    pub fn has_changed(&self) -> Result<bool, Ended> {
        let heard = self.heard.max(self.bell.emptied.load(Ordering::SeqCst));
        if self.bell.ended.load(Ordering::SeqCst) {
            return Err(Ended);
        }
        Ok(heard < self.bell.rung.load(Ordering::SeqCst))
    }

    /// Waits until there may be something. Whoever has it from this call begins a [`Look`] before it waits for anything
    /// else: others may not have been told. Given up, it passes what it was told on.
    ///
    /// # Errors
    /// The bus has ended.
    pub async fn changed(&self) -> Result<(), Ended> {
        loop {
            let mut told = pin!(self.bell.waiting.notified());
            // Registered before it looks, so that no ring falls between.
            told.as_mut().enable();
            if self.has_changed()? {
                return Ok(());
            }
            told.await;
        }
    }

    /// There is nothing new for this one until the next ring. For whoever listens alone, and looks without a [`Look`].
    pub fn mark_unchanged(&mut self) {
        self.heard = self.bell.rung.load(Ordering::SeqCst);
    }

    /// Begins to look, before the inbox is asked.
    pub fn look(&self) -> Look {
        let ring = self.bell.rung.load(Ordering::SeqCst);
        Look { bell: Arc::clone(&self.bell), ring, open: true }
    }

    /// Ends a look of this one with what the pull left. One that failed has left what it could not have; whoever made it
    /// sees to it that it looks again.
    pub fn looked(&mut self, look: Look, rest: Rest) {
        debug_assert!(Arc::ptr_eq(&self.bell, &look.bell), "a look at another inbox");
        if rest != Rest::More {
            self.heard = self.heard.max(look.ring);
        }
        look.found(rest);
    }
}

/// A look at an inbox. Dropped without having found anything out, it has the others look.
#[derive(Debug)]
#[must_use = "dropped, it has all others look"]
pub struct Look {
    bell: Arc<Bell>,
    /// The last ring before it.
    ring: u64,
    open: bool,
}

impl Look {
    /// What the pull left.
    fn found(mut self, rest: Rest) {
        self.open = false;
        match rest {
            Rest::Nothing => {
                self.bell.emptied.fetch_max(self.ring, Ordering::SeqCst);
            }
            Rest::Others => self.bell.tell_all(self.ring),
            Rest::More => {
                // Two, so that a sudden crowd of events soon has all who can take them.
                self.bell.waiting.notify_one();
                self.bell.waiting.notify_one();
            }
        }
    }
}

impl Drop for Look {
    fn drop(&mut self) {
        if self.open {
            self.bell.tell_all(self.ring);
        }
    }
}

#[cfg(test)]
#[path = "bell_tests.rs"]
mod tests;
