//! The inboxes that a session draws from, in turn.

use futures_util::future::{pending, select_all};
use nexus_core::id::{InboxId, TenantKey};
use nexus_store::bus::{Bus, InboxWatch, Look, Rest};

/// The inboxes that a session draws from.
pub(crate) struct Inboxes {
    list: Vec<Inbox>,
    /// Whose turn it is.
    turn: usize,
}

struct Inbox {
    id: InboxId,
    alias: Option<String>,
    watch: InboxWatch,
    /// Whether it is looked at whatever the watch says.
    ready: bool,
}

impl Inbox {
    /// Whether it may have something.
    fn is_ready(&self) -> bool {
        // A bus that has ended is not asked again and again.
        self.ready || self.watch.has_changed().unwrap_or(false)
    }

    async fn changed(&self) {
        if self.watch.changed().await.is_err() {
            pending::<()>().await;
        }
    }
}

impl Inboxes {
    /// Watches these from now on. Each counts as ready at first.
    pub(crate) fn watch(bus: &Bus, tenant: &TenantKey, inboxes: Vec<(InboxId, Option<String>)>) -> Self {
        let inbox = |(id, alias)| Inbox { id, alias, watch: bus.watch_inbox(tenant, id), ready: true };
        Self { turn: 0, list: inboxes.into_iter().map(inbox).collect() }
    }

    /// Whether these are the inboxes that are watched.
    pub(crate) fn are(&self, inboxes: &[(InboxId, Option<String>)]) -> bool {
        let own = self.list.iter().map(|inbox| (inbox.id, &inbox.alias));
        own.eq(inboxes.iter().map(|(id, alias)| (*id, alias)))
    }

    /// All of them.
    pub(crate) fn ids(&self) -> impl Iterator<Item = InboxId> {
        self.list.iter().map(|inbox| inbox.id)
    }

    /// Whether any of them may have something.
    pub(crate) fn any_ready(&self) -> bool {
        self.list.iter().any(Inbox::is_ready)
    }

    /// Begins to look at the next inbox in turn that may have something.
    pub(crate) fn next_ready(&mut self) -> Option<(InboxId, Look)> {
        let count = self.list.len();
        let turn = (0..count).map(|step| (self.turn + step) % count).find(|&at| self.list[at].is_ready())?;
        self.turn = (turn + 1) % count;
        let inbox = &self.list[turn];
        Some((inbox.id, inbox.watch.look()))
    }

    /// What a look came to. One that failed counts as one that left what it could not have, and is made again in time.
    pub(crate) fn looked(&mut self, id: InboxId, look: Look, rest: Rest) {
        if let Some(inbox) = self.list.iter_mut().find(|inbox| inbox.id == id) {
            inbox.ready = rest == Rest::More;
            inbox.watch.looked(look, rest);
        }
    }

    /// Any of them may have something after all.
    pub(crate) fn all_ready(&mut self) {
        for inbox in &mut self.list {
            inbox.ready = true;
        }
    }

    /// Waits until one more may have something, and makes it that one's turn: it was told instead of others, so it is looked
    /// at before anything else is done. Only for a session that can take something. Nothing is lost when the call is given up.
    pub(crate) async fn changed(&mut self) {
        if self.list.is_empty() {
            pending::<()>().await;
        }
        let ((), turn, _) = select_all(self.list.iter().map(|inbox| Box::pin(inbox.changed()))).await;
        self.turn = turn;
    }

    /// The alias whose shared inbox this is.
    pub(crate) fn alias(&self, id: InboxId) -> Option<&str> {
        let inbox = self.list.iter().find(|inbox| inbox.id == id)?;
        inbox.alias.as_deref()
    }
}
