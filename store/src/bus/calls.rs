//! What can be asked of a bus, whatever keeps it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use nexus_core::clock::Clock;
use nexus_core::id::{EventId, InboxId, SessionId, TenantKey};
use tokio::sync::watch;

use super::{
    Append, Appended, Bus, BusError, DeadLetter, Depth, Epoch, EventPage, HandOut, InboxDepth, InboxWatch,
    Offer, Page, Part, Pulled, Record, Route, Seq, Swept, Unrouted,
};
use crate::embedded::EmbeddedLog;
use crate::redis::{Durability, RedisBus, RedisSettings};

impl Bus {
    /// Opens the embedded log in a folder, which is made if it is not there. Blocks while it recovers.
    ///
    /// # Errors
    /// [`BusError::Storage`] when the folder cannot be written, is held by another process or is corrupt.
    pub fn open_embedded(path: &Path, clock: Clock) -> Result<Self, BusError> {
        EmbeddedLog::open(path, clock).map(|log| Self::Embedded(Arc::new(log)))
    }

    /// Opens a bus in Redis. Its tasks run on the runtime that this is called on. Fails if the server is not there now;
    /// from then on the bus finds it again by itself, and calls fail with [`BusError::Storage`] meanwhile.
    ///
    /// # Errors
    /// [`BusError::Storage`] when the server cannot be reached, refuses the credentials, or may drop events when its
    /// memory is full.
    pub async fn open_redis(settings: RedisSettings, clock: Clock) -> Result<Self, BusError> {
        RedisBus::open(settings, clock).await.map(|bus| Self::Redis(Arc::new(bus)))
    }

    /// Which store this is: changes when a store took the place of another, or was restarted or emptied, and what it
    /// had answered may be gone. Who still has what it appended appends it once more then, under the same delivery
    /// keys. The embedded log never changes: a process has one.
    #[must_use]
    pub fn identity(&self) -> watch::Receiver<Arc<str>> {
        match self {
            Self::Embedded(_) => watch::Sender::new(Arc::from("embedded")).subscribe(),
            Self::Redis(bus) => bus.identity(),
        }
    }

    /// What an answered append survives, as far as the store tells. It may change with a failover.
    #[must_use]
    pub fn durability(&self) -> Durability {
        match self {
            Self::Embedded(_) => Durability::SYNCED,
            Self::Redis(bus) => bus.durability(),
        }
    }

    /// Keeps an event. Once it answers the event survives a loss of power.
    ///
    /// # Errors
    /// [`BusError::Quota`] when the tenant has too much waiting; [`BusError::Storage`] when nothing durable can
    /// be written, and then whether the event was kept is open: send it again under the same delivery key.
    pub async fn append(&self, tenant: &TenantKey, append: Append) -> Result<Appended, BusError> {
        match self {
            Self::Embedded(log) => log.append(tenant, append).await,
            Self::Redis(bus) => bus.append(tenant, append).await,
        }
    }

    /// Takes a partition over. Whoever routed it before is fenced from now on.
    ///
    /// # Errors
    /// [`BusError::Storage`] when the epoch cannot be written.
    pub async fn acquire(&self, tenant: &TenantKey, partition: u16) -> Result<Epoch, BusError> {
        match self {
            Self::Embedded(log) => log.acquire(tenant, partition).await,
            Self::Redis(bus) => bus.acquire(tenant, partition).await,
        }
    }

    /// Events of a partition that wait to be routed, after a place, in order; at most `limit`, and no more than
    /// [`super::MAX_UNROUTED_BYTES`] of them except that the first may be larger.
    ///
    /// # Errors
    /// [`BusError::Storage`] when they cannot be read.
    pub async fn unrouted(
        &self,
        tenant: &TenantKey,
        partition: u16,
        after: Seq,
        limit: usize,
    ) -> Result<Part<Unrouted>, BusError> {
        match self {
            Self::Embedded(log) => log.unrouted(tenant, partition, after, limit).await,
            Self::Redis(bus) => bus.unrouted(tenant, partition, after, limit).await,
        }
    }

    /// Marks events routed and puts them into inboxes, less the copies that tell no inbox anything new.
    /// All or nothing. An event that is routed already, or of another partition, is skipped. What was put into an inbox of
    /// which a session of this process made an [`Offer`] may be handed to that session in the same step.
    ///
    /// # Errors
    /// [`BusError::Fenced`] when the partition has a newer owner; nothing was changed then.
    pub async fn route(
        &self,
        tenant: &TenantKey,
        partition: u16,
        epoch: Epoch,
        routes: Vec<Route>,
        hand_out: HandOut,
    ) -> Result<(), BusError> {
        match self {
            Self::Embedded(log) => log.route(tenant, partition, epoch, routes).await,
            Self::Redis(bus) => bus.route(tenant, partition, epoch, routes, hand_out).await,
        }
    }

    /// The offer of a session, which is not made yet: what it would take of what is routed in this process. Whoever makes one
    /// still has to listen to [`Self::watch_inbox`], for what comes any other way. The embedded log takes no offers.
    #[must_use]
    pub fn offer(&self, tenant: &TenantKey, session: SessionId) -> Offer {
        match self {
            Self::Embedded(_) => Offer::to_nobody(),
            Self::Redis(bus) => Offer::in_redis(bus.offer(tenant, session)),
        }
    }

