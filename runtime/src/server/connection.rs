//! A handle on a connection, for whoever serves requests on it.
//!
//! Over HTTP/2 a connection outlives its requests, so that ending a response is not enough to part with a peer.
//! The handle stands in the extensions of each request and can close or reset the connection itself.
//!
//! A connection stays as long as something holds it. One that nothing holds must bring requests, or is closed.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::http::Version;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto::upgrade;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// A handle on a connection. Cheap to clone; it does not keep the connection open.
#[derive(Debug, Clone)]
pub struct Connection(Arc<Shared>);

/// Keeps a connection open, whatever it brings. It does not count against the server's bound on connections
/// meanwhile, so whoever holds connections has a bound of their own.
#[derive(Debug)]
pub struct Hold(Connection);

/// What is to become of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// It goes on.
    Keep,
    /// It ends in order, shortly.
    Close,
    /// It ends now, once what waits to be sent was given to the kernel.
    End,
    /// It ends now, and what the kernel still has to send is dropped.
    Reset,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Notify,
    permits: Arc<Semaphore>,
}

#[derive(Debug)]
struct State {
    /// Its place among the connections that nothing holds.
    place: Option<OwnedSemaphorePermit>,
    holds: usize,
    /// Whether it is to end when nothing holds it any more.
    closes: bool,
    order: Order,
    /// Of the latest request.
    version: Option<Version>,
    /// When it was accepted, brought a request or was let go last.
    since: Instant,
}

impl Connection {
    /// A connection that has this place and brought nothing yet.
    pub(super) fn new(place: OwnedSemaphorePermit, permits: Arc<Semaphore>) -> Self {
        let state = State {
            place: Some(place),
            holds: 0,
            closes: false,
            order: Order::Keep,
            version: None,
            since: Instant::now(),
        };
        Self(Arc::new(Shared { state: Mutex::new(state), changed: Notify::new(), permits }))
    }

    /// Holds the connection.
    #[must_use]
    pub fn hold(&self) -> Hold {
        let mut state = self.state();
        state.holds += 1;
        state.place = None;
        if matches!(state.order, Order::Close | Order::End) {
            // A call that was on its way when the connection was told to end: it ends after that.
            state.order = Order::Keep;
            state.closes = true;
        }
        drop(state);
        Hold(self.clone())
    }

    /// Notes a request.
    pub(super) fn requested(&self, version: Version) {
        let mut state = self.state();
        state.version = Some(version);
        state.since = Instant::now();
    }

    /// When it ends unless something holds it or it brings a request. An HTTP/1 connection has deadlines of its
    /// own from its first request on.
    pub(super) fn deadline(&self, idle: Duration) -> Option<Instant> {
        let state = self.state();
        let waits = state.holds == 0 && state.version.is_none_or(|version| version == Version::HTTP_2);
        waits.then(|| state.since + idle)
    }

    /// Whether it never brought a request.
    pub(super) fn is_mute(&self) -> bool {
        self.state().version.is_none()
    }

    /// Waits until an order or a deadline may have changed.
    pub(super) async fn changed(&self) {
        self.0.changed.notified().await;
    }

    pub(super) fn order(&self) -> Order {
        self.state().order
    }

    fn release(&self) {
        let mut state = self.state();
        state.holds -= 1;
        state.since = Instant::now();
        if state.holds == 0 {
            state.place = Arc::clone(&self.0.permits).try_acquire_owned().ok();
            if state.order == Order::Keep && state.closes {
                state.order = Order::End;
            } else if state.order == Order::Keep && state.place.is_none() {
                state.order = Order::Close;
            }
            drop(state);
            self.0.changed.notify_one();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hold {
    /// Closes the connection as soon as nothing holds it any more, without asking the peer to end first: whoever says this has
    /// parted with it. To ask takes two rounds more, each behind all others that end at the same time.
    pub fn close(self) {
        self.0.state().closes = true;
    }

    /// Closes the connection at once, whoever else holds it, and drops what the kernel still has to send.
    pub fn reset(&self) {
        self.0.state().order = Order::Reset;
        self.0.0.changed.notify_one();
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.release();
    }
}

/// The socket of a connection, which knows at its end whether it is to be reset.
#[derive(Debug)]
pub(super) struct Socket {
    /// Taken out by an upgrade only.
    stream: Option<TcpStream>,
    connection: Connection,
}

impl Socket {
    pub(super) fn new(stream: TcpStream, connection: Connection) -> Self {
        Self { stream: Some(stream), connection }
    }

    fn stream(&mut self) -> Pin<&mut TcpStream> {
        Pin::new(self.stream.as_mut().expect("an upgrade consumes the socket"))
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if let Some(stream) = &self.stream
            && self.connection.order() == Order::Reset
        {
            let _ = stream.set_zero_linger();
        }
    }
}

/// The socket under an upgraded HTTP/1 connection and what was read from it already; none if it is no socket of a
/// server with [`super::ServerLimits::http2`].
#[must_use]
pub fn take_socket(upgraded: Upgraded) -> Option<(TcpStream, Vec<u8>)> {
    let parts = upgrade::downcast::<TokioIo<Socket>>(upgraded).ok()?;
    Some((parts.io.into_inner().stream.take()?, parts.read_buf.to_vec()))
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.stream().poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.stream().poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream().poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_that_is_held_again_while_it_closes_ends_after_that() {
        let permits = Arc::new(Semaphore::new(1));
        let place = Arc::clone(&permits).try_acquire_owned().unwrap();
        let connection = Connection::new(place, permits);
        connection.hold().close();
        assert_eq!(connection.order(), Order::End);
        let late = connection.hold();
        assert_eq!(connection.order(), Order::Keep);
        drop(late);
        assert_eq!(connection.order(), Order::End);
    }
}
