//! Authorization server metadata (RFC 8414).

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use serde::Serialize;

use super::{Http, Problem};

/// Fields as RFC 8414, section 2, names them.
#[derive(Debug, Serialize)]
pub(super) struct Metadata {
    token_endpoint: String,
    issuer: String,
    /// Required by the RFC; empty, as there is no authorization endpoint.
    response_types_supported: [&'static str; 0],
    grant_types_supported: [&'static str; 1],
    token_endpoint_auth_methods_supported: [&'static str; 2],
    scopes_supported: [&'static str; 1],
}

pub(super) async fn metadata(
    State(http): State<Arc<Http>>,
    headers: HeaderMap,
) -> Result<Json<Metadata>, Problem> {
    let issuer = match &http.shared.settings.issuer {
        Some(issuer) => issuer.trim_end_matches('/').to_owned(),
        None => format!("http://{}", host(&headers)?),
    };
    Ok(Json(Metadata {
        token_endpoint: format!("{issuer}/oauth/token"),
        issuer,
        response_types_supported: [],
        grant_types_supported: ["client_credentials"],
        token_endpoint_auth_methods_supported: ["client_secret_basic", "client_secret_post"],
        scopes_supported: ["connect"],
    }))
}

fn host(headers: &HeaderMap) -> Result<&str, Problem> {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']');
    host.filter(|host| !host.is_empty() && host.chars().all(plain))
        .ok_or_else(|| {
            Problem::new(
                StatusCode::BAD_REQUEST,
                "invalid_request",
                "the Host header is missing or odd",
            )
        })
}
