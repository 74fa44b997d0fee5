//! Parked events, and events that are delivered once more.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use nexus_core::id::{EventId, InboxId, TenantKey};
use nexus_core::route::Decision;
use nexus_store::bus::{BusError, DeadLetter, Filter, Page, Seq};
use serde::Deserialize;

use super::Failure;
use crate::api::{
    DeadAnswer, DeadInbox, DeadInboxes, DeadLine, DeadPage, DeadRequest, MAX_BATCH, ReplayAnswer,
    ReplayRequest,
};
use crate::dev::replay::{self, ReplayError};
use crate::dev::roles::Roles;
use crate::dev::story;

type TenantPath = Result<Path<(String, String)>, PathRejection>;

type Body<T> = Result<Json<T>, JsonRejection>;

/// The query of a page of parked events.
#[derive(Debug, Deserialize)]
pub(super) struct DeadQuery {
    inbox: InboxId,
    after: Option<Seq>,
    limit: Option<usize>,
}

/// A page of parked events.
pub(super) async fn dead(
    State(roles): State<Arc<Roles>>,
    tenant: TenantPath,
    query: Result<Query<DeadQuery>, QueryRejection>,
) -> Result<Json<DeadPage>, Failure> {
    let (tenant, Query(query)) = (super::tenant(tenant)?, query?);
    let limit = query.limit.unwrap_or(MAX_BATCH).clamp(1, MAX_BATCH);
    // One more than is shown tells whether there are more.
    let letters = roles.bus.dead(&tenant, query.inbox, query.after, limit + 1).await;
    let letters = letters.map_err(Failure::internal)?;
    let more = letters.len() > limit;
    let mut events = Vec::new();
    for letter in letters.into_iter().take(limit) {
        events.push(line(&roles, &tenant, letter).await?);
    }
    let next = events.last().map(|last| last.seq).filter(|_| more);
    Ok(Json(DeadPage { events, next }))
}

async fn line(roles: &Roles, tenant: &TenantKey, letter: DeadLetter) -> Result<DeadLine, Failure> {
    let DeadLetter { seq, id, attempts, reason, parked, bytes } = letter;
    let page = Page { before: Some(seq.saturating_add(1)), filter: Filter::default(), limit: 1 };
    let found = roles.bus.events(tenant, page).await.map_err(Failure::internal)?;
    let summary = found.events.into_iter().find(|summary| summary.seq == seq);
    let (kind, source, title) = match summary {
        Some(summary) => (Some(summary.kind), Some(summary.source), summary.title),
        None => (None, None, None),
    };
    Ok(DeadLine { seq, id, kind, source, title, attempts, reason, parked, bytes })
}

/// The query of a page of inboxes.
#[derive(Debug, Deserialize)]
pub(super) struct InboxesQuery {
    after: Option<InboxId>,
    limit: Option<usize>,
}

/// A page of the inboxes in which an event is parked.
pub(super) async fn dead_inboxes(
    State(roles): State<Arc<Roles>>,
    tenant: TenantPath,
    query: Result<Query<InboxesQuery>, QueryRejection>,
) -> Result<Json<DeadInboxes>, Failure> {
    let (tenant, Query(query)) = (super::tenant(tenant)?, query?);
    let limit = query.limit.unwrap_or(MAX_BATCH).clamp(1, MAX_BATCH);
    let found = roles.bus.dead_inboxes(&tenant, query.after, limit + 1).await.map_err(Failure::internal)?;
    let mut inboxes = Vec::new();
    for inbox in found.iter().copied().take(limit) {
        let target = roles.owner(&tenant, inbox);
        let gone = target.is_none();
        let target = match target {
            Some(target) => Some(target),
            None => recorded_owner(&roles, &tenant, inbox).await?,
        };
        inboxes.push(DeadInbox { inbox, target, gone });
    }
    let next = inboxes.last().map(|last| last.inbox).filter(|_| found.len() > limit);
    Ok(Json(DeadInboxes { inboxes, next }))
}

/// Whose an inbox was when the first event that is parked there was routed.
async fn recorded_owner(
    roles: &Roles,
    tenant: &TenantKey,
    inbox: InboxId,
) -> Result<Option<String>, Failure> {
    let first = roles.bus.dead(tenant, inbox, None, 1).await.map_err(Failure::internal)?;
    let Some(letter) = first.first() else {
        return Ok(None);
    };
    let record = roles.bus.event(tenant, letter.id).await.map_err(Failure::internal)?;
    let decision = record.and_then(|record| record.decision);
    // The name is a help and no more: a decision of another version must not hide what is parked.
    let decision: Option<Decision> = decision.and_then(|json| serde_json::from_slice(&json).ok());
    Ok(decision.and_then(|decision| story::decided(&decision, inbox)))
}

/// Lets parked events wait again.
pub(super) async fn requeue(
    State(roles): State<Arc<Roles>>,
    tenant: TenantPath,
    request: Body<DeadRequest>,
) -> Result<Json<DeadAnswer>, Failure> {
    let (tenant, DeadRequest { inbox, events }) = asked(tenant, request, |request| &request.events)?;
    settled(roles.bus.requeue(&tenant, inbox, events).await)
}

/// Gives parked events up.
pub(super) async fn drop_dead(
    State(roles): State<Arc<Roles>>,
    tenant: TenantPath,
    request: Body<DeadRequest>,
) -> Result<Json<DeadAnswer>, Failure> {
    let (tenant, DeadRequest { inbox, events }) = asked(tenant, request, |request| &request.events)?;
    settled(roles.bus.drop_dead(&tenant, inbox, events).await)
}

fn settled(done: Result<usize, BusError>) -> Result<Json<DeadAnswer>, Failure> {
    done.map(|done| Json(DeadAnswer { done })).map_err(Failure::internal)
}

/// Delivers events once more.
pub(super) async fn replay(
    State(roles): State<Arc<Roles>>,
    tenant: TenantPath,
    request: Body<ReplayRequest>,
) -> Result<Json<ReplayAnswer>, Failure> {
    let (tenant, request) = asked(tenant, request, |request| &request.events)?;
    let view = roles.control.view();
    let Some(compiled) = view.tenants.get(&tenant) else {
        let why = format!("the folder has no tenant {tenant}; nothing can be routed for it");
        return Err(Failure::new(StatusCode::NOT_FOUND, why));
    };
    replay::replay(&roles.bus, &compiled.gateway, request).await.map(Json).map_err(|error| match error {
        ReplayError::Target(_) => Failure::new(StatusCode::NOT_FOUND, error.to_string()),
        ReplayError::Bus(_) => Failure::internal(error),
    })
}

/// What is asked of which tenant, if it does not name too many `events` at once.
fn asked<T>(
    tenant: TenantPath,
    request: Body<T>,
    events: impl Fn(&T) -> &[EventId],
) -> Result<(TenantKey, T), Failure> {
    let (tenant, Json(request)) = (super::tenant(tenant)?, request?);
    let count = events(&request).len();
    if count <= MAX_BATCH {
        return Ok((tenant, request));
    }
    let why = format!("{count} events at once are too many; send at most {MAX_BATCH} in a request");
    Err(Failure::new(StatusCode::BAD_REQUEST, why))
}
