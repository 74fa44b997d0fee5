//! `nexus token`: an access token by an agent's own credentials.

use std::path::Path;

use anyhow::Context as _;
use nexus_core::id::TenantKey;
use serde::Deserialize;

use super::args::TokenArgs;
use super::client::Client;
use super::print;
use crate::api::Status;
use crate::dev;
use crate::folder::Folder;

/// What the gateway answers.
#[derive(Deserialize)]
struct Token {
    access_token: String,
}

/// Prints a token.
pub async fn run(client: &Client, args: &TokenArgs) -> anyhow::Result<()> {
    let status: Status = client.get("status").await?;
    let (tenant, id) = find(&status, args)?;
    let secret = secret(&status, tenant, &args.agent)?;
    let form = [("grant_type", "client_credentials"), ("client_id", id), ("client_secret", &secret)];
    let url = format!("{}/oauth/token", status.gateway);
    let answer =
        client.http().post(&url).form(&form).send().await.with_context(|| format!("cannot ask {url}"))?;
    let code = answer.status();
    anyhow::ensure!(
        code.is_success(),
        "{url} answered {code}: {}",
        answer.text().await.unwrap_or_default().trim()
    );
    let token: Token = answer.json().await.with_context(|| format!("{url} gave no token"))?;
    print(&token.access_token)
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
