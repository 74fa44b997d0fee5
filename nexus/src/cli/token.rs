//! `nexus token`: an access token by an agent's own credentials.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use jiff::Timestamp;
use nexus_core::id::TenantKey;
use serde::{Deserialize, Serialize};

use super::args::TokenArgs;
use super::client::Client;
use super::output::Output;
use crate::api::Status;
use crate::dev;
use crate::folder::Folder;

/// What the gateway answers.
#[derive(Deserialize)]
struct Granted {
    access_token: String,
    token_type: String,
    expires_in: u64,
}

/// A token and whose it is. Not to be printed but as what was asked for.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Token<'a> {
    tenant: &'a TenantKey,
    agent: &'a str,
    agent_id: &'a str,
    access_token: String,
    token_type: String,
    /// When it ends, by the clock of this machine.
    expires: Timestamp,
}

/// Prints a token: alone, or with whose it is and until when.
pub async fn run(client: &Client, args: &TokenArgs, output: Output) -> anyhow::Result<()> {
    let status: Status = client.get("status").await?;
    let (tenant, id) = find(&status, args)?;
    let secret = secret(&status, tenant, &args.agent)?;
    let form = [("grant_type", "client_credentials"), ("client_id", id), ("client_secret", &secret)];
    let url = format!("{}/oauth/token", status.gateway);
    let asked = nexus_runtime::clock::system().now();
    let answer =
        client.http().post(&url).form(&form).send().await.with_context(|| format!("cannot ask {url}"))?;
    let code = answer.status();
    anyhow::ensure!(
        code.is_success(),
        "{url} answered {code}: {}",
        answer.text().await.unwrap_or_default().trim()
    );
    let granted: Granted = answer.json().await.with_context(|| format!("{url} gave no token"))?;
    let Granted { access_token, token_type, expires_in } = granted;
    let expires = asked.saturating_add(Duration::from_secs(expires_in)).context("a token without an end")?;
    let token = Token { tenant, agent: &args.agent, agent_id: id, access_token, token_type, expires };
    output.show(&token, |token| token.access_token.clone())
}

fn find<'s>(status: &'s Status, args: &TokenArgs) -> anyhow::Result<(&'s TenantKey, &'s str)> {
    let tenants =
        status.tenants.iter().filter(|one| args.tenant.as_ref().is_none_or(|key| one.tenant == *key));
    let agents = tenants.flat_map(|one| one.agents.iter().map(|agent| (&one.tenant, agent)));
    let found: Vec<_> = agents.filter(|(_, agent)| agent.name == args.agent).collect();
    match found.as_slice() {
        [(tenant, agent)] => Ok((tenant, &agent.id)),
        [] => anyhow::bail!("no agent `{}`; `nexus agents` lists them", args.agent),
        _ => anyhow::bail!("several tenants have an agent `{}`; choose with --tenant", args.agent),
    }
}

/// The client secret: of the folder's Secret, else the one that `nexus dev` made.
fn secret(status: &Status, tenant: &TenantKey, agent: &str) -> anyhow::Result<String> {
    let name = nexus_compile::credential_secret(agent);
    let reading = Folder::new(status.folder.as_path()).without(&status.data).read();
    let given = reading.objects.secrets.get(tenant.namespace()).and_then(|secrets| secrets.get(&name));
    if let Some(given) = given.and_then(|secret| secret.get(nexus_compile::CLIENT_SECRET)) {
        return String::from_utf8(given.expose().to_vec()).context("the client secret is no text");
    }
    let made = dev::credentials_folder(&status.data, tenant.namespace(), agent);
    read(&made.join(nexus_compile::CLIENT_SECRET))
}

fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}
