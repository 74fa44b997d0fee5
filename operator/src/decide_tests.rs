//! An API server in miniature, and whatever may happen to its objects: the operator must come to the same end by any way.

#[path = "decide_tests/anew.rs"]
mod anew;
#[path = "decide_tests/rig.rs"]
mod rig;
#[path = "decide_tests/scaled.rs"]
mod scaled;
#[path = "decide_tests/server.rs"]
mod server;
#[path = "decide_tests/ways.rs"]
mod ways;

use nexus_wire::config::{HeldStop, ResourceType};
use serde_json::{Value, json};

use self::rig::Rig;
use self::server::Server;
use super::*;
use crate::engine::Observed;
use crate::scale::Workload;

fn condition<'a>(object: &'a Value, kind: &str) -> &'a Value {
    let conditions = object["status"]["conditions"].as_array().unwrap();
    conditions.iter().find(|condition| condition["type"] == kind).unwrap()
}

fn tenant(heartbeat: u32) -> Value {
    json!({
        "sources": [{"name": "github", "provider": "github", "secretRef": {"name": "webhooks", "key": "github"}}],
        "limits": {"heartbeatSeconds": heartbeat},
    })
}

fn profile(in_flight: u32) -> Value {
    json!({
        "tenant": "acme", "maxInFlight": in_flight, "workloadRef": {"kind": "Deployment", "name": "coder"},
        "subscriptions": [{"kinds": ["NewWorkItem"], "sources": ["github"]}],
    })
}

/// A Tenant with an agent whose Deployment has three replicas, and the stop switch.
fn acme() -> Server {
    let mut server = Server::default();
    let secret = nexus_core::secret::Secret::new("s3cr3t");
    server.secrets.insert("webhooks".to_owned(), [("github".to_owned(), secret)].into());
    server.workloads.insert("coder".to_owned(), Workload { replicas: 3, held: None, ..Workload::default() });
    server.apply("Tenant", "acme", &json!({}), &tenant(30));
    server.apply("AgentProfile", "coder", &json!({"squad": "ai"}), &profile(16));
    server.apply("NexusPolicy", "stop-all", &json!({}), &json!({}));
    server
}

#[test]
fn all_of_it_becomes_ready_and_then_nothing_is_written() {
    let mut rig = Rig::begin(acme());
    for name in [("Tenant", "acme"), ("AgentProfile", "coder"), ("NexusPolicy", "stop-all")] {
        let object = &rig.server.objects[&(name.0, name.1.to_owned())];
        assert_eq!(condition(object, "Ready")["status"], "True", "{object:#}");
    }
    let writes = rig.server.writes;
    // Its status once before the credentials were there, once after, and not for each step of the way.
    assert!(writes <= 8, "{writes}");
    rig.list();
    for _ in 0..100 {
        rig.round(usize::MAX);
    }
    assert_eq!(rig.server.writes, writes);
}

#[test]
fn a_stop_scales_to_zero_whatever_works_against_it_and_its_release_gives_back() {
    let mut rig = Rig::begin(acme());
    rig.server.apply("NexusPolicy", "stop-all", &json!({}), &json!({"stop": true}));
    rig.rest();
    let policy = |rig: &Rig| rig.server.objects[&("NexusPolicy", "stop-all".to_owned())].clone();
    let engagement = policy(&rig)["status"]["engagement"].as_str().unwrap().to_owned();
    assert!(engagement.ends_with("-2"), "{engagement}");
    assert_eq!(policy(&rig)["status"]["acknowledged"], "1/1");
    assert_eq!(policy(&rig)["status"]["socketsSevered"], 3);
    let agent = &rig.server.objects[&("AgentProfile", "coder".to_owned())];
    assert_eq!(condition(agent, "Online")["reason"], "Stopped", "{agent:#}");
    let coder = |rig: &Rig| rig.server.workloads["coder"].clone();
    assert_eq!(coder(&rig), Workload { replicas: 0, held: Some(3), ..Workload::default() });
    // An autoscaler.
    rig.server
        .workloads
        .insert("coder".to_owned(), Workload { replicas: 7, held: Some(3), ..Workload::default() });
    rig.rest();
    assert_eq!(coder(&rig).replicas, 0);
    // An agent that is given other labels stays stopped, also for an operator that begins anew.
    rig.server.apply("AgentProfile", "coder", &json!({}), &profile(16));
    rig.rest();
    let mut rig = Rig::begin(rig.server);
    assert_eq!(coder(&rig), Workload { replicas: 0, held: Some(3), ..Workload::default() });
    rig.server.apply("NexusPolicy", "stop-all", &json!({}), &json!({"release": engagement}));
    rig.rest();
    assert_eq!(coder(&rig), Workload { replicas: 3, held: None, ..Workload::default() });
    assert!(policy(&rig)["status"].get("engagement").is_none());
    assert!(
        rig.server.objects[&("AgentProfile", "coder".to_owned())]["status"].get("heldReplicas").is_none()
    );
}

#[test]
fn a_stop_that_gateways_hold_and_no_object_shows_scales_to_zero_until_it_is_released() {
    let mut rig = Rig::begin(acme());
    let uid = rig.server.objects[&("NexusPolicy", "stop-all".to_owned())]["metadata"]["uid"].clone();
    let uid = uid.as_str().unwrap().to_owned();
    let engagement = format!("{}-9", &uid[..8]);
    // So it is once the store was restored from before the stop.
    let policy = "stop-all".to_owned();
    let held = HeldStop {
        policy,
        uid,
        engagement: engagement.clone(),
        sockets_severed: 0,
        last_byte: None,
        alarm: None,
        engaged: None,
    };
    rig.held = Some(held.clone());
    rig.rest();
    assert_eq!(rig.server.workloads["coder"], Workload { replicas: 0, held: Some(3), ..Workload::default() });
    rig.server.apply("NexusPolicy", "stop-all", &json!({}), &json!({ "release": engagement }));
    rig.held = None;
    rig.rest();
    assert_eq!(rig.server.workloads["coder"], Workload { replicas: 3, held: None, ..Workload::default() });
    // A gateway that comes back and has not looked yet.
    rig.held = Some(held);
    rig.rest();
    assert_eq!(rig.server.workloads["coder"].replicas, 3);
}

