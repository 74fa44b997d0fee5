//! Parked events, and events that are delivered once more.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use nexus_core::id::{EventId, InboxId, TenantKey};
use nexus_store::bus::{DeadLetter, Filter, Page, Seq};
use serde::Deserialize;

use super::Failure;
use crate::api::{DeadAnswer, DeadLine, DeadPage, DeadRequest, MAX_BATCH, ReplayAnswer, ReplayRequest};
use crate::dev::replay::{self, ReplayError};
use crate::dev::roles::Roles;

type TenantPath = Result<Path<(String, String)>, PathRejection>;

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

/// Lets parked events wait again.
pub(super) async fn requeue(
    State(roles): State<Arc<Roles>>,
    tenant: TenantPath,
    request: Result<Json<DeadRequest>, JsonRejection>,
) -> Result<Json<DeadAnswer>, Failure> {
    let (tenant, Json(request)) = (super::tenant(tenant)?, request?);
    bounded(&request.events)?;
    let done = roles.bus.requeue(&tenant, request.inbox, request.events).await;
    Ok(Json(DeadAnswer { done: done.map_err(Failure::internal)? }))
}

/// Gives parked events up.
pub(super) async fn drop_dead(
    State(roles): State<Arc<Roles>>,
    tenant: TenantPath,
    request: Result<Json<DeadRequest>, JsonRejection>,
) -> Result<Json<DeadAnswer>, Failure> {
    let (tenant, Json(request)) = (super::tenant(tenant)?, request?);
    bounded(&request.events)?;
    let done = roles.bus.drop_dead(&tenant, request.inbox, request.events).await;
    Ok(Json(DeadAnswer { done: done.map_err(Failure::internal)? }))
}

/// Delivers events once more.
pub(super) async fn replay(
    State(roles): State<Arc<Roles>>,
    tenant: TenantPath,
    request: Result<Json<ReplayRequest>, JsonRejection>,
) -> Result<Json<ReplayAnswer>, Failure> {
    let (tenant, Json(request)) = (super::tenant(tenant)?, request?);
    bounded(&request.events)?;
    let view = roles.control.view();
    let Some(compiled) = view.tenants.get(&tenant) else {
        let why = format!("the folder has no tenant {tenant}; nothing can be routed for it");
        return Err(Failure::new(StatusCode::NOT_FOUND, why));
    };
    replay::replay(&roles.bus, &compiled.gateway, request).await.map(Json).map_err(|error| match error {
        ReplayError::Target(_) => Failure::new(StatusCode::NOT_FOUND, error.to_string()),
        ReplayError::Bus(_) | ReplayError::Read(_) => Failure::internal(error),
    })
}

fn bounded(events: &[EventId]) -> Result<(), Failure> {
    if events.len() <= MAX_BATCH {
        return Ok(());
    }
    let why = format!("{} events at once are too many; send at most {MAX_BATCH} in a request", events.len());
    Err(Failure::new(StatusCode::BAD_REQUEST, why))
}
