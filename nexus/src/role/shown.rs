//! The configuration in force, as `/config` shows it: sorted and without secrets.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::configured::Configured;

/// What this process keeps of each tenant.
pub fn config(configured: &Configured) -> Value {
    let (ingest, gateway) = (configured.ingest(), configured.gateway());
    let (ingest, gateway) = (ingest.borrow(), gateway.borrow());
    let mut tenants: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    for (tenant, sources) in &ingest.tenants {
        let shown = tenants.entry(tenant.to_string()).or_default();
        shown.insert("ingest".to_owned(), json!(sources.snapshot));
    }
    for (tenant, config) in gateway.tenants().filter_map(|tenant| Some((tenant, gateway.tenant(tenant)?))) {
        let mut snapshot = json!(config.snapshot());
        mask_credentials(&mut snapshot);
        tenants.entry(tenant.to_string()).or_default().insert("gateway".to_owned(), snapshot);
    }
    json!(tenants)
}

/// A digest is no secret, but a secret that somebody chose badly could be guessed from it.
fn mask_credentials(snapshot: &mut Value) {
    let agents = snapshot.get_mut("agents").and_then(Value::as_object_mut);
    for agent in agents.into_iter().flat_map(Map::values_mut) {
        if let Some(credential) = agent.get_mut("credential") {
            *credential = json!("set");
        }
    }
}
