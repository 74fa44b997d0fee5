//! A session of an agent, over either transport: how it is opened.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::{Context as _, anyhow, ensure};
use futures_util::{SinkExt as _, StreamExt as _};
use nexus_wire::agent::v1::server_frame;
use tokio_tungstenite::tungstenite::{Error, Message};
use tonic::Code;

use crate::folder::IN_FLIGHT;
use crate::frame::ServerFrame;
use crate::grpc;
use crate::socket::{Latest, Socket, connect_from};

/// A session that said hello.
pub enum Session {
    WebSocket(Box<Socket>),
    Grpc(Box<grpc::Stream>),
}

/// Why a session was not opened.
pub struct Refused {
    /// Whether the server asks to come again.
    pub busy: bool,
    pub error: anyhow::Error,
}

impl Session {
    /// Connects and says hello.
    pub async fn connect(
        by_grpc: bool,
        source: Ipv4Addr,
        gateway: SocketAddr,
        token: &str,
        last_byte: Arc<Latest>,
    ) -> Result<Self, Refused> {
        if by_grpc {
            let stream = grpc::connect(gateway, token, last_byte).await?;
            return Ok(Self::Grpc(Box::new(stream)));
        }
        let mut socket = connect_from(source, gateway, token, last_byte).await?;
        socket.send(Message::text(format!(r#"{{"hello":{{"credit":{IN_FLIGHT}}}}}"#))).await?;
        Ok(Self::WebSocket(Box::new(socket)))
    }

    /// Waits for the Welcome.
    pub async fn welcome(&mut self) -> anyhow::Result<()> {
        match self {
            Self::WebSocket(socket) => {
                let answer = socket.next().await.context("closed before Welcome")??;
                let frame = serde_json::from_str(answer.to_text()?)?;
                ensure!(matches!(frame, ServerFrame::Welcome {}), "{frame:?} instead of Welcome");
            }
            Self::Grpc(stream) => {
                let frame = stream.down.message().await?.and_then(|answer| answer.frame);
                let welcome = matches!(frame, Some(server_frame::Frame::Welcome(_)));
                ensure!(welcome, "{frame:?} instead of Welcome");
            }
        }
        Ok(())
    }
}

impl From<grpc::ConnectError> for Refused {
    fn from(error: grpc::ConnectError) -> Self {
        let busy = error.code() == Some(Code::Unavailable);
        Self { busy, error: anyhow!(error).context("cannot connect an agent by gRPC") }
    }
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        match error {
            Error::Http(answer) => {
                let text = answer.body().as_deref().map(String::from_utf8_lossy).unwrap_or_default();
                let status = answer.status();
                Self { busy: status.as_u16() == 503, error: anyhow!("the gateway answers {status}: {text}") }
            }
            error => Self { busy: false, error: anyhow!(error).context("cannot connect an agent") },
        }
    }
}
