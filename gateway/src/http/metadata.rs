//! Authorization server metadata (RFC 8414).

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use schemars::JsonSchema;
use serde::Serialize;

use super::{Http, Problem};

/// Fields as RFC 8414, section 2, names them.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Metadata {
    /// Address of the token endpoint.
    token_endpoint: String,
    /// Who issues tokens: a scheme and a host.
    issuer: String,
    /// Required by the RFC; empty, as there is no authorization endpoint.
    response_types_supported: [&'static str; 0],
    /// Always `client_credentials`.
    grant_types_supported: [&'static str; 1],
    /// How a client may show its secret.
    token_endpoint_auth_methods_supported: [&'static str; 2],
    /// Always `connect`.
    scopes_supported: [&'static str; 1],
}

/// The configured issuer is none that this gateway can serve.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the issuer {issuer:?} {what}; it must be a scheme and a host, such as https://nexus.example.com")]
pub(crate) struct IssuerError {
    issuer: String,
    what: &'static str,
}

/// The issuer as the metadata names it. One with a path would have its metadata elsewhere (RFC 8414, section 3.1:
/// between host and path), where a client would look in vain.
pub(crate) fn issuer(text: &str) -> Result<String, IssuerError> {
    let refused = |what| Err(IssuerError { issuer: text.to_owned(), what });
    if text.contains(['?', '#']) {
        return refused("has a query or a fragment");
    }
    let Ok(uri) = text.parse::<Uri>() else {
        return refused("is no URL");
    };
    let plain = uri.authority().is_some_and(|authority| !authority.as_str().contains('@'));
    if !plain || !matches!(uri.scheme_str(), Some("http" | "https")) {
        return refused("is no http or https URL of a host alone");
    }
    if uri.path() != "/" {
        return refused("has a path");
    }
    Ok(text.trim_end_matches('/').to_owned())
}

pub(super) async fn metadata(
    State(http): State<Arc<Http>>,
    headers: HeaderMap,
) -> Result<Json<Metadata>, Problem> {
    let issuer = match &http.shared.settings.issuer {
        Some(issuer) => issuer.clone(),
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
    host.filter(|host| !host.is_empty() && host.chars().all(plain)).ok_or_else(|| {
        Problem::new(StatusCode::BAD_REQUEST, "invalid_request", "the Host header is missing or odd")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_is_a_scheme_and_a_host() {
        for good in ["https://nexus.acme.example", "http://localhost:8080", "https://[::1]:8080"] {
            assert_eq!(issuer(good).as_deref(), Ok(good));
            assert_eq!(issuer(&format!("{good}/")).as_deref(), Ok(good));
        }
        for (bad, what) in [
            ("https://acme.example/nexus", "a path"),
            ("https://acme.example//", "a path"),
            ("https://acme.example/?x", "a query"),
            ("https://acme.example#x", "a fragment"),
            ("https://me@acme.example", "host alone"),
            ("ftp://acme.example", "no http"),
            ("acme.example", "no http"),
            ("/nexus", "no http"),
            ("", "no URL"),
        ] {
            let error = issuer(bad).unwrap_err().to_string();
            assert!(error.contains(what), "{bad}: {error}");
        }
    }
}
