//! Lists of events, and the rules that route them.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use jiff::Timestamp;
use nexus_core::id::TenantKey;
use nexus_core::kind::Kind;
use nexus_core::snapshot::{Agent, GatewaySnapshot};
use nexus_store::bus::{Bus, Filter, Page, Seq};
use serde::Deserialize;

use super::Failure;
use crate::api::{EventLine, EventsPage, MAX_FULL_PAGE, MAX_PAGE, Routing, TenantLog};
use crate::dev::roles::Roles;
use crate::dev::story::line;

/// A page that carries events whole ends behind so many bytes of them.
const MAX_PAGE_BYTES: usize = 8 << 20;

/// The query of a page of events.
#[derive(Debug, Deserialize)]
pub(super) struct EventsQuery {
    kinds: Option<String>,
    source: Option<String>,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    before: Option<Seq>,
    after: Option<Seq>,
    limit: Option<usize>,
    #[serde(default)]
    full: bool,
}

impl EventsQuery {
    fn limit(&self) -> usize {
        self.limit.unwrap_or(20).clamp(1, if self.full { MAX_FULL_PAGE } else { MAX_PAGE })
    }

    fn filter(&self) -> Result<Filter, Failure> {
        let names = self.kinds.iter().flat_map(|kinds| kinds.split(','));
        let kinds: Result<Vec<Kind>, _> = names.map(str::parse).collect();
        let kinds =
            kinds.map_err(|error| Failure::new(StatusCode::BAD_REQUEST, format!("`kinds`: {error}")))?;
        Ok(Filter { kinds, source: self.source.clone(), since: self.since, until: self.until })
    }
}

/// The tenants of the folder and those that have events here.
pub(super) async fn tenants(State(roles): State<Arc<Roles>>) -> Result<Json<Vec<TenantLog>>, Failure> {
    let mut tenants = roles.bus.tenants().await.map_err(Failure::internal)?;
    tenants.extend(roles.control.view().tenants.keys().cloned());
    tenants.sort_unstable();
    tenants.dedup();
    let mut logs = Vec::new();
    for tenant in tenants {
        let newest = roles.bus.depth(&tenant).await.map_err(Failure::internal)?.appended;
        logs.push(TenantLog { tenant, newest });
    }
    Ok(Json(logs))
}

/// The rules in force, without credentials.
pub(super) async fn routing(State(roles): State<Arc<Roles>>) -> Json<Routing> {
    let view = roles.control.view();
    let without = |agent: &Agent| Agent { credential: None, ..agent.clone() };
    let tenants = view.tenants.values().map(|compiled| {
        let agents = compiled.gateway.agents.iter().map(|(name, agent)| (name.clone(), without(agent)));
        GatewaySnapshot { agents: agents.collect(), ..compiled.gateway.clone() }
    });
    Json(Routing { tenants: tenants.collect() })
}

/// A page of one tenant's events.
pub(super) async fn events(
    State(roles): State<Arc<Roles>>,
    tenant: Result<Path<(String, String)>, PathRejection>,
    query: Result<Query<EventsQuery>, QueryRejection>,
) -> Result<Json<EventsPage>, Failure> {
    let (tenant, Query(query)) = (super::tenant(tenant)?, query?);
    let mut page = match query.after {
        None => newest_first(&roles, &tenant, &query).await?,
        Some(after) => in_order(&roles, &tenant, &query, after).await?,
    };
    if query.full {
        fill(&roles.bus, &tenant, &mut page).await?;
    }
    Ok(Json(page))
}

async fn newest_first(roles: &Roles, tenant: &TenantKey, query: &EventsQuery) -> Result<EventsPage, Failure> {
    let page = Page { before: query.before, filter: query.filter()?, limit: query.limit() };
    let found = roles.bus.events(tenant, page).await.map_err(Failure::internal)?;
    Ok(EventsPage {
        events: found.events.into_iter().map(|summary| line(tenant, summary)).collect(),
        next: found.next,
        unreadable: found.unreadable,
    })
}

/// The events of the places right behind `after`, as many places as there may be events on a page.
async fn in_order(
    roles: &Roles,
    tenant: &TenantKey,
    query: &EventsQuery,
    after: Seq,
) -> Result<EventsPage, Failure> {
    let newest = roles.bus.depth(tenant).await.map_err(Failure::internal)?.appended;
    let last = after.saturating_add(u64::try_from(query.limit()).unwrap_or(u64::MAX)).min(newest);
    let filter = query.filter()?;
    let mut page = EventsPage { next: (last < newest).then_some(last), ..EventsPage::default() };
    let mut before = Some(last.saturating_add(1));
    while let Some(end) = before.filter(|end| *end > after.saturating_add(1)) {
        // Only those places are looked at, so the filter is applied here: the bus would look further for it.
        let limit = usize::try_from(end - after - 1).unwrap_or(usize::MAX);
        let found = Page { before: Some(end), filter: Filter::default(), limit };
        let found = roles.bus.events(tenant, found).await.map_err(Failure::internal)?;
        page.unreadable.extend(found.unreadable.into_iter().filter(|seq| *seq > after));
        let wanted = found
            .events
            .into_iter()
            .filter(|one| one.seq > after && filter.wants(one.kind, &one.source, one.received));
        page.events.extend(wanted.map(|summary| line(tenant, summary)));
        before = found.next;
    }
    page.events.reverse();
    Ok(page)
}

/// Adds the events themselves; ends the page early if they are large. Of one that cannot be read only the place is
/// told: it must not hide the others.
async fn fill(bus: &Bus, tenant: &TenantKey, page: &mut EventsPage) -> Result<(), Failure> {
    let (mut bytes, mut looked) = (0, None);
    let mut lines: Vec<EventLine> = Vec::new();
    for mut line in std::mem::take(&mut page.events) {
        if bytes > MAX_PAGE_BYTES {
            page.next = looked;
            break;
        }
        looked = Some(line.seq);
        // It is missing only if it was forgotten meanwhile.
        let Some(record) = bus.event(tenant, line.id).await.map_err(Failure::internal)? else {
            continue;
        };
        bytes += record.event.len();
        match serde_json::from_slice(&record.event) {
            Ok(event) => {
                line.event = Some(Box::new(event));
                lines.push(line);
            }
            Err(_) => page.unreadable.push(line.seq),
        }
    }
    page.events = lines;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dev::unreadable::{self, id};

    #[tokio::test]
    async fn one_event_that_cannot_be_read_does_not_hide_the_others() {
        let (_folder, bus, tenant) = unreadable::bus().await;
        let found = bus.events(&tenant, Page { before: None, filter: Filter::default(), limit: 10 }).await;
        let events = found.unwrap().events.into_iter().map(|summary| line(&tenant, summary)).collect();
        let mut page = EventsPage { events, ..EventsPage::default() };
        assert!(fill(&bus, &tenant, &mut page).await.is_ok());
        assert_eq!(page.unreadable, [2]);
        assert_eq!(page.events.iter().map(|line| line.id).collect::<Vec<_>>(), [id(3), id(1)]);
        assert!(page.events.iter().all(|line| line.event.is_some()));
    }
}
