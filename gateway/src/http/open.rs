//! A bound on what anybody may ask for over HTTP/2, where one connection carries many requests at a time.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::Version;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http_body::{Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;

use super::{Problem, grpc};

/// The most requests over HTTP/2 at a time of those that open no session, until their answers are sent. Over
/// HTTP/1 the bound on connections is one on requests.
pub(super) const AT_ONCE: usize = 1024;

/// When it is worth trying again.
const RETRY: Duration = Duration::from_secs(1);

/// Answers a request if there is room for it.
pub(super) async fn bounded(State(places): State<Arc<Semaphore>>, request: Request, next: Next) -> Response {
    if request.version() != Version::HTTP_2 {
        return next.run(request).await;
    }
    let Ok(place) = places.try_acquire_owned() else {
        metrics::counter!("nexus_http2_requests_refused_total").increment(1);
        return full(&request);
    };
    next.run(request).await.map(|body| Body::new(Placed { body, _place: place }))
}

fn full(request: &Request) -> Response {
    let text = "too many requests at once; try again";
    if grpc::is_grpc(request.headers()) {
        return grpc::pushed_back(Status::unavailable(text), RETRY).into_http();
    }
    Problem::unavailable("busy", text, RETRY.as_secs()).into_response()
}

/// A body that has a place until it was sent or given up.
struct Placed {
    body: Body,
    _place: OwnedSemaphorePermit,
}

impl http_body::Body for Placed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use axum::http::{StatusCode, header};

    use super::*;

    #[tokio::test]
    async fn a_place_is_taken_until_the_answer_is_gone() {
        let places = Arc::new(Semaphore::new(1));
        let layer = axum::middleware::from_fn_with_state(Arc::clone(&places), bounded);
        let router = axum::Router::new().fallback(async || "hello").layer(layer);
        let ask = async |version, content: &'static str| {
            let request =
                axum::http::Request::builder().version(version).header(header::CONTENT_TYPE, content);
            let request = request.body(Body::empty()).unwrap();
            tonic::codegen::Service::call(&mut router.clone(), request).await.unwrap()
        };
        let first = ask(Version::HTTP_2, "text/plain").await;
        assert_eq!(first.status(), StatusCode::OK);
        let second = ask(Version::HTTP_2, "text/plain").await;
        assert_eq!(second.status(), StatusCode::SERVICE_UNAVAILABLE);
        let call = ask(Version::HTTP_2, "application/grpc").await;
        assert_eq!(call.headers()[Status::GRPC_STATUS], "14");
        assert_eq!(ask(Version::HTTP_11, "text/plain").await.status(), StatusCode::OK);
        drop(first);
        assert_eq!(ask(Version::HTTP_2, "text/plain").await.status(), StatusCode::OK);
    }
}
