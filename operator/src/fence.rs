//! Clients by which only the holder of the Lease changes anything.
//!
//! Whoever asks before a call whether it leads may be suspended between that and the socket, and would send when it wakes, long
//! after another began to lead. So the body of a request asks once more, as it goes into what the socket is given: one that fails
//! there takes the head along, and nothing is sent.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Method, Request};
use http_body::{Body, Frame, SizeHint};
use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy::Client as Connections;
use hyper_util::rt::TokioExecutor;
use kube::client::{Body as KubeBody, ClientBuilder, ConfigExt as _};
use kube::{Client, Config};
use tower::{BoxError, ServiceBuilder};

use crate::lease::Leading;

/// What a request that came too late fails with.
#[derive(Debug, thiserror::Error)]
#[error("this replica does not hold the Lease any more; nothing was sent")]
struct NotLeading;

/// A client of this API server, with the time limits of its configuration, whose requests that change anything are sent only
/// while `leading`.
///
/// # Errors
/// When the configuration cannot be used.
pub(crate) fn client(config: &Config, leading: &Leading) -> Result<Client, kube::Error> {
    let leading = leading.clone();
    let mut connector = TimeoutConnector::new(config.rustls_https_connector()?);
    connector.set_connect_timeout(config.connect_timeout);
    connector.set_read_timeout(config.read_timeout);
    connector.set_write_timeout(config.write_timeout);
    let connections = Connections::builder(TokioExecutor::new()).build(connector);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_request(move |request| fenced(request, &leading))
        .map_err(BoxError::from)
        .service(connections);
    Ok(ClientBuilder::new(service, config.default_namespace.clone()).build())
}

fn fenced(request: Request<KubeBody>, leading: &Leading) -> Request<Fenced> {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let leading = (!reads).then(|| leading.clone());
    request.map(|body| Fenced { body, leading })
}

/// The body of a request, and who may send it, unless anybody may.
struct Fenced {
    body: KubeBody,
    leading: Option<Leading>,
}

impl Body for Fenced {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.leading.as_ref().is_some_and(|leading| !leading.now()) {
            return Poll::Ready(Some(Err(NotLeading.into())));
        }
        Pin::new(&mut self.body).poll_frame(cx).map_err(Into::into)
    }

    /// A body that nobody asks for would not be asked whether it may be sent.
    fn is_end_stream(&self) -> bool {
        self.leading.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::Api;
    use kube::api::{DeleteParams, PostParams};
    use tokio::io::AsyncReadExt as _;
    use tokio::net::TcpListener;

    use super::*;
    use crate::lease::Holder;

    /// What arrives at an API server of a call by a replica that does not lead.
    async fn arrives<F: Future<Output = ()>>(call: impl FnOnce(Api<ConfigMap>) -> F) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let config = Config::new(format!("http://{address}").parse().unwrap());
        let clock = nexus_core::clock::ManualClock::at(jiff::Timestamp::UNIX_EPOCH).clock();
        let unfenced = Client::try_from(config.clone()).unwrap();
        let leading = Holder::new(unfenced, "nexus-system", "me", clock).leading();
        let api = Api::default_namespaced(client(&config, &leading).unwrap());
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = vec![0; 4096];
            let read = stream.read(&mut head).await.unwrap();
            String::from_utf8_lossy(&head[..read]).into_owned()
        };
        tokio::join!(server, call(api)).0
    }

    #[tokio::test]
    async fn not_a_byte_of_a_change_is_sent_by_who_does_not_lead() {
        let refused = |error: kube::Error| assert!(format!("{error:?}").contains("NotLeading"), "{error:?}");
        let map = ConfigMap::default();
        let create = async |api: Api<ConfigMap>| {
            refused(api.create(&PostParams::default(), &map).await.unwrap_err());
        };
        assert_eq!(arrives(create).await, "");
        let delete = async |api: Api<ConfigMap>| {
            refused(api.delete("a", &DeleteParams::default()).await.unwrap_err());
        };
        assert_eq!(arrives(delete).await, "");
    }

    #[tokio::test]
    async fn who_does_not_lead_may_read() {
        let read = async |api: Api<ConfigMap>| drop(api.get("a").await);
        assert!(arrives(read).await.starts_with("GET /api/v1/namespaces/default/configmaps/a"));
    }
}
