//! The configuration in force, as `/config` shows it: sorted and without secrets.

use serde_json::{Value, json};

use super::control::Control;
use super::cut::Cut;

/// What this process keeps of each tenant.
pub fn config(control: &Control) -> Value {
    let view = control.view();
    let tenants = view.tenants.iter().map(|(tenant, compiled)| {
        let mut snapshots = match control.cut() {
            Cut::All => json!({ "ingest": compiled.ingest, "gateway": compiled.gateway }),
            Cut::Ingest => json!({ "ingest": compiled.ingest }),
            Cut::Gateway => json!({ "gateway": compiled.gateway }),
        };
        mask_credentials(&mut snapshots);
        (tenant.to_string(), snapshots)
    });
    Value::Object(tenants.collect())
}

/// A digest is no secret, but a secret that somebody chose badly could be guessed from it.
fn mask_credentials(snapshots: &mut Value) {
    let agents = snapshots.pointer_mut("/gateway/agents").and_then(Value::as_object_mut);
    for agent in agents.into_iter().flat_map(serde_json::Map::values_mut) {
        if let Some(credential) = agent.get_mut("credential") {
            *credential = json!("set");
        }
    }
}
