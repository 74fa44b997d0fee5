//! Sessions over WebSocket.

use std::pin::pin;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::time::{interval, sleep, timeout};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};

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
    let mut request =
        format!("{}/v1/connect", agent.gateway.replacen("http", "ws", 1)).into_client_request()?;
    request.headers_mut().insert("authorization", format!("Bearer {token}").parse()?);
    request.headers_mut().insert("sec-websocket-protocol", "nexus.v1+json".parse()?);
    let (mut socket, _) = timeout(PATIENCE, connect_async(request)).await?.map_err(|error| match &error {
        Error::Http(answer) => {
            let after =
                answer.headers().get("retry-after").and_then(|after| after.to_str().ok()?.parse().ok());
            let after = Duration::from_secs(after.unwrap_or(1));
            anyhow::Error::from(error).context(Refused(after))
        }
        _ => error.into(),
    })?;
    let (mut beat, mut quiet) = (interval(Duration::from_secs(10)), 0);
    let mut renewal = pin!(agent.renewed(renew_after));
    let mut send = vec![json!({"hello": {"credit": 8}})];
    loop {
        for frame in send.drain(..) {
            timeout(PATIENCE, socket.send(Message::text(frame.to_string()))).await??;
        }
        tokio::select! {
            message = socket.next() => match message {
                Some(Ok(Message::Text(text))) => {
                    quiet = 0;
                    let frame: Value = serde_json::from_str(&text)?;
                    if let Some(event) = frame["deliver"].get("event") {
                        println!("{} {}", event["type"], event["data"].get("title").unwrap_or(&event["data"]["text"]));
                        // Once the work is done.
                        send = vec![json!({"ack": {"eventId": event["id"]}}), json!({"grant": {"credit": 1}})];
                    } else {
                        println!("{frame}");
                    }
                    if let Some(goodbye) = frame.get("goodbye") {
                        let seconds = goodbye["reconnectAfter"].as_str().and_then(|text| text.strip_suffix('s'));
                        *pause = Some(Duration::from_secs_f64(seconds.unwrap_or("0.1").parse()?));
                    }
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Ok(()),
            },
            // Shows that the agent lives.
            _ = beat.tick() => {
                quiet += 1;
                anyhow::ensure!(quiet <= 3, "not even a Pong comes");
                send.push(json!({"ping": {}}));
            }
            (token, renew_after) = &mut renewal => {
                send.push(json!({"reauth": {"token": token}}));
                renewal.set(agent.renewed(renew_after));
            }
        }
    }
}
