//! The client of the admin API.

use std::time::Duration;

use anyhow::Context as _;
use reqwest::StatusCode;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::api::ApiError;

/// Asks one admin server.
#[derive(Debug)]
pub struct Client {
    http: reqwest::Client,
    base: String,
}

impl Client {
    /// A client of the server at `host:port`.
    pub fn new(admin: &str) -> anyhow::Result<Self> {
        let base = admin.trim_end_matches('/');
        let base = if base.contains("://") { base.to_owned() } else { format!("http://{base}") };
        let http = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(2))
            .timeout(Duration::from_secs(30))
            .build()
            .context("cannot make an HTTP client")?;
        Ok(Self { http, base })
    }

    /// The client for other requests.
    pub fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// `GET /api/v1/{path}`.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        self.answer(self.http.get(self.url(path))).await
    }

    /// `GET /api/v1/{path}?{query}`.
    pub async fn get_query<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, String)],
    ) -> anyhow::Result<T> {
        self.answer(self.http.get(self.url(path)).query(query)).await
    }

    /// `GET /api/v1/{path}`, whatever bytes it gives.
    pub async fn get_bytes(&self, path: &str) -> anyhow::Result<Vec<u8>> {
        let (status, body) = self.send(self.http.get(self.url(path))).await?;
        if status.is_success() { Ok(body) } else { Err(self.refusal(status, &body)) }
    }

    /// `POST /api/v1/{path}`.
    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> anyhow::Result<T> {
        self.answer(self.http.post(self.url(path)).json(body)).await
    }

    fn url(&self, path: &str) -> String {
        format!("{}/api/v1/{path}", self.base)
    }

    async fn answer<T: DeserializeOwned>(&self, request: reqwest::RequestBuilder) -> anyhow::Result<T> {
        let (status, body) = self.send(request).await?;
        if !status.is_success() {
            return Err(self.refusal(status, &body));
        }
        serde_json::from_slice(&body)
            .with_context(|| format!("{} is no admin server of this version", self.base))
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> anyhow::Result<(StatusCode, Vec<u8>)> {
        let answer = request.send().await.with_context(|| {
            format!("no answer from {}; is `nexus dev` running, and is --admin its address?", self.base)
        })?;
        let status = answer.status();
        let body = answer.bytes().await.with_context(|| format!("the answer of {} broke off", self.base))?;
        Ok((status, body.to_vec()))
    }

    fn refusal(&self, status: StatusCode, body: &[u8]) -> anyhow::Error {
        let message = match serde_json::from_slice::<ApiError>(body) {
            Ok(error) => error.message,
            Err(_) => format!("{} answered {status}", self.base),
        };
        Refusal { status, message }.into()
    }
}

/// The server answered, but not what was asked for.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
struct Refusal {
    status: StatusCode,
    message: String,
}

/// Whether the server is not there, or not itself, as while it starts or stops; asking later may help.
pub fn is_away(error: &anyhow::Error) -> bool {
    let refused = error.downcast_ref::<Refusal>().is_some_and(|refusal| refusal.status.is_server_error());
    refused || error.downcast_ref::<reqwest::Error>().is_some()
}
