//! The floor's HTTP side: a webhook, an upgrade, or `/readyz`.

use bytes::Bytes;
use hmac::Mac as _;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::upgrade::OnUpgrade;
use hyper::{Method, Request, Response, StatusCode};
use tokio::sync::{mpsc, oneshot};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::{Append, Floor};
use crate::frame::SUBPROTOCOL;

/// The longest body.
const MAX_BODY: usize = 25 << 20;

/// An answer.
type Answer = Response<Full<Bytes>>;

/// Answers a request.
pub(super) async fn answer(
    request: Request<Incoming>,
    floor: &Floor,
    upgraded: &mpsc::Sender<OnUpgrade>,
) -> Answer {
    let answer = match (request.method(), request.uri().path()) {
        (&Method::POST, _) => webhook(request, floor).await,
        (&Method::GET, "/v1/connect") => upgrade(request, upgraded),
        (&Method::GET, "/readyz") => Ok(Response::new(Full::default())),
        _ => Err(StatusCode::NOT_FOUND),
    };
    answer.unwrap_or_else(|status| {
        let mut response = Response::new(Full::default());
        *response.status_mut() = status;
        response
    })
}

/// Verifies a body over its raw bytes and answers once it is on disk.
async fn webhook(request: Request<Incoming>, floor: &Floor) -> Result<Answer, StatusCode> {
    let (head, body) = request.into_parts();
    let told = head.headers.get("x-hub-signature-256").ok_or(StatusCode::FORBIDDEN)?;
    let told = told.as_bytes().strip_prefix(b"sha256=").ok_or(StatusCode::FORBIDDEN)?;
    let told = hex::decode(told).map_err(|_| StatusCode::FORBIDDEN)?;
    let body = Limited::new(body, MAX_BODY).collect().await.map_err(|_| StatusCode::BAD_REQUEST)?.to_bytes();
    // In constant time.
    floor.mac.clone().chain_update(&body).verify_slice(&told).map_err(|_| StatusCode::FORBIDDEN)?;
    let (done, durable) = oneshot::channel();
    floor.appends.send(Append { body, done }).await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    let id = durable.await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    let mut response = Response::new(Full::from(format!(r#"{{"event":"{id}"}}"#)));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

fn upgrade(mut request: Request<Incoming>, upgraded: &mpsc::Sender<OnUpgrade>) -> Result<Answer, StatusCode> {
    let key = request.headers().get(header::SEC_WEBSOCKET_KEY).ok_or(StatusCode::BAD_REQUEST)?;
    let accept = derive_accept_key(key.as_bytes());
    let on = hyper::upgrade::on(&mut request);
    upgraded.try_send(on).map_err(|_| StatusCode::BAD_REQUEST)?;
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    let accept = HeaderValue::from_str(&accept).map_err(|_| StatusCode::BAD_REQUEST)?;
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    Ok(response)
}