#[test]
fn an_agent_that_runs_beside_a_stopped_one_in_its_deployment_stops_with_it() {
    let mut server = acme();
    server.apply("AgentProfile", "bystander", &json!({}), &profile(16));
    let mut rig = Rig::begin(server);
    let spec = json!({"stop": true, "targets": {"agents": {"matchLabels": {"squad": "ai"}}}});
    rig.server.apply("NexusPolicy", "stop-all", &json!({}), &spec);
    rig.rest();
    assert_eq!(rig.server.workloads["coder"].replicas, 0);
    let policy = &rig.server.objects[&("NexusPolicy", "stop-all".to_owned())];
    let release = policy["status"]["engagement"].clone();
    rig.server.apply("NexusPolicy", "stop-all", &json!({}), &json!({ "release": release }));
    rig.rest();
    assert_eq!(rig.server.workloads["coder"], Workload { replicas: 3, held: None, ..Workload::default() });
    for name in ["coder", "bystander"] {
        let status = &rig.server.objects[&("AgentProfile", name.to_owned())]["status"];
        assert!(status.get("heldReplicas").is_none(), "{status}");
    }
}

#[test]
fn a_pod_that_loses_its_connection_changes_nothing_for_a_while() {
    let mut rig = Rig::begin(acme());
    let writes = rig.server.writes;
    rig.decider.pods(Arc::default(), rig.now);
    let tenant = |rig: &Rig| {
        let object = &rig.server.objects[&("Tenant", "acme".to_owned())];
        condition(object, "Ready")["status"].clone()
    };
    let decide = |rig: &mut Rig, seconds: u64| {
        rig.now += Duration::from_secs(seconds);
        rig.decide();
        rig.catch_up();
    };
    (0..5).for_each(|_| decide(&mut rig, 3));
    assert_eq!((rig.server.writes, tenant(&rig)), (writes, json!("True")));
    (0..5).for_each(|_| decide(&mut rig, 3));
    assert_eq!(tenant(&rig), "False");
    rig.rest();
    assert_eq!(tenant(&rig), "True");
}

#[test]
fn a_deployment_that_cannot_be_looked_at_for_a_moment_is_scaled_as_it_was_seen_last() {
    let mut rig = Rig::begin(acme());
    let key = ("acme".to_owned(), "coder".to_owned());
    rig.decider.take(Change::Workload(key, Observed::Unreadable("gone".to_owned())), rig.now);
    rig.server.apply("NexusPolicy", "stop-all", &json!({}), &json!({"stop": true}));
    rig.catch_up();
    let mut all = Vec::new();
    for _ in 0..5 {
        rig.now += Duration::from_millis(100);
        all.extend(rig.decide());
        rig.catch_up();
    }
    assert!(all.iter().any(|target| matches!(target, Target::Deployment(_))), "{all:?}");
    assert_eq!(rig.server.workloads["coder"].replicas, 0);
}

#[test]
fn tenants_that_are_deleted_by_the_dozen_stay_in_force() {
    let mut server = acme();
    for number in 0..20 {
        server.apply("Tenant", &format!("t{number}"), &json!({}), &tenant(30));
    }
    let mut rig = Rig::begin(server);
    let published = |rig: &Rig, name: &str| {
        let tenant = TenantKey::new("acme", name).unwrap();
        rig.publisher.digest(&ResourceName { kind: ResourceType::Ingest, tenant }).is_some()
    };
    assert!(published(&rig, "t0") && published(&rig, "t19"));
    // A few may go.
    rig.server.delete("Tenant", "t0");
    rig.rest();
    assert!(!published(&rig, "t0"));
    for number in 1..20 {
        rig.server.delete("Tenant", &format!("t{number}"));
    }
    rig.round(usize::MAX);
    let left = (1..20).filter(|number| published(&rig, &format!("t{number}"))).count();
    assert!((8..19).contains(&left), "{left}");
    assert_eq!(rig.decider.held_back.len(), left);
    // One that comes back is a Tenant like any other.
    rig.server.apply("Tenant", "t19", &json!({}), &tenant(30));
    rig.rest();
    assert!(published(&rig, "t19") && rig.decider.held_back.len() == left - 1);
}

#[test]
fn what_cannot_be_read_is_told_once_and_takes_nothing_down() {
    let mut rig = Rig::begin(acme());
    let published = rig.end()["published"].clone();
    rig.server.apply("Tenant", "acme", &json!({}), &json!({"sources": "none"}));
    rig.server.apply("AgentProfile", "stray", &json!({}), &json!({"tenant": 7}));
    rig.rest();
    let object = &rig.server.objects[&("Tenant", "acme".to_owned())];
    assert_eq!(condition(object, "Accepted")["reason"], "Unreadable", "{object:#}");
    let stray = &rig.server.objects[&("AgentProfile", "stray".to_owned())];
    assert_eq!(condition(stray, "Accepted")["reason"], "Unreadable", "{stray:#}");
    assert_eq!(rig.end()["published"], published);
    rig.server.apply("Tenant", "acme", &json!({}), &tenant(30));
    rig.rest();
    assert_eq!(condition(&rig.server.objects[&("Tenant", "acme".to_owned())], "Ready")["status"], "True");
}