    /// Hands a session events of an inbox, in order: at most `max`, and no more than `max_bytes` of them
    /// except that the first may be larger. They are the session's until it acknowledges, refuses or ends.
    ///
    /// # Errors
    /// [`BusError::Storage`] when they cannot be read or the attempt cannot be written.
    pub async fn pull(
        &self,
        tenant: &TenantKey,
        inbox: InboxId,
        session: SessionId,
        max: usize,
        max_bytes: usize,
    ) -> Result<Pulled, BusError> {
        match self {
            Self::Embedded(log) => log.pull(tenant, inbox, session, max, max_bytes).await,
            Self::Redis(bus) => bus.pull(tenant, inbox, session, max, max_bytes).await,
        }
    }

    /// Done with these. Says how many were held by the session and are done now.
    ///
    /// # Errors
    /// [`BusError::Storage`] when it cannot be written.
    pub async fn ack(
        &self,
        tenant: &TenantKey,
        session: SessionId,
        ids: Vec<EventId>,
    ) -> Result<usize, BusError> {
        match self {
            Self::Embedded(log) => log.ack(tenant, session, ids).await,
            Self::Redis(bus) => bus.ack(tenant, session, ids).await,
        }
    }

    /// Refuses one event for now: it comes again after the delay (at most an hour), or is parked if this was
    /// the last attempt. False if the session does not hold it.
    ///
    /// # Errors
    /// [`BusError::Storage`] when it cannot be written.
    pub async fn nack(
        &self,
        tenant: &TenantKey,
        session: SessionId,
        id: EventId,
        retry_after: Duration,
        reason: String,
    ) -> Result<bool, BusError> {
        match self {
            Self::Embedded(log) => log.nack(tenant, session, id, retry_after, reason).await,
            Self::Redis(bus) => bus.nack(tenant, session, id, retry_after, reason).await,
        }
    }

    /// Tells what a session has, after the bus lost writes: what it is noted to hold beyond that returns, for the
    /// acknowledgement is lost. Says how many copies returned. The embedded log loses none that it answered.
    ///
    /// # Errors
    /// [`BusError::Storage`] when it cannot be written.
    pub async fn retain_session(
        &self,
        tenant: &TenantKey,
        session: SessionId,
        has: Vec<EventId>,
    ) -> Result<usize, BusError> {
        match self {
            Self::Embedded(_) => Ok(0),
            Self::Redis(bus) => bus.retain_session(tenant, session, has).await,
        }
    }

    /// Returns what a session holds to its inboxes, all of it at once, so that whoever draws next gets it in bus order.
    /// Says how many copies. Each event counts as tried, except those of `unsent`: what the session held and never
    /// sent to anybody uses up no attempt. Whoever owns the session calls it, also for a session whose process died:
    /// that alone need not return anything.
    ///
    /// # Errors
    /// [`BusError::Storage`] when it cannot be written; nothing was returned then.
    pub async fn end_session(
        &self,
        tenant: &TenantKey,
        session: SessionId,
        unsent: Vec<EventId>,
    ) -> Result<usize, BusError> {
        match self {
            Self::Embedded(log) => log.end_session(tenant, session, unsent).await,
            Self::Redis(bus) => bus.end_session(tenant, session, unsent).await,
        }
    }

    /// Puts events into inboxes once more, marked as replay, whatever was handed there before. Says how many
    /// copies; an event that waits or is held there already is left alone, and so is an unknown one.
    ///
    /// # Errors
    /// [`BusError::Storage`] when it cannot be written.
    pub async fn replay(
        &self,
        tenant: &TenantKey,
        ids: Vec<EventId>,
        inboxes: Vec<InboxId>,
    ) -> Result<usize, BusError> {
        match self {
            Self::Embedded(log) => log.replay(tenant, ids, inboxes).await,
            Self::Redis(bus) => bus.replay(tenant, ids, inboxes).await,
        }
    }

