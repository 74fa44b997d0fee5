//! The upgrade to a session: handshake, token, profile, stop, room; in this order.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use nexus_core::id::SessionId;
use nexus_wire::frame::SUBPROTOCOL;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use uuid::Uuid;

use super::problem::bearer;
use super::{Http, Problem};
use crate::presence::Figures;
use crate::session::Start;
use crate::session::sever::Admitted;
use crate::token::{Claims, TokenError};

/// What a WebSocket handshake settles (RFC 6455, section 4.2).
#[derive(Debug, PartialEq, Eq)]
struct Handshake {
    accept: String,
    /// Whether the client asked for our subprotocol, which is told back then.
    subprotocol: bool,
}

pub(super) async fn connect(State(http): State<Arc<Http>>, request: Request) -> Response {
    match admit(&http, request) {
        Ok(handshake) => switch(&handshake),
        Err(problem) => {
            metrics::counter!("nexus_connects_refused_total", "error" => problem.label()).increment(1);
            problem.into_response()
        }
    }
}

fn admit(http: &Http, mut request: Request) -> Result<Handshake, Problem> {
    let shared = &http.shared;
    let handshake = handshake(request.headers())?;
    let claims = verify(http, request.headers())?;
    // Subscribed before the decision: a stop that is engaged from here on wakes the session.
    let gate = shared.gate.clone();
    let config = Arc::clone(&shared.config.borrow());
    let credential = config.agent(claims.agent).and_then(|profile| profile.agent.credential);
    let admitted = Admitted { agent: claims.agent, credential };
    let gone = || Problem::ended(crate::session::end::End::ProfileRemoved);
    if config.agent(claims.agent).is_none_or(|profile| *profile.tenant != claims.tenant)
        || !claims.fits(credential)
    {
        return Err(gone());
    }
    admitted.decide(&config, &gate).map_err(Problem::ended)?;
    if http.drain.is_cancelled() {
        return Err(Problem::unavailable("draining", "this gateway shuts down; connect again", 1));
    }
    let entered = enter(http, &request, &claims)?;
    let start =
        Start { upgrade: hyper::upgrade::on(&mut request), tenant: claims.tenant, admitted, entered, gate };
    http.starts
        .try_send(start)
        .map_err(|_| Problem::unavailable("busy", "too many connections open at once; connect again", 1))?;
    Ok(handshake)
}

fn enter(http: &Http, request: &Request, claims: &Claims) -> Result<crate::presence::Entered, Problem> {
    let shared = &http.shared;
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let peer = peer.map_or(SocketAddr::from(([0, 0, 0, 0], 0)), |ConnectInfo(peer)| *peer);
    let session = SessionId::from(Uuid::new_v4());
    let figures = Figures::new(session, claims.agent, peer, shared.clock.now(), claims.expires);
    let limits = (shared.settings.max_sessions, shared.settings.max_sessions_per_agent);
    shared
        .presence
        .enter(&claims.tenant, figures, limits)
        .map_err(|full| Problem::unavailable("too_many_sessions", full.to_string(), 5))
}

