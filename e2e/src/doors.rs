//! Where a built system is reached: by providers, and by agents.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, client_async_with_config};

use crate::webhook::{Delivery, Issue};

/// An agent's end of a session.
pub type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Where a built system is reached.
#[derive(Debug)]
pub struct Doors {
    /// For webhooks, tokens and the admin API.
    pub http: reqwest::Client,
    /// Where webhooks are taken.
    pub ingests: Vec<SocketAddr>,
    /// Where agents are taken.
    pub gateways: Vec<SocketAddr>,
    /// The folder with the credentials of agents, each laid out as Kubernetes mounts a Secret.
    pub agents: PathBuf,
}

impl Doors {
    /// The doors of these ports of this machine.
    pub fn new(ingests: Vec<u16>, gateways: Vec<u16>, agents: PathBuf) -> anyhow::Result<Self> {
        let local =
            |ports: Vec<u16>| ports.into_iter().map(|port| (Ipv4Addr::LOCALHOST, port).into()).collect();
        Self::at(local(ingests), local(gateways), agents)
    }

    /// The doors of these addresses.
    pub fn at(ingests: Vec<SocketAddr>, gateways: Vec<SocketAddr>, agents: PathBuf) -> anyhow::Result<Self> {
        // A connection that rests is closed by the server after a while, perhaps just as a request goes out on it.
        let http = reqwest::Client::builder();
        let http = http.timeout(Duration::from_secs(20)).pool_max_idle_per_host(0).build()?;
        Ok(Self { http, ingests, gateways, agents })
    }

    /// An address to post to; which one of several the number chooses.
    pub fn hook(&self, path: &str, number: usize) -> String {
        format!("http://{}{path}", self.ingests[number % self.ingests.len()])
    }

    /// An access token of an agent, from one of the gateways.
    pub async fn token(&self, tenant: &str, agent: &str, number: usize) -> anyhow::Result<String> {
        let (id, secret) = self.credentials(tenant, agent)?;
        let form = [("grant_type", "client_credentials"), ("client_id", &id), ("client_secret", &secret)];
        let url = format!("http://{}/oauth/token", self.gateway(number));
        let answer = self.http.post(url).form(&form).send().await?;
        let status = answer.status();
        let answer: Value = answer.json().await?;
        let token = answer["access_token"].as_str().map(str::to_owned);
        token.with_context(|| format!("no token, but {status}: {}", answer["error"]))
    }

    /// The id and the secret of an agent.
    pub fn credentials(&self, tenant: &str, agent: &str) -> anyhow::Result<(String, String)> {
        let credentials = self.agents.join(format!("{tenant}/{agent}-nexus-agent"));
        let read = |name| std::fs::read_to_string(credentials.join(name));
        Ok((read("client-id")?, read("client-secret")?))
    }

    /// Connects an agent to one of the gateways.
    pub async fn connect(&self, number: usize, token: &str) -> anyhow::Result<Socket> {
        self.connect_over(TcpSocket::new_v4()?, number, token).await
    }

    /// Connects an agent that takes in little at a time: the kernel keeps no more than so many bytes for it.
    pub async fn connect_narrow(&self, number: usize, token: &str, bytes: u32) -> anyhow::Result<Socket> {
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(bytes)?;
        self.connect_over(socket, number, token).await
    }

    /// Opens a session of an agent at one of the gateways, with so much credit.
    pub async fn session(
        &self,
        tenant: &str,
        agent: &str,
        number: usize,
        credit: u32,
    ) -> anyhow::Result<Socket> {
        self.enter(number, &self.token(tenant, agent, number).await?, credit).await
    }

    /// The same by a token.
    pub async fn enter(&self, number: usize, token: &str, credit: u32) -> anyhow::Result<Socket> {
        let mut socket = self.connect(number, token).await?;
        socket.send(Message::text(json!({"hello": {"credit": credit}}).to_string())).await?;
        let welcome = socket.next().await.context("closed")??;
        ensure!(welcome.to_text()?.contains("welcome"), "{welcome}");
        Ok(socket)
    }

    /// Posts a delivery as its provider does.
    pub async fn deliver(
        &self,
        delivery: Delivery,
        filler: &str,
        number: usize,
    ) -> reqwest::Result<reqwest::Response> {
        let body = delivery.body(filler);
        let mut request = self.http.post(self.hook(&delivery.path(), number));
        for (name, value) in delivery.headers(&body) {
            request = request.header(name, value);
        }
        request.body(body).send().await
    }

    /// Posts what GitHub tells of an issue to the source of a path, signed by a secret.
    pub async fn tell(
        &self,
        path: &str,
        secret: &str,
        issue: Issue<'_>,
        number: usize,
    ) -> reqwest::Result<reqwest::Response> {
        let body = issue.body();
        let mut request = self.http.post(self.hook(path, number));
        for (name, value) in Issue::headers(secret, &body) {
            request = request.header(name, value);
        }
        request.body(body).send().await
    }

    async fn connect_over(&self, socket: TcpSocket, number: usize, token: &str) -> anyhow::Result<Socket> {
        let url = format!("ws://{}/v1/connect", self.gateway(number));
        let mut request = url.into_client_request()?;
        request.headers_mut().insert("authorization", format!("Bearer {token}").parse()?);
        request.headers_mut().insert("sec-websocket-protocol", "nexus.v1+json".parse()?);
        let stream = socket.connect(self.gateway(number)).await?;
        stream.set_nodelay(true)?;
        Ok(client_async_with_config(request, MaybeTlsStream::Plain(stream), Some(small_buffers())).await?.0)
    }

    /// The gateway that a number chooses.
    pub(crate) fn gateway(&self, number: usize) -> SocketAddr {
        self.gateways[number % self.gateways.len()]
    }
}

/// The library's own are 128 KiB each, which it clears at each reading: with thousands of sessions that takes more of the
/// machine than what is measured on it.
fn small_buffers() -> WebSocketConfig {
    WebSocketConfig::default().read_buffer_size(4096).write_buffer_size(4096)
}
