//! A bare tonic stream, to compare memory with: it welcomes, answers pings, and holds nothing else.

use std::net::SocketAddr;
use std::pin::Pin;

use anyhow::Context as _;
use futures_util::{Stream, StreamExt as _};
use nexus_wire::agent::v1::agents_server::{Agents, AgentsServer};
use nexus_wire::agent::v1::{ClientFrame, Pong, ServerFrame, Welcome, client_frame, server_frame};
use tonic::{Request, Response, Status, Streaming};

struct Bare;

#[tonic::async_trait]
impl Agents for Bare {
    type ConnectStream = Pin<Box<dyn Stream<Item = Result<ServerFrame, Status>> + Send>>;

    async fn connect(
        &self,
        request: Request<Streaming<ClientFrame>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        let answers = request.into_inner().filter_map(async |frame| frame.map(answer).transpose());
        Ok(Response::new(Box::pin(answers)))
    }
}

fn answer(frame: ClientFrame) -> Option<ServerFrame> {
    let frame = match frame.frame? {
        client_frame::Frame::Hello(_) => server_frame::Frame::Welcome(Welcome::default()),
        client_frame::Frame::Ping(_) => server_frame::Frame::Pong(Pong {}),
        _ => return None,
    };
    Some(ServerFrame { frame: Some(frame) })
}

/// Serves with tonic's own defaults until the process is ended.
pub(super) async fn serve(listen: SocketAddr) -> anyhow::Result<()> {
    let served = tonic::transport::Server::builder().add_service(AgentsServer::new(Bare)).serve(listen);
    served.await.with_context(|| format!("cannot serve gRPC on {listen}"))
}
