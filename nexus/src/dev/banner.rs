//! What `nexus dev` says when it is up: addresses, credentials, and what to try next.

use std::fmt::Write as _;

use super::roles::Roles;
use crate::cli::print;
use crate::role::credentials;
use crate::role::data::DataDir;

/// Shows the banner.
pub fn show(roles: &Roles, data: &DataDir) -> anyhow::Result<()> {
    let addresses = roles.addresses();
    let view = roles.control.view();
    let mut text = String::new();
    let _ = writeln!(text, "nexus {} serves {}", env!("CARGO_PKG_VERSION"), roles.settings.folder.display());
    let _ = writeln!(text, "\n  webhooks  http://{}", addresses.ingest);
    let _ = writeln!(text, "  agents    http://{} (WebSocket at /v1/connect)", addresses.gateway);
    let _ = writeln!(text, "  admin     http://{}", addresses.admin);
    let mut first_agent = None;
    let mut first_source = None;
    for (tenant, compiled) in &view.tenants {
        let _ = writeln!(text, "\ntenant {tenant}");
        for (name, source) in &compiled.ingest.sources {
            let url = format!("http://{}/hooks/{tenant}/{name}", addresses.ingest);
            let _ = writeln!(text, "  source {name:<12} {} posts to {url}", source.provider.name());
            first_source.get_or_insert(name);
        }
        for name in compiled.gateway.agents.keys() {
            let made = credentials::folder(&data.agents(), tenant.namespace(), name);
            let made =
                made.strip_prefix(std::env::current_dir().unwrap_or_default()).unwrap_or(&made).to_owned();
            let from = if made.exists() {
                first_agent.get_or_insert_with(|| made.clone());
                made.display().to_string()
            } else {
                format!("Secret {}", nexus_compile::credential_secret(name))
            };
            let _ = writeln!(text, "  agent  {name:<12} credentials in {from}");
        }
    }
    if view.tenants.is_empty() {
        let _ = writeln!(text, "\nno tenant yet: put a Tenant and an AgentProfile into the folder");
    }
    for stop in super::story::stops(&roles.gate().latch()) {
        let _ = writeln!(text, "\nSTOPPED by {}; release with: {}", stop.policy, stop.release_command());
    }
    if let (Some(agent), Some(source)) = (first_agent, first_source) {
        let _ = writeln!(text, "\nnext, in other terminals:");
        let gateway = match addresses.gateway.port() {
            8081 => String::new(),
            _ => format!("NEXUS_GATEWAY=http://{} ", addresses.gateway),
        };
        let admin = match addresses.admin.port() {
            9090 => String::new(),
            _ => format!(" --admin {}", addresses.admin),
        };
        let _ = writeln!(
            text,
            "  {gateway}NEXUS_CREDENTIALS={} python examples/quickstart/agent.py",
            agent.display()
        );
        let _ = writeln!(text, "  nexus send {source}{admin}");
    }
    print(&text)
}
