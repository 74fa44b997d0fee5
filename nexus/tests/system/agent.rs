//! An agent in Rust: connects again and again, works, and remembers what it read and when.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::harness::Site;

/// A connection to the gateway.
pub type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// What an agent remembers.
#[derive(Debug, Default)]
pub struct Memory {
    /// How often each event was delivered.
    pub delivered: HashMap<String, u32>,
    /// When the last frame was read.
    pub last_frame: Option<Instant>,
    /// Sessions that were opened.
    pub sessions: u32,
    /// Reasons of Goodbyes.
    pub goodbyes: Vec<String>,
}

/// Agents that run until this is dropped.
pub struct Agents {
    pub memory: Arc<Mutex<Memory>>,
    _tasks: JoinSet<()>,
}

impl Agents {
    /// So many connections of one agent, each with this credit, which acknowledge everything.
    pub fn start(site: &Site, agent: &str, connections: usize, credit: u32) -> Self {
        let memory = Arc::<Mutex<Memory>>::default();
        let mut tasks = JoinSet::new();
        for _ in 0..connections {
            let (gateway, credentials) = (site.gateway_url(), site.credentials(agent));
            let memory = Arc::clone(&memory);
            let http = site.http.clone();
            tasks.spawn(async move {
                loop {
                    let secret = |name| std::fs::read_to_string(credentials.join(name)).unwrap_or_default();
                    if let Ok(token) =
                        token(&http, &gateway, &secret("client-id"), &secret("client-secret")).await
                        && let Ok(socket) = connect(&gateway, &token).await
                    {
                        session(socket, credit, &memory).await;
                    }
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            });
        }
        Self { memory, _tasks: tasks }
    }

    /// Reads the memory.
    pub fn read<T>(&self, read: impl FnOnce(&Memory) -> T) -> T {
        read(&self.memory.lock().unwrap())
    }
}

/// Works until the connection ends.
async fn session(mut socket: Socket, credit: u32, memory: &Mutex<Memory>) {
    let mut send = vec![json!({"hello": {"credit": credit}})];
    loop {
        for frame in send.drain(..) {
            if socket.send(Message::text(frame.to_string())).await.is_err() {
                return;
            }
        }
        let Some(Ok(message)) = socket.next().await else {
            return;
        };
        let Message::Text(text) = message else {
            continue;
        };
        let frame: Value = serde_json::from_str(&text).unwrap();
        let mut memory = memory.lock().unwrap();
        memory.last_frame = Some(Instant::now());
        if frame.get("welcome").is_some() {
            memory.sessions += 1;
        }
        if let Some(reason) = frame["goodbye"]["reason"].as_str() {
            memory.goodbyes.push(reason.to_owned());
        }
        if let Some(id) = frame["deliver"]["event"]["id"].as_str() {
            *memory.delivered.entry(id.to_owned()).or_default() += 1;
            send = vec![json!({"ack": {"eventId": id}}), json!({"grant": {"credit": 1}})];
        }
    }
}

/// An access token; the answer's body if there is none.
pub async fn token(http: &reqwest::Client, gateway: &str, id: &str, secret: &str) -> Result<String, String> {
    let form = [("grant_type", "client_credentials"), ("client_id", id), ("client_secret", secret)];
    let answer =
        http.post(format!("{gateway}/oauth/token")).form(&form).send().await.map_err(|e| e.to_string())?;
    let answer = answer.text().await.map_err(|e| e.to_string())?;
    let json: Value = serde_json::from_str(&answer).map_err(|_| answer.clone())?;
    json["access_token"].as_str().map(str::to_owned).ok_or(answer)
}

/// Opens a connection.
pub async fn connect(gateway: &str, token: &str) -> Result<Socket, tokio_tungstenite::tungstenite::Error> {
    let url = format!("{}/v1/connect", gateway.replacen("http", "ws", 1));
    let mut request = url.into_client_request()?;
    request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    request.headers_mut().insert("sec-websocket-protocol", "nexus.v1+json".parse().unwrap());
    Ok(connect_async(request).await?.0)
}
