//! Which events are replayed.
//!
//! Those of a filter are read twice, so that there may be any number of them: newest first, to count them and to see
//! between which places they lie, then in order, a page at a time. What comes meanwhile lies behind the last place.

use std::collections::{BTreeMap, VecDeque};

use anyhow::bail;
use jiff::Timestamp;
use nexus_core::id::{EventId, TenantKey};
use nexus_store::bus::Seq;

use crate::api::{EventStory, EventsPage};
use crate::cli::args::SelectArgs;
use crate::cli::client::Client;
use crate::cli::pages::{self, Pages, Query};

/// The events, tenant by tenant.
pub enum Chosen {
    /// By their ids.
    Named(BTreeMap<TenantKey, Vec<EventId>>),
    /// Those that a query gives between two places.
    Found {
        /// The query.
        query: Query,
        /// Where they lie.
        spans: BTreeMap<TenantKey, Span>,
    },
}

/// Where the events of one tenant lie, and how many they are.
#[derive(Debug, Clone, Copy)]
pub struct Span {
    /// The places of the first and the last one.
    first: Seq,
    last: Seq,
    count: usize,
    bytes: u64,
}

/// An event by its id, with the time of its receipt if that is known.
pub type Item = (EventId, Option<Timestamp>);

impl Chosen {
    /// Those that the arguments choose.
    pub async fn by_filter(client: &Client, select: &SelectArgs) -> anyhow::Result<Self> {
        let mut spans = BTreeMap::<TenantKey, Span>::new();
        let mut pages = Pages::open(client, select, false, usize::MAX).await?;
        while let Some(line) = pages.next().await? {
            let none = Span { first: line.seq, last: line.seq, count: 0, bytes: 0 };
            let span = spans.entry(line.tenant).or_insert(none);
            // Each tenant's events come newest first.
            span.first = line.seq;
            span.count += 1;
            span.bytes += line.bytes;
        }
        if spans.is_empty()
            && let Some(why) = pages::unknown_source(client, select).await?
        {
            bail!(why);
        }
        Ok(Self::Found { query: pages.query().clone(), spans })
    }

    /// Those with these ids: each must be there.
    pub async fn by_id(client: &Client, ids: &[EventId]) -> anyhow::Result<Self> {
        let mut tenants = BTreeMap::<TenantKey, Vec<EventId>>::new();
        for id in ids {
            let story: EventStory = client.get(&format!("events/{id}")).await?;
            tenants.entry(story.event.tenant).or_default().push(*id);
        }
        Ok(Self::Named(tenants))
    }

    /// How many they are.
    pub fn count(&self) -> usize {
        match self {
            Self::Named(tenants) => tenants.values().map(Vec::len).sum(),
            Self::Found { spans, .. } => spans.values().map(|span| span.count).sum(),
        }
    }

    /// Whose they are.
    pub fn tenants(&self) -> Vec<TenantKey> {
        match self {
            Self::Named(tenants) => tenants.keys().cloned().collect(),
            Self::Found { spans, .. } => spans.keys().cloned().collect(),
        }
    }

    /// Leaves out what is of a tenant; how many events that are.
    pub fn leave_out(&mut self, tenant: &TenantKey) -> usize {
        match self {
            Self::Named(tenants) => tenants.remove(tenant).map_or(0, |ids| ids.len()),
            Self::Found { spans, .. } => spans.remove(tenant).map_or(0, |span| span.count),
        }
    }

    /// How many bytes those of a tenant take; none where they were named and not looked at.
    pub fn bytes(&self, tenant: &TenantKey) -> Option<u64> {
        match self {
            Self::Named(_) => None,
            Self::Found { spans, .. } => spans.get(tenant).map(|span| span.bytes),
        }
    }
}

/// The events of a query in one tenant, in order, of which no more than a page and a batch are held.
pub struct Ids<'q> {
    query: &'q Query,
    tenant: &'q TenantKey,
    /// The place behind which the next page begins; none behind the last one.
    after: Option<Seq>,
    last: Seq,
    read: VecDeque<Item>,
}

impl<'q> Ids<'q> {
    pub fn new(query: &'q Query, tenant: &'q TenantKey, span: Span) -> Self {
        Self {
            query,
            tenant,
            after: Some(span.first.saturating_sub(1)),
            last: span.last,
            read: VecDeque::new(),
        }
    }

    /// The next ones, so many if there are; none when there are no more.
    pub async fn next(&mut self, client: &Client, most: usize) -> anyhow::Result<Option<Vec<Item>>> {
        while self.read.len() < most
            && let Some(after) = self.after
        {
            let page = self.query.page(client, self.tenant, ("after", after)).await?;
            self.take(after, page);
        }
        let batch: Vec<_> = self.read.drain(..most.min(self.read.len())).collect();
        Ok((!batch.is_empty()).then_some(batch))
    }

    /// Takes in the page behind a place, and nothing of it that lies behind the last one.
    fn take(&mut self, after: Seq, page: EventsPage) {
        let within = page.events.into_iter().filter(|line| line.seq <= self.last);
        self.read.extend(within.map(|line| (line.id, Some(line.received))));
        self.after = page.next.filter(|next| *next > after && *next < self.last);
    }
}

#[cfg(test)]
mod tests {
    use nexus_core::kind::Kind;

    use super::*;
    use crate::api::EventLine;

    fn id(seq: Seq) -> EventId {
        EventId::from_bytes(u128::from(seq).to_be_bytes())
    }

    fn item(seq: Seq) -> Item {
        (id(seq), Some(Timestamp::UNIX_EPOCH))
    }

    fn page(seqs: &[Seq], next: Option<Seq>) -> EventsPage {
        let line = |seq| EventLine {
            tenant: "acme/acme".parse().unwrap(),
            seq,
            id: id(seq),
            kind: Kind::NewWorkItem,
            source: "github".to_owned(),
            title: None,
            received: Timestamp::UNIX_EPOCH,
            routed: true,
            bytes: 1,
            event: None,
        };
        EventsPage { events: seqs.iter().copied().map(line).collect(), next, unreadable: Vec::new() }
    }

    #[test]
    fn what_came_after_the_count_is_left_alone() {
        let query = Query::new(&SelectArgs::default(), false, 2, Timestamp::UNIX_EPOCH);
        let tenant = "acme/acme".parse().unwrap();
        let begin = || Ids::new(&query, &tenant, Span { first: 3, last: 6, count: 2, bytes: 2 });
        let mut ids = begin();
        assert_eq!(ids.after, Some(2));
        ids.take(2, page(&[3], Some(4)));
        assert_eq!((&ids.read, ids.after), (&VecDeque::from([item(3)]), Some(4)));
        // Two more have come: the page ends behind the last one, or further.
        ids.take(4, page(&[6, 7], Some(7)));
        assert_eq!((&ids.read, ids.after), (&VecDeque::from([item(3), item(6)]), None));
        let mut ids = begin();
        ids.take(4, page(&[6], Some(6)));
        assert_eq!(ids.after, None);
        // A server that gives the same place again and again is not asked for ever.
        let mut ids = begin();
        ids.take(2, page(&[], Some(2)));
        assert_eq!(ids.after, None);
    }
}
