//! What both transports need: an access token, and patience.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

/// How long anything may take that the gateway is asked for.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Where an agent connects, and as whom.
pub struct Agent {
    /// The gateway's address.
    pub gateway: String,
    /// A folder with client-id and client-secret, as Kubernetes mounts it.
    pub credentials: PathBuf,
}

impl Agent {
    /// As the environment has it.
    pub fn of_environment() -> anyhow::Result<Self> {
        let gateway = std::env::var("NEXUS_GATEWAY").unwrap_or_else(|_| "http://127.0.0.1:8081".to_owned());
        Ok(Self { gateway, credentials: std::env::var("NEXUS_CREDENTIALS")?.into() })
    }

    /// A fresh token, after so long; a failure is tried again, since a session lives as long as its token.
    pub async fn renewed(&self, after: Duration) -> (String, Duration) {
        let mut wait = after;
        loop {
            tokio::time::sleep(wait).await;
            match self.access().await {
                Ok(fresh) => return fresh,
                Err(error) => {
                    println!("no fresh token: {error:#}");
                    wait = refused_for(&error);
                }
            }
        }
    }

    /// A token, and the time after which to take a fresh one.
    pub async fn access(&self) -> anyhow::Result<(String, Duration)> {
        let secret = |name| std::fs::read_to_string(self.credentials.join(name));
        let (id, secret) = (secret("client-id")?, secret("client-secret")?);
        let form = [("grant_type", "client_credentials"), ("client_id", &id), ("client_secret", &secret)];
        let url = format!("{}/oauth/token", self.gateway);
        let answer = reqwest::Client::new().post(url).timeout(PATIENCE).form(&form).send().await?;
        if !answer.status().is_success() {
            let after =
                answer.headers().get("retry-after").and_then(|after| after.to_str().ok()?.parse().ok());
            let after = Duration::from_secs(after.unwrap_or(1));
            return Err(anyhow::anyhow!(answer.text().await?).context(Refused(after)));
        }
        let answer: Value = answer.json().await?;
        let token = answer["access_token"].as_str().unwrap_or_default().to_owned();
        Ok((token, Duration::from_secs(answer["expires_in"].as_u64().unwrap_or(60)).mul_f64(0.8)))
    }
}

/// Refused for now: try again after so long.
#[derive(Debug)]
pub struct Refused(pub Duration);

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "refused; again in {:?}", self.0)
    }
}

impl std::error::Error for Refused {}

/// How long to wait after a session: what its Goodbye said, or else what refused it.
pub fn pause(ended: anyhow::Result<()>, goodbye: Option<Duration>) -> Duration {
    let refused = ended.err().map(|error| {
        println!("not connected: {error:#}");
        refused_for(&error)
    });
    goodbye.or(refused).unwrap_or(Duration::from_secs(1))
}

fn refused_for(error: &anyhow::Error) -> Duration {
    error.downcast_ref().map_or(Duration::from_secs(1), |Refused(after)| *after)
}
