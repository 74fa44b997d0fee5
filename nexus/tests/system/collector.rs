//! A collector of traces that speaks real OTLP over HTTP, and does with requests what a test wants.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// What a collector does with a request.
#[derive(Clone, Copy)]
pub enum Manner {
    /// Takes it.
    Takes,
    /// Answers 500.
    Fails,
    /// Answers 503 once, then takes what comes.
    Recovers,
    /// Never answers.
    Hangs,
}

/// What came.
#[derive(Default)]
pub struct Received {
    pub bodies: Vec<Bytes>,
    pub headers: Vec<HeaderMap>,
    pub requests: Vec<ExportTraceServiceRequest>,
}

/// A collector that serves until it is dropped.
pub struct Collector {
    pub endpoint: String,
    pub received: Arc<Mutex<Received>>,
    _server: JoinSet<()>,
}

impl Collector {
    pub async fn start(manner: Manner) -> Self {
        let received = Arc::<Mutex<Received>>::default();
        let router =
            Router::new().route("/v1/traces", post(take)).with_state((manner, Arc::clone(&received)));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let mut server = JoinSet::new();
        server.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { endpoint, received, _server: server }
    }

    /// Spans of a trace, in no order.
    pub fn trace(&self, trace: &str) -> Vec<Span> {
        let received = self.received.lock().unwrap();
        let spans = received.requests.iter().flat_map(|request| &request.resource_spans);
        let spans = spans.flat_map(|resource| &resource.scope_spans).flat_map(|scope| &scope.spans);
        spans.filter(|span| hex::encode(&span.trace_id) == trace).cloned().collect()
    }

    /// How many requests came.
    pub fn requests(&self) -> usize {
        self.received.lock().unwrap().headers.len()
    }
}

async fn take(
    State((manner, received)): State<(Manner, Arc<Mutex<Received>>)>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let before = {
        let mut received = received.lock().unwrap();
        received.headers.push(headers);
        received.requests.push(ExportTraceServiceRequest::decode(body.clone()).unwrap());
        received.bodies.push(body);
        received.headers.len() - 1
    };
    match manner {
        Manner::Takes => StatusCode::OK,
        Manner::Recovers if before == 0 => StatusCode::SERVICE_UNAVAILABLE,
        Manner::Recovers => StatusCode::OK,
        Manner::Fails => StatusCode::INTERNAL_SERVER_ERROR,
        Manner::Hangs => std::future::pending().await,
    }
}

/// The attributes of a span, as text.
pub fn attributes(span: &Span) -> HashMap<&str, String> {
    let text = |value: &Value| match value {
        Value::StringValue(text) => text.clone(),
        Value::IntValue(number) => number.to_string(),
        Value::BoolValue(flag) => flag.to_string(),
        other => format!("{other:?}"),
    };
    let pairs = span.attributes.iter();
    pairs.filter_map(|pair| Some((pair.key.as_str(), text(pair.value.as_ref()?.value.as_ref()?)))).collect()
}
