//! A bus for tests whose second event of three is of a later version.

use std::time::Duration;

use nexus_core::change::ChangeKey;
use nexus_core::clock::ManualClock;
use nexus_core::id::{EventId, TenantKey};
use nexus_core::kind::{Kind, Rank};
use nexus_store::bus::{Append, Appended, Bus, HandOut, Raw, Route, partition_of};
use serde_json::{Value, json};
use tempfile::TempDir;

pub(super) fn id(number: u8) -> EventId {
    EventId::from_bytes(u128::from(number).to_be_bytes())
}

/// The bus, its folder and its tenant. All three events are routed, to nobody.
pub(super) async fn bus() -> (TempDir, Bus, TenantKey) {
    let folder = tempfile::tempdir().unwrap();
    let clock = ManualClock::at("2026-11-24T07:00:00Z".parse().unwrap());
    let bus = Bus::open_embedded(folder.path(), clock.clock()).unwrap();
    let tenant: TenantKey = "acme/acme".parse().unwrap();
    let partition = partition_of("t");
    let epoch = bus.acquire(&tenant, partition).await.unwrap();
    for number in 1..=3 {
        let event = if number == 2 { json!({"specversion": "9"}) } else { event(number) };
        let append = Append {
            id: id(number),
            delivery_key: format!("github:{number}"),
            dedupe_for: Duration::from_secs(3600),
            thread_key: "t".to_owned(),
            kind: Kind::NewWorkItem,
            source: "github".to_owned(),
            title: None,
            received: clock.clock().now(),
            change: ChangeKey::single(format!("issue:{number}"), Rank::Birth),
            event: event.to_string().into(),
            raw: Raw { headers: Vec::new(), body: "{}".into() },
            quota_bytes: 1 << 30,
        };
        let Appended::Stored(seq) = bus.append(&tenant, append).await.unwrap() else {
            panic!("event {number} is new");
        };
        let route = Route { seq, inboxes: Vec::new(), decision: "{}".into() };
        bus.route(&tenant, partition, epoch, vec![route], HandOut::Nothing).await.unwrap();
    }
    (folder, bus, tenant)
}

fn event(number: u8) -> Value {
    json!({
        "specversion": "1.0", "id": id(number), "source": "/hooks/acme/acme/github",
        "type": "dev.nexus.NewWorkItem.v1", "time": "2026-11-24T07:00:00Z", "datacontenttype": "application/json",
        "tenant": "acme/acme", "receivedtime": "2026-11-24T07:00:00Z",
        "data": {
            "provider": "github", "providerEvent": "issues.opened", "mentions": [], "threadKey": "t", "enriched": true,
            "change": ChangeKey::single("c", Rank::Update),
        },
    })
}
