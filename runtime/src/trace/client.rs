//! The HTTP client of the exporter: bounded in time and in what it reads, follows no redirect, and says of what
//! failed no more than its class, since addresses and answers may hold keys.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use http::Uri;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use rustls::crypto::ring;
use tokio::time::timeout;

use super::settings::TraceError;

/// The longest answer that is read.
const MAX_ANSWER: usize = 64 << 10;

/// How long an unused connection is kept.
const IDLE: Duration = Duration::from_secs(30);

/// What became of the last request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failure {
    /// The collector answered something else than success.
    #[error("the collector answered HTTP status {0}")]
    Status(u16),
    /// It did not answer in time.
    #[error("the collector did not answer in time")]
    Timeout,
    /// It cannot be reached.
    #[error("the collector cannot be reached, or its certificate is not trusted")]
    Connect,
    /// It broke off or made no sense.
    #[error("the collector's answer cannot be read")]
    Answer,
}

impl Failure {
    /// Whether the same may go well later, by the OTLP specification.
    pub(super) const fn may_pass(self) -> bool {
        matches!(self, Self::Status(429 | 502..=504) | Self::Timeout | Self::Connect | Self::Answer)
    }
}

/// A client for one address.
#[derive(Debug, Clone)]
pub(super) struct Client {
    connections: Connections,
    timeout: Duration,
    last: Arc<Mutex<Option<Failure>>>,
}

#[derive(Debug, Clone)]
enum Connections {
    Plain(Pool<HttpConnector, Full<Bytes>>),
    Tls(Pool<HttpsConnector<HttpConnector>, Full<Bytes>>),
}

impl Client {
    /// A client that does what its address needs: certificates are read for https only.
    pub(super) fn new(address: &Uri, timeout: Duration) -> Result<Self, TraceError> {
        let mut builder = Pool::builder(TokioExecutor::new());
        builder.pool_timer(TokioTimer::new()).pool_idle_timeout(IDLE).pool_max_idle_per_host(1);
        let connections = if address.scheme_str() == Some("https") {
            let connector =
                HttpsConnectorBuilder::new().with_provider_and_native_roots(ring::default_provider());
            let connector = connector.map_err(TraceError::Certificates)?;
            Connections::Tls(builder.build(connector.https_only().enable_http1().build()))
        } else {
            Connections::Plain(builder.build_http())
        };
        Ok(Self { connections, timeout, last: Arc::default() })
    }

    /// What was wrong with the last request, if anything was.
    pub(super) fn failure(&self) -> Option<Failure> {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, Failure> {
        let request = request.map(Full::new);
        let answer = match &self.connections {
            Connections::Plain(pool) => pool.request(request).await,
            Connections::Tls(pool) => pool.request(request).await,
        };
        let (head, body) = answer
            .map_err(|error| if error.is_connect() { Failure::Connect } else { Failure::Answer })?
            .into_parts();
        let body = Limited::new(body, MAX_ANSWER).collect().await.map_err(|_| Failure::Answer)?;
        Ok(Response::from_parts(head, body.to_bytes()))
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let sent = timeout(self.timeout, self.send(request)).await.unwrap_or(Err(Failure::Timeout));
        let failure = match &sent {
            Ok(answer) if answer.status().is_success() => None,
            Ok(answer) => Some(Failure::Status(answer.status().as_u16())),
            Err(failure) => Some(*failure),
        };
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = failure;
        sent.map_err(Into::into)
    }
}
