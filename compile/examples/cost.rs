//! What compiling costs: one tenant of so many objects, and so many objects over a hundred tenants, of which one has changed.
//!
//! `cargo run --release -p nexus-compile --example cost`

use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nexus_compile::{Previous, TenantObjects, compile};
use serde_json::{Value, json};

/// How often each is done; the median is shown.
const TIMES: usize = 21;

/// Tenants that objects are spread over.
const TENANTS: usize = 100;

fn read<K: serde::de::DeserializeOwned>(object: Value) -> Arc<K> {
    Arc::new(serde_json::from_value(object).expect("the object is of its kind"))
}

/// A tenant of so many objects: half AgentProfiles, half Mappings.
fn tenant(objects: usize) -> TenantObjects {
    let meta =
        |name: String| json!({"name": name, "namespace": "acme", "labels": {"squad": "ai"}, "generation": 1});
    let source = |provider: &str| json!({"name": provider, "provider": provider, "secretRef": {"name": "webhooks", "key": provider}});
    let mut tenant = TenantObjects::of(read(json!({
        "apiVersion": "nexus.dev/v1alpha1", "kind": "Tenant", "metadata": meta("acme".to_owned()),
        "spec": {
            "sources": (["github", "slack", "clickup"].map(source)),
            "aliases": [{"name": "@AI_Squad", "agents": {"matchLabels": {"squad": "ai"}}}],
        },
    })));
    let profile = |number: usize| {
        read(json!({
            "apiVersion": "nexus.dev/v1alpha1", "kind": "AgentProfile", "metadata": meta(format!("a-{number}")),
            "spec": {
                "tenant": "acme", "aliases": [format!("@agent-{number}")],
                "subscriptions": [{"kinds": ["NewWorkItem", "NewComment"], "sources": ["github"]}],
            },
        }))
    };
    let mapping = |number: usize| {
        read(json!({
            "apiVersion": "nexus.dev/v1alpha1", "kind": "Mapping", "metadata": meta(format!("m-{number}")),
            "spec": {"tenant": "acme", "clickupListId": number.to_string(), "slackChannelId": format!("C{number}")},
        }))
    };
    tenant.profiles = (0..objects / 2).map(profile).collect();
    tenant.mappings = (0..objects.div_ceil(2)).map(mapping).collect();
    tenant
}

/// The median time of compiling again what was compiled before.
fn cost(objects: &TenantObjects) -> Duration {
    let before = compile(objects, Previous::default()).expect("the Tenant has a name");
    let mut times: Vec<_> = (0..TIMES)
        .map(|_| {
            let began = Instant::now();
            let compiled = compile(objects, before.as_previous()).expect("the Tenant has a name");
            let took = began.elapsed();
            assert!(compiled.gateway.agents.len() == objects.profiles.len());
            took
        })
        .collect();
    times.sort_unstable();
    times[TIMES / 2]
}

fn main() -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{:>8}  {:>14}  {:>24}", "OBJECTS", "ONE TENANT", "ONE OF 100 TENANTS")?;
    for objects in [10, 100, 1_000, 10_000] {
        let one = cost(&tenant(objects));
        // The others are not compiled.
        let of_many = cost(&tenant(objects.div_ceil(TENANTS)));
        writeln!(
            out,
            "{objects:>8}  {:>11.3} ms  {:>21.3} ms",
            one.as_secs_f64() * 1e3,
            of_many.as_secs_f64() * 1e3
        )?;
    }
    Ok(())
}
