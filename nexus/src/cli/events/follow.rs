//! `nexus events --follow`: events as they come.
//!
//! The place in each tenant's order is kept here, so that a restart of the server neither loses an event nor
//! shows one twice.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{Timestamp, Unit};
use nexus_core::id::TenantKey;
use nexus_store::bus::Seq;

use crate::api::{EventLine, TenantLog};
use crate::cli::args::EventsArgs;
use crate::cli::client::{Client, is_away};
use crate::cli::output::{Output, clip, note, print};
use crate::cli::pages::{self, Pages, Query};

/// How often the server is asked.
const INTERVAL: Duration = Duration::from_millis(250);

/// Prints the newest events in the order of receipt, then those that come, without end.
pub async fn run(client: &Client, args: &EventsArgs, output: Output) -> anyhow::Result<()> {
    let now = nexus_runtime::clock::system().now();
    let mut follower = Follower {
        client,
        args,
        output,
        now,
        // The old events are cut off by --limit, those that come by nothing: pages are as large as may be.
        query: Query::new(&args.select, args.full, usize::MAX, now),
        places: BTreeMap::new(),
    };
    follower.begin().await?;
    let mut away = false;
    loop {
        tokio::time::sleep(INTERVAL).await;
        match follower.poll().await {
            Ok(()) if away => {
                note("the server is back");
                away = false;
            }
            Ok(()) => {}
            Err(error) if is_away(&error) => {
                if !away {
                    note(&format!("{error:#}; asking on"));
                }
                away = true;
            }
            Err(error) => return Err(error),
        }
    }
}

/// What is followed, and how far.
struct Follower<'c> {
    client: &'c Client,
    args: &'c EventsArgs,
    output: Output,
    /// When it began, which times such as `2h` mean.
    now: Timestamp,
    query: Query,
    /// Place of the last event that was looked at, by tenant.
    places: BTreeMap<TenantKey, Seq>,
}

impl Follower<'_> {
    /// Prints the old events: those up to the places where what comes begins, so that nothing that comes meanwhile
    /// is taken for old and cut off by the limit.
    async fn begin(&mut self) -> anyhow::Result<()> {
        let EventsArgs { select, limit, full, .. } = self.args;
        let limit = usize::try_from(*limit)?;
        let logs = pages::tenants(self.client, select.tenant.as_ref()).await?;
        self.places = logs.iter().map(|log| (log.tenant.clone(), log.newest)).collect();
        let query = Query::new(select, *full, limit, self.now);
        let mut old = Pages::up_to(self.client, query, logs).take(limit).await?;
        old.reverse();
        if old.is_empty()
            && let Some(why) = pages::unknown_source(self.client, select).await?
        {
            note(&why);
        }
        for line in &old {
            self.print(line)?;
        }
        Ok(())
    }

    /// Prints what has come.
    async fn poll(&mut self) -> anyhow::Result<()> {
        for TenantLog { tenant, newest } in
            pages::tenants(self.client, self.args.select.tenant.as_ref()).await?
        {
            let mut place = self.places.get(&tenant).copied().unwrap_or_default();
            if newest < place {
                note(&format!("the events of {tenant} begin anew: the server has another data folder"));
                self.places.remove(&tenant);
                place = 0;
            }
            while place < newest {
                place = self.page(&tenant, place, newest).await?;
            }
        }
        Ok(())
    }

    /// Prints a page behind a place; gives the place where the next one begins.
    async fn page(&mut self, tenant: &TenantKey, place: Seq, newest: Seq) -> anyhow::Result<Seq> {
        let page = self.query.page(self.client, tenant, ("after", place)).await?;
        for line in &page.events {
            self.print(line)?;
            self.advance(tenant, line.seq);
        }
        pages::note_unreadable(tenant, &page);
        // The server may have looked further than to `newest`; what it found there was printed.
        let last = page.events.last().map_or(newest, |last| last.seq.max(newest));
        let next = page.next.unwrap_or(last).max(place.saturating_add(1));
        self.advance(tenant, next);
        Ok(next)
    }

    fn advance(&mut self, tenant: &TenantKey, seq: Seq) {
        let place = self.places.entry(tenant.clone()).or_default();
        *place = seq.max(*place);
    }

    fn print(&self, line: &EventLine) -> anyhow::Result<()> {
        if self.args.full {
            return print(&super::whole(line)?);
        }
        match self.output {
            Output::Json => print(&serde_json::to_string(line)?),
            Output::Table => print(&row(line)),
        }
    }
}

/// A line for people. No table: how wide its columns must be is not known before the last event.
fn row(line: &EventLine) -> String {
    let received = line.received.round(Unit::Second).unwrap_or(line.received);
    let source = format!("{}/{}", line.tenant, line.source);
    let title = clip(line.title.as_deref().unwrap_or("-"), 60);
    format!("{}  {received}  {source:<24}  {:<18}  {title}", line.id, line.kind.name())
}
