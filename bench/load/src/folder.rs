//! The folder that Nexus serves: one tenant with a GitHub source, agents that each want one label, the stop switch.

use std::fs;
use std::path::Path;

use anyhow::Context as _;

use crate::args::SECRET;
use crate::body::agent_name;

/// Namespace and name of the tenant.
pub const TENANT: &str = "acme";

/// Namespace and name of another tenant, and of its one agent.
pub const STRANGER: &str = "stranger";

/// The policy that stops everybody.
pub const POLICY: &str = "stop-all";

/// The most events that a session may hold: more than it is ever behind below saturation.
pub const IN_FLIGHT: u32 = 256;

/// The client secret of an agent, where the folder has to give it; it protects nothing.
pub const CLIENT_SECRET: &str = "a-client-secret-of-an-agent-for-load-only";

/// Objects in one file: Nexus reads files of up to 1 MiB.
const PER_FILE: usize = 1_000;

/// Where agents' credentials come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credentials {
    /// `nexus dev` makes them.
    Made,
    /// Secrets of the folder, which the roles as processes ask for.
    Given,
}

/// Writes the folder.
pub fn write(path: &Path, agents: u32, credentials: Credentials) -> anyhow::Result<()> {
    let file = |name: &str, text: String| {
        let path = path.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    };
    file("tenant.yaml", tenant(TENANT))?;
    file("stranger.yaml", format!("{}---\n{}", tenant(STRANGER), agent(STRANGER, STRANGER)))?;
    policy(path, "{}")?;
    let names: Vec<_> = (0..u64::from(agents)).map(agent_name).collect();
    for (at, names) in names.chunks(PER_FILE).enumerate() {
        let profiles: Vec<_> = names.iter().map(|name| agent(TENANT, name)).collect();
        file(&format!("agents-{at}.yaml"), profiles.join("---\n"))?;
        if credentials == Credentials::Given {
            let secrets: Vec<_> = names.iter().map(|name| secret(name)).collect();
            file(&format!("secrets-{at}.yaml"), secrets.join("---\n"))?;
        }
    }
    if credentials == Credentials::Given {
        file("secrets-stranger.yaml", secret(STRANGER).replace(TENANT, STRANGER))?;
    }
    Ok(())
}

/// Writes the stop switch with this spec, in one step, as an editor does that renames.
pub fn policy(path: &Path, spec: &str) -> anyhow::Result<()> {
    let text = format!(
        "apiVersion: nexus.dev/v1alpha1\nkind: NexusPolicy\nmetadata: {{name: {POLICY}}}\nspec: {spec}\n"
    );
    // Hidden files are not read.
    let (made, file) = (path.join(".policy.yaml"), path.join("policy.yaml"));
    fs::write(&made, text).with_context(|| format!("cannot write {}", made.display()))?;
    fs::rename(&made, &file).with_context(|| format!("cannot write {}", file.display()))
}

fn secret(agent: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: {agent}-nexus-agent, namespace: {TENANT}}}\n\
         stringData: {{client-secret: {CLIENT_SECRET}}}\n"
    )
}

fn tenant(name: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: webhooks, namespace: {name}}}\n\
         stringData: {{key: {SECRET}}}\n---\n\
         apiVersion: nexus.dev/v1alpha1\nkind: Tenant\nmetadata: {{name: {name}, namespace: {name}}}\nspec:\n  \
         sources:\n    - {{name: github, provider: github, secretRef: {{name: webhooks, key: key}}}}\n"
    )
}

fn agent(tenant: &str, name: &str) -> String {
    format!(
        "apiVersion: nexus.dev/v1alpha1\nkind: AgentProfile\nmetadata: {{name: {name}, namespace: {tenant}}}\nspec:\n  \
         tenant: {tenant}\n  maxInFlight: {IN_FLIGHT}\n  \
         subscriptions: [{{kinds: [NewWorkItem], filters: {{labels: [{name}]}}}}]\n"
    )
}
