//! What the writer is asked to do.

use std::time::Duration;

use bytes::Bytes;
use nexus_core::id::{EventId, InboxId, SessionId, TenantKey};
use tokio::sync::oneshot;

use super::records::Head;
use super::shared::Handed;
use super::state::Hold;
use super::sweep::Batch;
use crate::bus::{Appended, BusError, Depth, Epoch, InboxDepth, Route, Seq, Swept};

/// Where an answer goes.
pub(super) type Reply<T> = oneshot::Sender<Result<T, BusError>>;

/// An event as it will be written; all that costs time was done by the caller.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) head: Head,
    pub(super) delivery_key: String,
    pub(super) dedupe_for: Duration,
    /// The StandardEvent as JSON.
    pub(super) json: Bytes,
    /// [`super::records::encode_event`] of it.
    pub(super) kept: fjall::Slice,
    pub(super) quota_bytes: u64,
}

/// One thing to do. Names and meaning are those of [`crate::bus::Bus`].
#[derive(Debug)]
pub(super) enum Command {
    Append(TenantKey, Box<Prepared>, Reply<Appended>),
    Acquire(TenantKey, u16, Reply<Epoch>),
    Route(TenantKey, Vec<Route>, RouteAs, Reply<()>),
    Pull(TenantKey, Pull, Reply<Handed>),
    Ack(TenantKey, SessionId, Vec<EventId>, Reply<usize>),
    Nack(TenantKey, Box<Nack>, Reply<bool>),
    EndSession(TenantKey, SessionId, Vec<EventId>, Reply<usize>),
    Replay(TenantKey, Vec<EventId>, Vec<InboxId>, Reply<usize>),
    Requeue(TenantKey, InboxId, Vec<EventId>, Reply<usize>),
    DropDead(TenantKey, InboxId, Vec<EventId>, Reply<usize>),
    Depth(TenantKey, Reply<Depth>),
    InboxDepth(TenantKey, InboxId, Reply<InboxDepth>),
    /// Who holds copies of an event in these inboxes.
    Holds(TenantKey, Seq, Vec<InboxId>, Reply<Vec<(InboxId, Hold)>>),
    Sweep(TenantKey, Batch, Reply<Swept>),
    /// Look at what came back.
    Nudge,
    Close(oneshot::Sender<()>),
    /// A test's fault, done by the writer itself.
    #[cfg(test)]
    Fault(Fault),
}

#[cfg(test)]
pub(super) struct Fault(pub(super) Box<dyn FnOnce(&mut super::writer::Writer) + Send>);

#[cfg(test)]
impl std::fmt::Debug for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Fault")
    }
}

/// As whom to route.
#[derive(Debug, Clone, Copy)]
pub(super) struct RouteAs {
    pub(super) partition: u16,
    pub(super) epoch: Epoch,
}

/// What to hand to whom.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pull {
    pub(super) inbox: InboxId,
    pub(super) session: SessionId,
    pub(super) max: usize,
    pub(super) max_bytes: usize,
}

/// What is refused.
#[derive(Debug)]
pub(super) struct Nack {
    pub(super) session: SessionId,
    pub(super) id: EventId,
    pub(super) retry_after: Duration,
    pub(super) reason: String,
}

impl Command {
    /// Bytes of payload that it carries into its group.
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Append(_, prepared, _) => prepared.kept.len(),
            _ => 0,
        }
    }

    /// Whether it looks at what is written, and so has to wait for the batch of its group.
    pub(super) const fn looks(&self) -> bool {
        matches!(self, Self::Pull(..) | Self::Depth(..) | Self::InboxDepth(..) | Self::Holds(..))
    }

    /// Answers that it was not done.
    pub(super) fn refuse(self, error: BusError) {
        // A caller that went away needs no answer.
        match self {
            Self::Append(_, _, reply) => drop(reply.send(Err(error))),
            Self::Acquire(_, _, reply) => drop(reply.send(Err(error))),
            Self::Route(_, _, _, reply) => drop(reply.send(Err(error))),
            Self::Pull(_, _, reply) => drop(reply.send(Err(error))),
            Self::Ack(_, _, _, reply) => drop(reply.send(Err(error))),
            Self::Nack(_, _, reply) => drop(reply.send(Err(error))),
            Self::EndSession(_, _, _, reply) => drop(reply.send(Err(error))),
            Self::Replay(_, _, _, reply) => drop(reply.send(Err(error))),
            Self::Requeue(_, _, _, reply) => drop(reply.send(Err(error))),
            Self::DropDead(_, _, _, reply) => drop(reply.send(Err(error))),
            Self::Depth(_, reply) => drop(reply.send(Err(error))),
            Self::InboxDepth(_, _, reply) => drop(reply.send(Err(error))),
            Self::Holds(_, _, _, reply) => drop(reply.send(Err(error))),
            Self::Sweep(_, _, reply) => drop(reply.send(Err(error))),
            Self::Nudge | Self::Close(_) => {}
            #[cfg(test)]
            Self::Fault(_) => {}
        }
    }
}
