//! The services of gRPC: agents, and, for whoever has no token, reflection and health.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Version, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use nexus_runtime::Drain;
use nexus_runtime::server::{Connection, Stream};
use nexus_wire::DESCRIPTORS;
use nexus_wire::agent::v1::agents_server::SERVICE_NAME;
use tonic::Status;
use tonic::service::Routes;
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};

use super::{Http, Problem, admission};
use crate::session::transport::{Call, Opening};

/// Of gRPC's requests and responses.
const GRPC: &str = "application/grpc";

/// The routes that agents call.
pub(super) fn agents() -> Router<Arc<Http>> {
    Router::new().route("/nexus.agent.v1.Agents/Connect", post(connect))
}

/// The routes that anybody may call.
pub(super) fn open<S: Clone + Send + Sync + 'static>(health: &HealthReporter) -> Router<S> {
    let health = HealthServer::new(HealthService::from_health_reporter(health.clone()));
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .expect("generated descriptors can be decoded");
    Routes::new(health).add_service(reflection).into_axum_router().reset_fallback().with_state(())
}

/// Tells health: all is well from the beginning, and not any more once the gateway drains.
pub(crate) async fn report(mut health: HealthReporter, drain: Drain) -> Result<(), Infallible> {
    health.set_service_status(SERVICE_NAME, ServingStatus::Serving).await;
    drain.cancelled().await;
    for service in ["", SERVICE_NAME] {
        health.set_service_status(service, ServingStatus::NotServing).await;
        // Whoever watches has heard the last of it, and would hold up the drain.
        health.clear_service_status(service).await;
        health.set_service_status(service, ServingStatus::NotServing).await;
    }
    Ok(())
}

/// Whether a request is one of gRPC (gRPC over HTTP/2, Content-Type).
pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    content_type
        .and_then(|text| text.strip_prefix(GRPC))
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['+', ';']))
}

/// What a call of a method that does not exist is answered.
pub(super) fn unimplemented() -> Response {
    Status::unimplemented("there is no such method; reflection lists what there is").into_http()
}

/// A status that passes, as the retry policies of gRPC's libraries know it.
pub(super) fn pushed_back(mut status: Status, after: Duration) -> Status {
    let millis = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
    status.metadata_mut().insert("grpc-retry-pushback-ms", millis.into());
    status
}

async fn connect(State(http): State<Arc<Http>>, request: Request) -> Response {
    if request.version() != Version::HTTP_2 || !is_grpc(request.headers()) {
        let text = "this is a method of gRPC: call it over HTTP/2 with content-type application/grpc, or connect \
                    with WebSocket at /v1/connect";
        return Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "grpc_expected", text).into_response();
    }
    match call(&http, request) {
        Ok(response) => response,
        Err(status) => status.into_http(),
    }
}

fn call(http: &Http, request: Request) -> Result<Response, Status> {
    let (head, body) = request.into_parts();
    compression(&head.headers)?;
    let connection = head.extensions.get::<Connection>();
    let connection = connection.ok_or_else(|| Status::internal("the server gave no connection"))?;
    let stream = head.extensions.get::<Stream>();
    let stream = stream.ok_or_else(|| Status::internal("the server gave no stream"))?;
    let mut outgoing = None;
    let open = || {
        let (call, body) = Call::new(body, connection, stream);
        outgoing = Some(body);
        Opening::Grpc(Box::new(call))
    };
    admission::admit(http, &head.headers, &head.extensions, open).map_err(|refusal| {
        let error = refusal.label();
        metrics::counter!("nexus_connects_refused_total", "error" => error, "transport" => "grpc")
            .increment(1);
        Status::from(refusal)
    })?;
    let mut response = Response::new(outgoing.map_or_else(Body::empty, Body::new));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(GRPC));
    Ok(response)
}

/// Frames are small and go one by one: nothing is compressed.
fn compression(headers: &HeaderMap) -> Result<(), Status> {
    match headers.get("grpc-encoding").map(HeaderValue::as_bytes) {
        None | Some(b"identity") => Ok(()),
        Some(_) => {
            let mut status =
                Status::unimplemented("messages are not compressed here; send grpc-encoding: identity");
            let identity = tonic::metadata::MetadataValue::from_static("identity");
            status.metadata_mut().insert("grpc-accept-encoding", identity);
            Err(status)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_of_grpc_is_known_by_its_content_type() {
        for (text, is) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc;charset=x", true),
            ("application/grpc-web", false),
            ("application/json", false),
        ] {
            let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(text))]);
            assert_eq!(is_grpc(&headers), is, "{text}");
        }
        assert!(!is_grpc(&HeaderMap::new()));
    }
}
