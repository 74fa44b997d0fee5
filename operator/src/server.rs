//! Serves pods: gRPC over TLS.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::{Stream, StreamExt as _, stream};
use nexus_runtime::Drain;
use nexus_wire::config::{KEEPALIVE_ANSWER, KEEPALIVE_EVERY, Publisher};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tonic::transport::Server;
use tonic::transport::server::Connected;

use crate::certificate::Served;
use crate::identity::Reviewer;

/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// The most handshakes at a time.
const HANDSHAKES: usize = 512;

/// Why pods are not served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address cannot be had.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// TLS cannot be set up.
    #[error("cannot set up TLS")]
    Tls(#[source] rustls::Error),
    /// The server ended.
    #[error("cannot serve pods")]
    Serve(#[source] tonic::transport::Error),
}

/// Takes an address.
///
/// # Errors
/// When it cannot be had.
pub(crate) async fn bind(address: SocketAddr) -> Result<TcpListener, ServeError> {
    TcpListener::bind(address).await.map_err(|source| ServeError::Listen { address, source })
}

/// Serves until drained.
///
/// # Errors
/// When the server ends by itself.
pub(crate) async fn serve(
    listener: TcpListener,
    served: Served,
    publisher: Publisher,
    reviewer: Reviewer,
    drain: Drain,
) -> Result<(), ServeError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider);
    let config = config.with_safe_default_protocol_versions().map_err(ServeError::Tls)?;
    let mut config = config.with_no_client_auth().with_cert_resolver(Arc::new(served));
    config.alpn_protocols = vec![b"h2".to_vec()];
    let connections = connections(listener, TlsAcceptor::from(Arc::new(config)));
    Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE_EVERY))
        .http2_keepalive_timeout(Some(KEEPALIVE_ANSWER))
        .max_concurrent_streams(Some(8))
        .add_service(publisher.service(reviewer))
        .serve_with_incoming_shutdown(connections, drain.cancelled_owned())
        .await
        .map_err(ServeError::Serve)
}

/// Connections that have shaken hands. Whoever does not is dropped, and holds up nobody.
fn connections(listener: TcpListener, acceptor: TlsAcceptor) -> impl Stream<Item = io::Result<Secured>> {
    let accepted = stream::unfold(listener, |listener| async move {
        loop {
            match listener.accept().await {
                Ok((socket, _)) => {
                    // What is sent is small, and awaited.
                    let _ = socket.set_nodelay(true);
                    return Some((socket, listener));
                }
                // Out of files, or a peer that went: neither is mended by ending.
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a pod's connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    });
    let secured = accepted.map(move |socket| {
        let handshake = acceptor.accept(socket);
        async move {
            match tokio::time::timeout(HANDSHAKE, handshake).await {
                Ok(Ok(stream)) => Some(Ok(Secured(stream))),
                Ok(Err(error)) => {
                    tracing::debug!(%error, "a TLS handshake failed");
                    None
                }
                Err(_) => None,
            }
        }
    });
    secured.buffer_unordered(HANDSHAKES).filter_map(|stream| async move { stream })
}

/// A connection over TLS.
struct Secured(TlsStream<TcpStream>);

impl Connected for Secured {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Secured {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Secured {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