    /// The parked events of an inbox after a place, in bus order; at most `limit`.
    ///
    /// # Errors
    /// [`BusError::Storage`] when they cannot be read.
    pub async fn dead(
        &self,
        tenant: &TenantKey,
        inbox: InboxId,
        after: Option<Seq>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, BusError> {
        match self {
            Self::Embedded(log) => log.dead(tenant, inbox, after, limit).await,
            Self::Redis(bus) => bus.dead(tenant, inbox, after, limit).await,
        }
    }

    /// Gives parked events of an inbox up for good: they leave the quota, and a sweep may forget them. Says how many
    /// were parked there.
    ///
    /// # Errors
    /// [`BusError::Storage`] when it cannot be written.
    pub async fn drop_dead(
        &self,
        tenant: &TenantKey,
        inbox: InboxId,
        ids: Vec<EventId>,
    ) -> Result<usize, BusError> {
        match self {
            Self::Embedded(log) => log.drop_dead(tenant, inbox, ids).await,
            Self::Redis(bus) => bus.drop_dead(tenant, inbox, ids).await,
        }
    }

    /// Lets parked events of an inbox wait again, their attempts forgotten. Says how many were parked there.
    ///
    /// # Errors
    /// [`BusError::Storage`] when it cannot be written.
    pub async fn requeue(
        &self,
        tenant: &TenantKey,
        inbox: InboxId,
        ids: Vec<EventId>,
    ) -> Result<usize, BusError> {
        match self {
            Self::Embedded(log) => log.requeue(tenant, inbox, ids).await,
            Self::Redis(bus) => bus.requeue(tenant, inbox, ids).await,
        }
    }

    /// All that is kept of an event.
    ///
    /// # Errors
    /// [`BusError::Storage`] when it cannot be read.
    pub async fn event(&self, tenant: &TenantKey, id: EventId) -> Result<Option<Record>, BusError> {
        match self {
            Self::Embedded(log) => log.event(tenant, id).await,
            Self::Redis(bus) => bus.event(tenant, id).await,
        }
    }

    /// A list of events, newest first. A call looks at a bounded number of records, so it may find few or none
    /// though there are more: go on until there is no `next`.
    ///
    /// The list is in bus order, which is that of the times of receipt as far as the clock never went back. With a
    /// `since` it ends at the first event that was received more than five minutes before it: events behind a larger
    /// step of the clock are not found.
    ///
    /// # Errors
    /// [`BusError::Storage`] when they cannot be read.
    pub async fn events(&self, tenant: &TenantKey, page: Page) -> Result<EventPage, BusError> {
        match self {
            Self::Embedded(log) => log.events(tenant, page).await,
            Self::Redis(bus) => bus.events(tenant, page).await,
        }
    }

    /// How much the tenant has here.
    ///
    /// # Errors
    /// [`BusError::Closed`] after [`Bus::close`].
    pub async fn depth(&self, tenant: &TenantKey) -> Result<Depth, BusError> {
        match self {
            Self::Embedded(log) => log.depth(tenant).await,
            Self::Redis(bus) => bus.depth(tenant).await,
        }
    }

    /// How much an inbox has.
    ///
    /// # Errors
    /// [`BusError::Storage`] when it cannot be read.
    pub async fn inbox_depth(&self, tenant: &TenantKey, inbox: InboxId) -> Result<InboxDepth, BusError> {
        match self {
            Self::Embedded(log) => log.inbox_depth(tenant, inbox).await,
            Self::Redis(bus) => bus.inbox_depth(tenant, inbox).await,
        }
    }

    /// Forgets events that were handled and received longer ago than `retention`, and keys that expired.
    /// Never an event that waits, is held or is parked. Does a bounded amount of work: call it again at once
    /// while it says that there is more. What a failed or interrupted call did not remove, the next one finds.
    ///
    /// # Errors
    /// [`BusError::Storage`] when it cannot be written.
    pub async fn sweep(&self, tenant: &TenantKey, retention: Duration) -> Result<Swept, BusError> {
        match self {
            Self::Embedded(log) => log.sweep(tenant, retention).await,
            Self::Redis(bus) => bus.sweep(tenant, retention).await,
        }
    }

    /// The tenants that ever had something here, by name.
    ///
    /// # Errors
    /// [`BusError::Closed`] after [`Bus::close`].
    pub async fn tenants(&self) -> Result<Vec<TenantKey>, BusError> {
        match self {
            Self::Embedded(log) => log.tenants(),
            Self::Redis(bus) => bus.tenants().await,
        }
    }

    /// Changes when the partition may have something to route. Waiting for it is an error once the bus has ended.
    #[must_use]
    pub fn watch_unrouted(&self, tenant: &TenantKey, partition: u16) -> watch::Receiver<u64> {
        match self {
            Self::Embedded(log) => log.watch_unrouted(tenant, partition),
            Self::Redis(bus) => bus.watch_unrouted(tenant, partition),
        }
    }

    /// Changes when the inbox may have something to pull: routed, returned, replayed, a delay over. Of those who wait for
    /// it one is told, who begins a [`super::Look`] and says what the pull left. Waiting for it is an error once the bus has
    /// ended.
    #[must_use]
    pub fn watch_inbox(&self, tenant: &TenantKey, inbox: InboxId) -> InboxWatch {
        match self {
            Self::Embedded(log) => log.watch_inbox(tenant, inbox),
            Self::Redis(bus) => bus.watch_inbox(tenant, inbox),
        }
    }

    /// Resolves when the bus can do no more work though nobody closed it: its writer has died. Whoever opened the
    /// bus owns this as a task, whose end ends the role; calls answer [`BusError::Closed`] and watches are over by
    /// then. Never resolves after [`Bus::close`].
    pub async fn ended(&self) {
        match self {
            Self::Embedded(log) => log.ended().await,
            Self::Redis(bus) => bus.ended().await,
        }
    }

    /// Makes everything durable and ends; every later call answers [`BusError::Closed`].
    pub async fn close(&self) {
        match self {
            Self::Embedded(log) => log.close().await,
            Self::Redis(bus) => bus.close().await,
        }
    }
}
