//! What the gateway answers over HTTP: tokens, metadata, and the two ways to a session.

mod admission;
mod connect;
pub(crate) mod grpc;
mod metadata;
mod oauth;
mod open;
mod problem;

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware;
use axum::response::IntoResponse as _;
use axum::routing::{get, post};
use nexus_core::secret::{Secret, SecretDigest};
use nexus_runtime::Drain;
use tokio::sync::{Semaphore, mpsc};
use tonic_health::server::HealthReporter;
use uuid::Uuid;

pub use self::metadata::Metadata;
pub(crate) use self::metadata::issuer;
pub use self::oauth::Granted;
pub use self::problem::Body as OAuthError;
use self::problem::Problem;
use crate::session::Start;
use crate::shared::Shared;

/// What handlers need.
struct Http {
    shared: Arc<Shared>,
    starts: mpsc::Sender<Start>,
    drain: Drain,
    /// Stands in for the secret of an agent that does not exist, so that asking for one costs the same.
    nobody: SecretDigest,
}

/// The routes. The channel takes admitted connections to the owner of sessions.
pub(crate) fn router(
    shared: Arc<Shared>,
    starts: mpsc::Sender<Start>,
    health: &HealthReporter,
    drain: Drain,
) -> Router {
    let http = Http { shared, starts, drain, nobody: Secret::new(Uuid::new_v4().into_bytes()).digest() };
    Router::new()
        .route("/oauth/token", post(oauth::token))
        .route("/.well-known/oauth-authorization-server", get(metadata::metadata))
        .route("/v1/connect", get(connect::connect))
        .fallback(nothing)
        .method_not_allowed_fallback(async || {
            let text = "this path takes another method";
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", text)
        })
        .merge(grpc::open(health))
        .layer(middleware::from_fn_with_state(Arc::new(Semaphore::new(open::AT_ONCE)), open::bounded))
        // Sessions have a bound of their own.
        .merge(grpc::agents())
        .with_state(Arc::new(http))
}

async fn nothing(request: Request) -> axum::response::Response {
    if grpc::is_grpc(request.headers()) {
        return grpc::unimplemented();
    }
    Problem::new(StatusCode::NOT_FOUND, "not_found", "there is nothing at this path").into_response()
}
