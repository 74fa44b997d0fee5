//! The admin server that every role has: `/healthz`, `/readyz`, `/metrics`, `/config`.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::{Value, json};

use crate::readiness::Readiness;

/// What the admin server shows.
#[derive(Clone)]
pub struct Admin {
    /// Whether the pod is ready.
    pub readiness: Readiness,
    /// The metrics.
    pub metrics: PrometheusHandle,
    /// The configuration as it is in force, sorted and without secrets.
    pub config: Arc<dyn Fn() -> Value + Send + Sync>,
}

impl Admin {
    /// The routes. Merge a role's own into it, then [`guard_browsers`] the whole.
    pub fn router(self) -> Router {
        Router::new()
            .route("/healthz", get(|| async { "ok" }))
            .route("/readyz", get(readyz))
            .route("/metrics", get(metrics))
            .route("/config", get(|State(admin): State<Self>| async move { Json((admin.config)()) }))
            .with_state(self)
    }
}

/// The media type of Prometheus' text format; a scraper that gets another has to guess.
const EXPOSITION: &str = "text/plain; version=0.0.4; charset=utf-8";

async fn metrics(State(admin): State<Admin>) -> Response {
    ([(header::CONTENT_TYPE, EXPOSITION)], admin.metrics.render()).into_response()
}

async fn readyz(State(admin): State<Admin>) -> Response {
    let awaited = admin.readiness.awaited();
    let status = if awaited.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let backlog = admin.readiness.backlog();
    let body = json!({ "ready": awaited.is_empty(), "awaited": awaited, "backlog": backlog });
    (status, Json(body)).into_response()
}

/// Keeps web pages out of an admin server on a loopback address: a page that a developer visits can send
/// requests there, by a name that it rebinds or without reading the answer. So the Host must be a loopback
/// name, and what changes something must be JSON, which a page cannot send across origins unasked.
pub fn guard_browsers(router: Router) -> Router {
    router.layer(middleware::from_fn(refuse_foreign))
}

async fn refuse_foreign(request: Request, next: Next) -> Response {
    let headers = request.headers();
    if !host_is_local(headers) {
        return (StatusCode::FORBIDDEN, "this address serves its own machine only\n").into_response();
    }
    let json = headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes() == b"application/json");
    if !request.method().is_safe() && !json {
        return (StatusCode::UNSUPPORTED_MEDIA_TYPE, "send content-type: application/json\n").into_response();
    }
    next.run(request).await
}

fn host_is_local(headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((v6, _)) => v6,
        None => host.split(':').next().unwrap_or_default(),
    };
    name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::routing::post;
    use tower::ServiceExt as _;

    use super::*;

    async fn status(method: &str, host: &str, kind: &str) -> StatusCode {
        let router = guard_browsers(Router::new().route("/", get(|| async {}).merge(post(|| async {}))));
        let request = Request::builder()
            .method(method)
            .uri("/")
            .header("host", host)
            .header("content-type", kind)
            .body(Body::empty())
            .unwrap();
        router.oneshot(request).await.unwrap().status()
    }

    #[tokio::test]
    async fn pages_of_other_origins_are_kept_out() {
        assert_eq!(status("GET", "127.0.0.1:9090", "").await, StatusCode::OK);
        assert_eq!(status("GET", "[::1]:9090", "").await, StatusCode::OK);
        assert_eq!(status("POST", "localhost:9090", "application/json").await, StatusCode::OK);
        assert_eq!(status("GET", "evil.example", "").await, StatusCode::FORBIDDEN);
        assert_eq!(status("POST", "localhost", "text/plain").await, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    }
}
