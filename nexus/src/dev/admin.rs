//! The admin API's routes.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use nexus_core::id::{EventId, TenantKey};
use nexus_core::kind::Kind;
use nexus_store::bus::Page;
use serde::Deserialize;

use super::roles::Roles;
use super::story;
use crate::api::{ApiError, EventLine, EventStory, ReleaseRequest, Status, StopAnswer, StopRequest};

/// An error with its status.
struct Failure(StatusCode, String);

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.0, Json(ApiError { message: self.1 })).into_response()
    }
}

impl Failure {
    fn internal(error: impl Into<anyhow::Error>) -> Self {
        Self(StatusCode::INTERNAL_SERVER_ERROR, format!("{:#}", error.into()))
    }
}

/// The routes.
pub fn router(roles: Arc<Roles>) -> Router {
    Router::new()
        .route("/api/v1/status", get(status))
        .route("/api/v1/events", get(events))
        .route("/api/v1/events/{id}", get(event))
        .route("/api/v1/policies/{name}/stop", post(stop))
        .route("/api/v1/policies/{name}/release", post(release))
        .with_state(roles)
}

async fn status(State(roles): State<Arc<Roles>>) -> Result<Json<Status>, Failure> {
    roles.status().await.map(Json).map_err(Failure::internal)
}

/// The query of `GET /api/v1/events`.
#[derive(Debug, Deserialize)]
struct EventsQuery {
    tenant: Option<TenantKey>,
    kind: Option<Kind>,
    limit: Option<usize>,
}

async fn events(
    State(roles): State<Arc<Roles>>,
    Query(query): Query<EventsQuery>,
) -> Result<Json<Vec<EventLine>>, Failure> {
    let limit = query.limit.unwrap_or(20).min(1000);
    let page = Page { before: None, kind: query.kind, limit };
    story::events(&roles.bus, query.tenant.as_ref(), page).await.map(Json).map_err(Failure::internal)
}

async fn event(State(roles): State<Arc<Roles>>, Path(id): Path<EventId>) -> Result<Json<EventStory>, Failure> {
    match story::event(&roles.bus, id).await.map_err(Failure::internal)? {
        Some(story) => Ok(Json(story)),
        None => Err(Failure(StatusCode::NOT_FOUND, format!("there is no event {id}; `nexus events` lists them"))),
    }
}

async fn stop(
    State(roles): State<Arc<Roles>>,
    Path(policy): Path<String>,
    Json(request): Json<StopRequest>,
) -> Result<Json<StopAnswer>, Failure> {
    roles.control.engage(&policy, request.reason).map_err(Failure::internal)?;
    Ok(Json(answer(&roles)))
}

async fn release(
    State(roles): State<Arc<Roles>>,
    Path(policy): Path<String>,
    Json(request): Json<ReleaseRequest>,
) -> Result<Json<StopAnswer>, Failure> {
    let released = roles.control.release(&policy, &request.engagement);
    released.map_err(|error| Failure(StatusCode::CONFLICT, format!("{error:#}")))?;
    Ok(Json(answer(&roles)))
}

fn answer(roles: &Roles) -> StopAnswer {
    StopAnswer { stops: story::stops(&roles.lane.gate().latch()), sessions: roles.sessions() }
}
