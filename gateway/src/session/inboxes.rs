//! The inboxes that a session draws from, in turn.

use std::pin::Pin;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use nexus_core::id::{InboxId, TenantKey};
use nexus_store::bus::Bus;
use tokio::sync::watch;

type Wake = Pin<Box<dyn Future<Output = (InboxId, watch::Receiver<u64>)> + Send>>;

/// The inboxes that a session draws from.
pub(crate) struct Inboxes {
    list: Vec<Inbox>,
    /// Whose turn it is.
    turn: usize,
    wakes: FuturesUnordered<Wake>,
}

struct Inbox {
    id: InboxId,
    alias: Option<String>,
    /// Whether it may have something.
    ready: bool,
}

impl Inboxes {
    /// Watches these from now on. Each counts as ready at first.
    pub(crate) fn watch(bus: &Bus, tenant: &TenantKey, inboxes: Vec<(InboxId, Option<String>)>) -> Self {
        let watched = inboxes.iter().map(|(id, _)| wake(*id, bus.watch_inbox(tenant, *id)));
        Self {
            wakes: watched.collect(),
            turn: 0,
            list: inboxes.into_iter().map(|(id, alias)| Inbox { id, alias, ready: true }).collect(),
        }
    }

    /// Whether these are the inboxes that are watched.
    pub(crate) fn are(&self, inboxes: &[(InboxId, Option<String>)]) -> bool {
        let own = self.list.iter().map(|inbox| (inbox.id, &inbox.alias));
        own.eq(inboxes.iter().map(|(id, alias)| (*id, alias)))
    }

    /// Whether any of them may have something.
    pub(crate) fn any_ready(&self) -> bool {
        self.list.iter().any(|inbox| inbox.ready)
    }

    /// The next inbox in turn that may have something.
    pub(crate) fn next_ready(&mut self) -> Option<InboxId> {
        let count = self.list.len();
        let turn = (0..count).map(|step| (self.turn + step) % count).find(|&at| self.list[at].ready)?;
        self.turn = (turn + 1) % count;
        Some(self.list[turn].id)
    }

    /// An inbox had no more.
    pub(crate) fn emptied(&mut self, id: InboxId) {
        self.set_ready(id, false);
    }

    /// Any of them may have something after all.
    pub(crate) fn all_ready(&mut self) {
        for inbox in &mut self.list {
            inbox.ready = true;
        }
    }

    /// Waits until one more may have something. Nothing is lost when the call is given up.
    pub(crate) async fn changed(&mut self) {
        if let Some((id, receiver)) = self.wakes.next().await {
            self.set_ready(id, true);
            self.wakes.push(wake(id, receiver));
        } else {
            std::future::pending::<()>().await;
        }
    }

    /// The alias whose shared inbox this is.
    pub(crate) fn alias(&self, id: InboxId) -> Option<&str> {
        let inbox = self.list.iter().find(|inbox| inbox.id == id)?;
        inbox.alias.as_deref()
    }

    fn set_ready(&mut self, id: InboxId, ready: bool) {
        if let Some(inbox) = self.list.iter_mut().find(|inbox| inbox.id == id) {
            inbox.ready = ready;
        }
    }
}

fn wake(id: InboxId, mut receiver: watch::Receiver<u64>) -> Wake {
    Box::pin(async move {
        if receiver.changed().await.is_err() {
            // The bus is shut down: there will be nothing more, and asking again would never end.
            std::future::pending::<()>().await;
        }
        (id, receiver)
    })
}
