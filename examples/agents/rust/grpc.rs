//! Sessions over gRPC.

use std::pin::pin;
use std::time::Duration;

use nexus_wire::agent::v1::agents_client::AgentsClient;
use nexus_wire::agent::v1::client_frame::Frame;
use nexus_wire::agent::v1::{Ack, ClientFrame, Grant, Hello, Ping, Reauth, server_frame};
use nexus_wire::frame::from_duration;
use tokio::sync::mpsc;
use tokio::time::{interval, sleep, timeout};
use tonic::transport::Endpoint;

use super::access::{Agent, PATIENCE, Refused, pause};

/// Session after session.
pub async fn forever(agent: Agent) -> anyhow::Result<()> {
    loop {
        let mut goodbye = None;
        let ended = session(&agent, &mut goodbye).await;
        sleep(pause(ended, goodbye)).await;
    }
}

/// One session; keeps the pause that its Goodbye names, however it ends.
async fn session(agent: &Agent, pause: &mut Option<Duration>) -> anyhow::Result<()> {
    let (token, renew_after) = agent.access().await?;
    let channel = Endpoint::from_shared(agent.gateway.clone())?.connect_timeout(PATIENCE).connect().await?;
    let (send, sent) = mpsc::channel(64);
    let frames = futures_util::stream::unfold(sent, |mut sent: mpsc::Receiver<Frame>| async {
        Some((ClientFrame { frame: Some(sent.recv().await?) }, sent))
    });
    let mut request = tonic::Request::new(frames);
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse()?);
    send.send(Frame::Hello(Hello { credit: 8 })).await?;
    let opened = timeout(PATIENCE, AgentsClient::new(channel).connect(request)).await?;
    let mut answers = opened.map_err(refused)?.into_inner();
    let (mut beat, mut quiet) = (interval(Duration::from_secs(10)), 0);
    let mut renewal = pin!(agent.renewed(renew_after));
    loop {
        tokio::select! {
            frame = answers.message() => {
                quiet = 0;
                match frame.map_err(refused)?.map(|frame| frame.frame) {
                    Some(Some(server_frame::Frame::Deliver(deliver))) => {
                        let event = deliver.event.unwrap_or_default();
                        let data = event.data.unwrap_or_default();
                        println!("{} {}", event.r#type, if data.title.is_empty() { data.text } else { data.title });
                        // Once the work is done.
                        timeout(PATIENCE, send.send(Frame::Ack(Ack { event_id: event.id }))).await??;
                        timeout(PATIENCE, send.send(Frame::Grant(Grant { credit: 1 }))).await??;
                    }
                    Some(Some(server_frame::Frame::Goodbye(goodbye))) => {
                        println!("{goodbye:?}");
                        let named = goodbye.reconnect_after.as_ref().map(from_duration);
                        *pause = Some(named.unwrap_or(Duration::from_millis(100)));
                    }
                    Some(frame) => println!("{frame:?}"),
                    None => return Ok(()),
                }
            }
            // Shows that the agent lives.
            _ = beat.tick() => {
                quiet += 1;
                anyhow::ensure!(quiet <= 3, "not even a Pong comes");
                timeout(PATIENCE, send.send(Frame::Ping(Ping {}))).await??;
            }
            (token, renew_after) = &mut renewal => {
                timeout(PATIENCE, send.send(Frame::Reauth(Reauth { token }))).await??;
                renewal.set(agent.renewed(renew_after));
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
