//! Whatever may happen, in any order.

use proptest::prelude::*;
use serde_json::json;

use super::rig::Rig;
use super::{acme, profile, tenant};
use crate::scale::Workload;

/// What may happen.
#[derive(Debug, Clone)]
enum Step {
    Tenant(u32),
    NoTenant,
    Profile(u32, bool),
    NoProfile,
    Mapping(bool),
    NoMapping,
    Secret(bool),
    Workload(Option<u32>),
    Stop(bool),
    /// Some of the writes are done, and the process is killed.
    Crash(usize),
    /// The watch tells of everything anew.
    List,
    Round(usize),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (1_u32..4).prop_map(Step::Tenant),
        Just(Step::NoTenant),
        (1_u32..4, any::<bool>()).prop_map(|(most, labelled)| Step::Profile(most, labelled)),
        Just(Step::NoProfile),
        any::<bool>().prop_map(Step::Mapping),
        Just(Step::NoMapping),
        any::<bool>().prop_map(Step::Secret),
        prop::option::of(1_u32..4).prop_map(Step::Workload),
        any::<bool>().prop_map(Step::Stop),
        (0_usize..3).prop_map(Step::Crash),
        Just(Step::List),
        (0_usize..4).prop_map(Step::Round),
    ]
}

fn take(rig: &mut Rig, step: &Step) {
    let server = &mut rig.server;
    match step {
        Step::Tenant(heartbeat) => server.apply("Tenant", "acme", &json!({}), &tenant(*heartbeat)),
        Step::NoTenant => server.delete("Tenant", "acme"),
        Step::Profile(most, labelled) => {
            let labels = if *labelled { json!({"squad": "ai"}) } else { json!({}) };
            server.apply("AgentProfile", "coder", &labels, &profile(*most));
        }
        Step::NoProfile => server.delete("AgentProfile", "coder"),
        Step::Mapping(back) => {
            let direction = if *back { "toClickUp" } else { "both" };
            let spec = json!({"tenant": "acme", "clickupListId": "901", "slackChannelId": "C0", "direction": direction});
            server.apply("Mapping", "one", &json!({}), &spec);
        }
        Step::NoMapping => server.delete("Mapping", "one"),
        Step::Secret(there) => {
            let secret = nexus_core::secret::Secret::new("s3cr3t");
            match there {
                true => {
                    drop(server.secrets.insert("webhooks".to_owned(), [("github".to_owned(), secret)].into()))
                }
                false => drop(server.secrets.remove("webhooks")),
            }
        }
        Step::Workload(Some(replicas)) => {
            let held = server.workloads.get("coder").and_then(|workload| workload.held);
            server
                .workloads
                .insert("coder".to_owned(), Workload { replicas: *replicas, held, ..Workload::default() });
        }
        Step::Workload(None) => drop(server.workloads.remove("coder")),
        Step::Stop(true) => server.apply("NexusPolicy", "stop-all", &json!({}), &json!({"stop": true})),
        Step::Stop(false) => {
            let object = &server.objects[&("NexusPolicy", "stop-all".to_owned())];
            let (uid, generation) = (&object["metadata"]["uid"], &object["metadata"]["generation"]);
            let release = format!("{}-{generation}", &uid.as_str().unwrap()[..8]);
            if object["spec"]["stop"] == json!(true) {
                server.apply("NexusPolicy", "stop-all", &json!({}), &json!({"release": release}));
            }
        }
        Step::Crash(writes) => {
            rig.round(*writes);
            *rig = Rig::begin(rig.server.clone());
        }
        Step::List => rig.list(),
        Step::Round(writes) => drop(rig.round(*writes)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
    /// Whatever happened, seen one by one or all at once, and whenever the process was killed: the end is that of an operator
    /// that sees the objects as they are now for the first time.
    #[test]
    fn the_way_does_not_matter(steps in prop::collection::vec(any_step(), 1..24)) {
        let mut rig = Rig::begin(acme());
        for step in &steps {
            take(&mut rig, step);
        }
        rig.rest();
        let mut fresh = rig.server.clone();
        for object in fresh.objects.values_mut() {
            let held = ["heldReplicas", "heldBy", "heldFrom", "engagement"].map(|key| (key, object["status"].get(key).cloned()));
            object["status"] = json!({});
            // What a stop recorded is no derived state.
            for (key, value) in held {
                if let Some(value) = value {
                    object["status"][key] = value;
                }
            }
        }
        let fresh = Rig::begin(fresh);
        prop_assert_eq!(rig.end(), fresh.end());
        let stopped = rig.server.objects[&("NexusPolicy", "stop-all".to_owned())]["spec"]["stop"] == json!(true);
        let judged = rig.server.objects.contains_key(&("AgentProfile", "coder".to_owned()))
            && rig.server.objects.contains_key(&("Tenant", "acme".to_owned()));
        if let (Some(workload), true) = (rig.server.workloads.get("coder"), judged) {
            prop_assert_eq!(workload.replicas == 0, stopped);
        }
    }
}
