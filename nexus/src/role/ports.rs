//! Addresses to serve on: a taken one is told with the flag that gives another.

use std::net::SocketAddr;

use anyhow::Context as _;
use tokio::net::TcpListener;

/// Takes an address.
pub async fn bind(flag: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| taken(flag, address))
}

/// What is said of an address that cannot be taken.
pub fn taken(flag: &str, address: SocketAddr) -> String {
    format!("cannot listen on {address}; free it, or choose another with {flag}")
}