fn verify(http: &Http, headers: &HeaderMap) -> Result<Claims, Problem> {
    let Some(token) = bearer_token(headers) else {
        // Without an attempt to authenticate the challenge names no error (RFC 6750, section 3.1).
        let text = "send Authorization: Bearer with an access token from /oauth/token";
        return Err(Problem::new(StatusCode::UNAUTHORIZED, "missing_token", text)
            .with(header::WWW_AUTHENTICATE, HeaderValue::from_static(r#"Bearer realm="nexus""#)));
    };
    let verified = http.shared.keys.verify(token, http.shared.clock.now());
    let outcome = verified.as_ref().map_or_else(TokenError::label, |_| "accepted");
    metrics::counter!("nexus_token_checks_total", "outcome" => outcome).increment(1);
    verified.map_err(|error| refusal(&error))
}

fn refusal(error: &TokenError) -> Problem {
    let text = error.to_string();
    if *error == TokenError::Limits {
        // The token may be good: whoever holds it must not throw it away.
        return Problem::unavailable("temporarily_unavailable", text, 1);
    }
    let challenge = bearer(&text);
    Problem::new(StatusCode::UNAUTHORIZED, "invalid_token", text).with(header::WWW_AUTHENTICATE, challenge)
}

fn bearer_token(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn handshake(headers: &HeaderMap) -> Result<Handshake, Problem> {
    let upgrades = tokens(headers, &header::CONNECTION).any(|token| token.eq_ignore_ascii_case("upgrade"))
        && tokens(headers, &header::UPGRADE).any(|token| token.eq_ignore_ascii_case("websocket"));
    let version = headers.get(header::SEC_WEBSOCKET_VERSION).map(HeaderValue::as_bytes);
    if !upgrades || version != Some(b"13") {
        let text = "connect with WebSocket, version 13";
        return Err(Problem::new(StatusCode::UPGRADE_REQUIRED, "upgrade_required", text)
            .with(header::UPGRADE, HeaderValue::from_static("websocket"))
            .with(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13")));
    }
    let key = headers.get(header::SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes);
    let Some(key) = key.filter(|key| key.len() == 24) else {
        let text = "Sec-WebSocket-Key is missing or is not 16 bytes in base64";
        return Err(Problem::new(StatusCode::BAD_REQUEST, "invalid_request", text));
    };
    let asks = headers.contains_key(header::SEC_WEBSOCKET_PROTOCOL);
    let ours = tokens(headers, &header::SEC_WEBSOCKET_PROTOCOL).any(|token| token == SUBPROTOCOL);
    if asks && !ours {
        let text = format!("the one subprotocol is {SUBPROTOCOL}, which may be left out");
        return Err(Problem::new(StatusCode::BAD_REQUEST, "unknown_subprotocol", text));
    }
    Ok(Handshake { accept: derive_accept_key(key), subprotocol: ours })
}

/// The comma-separated tokens of a header, over all of its lines.
fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let lines = headers.get_all(name).into_iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim)
}

fn switch(handshake: &Handshake) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accept) = HeaderValue::from_str(&handshake.accept) {
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    if handshake.subprotocol {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(protocol: Option<&str>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONNECTION, HeaderValue::from_static("keep-alive, Upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        headers.insert(header::SEC_WEBSOCKET_KEY, HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ=="));
        if let Some(protocol) = protocol {
            headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_str(protocol).unwrap());
        }
        headers
    }

    #[test]
    fn the_subprotocol_may_be_left_out_but_not_be_another() {
        assert!(!handshake(&headers(None)).unwrap().subprotocol);
        assert!(handshake(&headers(Some("other, nexus.v1+json"))).unwrap().subprotocol);
        assert_eq!(handshake(&headers(Some("other"))).unwrap_err().label(), "unknown_subprotocol");
    }

    #[test]
    fn a_token_that_we_had_no_time_for_is_not_refused_for_good() {
        let busy = refusal(&TokenError::Limits).into_response();
        assert_eq!(busy.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(busy.headers().contains_key(header::RETRY_AFTER));
        let bad = refusal(&TokenError::Altered).into_response();
        assert_eq!(bad.status(), StatusCode::UNAUTHORIZED);
        assert!(bad.headers().contains_key(header::WWW_AUTHENTICATE));
    }

    #[test]
    fn the_accept_key_is_that_of_the_rfc() {
        assert_eq!(handshake(&headers(None)).unwrap().accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn a_request_that_is_no_websocket_is_told_so() {
        let mut plain = headers(None);
        plain.remove(header::UPGRADE);
        assert_eq!(handshake(&plain).unwrap_err().label(), "upgrade_required");
        let mut old = headers(None);
        old.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("8"));
        assert_eq!(handshake(&old).unwrap_err().label(), "upgrade_required");
        let mut keyless = headers(None);
        keyless.remove(header::SEC_WEBSOCKET_KEY);
        assert_eq!(handshake(&keyless).unwrap_err().label(), "invalid_request");
    }
}
