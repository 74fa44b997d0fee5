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

/// Writes the folder.
pub fn write(path: &Path, agents: u32) -> anyhow::Result<()> {
    let file = |name: &str, text: String| {
        let path = path.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    };
    file("tenant.yaml", tenant(TENANT))?;
    file("stranger.yaml", format!("{}---\n{}", tenant(STRANGER), agent(STRANGER, STRANGER)))?;
    file(
        "policy.yaml",
        format!(
            "apiVersion: nexus.dev/v1alpha1\nkind: NexusPolicy\nmetadata: {{name: {POLICY}}}\nspec: {{}}\n"
        ),
    )?;
    let agents: Vec<_> = (0..u64::from(agents)).map(|number| agent(TENANT, &agent_name(number))).collect();
    file("agents.yaml", agents.join("---\n"))
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
