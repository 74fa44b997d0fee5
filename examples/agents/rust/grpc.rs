//! Sessions over gRPC.

use std::time::Duration;

use nexus_wire::agent::v1::agents_client::AgentsClient;
use nexus_wire::agent::v1::client_frame::Frame;
use nexus_wire::agent::v1::{Ack, ClientFrame, Grant, Hello, Ping, Reauth, server_frame};
use nexus_wire::frame::from_duration;
use tokio::sync::mpsc;
use tokio::time::{interval, sleep};
use tonic::transport::Endpoint;

use super::access::{Agent, Refused, pause};

/// Session after session.
pub async fn forever(agent: Agent) -> anyhow::Result<()> {
    loop {
        sleep(pause(session(&agent).await)).await;
    }
}

/// One session; says after how long to connect again.
async fn session(agent: &Agent) -> anyhow::Result<Duration> {
    let (token, renew_after) = agent.access().await?;
    let channel = Endpoint::from_shared(agent.gateway.clone())?.connect().await?;
    let (send, sent) = mpsc::channel(64);
    let frames = futures_util::stream::unfold(sent, |mut sent: mpsc::Receiver<Frame>| async {
        Some((ClientFrame { frame: Some(sent.recv().await?) }, sent))
    });
    let mut request = tonic::Request::new(frames);
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse()?);
    send.send(Frame::Hello(Hello { credit: 8 })).await?;
    let mut answers = AgentsClient::new(channel).connect(request).await.map_err(refused)?.into_inner();
    let (mut beat, mut renew) = (interval(Duration::from_secs(10)), Box::pin(sleep(renew_after)));
    let mut after = Duration::from_secs(1);
    loop {
        tokio::select! {
            frame = answers.message() => match frame.map_err(refused)?.map(|frame| frame.frame) {
                Some(Some(server_frame::Frame::Deliver(deliver))) => {
                    let event = deliver.event.unwrap_or_default();
                    let data = event.data.unwrap_or_default();
                    println!("{} {}", event.r#type, if data.title.is_empty() { data.text } else { data.title });
                    // Once the work is done.
                    send.send(Frame::Ack(Ack { event_id: event.id })).await?;
                    send.send(Frame::Grant(Grant { credit: 1 })).await?;
                }
                Some(Some(server_frame::Frame::Goodbye(goodbye))) => {
                    println!("{goodbye:?}");
                    let named = goodbye.reconnect_after.as_ref().map(from_duration);
                    after = named.unwrap_or(Duration::from_millis(100));
                }
                Some(frame) => println!("{frame:?}"),
                None => return Ok(after),
            },
            // Shows that the agent lives.
            _ = beat.tick() => send.send(Frame::Ping(Ping {})).await?,
            () = &mut renew => {
                let (token, renew_after) = agent.access().await?;
                send.send(Frame::Reauth(Reauth { token })).await?;
                renew = Box::pin(sleep(renew_after));
            }
        }
    }
}

fn refused(status: tonic::Status) -> anyhow::Error {
    let after =
        status.metadata().get("grpc-retry-pushback-ms").and_then(|after| after.to_str().ok()?.parse().ok());
    let after = Duration::from_millis(after.unwrap_or(1000));
    anyhow::Error::from(status).context(Refused(after))
}
