//! The upgrade of a WebSocket: its handshake first, then the admission that all sessions have in common.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use nexus_wire::frame::SUBPROTOCOL;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::{Http, Problem, admission};
use crate::session::transport::Opening;

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
            metrics::counter!("nexus_connects_refused_total", "error" => problem.label(), "transport" => "websocket").increment(1);
            problem.into_response()
        }
    }
}

fn admit(http: &Http, mut request: Request) -> Result<Handshake, Problem> {
    let handshake = handshake(request.headers())?;
    let upgrade = hyper::upgrade::on(&mut request);
    admission::admit(http, request.headers(), request.extensions(), || Opening::WebSocket(upgrade))?;
    Ok(handshake)
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
