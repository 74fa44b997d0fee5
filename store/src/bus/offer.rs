//! The offer of a session, whatever keeps the bus.

use nexus_core::id::InboxId;

use super::{BusError, Pulled};
use crate::redis::{Handed, RedisOffer};

/// What a session would take of whatever is routed to its inboxes next, without a pull. Dropped, it is taken back, and so is
/// what was handed over and not taken out yet. See [`super::Bus::offer`].
#[derive(Debug)]
pub struct Offer(Option<RedisOffer>);

impl Offer {
    /// An offer that nobody ever takes.
    pub(crate) const fn to_nobody() -> Self {
        Self(None)
    }

    pub(crate) const fn in_redis(offer: RedisOffer) -> Self {
        Self(Some(offer))
    }

    /// Offers to take as much as a pull of `max` events and `max_bytes` bytes would, from any of these inboxes; they are the
    /// same until the offer is taken back or taken. Called again it counts anew, unless it is taken already.
    pub fn make(&mut self, inboxes: impl IntoIterator<Item = InboxId>, max: usize, max_bytes: usize) {
        if let Some(offer) = &mut self.0 {
            offer.make(inboxes, max, max_bytes);
        }
    }

    /// Takes it back, to pull or to offer something else. False if it is taken already: then wait for [`Self::taken`] first.
    #[must_use = "an offer that is taken already is answered"]
    pub fn withdraw(&mut self) -> bool {
        self.0.as_mut().is_none_or(RedisOffer::withdraw)
    }

    /// Waits until it was taken, and gives what was handed over; nothing if nothing came of it. Nothing is lost when the call
    /// is given up.
    pub async fn taken(&mut self) -> Option<HandedOver> {
        match &mut self.0 {
            Some(offer) => offer.taken().await.map(|(inbox, handed)| HandedOver { inbox, handed }),
            None => std::future::pending().await,
        }
    }

    /// Gives it up, also if it is taken: whatever comes of it goes back, its attempts refunded.
    pub fn give_up(&mut self) {
        if let Some(offer) = &mut self.0 {
            offer.give_up();
        }
    }
}

/// What was handed to an offer. Dropped, it goes back.
#[derive(Debug)]
pub struct HandedOver {
    inbox: InboxId,
    handed: Handed,
}

impl HandedOver {
    /// The events, which are the session's from here on, as from a pull.
    ///
    /// # Errors
    /// [`BusError::Storage`] when they cannot be read; they go back.
    pub async fn read(self) -> Result<Pulled, BusError> {
        self.handed.read(self.inbox).await
    }
}
