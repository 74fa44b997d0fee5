//! Events and rules for tests.

use nexus_core::event::StandardEvent;
use nexus_core::id::EventId;
use nexus_core::mention::Mentions;
use nexus_core::snapshot::GatewaySnapshot;
use serde_json::json;
use uuid::Uuid;

/// A GitHub issue of `acme/acme`, received so many seconds after 1970, whose text is this.
pub fn event(number: u64, text: &str) -> StandardEvent {
    let id = EventId::from(Uuid::from_u128(u128::from(number)));
    let time = jiff::Timestamp::from_second(i64::try_from(number).unwrap()).unwrap();
    let mut mentions = Mentions::default();
    mentions.scan(text);
    serde_json::from_value(json!({
        "specversion": "1.0", "id": id, "source": "/hooks/acme/acme/github",
        "type": "dev.nexus.NewWorkItem.v1", "time": time, "datacontenttype": "application/json",
        "tenant": "acme/acme", "receivedtime": time,
        "data": {
            "provider": "github", "providerEvent": "issues.opened", "title": format!("issue {number}"),
            "text": text, "mentions": mentions.into_vec(), "threadKey": "t", "enriched": true,
            "change": nexus_core::change::ChangeKey::single("c", nexus_core::kind::Rank::Update),
        },
    }))
    .unwrap()
}

/// What these CRs of `acme/acme` compile to.
pub fn rules(tenant_spec: &str, profiles: &[(&str, &str)]) -> GatewaySnapshot {
    let folder = tempfile::tempdir().unwrap();
    let kind = "apiVersion: nexus.dev/v1alpha1\nkind: ";
    let mut text = format!("{kind}Tenant\nmetadata: {{name: acme, namespace: acme}}\nspec: {tenant_spec}\n");
    for (name, spec) in profiles {
        text.push_str(&format!(
            "---\n{kind}AgentProfile\nmetadata: {{name: {name}, namespace: acme, labels: {{agent: {name}, \
             all: yes}}}}\nspec: {{tenant: acme, {spec}}}\n"
        ));
    }
    text = text.replace("all: yes", "all: \"yes\"");
    std::fs::write(folder.path().join("all.yaml"), text).unwrap();
    super::rules::read(folder.path()).unwrap().snapshots.remove(0)
}
