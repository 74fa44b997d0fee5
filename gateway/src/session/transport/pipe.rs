//! The way from a session to the body of its gRPC response.
//!
//! The session hands frames over, the connection's task takes them as the agent reads. What waits between the two
//! is bounded, and what the agent has not taken can be dropped. At rest it holds no buffer.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::future::poll_fn;
use h2::Reason;
use http_body::{Body, Frame};
use hyper::HeaderMap;
use hyper::header::HeaderValue;
use nexus_runtime::server::Stream;

use super::Broken;

/// Above this no further frame is taken, so that at most this and one frame wait.
const MANY: usize = 16 * 1024;

/// What is given to the connection at a time: it buffers what it was given, whatever the agent takes.
const PIECE: usize = 16 * 1024;

/// The session's end. Dropping it without [`Sender::finish`] breaks the call off.
#[derive(Debug)]
pub(super) struct Sender {
    pipe: Arc<Mutex<Pipe>>,
    /// To break the call off while the agent takes nothing: the connection does not ask for more then.
    stream: Stream,
}

/// The connection's end: the body of the response.
#[derive(Debug)]
pub(crate) struct Outgoing(Arc<Mutex<Pipe>>);

#[derive(Debug, Default)]
struct Pipe {
    waiting: BytesMut,
    /// Whether something was handed over since the connection last asked for more in vain.
    unsent: bool,
    end: Option<Ending>,
    /// The connection does not take any more.
    gone: bool,
    /// Of whoever waits to hand something over, and of the connection that waits for something.
    sender: Option<Waker>,
    outgoing: Option<Waker>,
}

#[derive(Debug, Clone, Copy)]
enum Ending {
    /// With the status OK, after all that waits.
    Ok,
    /// The status was sent.
    Told,
    /// Now, without what waits.
    Reset(Reason),
}

/// A new way and its two ends.
pub(super) fn pipe(stream: Stream) -> (Sender, Outgoing) {
    let pipe = Arc::new(Mutex::new(Pipe::default()));
    (Sender { pipe: Arc::clone(&pipe), stream }, Outgoing(pipe))
}

impl Sender {
    /// Hands a message over as soon as there is room. When the call is given up, it was not.
    pub(super) async fn feed(&self, message: &[u8]) -> Result<(), Broken> {
        let length = u32::try_from(message.len()).map_err(|_| Broken)?;
        poll_fn(|cx| {
            let mut pipe = ready!(self.poll_pipe(cx, |pipe| pipe.waiting.len() < MANY))?;
            pipe.waiting.reserve(5 + message.len());
            // Not compressed (gRPC over HTTP/2, Length-Prefixed-Message).
            pipe.waiting.put_u8(0);
            pipe.waiting.put_u32(length);
            pipe.waiting.put_slice(message);
            pipe.unsent = true;
            wake(&mut pipe.outgoing);
            Poll::Ready(Ok(()))
        })
        .await
    }

    /// Waits until the connection has taken all and asks for more.
    pub(super) async fn flush(&self) -> Result<(), Broken> {
        poll_fn(|cx| self.poll_pipe(cx, |pipe| !pipe.unsent).map_ok(drop)).await
    }

    pub(super) fn is_unsent(&self) -> bool {
        lock(&self.pipe).unsent
    }

    /// Ends the call with the status OK, after all that was handed over.
    pub(super) fn finish(&self) {
        self.end(Ending::Ok);
    }

    /// Waits until the connection has taken all and the status, after [`Sender::finish`].
    pub(super) async fn finished(&self) -> Result<(), Broken> {
        poll_fn(|cx| {
            let mut pipe = lock(&self.pipe);
            match pipe.end {
                Some(Ending::Told) => Poll::Ready(Ok(())),
                _ if pipe.gone => Poll::Ready(Err(Broken)),
                _ => {
                    pipe.sender = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// Breaks the call off. What was handed over and the agent has not taken is dropped.
    pub(super) fn reset(&self) {
        self.end(Ending::Reset(Reason::CANCEL));
        self.stream.cut();
    }

    fn end(&self, end: Ending) {
        let mut pipe = lock(&self.pipe);
        match end {
            Ending::Reset(_) => pipe.waiting = BytesMut::new(),
            Ending::Ok | Ending::Told => pipe.unsent = true,
        }
        pipe.end = Some(end);
        wake(&mut pipe.outgoing);
    }

    /// The pipe, as soon as it is as it should be.
    fn poll_pipe(
        &self,
        cx: &mut Context<'_>,
        is_ready: impl Fn(&Pipe) -> bool,
    ) -> Poll<Result<MutexGuard<'_, Pipe>, Broken>> {
        let mut pipe = lock(&self.pipe);
        if pipe.gone || pipe.end.is_some() {
            return Poll::Ready(Err(Broken));
        }
        if is_ready(&pipe) {
            return Poll::Ready(Ok(pipe));
        }
        pipe.sender = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        let mut pipe = lock(&self.pipe);
        if pipe.end.is_none() {
            pipe.end = Some(Ending::Reset(Reason::INTERNAL_ERROR));
            wake(&mut pipe.outgoing);
            drop(pipe);
            self.stream.cut();
        }
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        let mut pipe = lock(&self.0);
        if let Some(Ending::Reset(reason)) = pipe.end {
            return Poll::Ready(Some(Err(reason.into())));
        }
        if let Some(piece) = pipe.take() {
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        match pipe.end {
            Some(Ending::Told) => Poll::Ready(None),
            Some(_) => {
                pipe.end = Some(Ending::Told);
                pipe.unsent = false;
                wake(&mut pipe.sender);
                let ok = HeaderMap::from_iter([(tonic::Status::GRPC_STATUS, HeaderValue::from_static("0"))]);
                Poll::Ready(Some(Ok(Frame::trailers(ok))))
            }
            None => {
                pipe.unsent = false;
                wake(&mut pipe.sender);
                pipe.outgoing = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        let mut pipe = lock(&self.0);
        pipe.gone = true;
        pipe.waiting = BytesMut::new();
        wake(&mut pipe.sender);
    }
}

impl Pipe {
    fn take(&mut self) -> Option<Bytes> {
        let length = self.waiting.len().min(PIECE);
        if length == 0 {
            return None;
        }
        let piece = self.waiting.split_to(length).freeze();
        if self.waiting.is_empty() {
            // What is left of the buffer's room would otherwise be kept.
            self.waiting = BytesMut::new();
        }
        if self.waiting.len() < MANY {
            wake(&mut self.sender);
        }
        Some(piece)
    }
}

fn lock(pipe: &Mutex<Pipe>) -> MutexGuard<'_, Pipe> {
    pipe.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

#[cfg(test)]
#[path = "pipe_tests.rs"]
mod tests;
