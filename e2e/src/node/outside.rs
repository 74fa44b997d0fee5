//! An agent outside of the cluster, over a WebSocket.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_tungstenite::tungstenite::Message;

use crate::doors::Doors;

/// How soon it tries again.
const PAUSE: Duration = Duration::from_millis(100);

/// The agent, which runs until this is dropped.
#[derive(Debug)]
pub(super) struct Outside {
    heard: Arc<Mutex<HashMap<String, Instant>>>,
    _task: JoinSet<()>,
}

impl Outside {
    /// Starts an agent of a tenant.
    pub(super) fn start(doors: Arc<Doors>, tenant: &'static str, agent: &'static str) -> Self {
        let heard = Arc::<Mutex<HashMap<_, _>>>::default();
        let mut task = JoinSet::new();
        let keep = Arc::clone(&heard);
        task.spawn(async move {
            loop {
                // How a session ends is the business of whoever ends it.
                let _ = session(&doors, tenant, agent, &keep).await;
                sleep(PAUSE).await;
            }
        });
        Self { heard, _task: task }
    }

    /// When it was given the event of this title first, if it was.
    pub(super) fn heard(&self, title: &str) -> Option<Instant> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).get(title).copied()
    }
}

async fn session(
    doors: &Doors,
    tenant: &str,
    agent: &str,
    heard: &Mutex<HashMap<String, Instant>>,
) -> anyhow::Result<()> {
    let token = doors.token(tenant, agent, 0).await?;
    let mut socket = doors.connect(0, &token).await?;
    let mut answers = vec![json!({"hello": {"credit": 8}})];
    loop {
        for answer in answers.drain(..) {
            socket.send(Message::text(answer.to_string())).await?;
        }
        let Message::Text(text) = socket.next().await.context("closed")?? else { continue };
        let frame: Value = serde_json::from_str(&text)?;
        let event = &frame["deliver"]["event"];
        if let (Some(id), Some(title)) = (event["id"].as_str(), event["data"]["title"].as_str()) {
            let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
            heard.entry(title.to_owned()).or_insert_with(Instant::now);
            answers = vec![json!({"ack": {"eventId": id}}), json!({"grant": {"credit": 1}})];
        }
    }
}
