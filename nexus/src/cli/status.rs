//! `nexus status`.

use std::fmt::Write as _;

use super::client::Client;
use super::output::{Output, age, table};
use crate::api::{Status, TenantStatus};

/// Shows how things are.
pub async fn run(client: &Client, output: Output) -> anyhow::Result<()> {
    let status: Status = client.get("status").await?;
    output.show(&status, show)
}

fn show(status: &Status) -> String {
    let mut text = String::new();
    for line in stop_lines(status) {
        let _ = writeln!(text, "{line}");
    }
    for tenant in &status.tenants {
        let _ = writeln!(
            text,
            "\nTENANT {}   {} events, {} to be routed, {} parked, {} of {} bytes waiting or parked",
            tenant.tenant,
            tenant.events,
            tenant.unrouted,
            tenant.parked,
            tenant.pending_bytes,
            tenant.quota_bytes
        );
        let _ = writeln!(text, "{}", agent_table([tenant]));
        let mut sources = table(&["source", "provider", "webhook"]);
        for source in &tenant.sources {
            sources.add_row([&source.name, &source.provider, &source.url]);
        }
        let _ = writeln!(text, "\n{sources}");
        for condition in &tenant.conditions {
            let _ = writeln!(text, "! {condition}");
        }
    }
    for problem in &status.problems {
        let _ = writeln!(text, "! {problem}");
    }
    text
}

/// What the on-call admin asks first.
fn stop_lines(status: &Status) -> Vec<String> {
    let mut lines = Vec::new();
    if !status.stop_known {
        lines.push("STOPPED: nothing is known of the stop policies yet".to_owned());
    } else if status.stops.is_empty() {
        lines.push("RUNNING".to_owned());
    }
    for stop in &status.stops {
        let who = if stop.everybody { "everybody".to_owned() } else { format!("{} agents", stop.agents) };
        let why = stop.reason.as_deref().unwrap_or("no reason given");
        lines.push(format!(
            "STOPPED: {who} by {} ({why}); release with: {}",
            stop.policy,
            stop.release_command()
        ));
    }
    lines.extend(status.alarms.iter().map(|alarm| format!("ALARM: {alarm}")));
    lines
}

/// Lists the agents of all tenants.
pub async fn agents(client: &Client, output: Output) -> anyhow::Result<()> {
    let status: Status = client.get("status").await?;
    output.show(&status.tenants, |tenants| agent_table(tenants))
}

fn agent_table<'t>(tenants: impl IntoIterator<Item = &'t TenantStatus>) -> String {
    let now = nexus_runtime::clock::system().now();
    let mut lines =
        table(&["agent", "tenant", "state", "sessions", "waiting", "held", "dead", "oldest", "id"]);
    for (tenant, agent) in
        tenants.into_iter().flat_map(|one| one.agents.iter().map(|agent| (&one.tenant, agent)))
    {
        let state = match (agent.stopped, agent.sessions) {
            (true, _) => "Stopped",
            (false, 0) => "Offline",
            (false, _) => "Online",
        };
        lines.add_row([
            agent.name.clone(),
            tenant.to_string(),
            state.to_owned(),
            agent.sessions.to_string(),
            agent.waiting.to_string(),
            agent.held.to_string(),
            agent.dead.to_string(),
            agent.oldest.map_or_else(|| "-".to_owned(), |oldest| age(oldest, now)),
            agent.id.clone(),
        ]);
    }
    lines.to_string()
}
