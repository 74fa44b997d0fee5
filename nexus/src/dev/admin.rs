//! The admin API's routes.

mod again;
mod events;

use std::sync::Arc;

use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use nexus_core::id::{EventId, TenantKey};

use super::roles::Roles;
use super::story;
use crate::api::{ApiError, EventStory, ReleaseRequest, Status, StopAnswer, StopRequest};
use crate::role::switch::{FolderSwitch, SwitchError};

/// An error with its status.
struct Failure(StatusCode, String);

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.0, Json(ApiError { message: self.1 })).into_response()
    }
}

impl From<PathRejection> for Failure {
    fn from(rejection: PathRejection) -> Self {
        Self(rejection.status(), rejection.body_text())
    }
}

impl From<QueryRejection> for Failure {
    fn from(rejection: QueryRejection) -> Self {
        Self(rejection.status(), rejection.body_text())
    }
}

impl From<JsonRejection> for Failure {
    fn from(rejection: JsonRejection) -> Self {
        Self(rejection.status(), rejection.body_text())
    }
}

impl From<SwitchError> for Failure {
    fn from(error: SwitchError) -> Self {
        let status = match &error {
            SwitchError::Name(_) => StatusCode::BAD_REQUEST,
            SwitchError::Refused(_) => StatusCode::CONFLICT,
            SwitchError::StopNotKept(_) | SwitchError::ReleaseNotKept(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self(status, format!("{:#}", anyhow::Error::from(error)))
    }
}

impl Failure {
    fn new(status: StatusCode, message: String) -> Self {
        Self(status, message)
    }

    fn internal(error: impl Into<anyhow::Error>) -> Self {
        Self(StatusCode::INTERNAL_SERVER_ERROR, format!("{:#}", error.into()))
    }
}

/// The routes.
pub fn router(roles: Arc<Roles>) -> Router {
    Router::new()
        .route("/api/v1/status", get(status))
        .route("/api/v1/events/{id}", get(event))
        .route("/api/v1/events/{id}/raw", get(raw))
        .route("/api/v1/routing", get(events::routing))
        .route("/api/v1/tenants", get(events::tenants))
        .route("/api/v1/tenants/{namespace}/{tenant}/events", get(events::events))
        .route("/api/v1/tenants/{namespace}/{tenant}/dead", get(again::dead))
        .route("/api/v1/tenants/{namespace}/{tenant}/dead/inboxes", get(again::dead_inboxes))
        .route("/api/v1/tenants/{namespace}/{tenant}/dead/requeue", post(again::requeue))
        .route("/api/v1/tenants/{namespace}/{tenant}/dead/drop", post(again::drop_dead))
        .route("/api/v1/tenants/{namespace}/{tenant}/replay", post(again::replay))
        .route("/api/v1/policies/{name}/stop", post(stop))
        .route("/api/v1/policies/{name}/release", post(release))
        .with_state(roles)
}

async fn status(State(roles): State<Arc<Roles>>) -> Result<Json<Status>, Failure> {
    roles.status().await.map(Json).map_err(Failure::internal)
}

async fn event(
    State(roles): State<Arc<Roles>>,
    id: Result<Path<EventId>, PathRejection>,
) -> Result<Json<EventStory>, Failure> {
    let Path(id) = id?;
    match roles.event(id).await.map_err(Failure::internal)? {
        Some(story) => Ok(Json(story)),
        None => Err(unknown_event(id)),
    }
}

/// The body as the provider sent it.
async fn raw(
    State(roles): State<Arc<Roles>>,
    id: Result<Path<EventId>, PathRejection>,
) -> Result<Response, Failure> {
    let Path(id) = id?;
    match story::raw(&roles.bus, id).await.map_err(Failure::internal)? {
        Some(body) => Ok(([(CONTENT_TYPE, "application/octet-stream")], body).into_response()),
        None => Err(unknown_event(id)),
    }
}

/// The tenant of a path.
fn tenant(path: Result<Path<(String, String)>, PathRejection>) -> Result<TenantKey, Failure> {
    let Path((namespace, name)) = path?;
    TenantKey::new(&namespace, &name).map_err(|error| Failure(StatusCode::BAD_REQUEST, error.to_string()))
}

fn unknown_event(id: EventId) -> Failure {
    Failure(StatusCode::NOT_FOUND, format!("there is no event {id}; `nexus events` lists them"))
}

async fn stop(
    State(roles): State<Arc<Roles>>,
    policy: Result<Path<String>, PathRejection>,
    request: Result<Json<StopRequest>, JsonRejection>,
) -> Result<Json<StopAnswer>, Failure> {
    let (Path(policy), Json(request)) = (policy?, request?);
    switch(&roles, move |switch| switch.engage(&policy, request.reason)).await
}

async fn release(
    State(roles): State<Arc<Roles>>,
    policy: Result<Path<String>, PathRejection>,
    request: Result<Json<ReleaseRequest>, JsonRejection>,
) -> Result<Json<StopAnswer>, Failure> {
    let (Path(policy), Json(request)) = (policy?, request?);
    switch(&roles, move |switch| switch.release(&policy, &request.engagement)).await
}

/// Turns the switch on a thread that may wait for the disk: those that serve sessions are needed to end them.
async fn switch(
    roles: &Arc<Roles>,
    turn: impl FnOnce(&FolderSwitch) -> Result<(), SwitchError> + Send + 'static,
) -> Result<Json<StopAnswer>, Failure> {
    let switch = Arc::clone(&roles.switch);
    tokio::task::spawn_blocking(move || turn(&switch)).await.map_err(Failure::internal)??;
    Ok(Json(StopAnswer { stops: story::stops(&roles.gate().latch()), sessions: roles.sessions() }))
}
