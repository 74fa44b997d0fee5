//! A call of gRPC; each frame is a message of its streams.

use std::error::Error as _;

use bytes::Buf as _;
use futures_util::{FutureExt as _, StreamExt as _};
use http_body_util::BodyExt as _;
use nexus_runtime::server::{Connection, Hold, Stream};
use nexus_wire::agent::v1::{client_frame, server_frame};
use nexus_wire::frame::{Delivery, FrameError, MAX_CLIENT_FRAME};
use nexus_wire::protobuf;
use tonic::codec::{BufferSettings, DecodeBuf, Decoder};
use tonic::{Code, Status, Streaming};

use super::super::end::End;
use super::super::state::Received;
use super::pipe::{Outgoing, Sender, pipe};
use super::{Broken, NotDelivered};

/// Taken for each call at once; the library's default is 8 KiB. A longer frame gets its room when it comes.
const READ_BUFFER: usize = 256;

/// What a frame of an agent is read as.
type Frame = Result<client_frame::Frame, FrameError>;

/// The connection broke or the agent broke the call off, as opposed to what the decoder does not like.
#[derive(Debug, thiserror::Error)]
#[error("the call broke")]
struct Lost;

/// A call that was admitted.
pub(crate) struct Call {
    incoming: Streaming<Frame>,
    outgoing: Sender,
    hold: Hold,
}

/// A call that carries a session.
pub(crate) struct Grpc(Call);

impl Call {
    /// A call with this body, and the body of its response. The session holds the connection as long as it lasts.
    pub(crate) fn new(body: axum::body::Body, connection: &Connection, stream: &Stream) -> (Self, Outgoing) {
        let (sender, outgoing) = pipe(stream.clone());
        let incoming = Streaming::new_request(Frames, body.map_err(|_| Lost), None, Some(MAX_CLIENT_FRAME));
        (Self { incoming, outgoing: sender, hold: connection.hold() }, outgoing)
    }
}

impl Grpc {
    pub(super) fn new(call: Call) -> Self {
        Self(call)
    }

    pub(super) async fn recv(&mut self) -> Received {
        received(self.0.incoming.next().await)
    }

    pub(super) fn try_recv(&mut self) -> Option<Received> {
        self.0.incoming.next().now_or_never().map(received)
    }

    pub(super) async fn feed(&mut self, frame: server_frame::Frame) -> Result<(), Broken> {
        self.0.outgoing.feed(&protobuf::to_bytes(frame)).await
    }

    pub(super) async fn deliver(&mut self, delivery: Delivery<'_>) -> Result<(), NotDelivered> {
        let message = protobuf::deliver(delivery)
            .map_err(|_| NotDelivered::Undeliverable("the event is not the JSON of a StandardEvent"))?;
        Ok(self.0.outgoing.feed(&message).await?)
    }

    pub(super) async fn flush(&mut self) -> Result<(), Broken> {
        self.0.outgoing.flush().await
    }

    pub(super) fn is_unsent(&self) -> bool {
        self.0.outgoing.is_unsent()
    }

    /// Ends the call, once the connection has taken all that was handed over.
    pub(super) async fn say(&mut self) -> Result<(), Broken> {
        self.0.outgoing.finish();
        self.0.outgoing.finished().await
    }

    /// Waits for the agent to end its own side, which libraries do once they have read the end.
    pub(super) async fn closed(&mut self) -> Result<(), Broken> {
        while let Some(message) = self.0.incoming.next().await {
            let _late: Frame = message.map_err(|_| Broken)?;
        }
        Ok(())
    }

    pub(super) fn reset(&mut self, end: &End) {
        self.0.outgoing.reset();
        if matches!(end, End::Stopped { .. }) {
            // The kernel keeps no calls apart.
            self.0.hold.reset();
        }
    }

    pub(super) fn leave(self, end: &End) {
        if matches!(end, End::Stopped { .. }) {
            self.0.hold.close();
        }
    }
}

fn received(message: Option<Result<Frame, Status>>) -> Received {
    match message {
        Some(Ok(frame)) => Received::Frame(frame),
        None => Received::Closed,
        Some(Err(status)) if status.source().is_some_and(|source| source.is::<Lost>()) => Received::Lost,
        Some(Err(status)) if status.code() == Code::OutOfRange => {
            Received::Unreadable(format!("a message above {MAX_CLIENT_FRAME} bytes"))
        }
        Some(Err(status)) => Received::Unreadable(format!("not the gRPC protocol: {}", status.message())),
    }
}

/// Reads frames. One that is none is told to the agent, like any other, and does not end the call.
#[derive(Debug)]
struct Frames;

impl Decoder for Frames {
    type Item = Frame;
    type Error = Status;

    fn decode(&mut self, message: &mut DecodeBuf<'_>) -> Result<Option<Frame>, Status> {
        let bytes = message.copy_to_bytes(message.remaining());
        Ok(Some(protobuf::parse(&bytes)))
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(READ_BUFFER, READ_BUFFER)
    }
}
