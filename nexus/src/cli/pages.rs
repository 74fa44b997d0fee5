//! Events of all tenants, page by page, newest first.
//!
//! Each tenant has an order of its own; here they are merged by the time of receipt. One page of each tenant is
//! held and no more, however many events there are.

use std::collections::{BTreeSet, VecDeque};

use anyhow::Context as _;
use jiff::Timestamp;
use nexus_core::id::TenantKey;
use nexus_store::bus::Seq;

use super::args::SelectArgs;
use super::client::Client;
use super::output::note;
use crate::api::{EventLine, EventsPage, MAX_FULL_PAGE, Status, TenantLog};

/// The most lines that are asked for at once.
const PAGE: usize = 200;

/// What is asked of each tenant.
#[derive(Debug, Clone)]
pub struct Query {
    /// Names and values, but for the tenant and the place.
    pairs: Vec<(&'static str, String)>,
}

impl Query {
    /// Asks for what `select` chooses; `full` asks for the events themselves. No more than `limit` are of use.
    pub fn new(select: &SelectArgs, full: bool, limit: usize, now: Timestamp) -> Self {
        let mut pairs = select.query(now);
        let most = if full { MAX_FULL_PAGE } else { PAGE };
        pairs.push(("limit", limit.clamp(1, most).to_string()));
        if full {
            pairs.push(("full", true.to_string()));
        }
        Self { pairs }
    }

    /// A page of a tenant, from a place on: `before` or `after`.
    pub async fn page(
        &self,
        client: &Client,
        tenant: &TenantKey,
        (side, place): (&'static str, Seq),
    ) -> anyhow::Result<EventsPage> {
        let mut pairs = self.pairs.clone();
        pairs.push((side, place.to_string()));
        client.get_query(&format!("tenants/{tenant}/events"), &pairs).await
    }
}

/// A merged list of events that is fetched as it is read.
#[derive(Debug)]
pub struct Pages<'c> {
    client: &'c Client,
    query: Query,
    tenants: Vec<Reading>,
}

/// How far one tenant has been read.
#[derive(Debug)]
struct Reading {
    tenant: TenantKey,
    lines: VecDeque<EventLine>,
    /// The place before which its next page lies; none behind the last one.
    next: Option<Seq>,
}

impl<'c> Pages<'c> {
    /// The events that `select` chooses, with the events themselves if `full`.
    pub async fn open(
        client: &'c Client,
        select: &SelectArgs,
        full: bool,
        limit: usize,
    ) -> anyhow::Result<Self> {
        let tenants = tenants(client, select.tenant.as_ref()).await?;
        let now = nexus_runtime::clock::system().now();
        Ok(Self::up_to(client, Query::new(select, full, limit, now), tenants))
    }

    /// The events that a query gives, none of them newer than the newest that is named of its tenant.
    pub fn up_to(client: &'c Client, query: Query, tenants: Vec<TenantLog>) -> Self {
        let reading = |TenantLog { tenant, newest }| Reading {
            tenant,
            lines: VecDeque::new(),
            next: Some(newest.saturating_add(1)),
        };
        Self { client, query, tenants: tenants.into_iter().map(reading).collect() }
    }

    /// What is asked of each tenant.
    pub fn query(&self) -> &Query {
        &self.query
    }

    /// The next event.
    pub async fn next(&mut self) -> anyhow::Result<Option<EventLine>> {
        for reading in &mut self.tenants {
            while reading.lines.is_empty()
                && let Some(before) = reading.next
            {
                let page = self.query.page(self.client, &reading.tenant, ("before", before)).await?;
                note_unreadable(&reading.tenant, &page);
                reading.lines.extend(page.events);
                reading.next = page.next;
            }
        }
        let newest = self.tenants.iter_mut().max_by_key(|one| one.lines.front().map(|line| line.received));
        Ok(newest.and_then(|reading| reading.lines.pop_front()))
    }

    /// The next events, at most so many.
    pub async fn take(&mut self, limit: usize) -> anyhow::Result<Vec<EventLine>> {
        let mut lines = Vec::new();
        while lines.len() < limit {
            match self.next().await? {
                Some(line) => lines.push(line),
                None => break,
            }
        }
        Ok(lines)
    }
}

/// The tenants of which there are events, or the one that was asked for.
pub async fn tenants(client: &Client, wanted: Option<&TenantKey>) -> anyhow::Result<Vec<TenantLog>> {
    let all: Vec<TenantLog> = client.get("tenants").await?;
    let Some(wanted) = wanted else {
        return Ok(all);
    };
    let names: Vec<_> = all.iter().map(|log| log.tenant.to_string()).collect();
    let found = all.into_iter().find(|log| log.tenant == *wanted);
    found.map(|log| vec![log]).with_context(|| no_such("tenant", &wanted.to_string(), &names))
}

/// Says which events of a page cannot be read.
pub fn note_unreadable(tenant: &TenantKey, page: &EventsPage) {
    if !page.unreadable.is_empty() {
        let places: Vec<_> = page.unreadable.iter().map(ToString::to_string).collect();
        note(&format!(
            "events of {tenant} cannot be read: damaged, or written by a later version; their places are {}",
            places.join(", ")
        ));
    }
}

/// Why the source that is asked for is none, if no tenant has it. Its events may be there all the same, from
/// before it was taken away.
pub async fn unknown_source(client: &Client, select: &SelectArgs) -> anyhow::Result<Option<String>> {
    let Some(wanted) = &select.source else {
        return Ok(None);
    };
    let status: Status = client.get("status").await?;
    let tenants =
        status.tenants.iter().filter(|one| select.tenant.as_ref().is_none_or(|key| *key == one.tenant));
    let names: BTreeSet<_> = tenants.flat_map(|one| &one.sources).map(|source| source.name.clone()).collect();
    let names: Vec<_> = names.into_iter().collect();
    Ok((!names.contains(wanted)).then(|| no_such("source", wanted, &names)))
}

/// That there is no such thing, and which was probably meant, else which there are.
pub fn no_such(what: &str, given: &str, known: &[String]) -> String {
    const SHOWN: usize = 20;
    let near = nexus_compile::nearest(given, known.iter().map(String::as_str));
    match near {
        Some(near) => format!("no {what} `{given}`; did you mean `{near}`?"),
        None if known.is_empty() => format!("no {what} `{given}`; there is none yet"),
        None => {
            let more = if known.len() > SHOWN { ", …" } else { "" };
            let names: Vec<_> = known.iter().take(SHOWN).map(String::as_str).collect();
            format!("no {what} `{given}`; there are: {}{more}", names.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_name_is_answered_with_the_right_one() {
        let known = ["acme/acme".to_owned(), "beta/beta".to_owned()];
        assert_eq!(no_such("tenant", "acme/acm", &known), "no tenant `acme/acm`; did you mean `acme/acme`?");
        assert_eq!(no_such("tenant", "x/y", &known), "no tenant `x/y`; there are: acme/acme, beta/beta");
        assert_eq!(no_such("tenant", "x/y", &[]), "no tenant `x/y`; there is none yet");
    }
}
