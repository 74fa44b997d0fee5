//! What an operator makes of what came before it, and of what it cannot read.

use nexus_wire::config::HeldStop;
use serde_json::json;

use super::super::*;
use super::rig::Rig;
use super::{acme, condition, profile, tenant};

fn policy(rig: &Rig) -> serde_json::Value {
    rig.server.objects[&("NexusPolicy", "stop-all".to_owned())].clone()
}

fn rounds(rig: &mut Rig, count: usize) {
    for _ in 0..count {
        rig.round(usize::MAX);
    }
}

#[test]
fn an_operator_that_begins_anew_turns_nothing_over_while_pods_are_about_to_come() {
    let mut rig = Rig::new(acme(), Instant::now());
    rig.online = Some(true);
    rig.rest();
    let stands = |rig: &Rig| {
        let agent = &rig.server.objects[&("AgentProfile", "coder".to_owned())];
        let online = condition(agent, "Online")["status"].clone();
        let policy = policy(rig);
        (online, condition(&policy, "Programmed")["status"].clone(), policy["status"]["acknowledged"].clone())
    };
    let well = (json!("True"), json!("True"), json!("1/1"));
    assert_eq!(stands(&rig), well);
    let mut anew = Rig::new(rig.server, rig.now);
    anew.connected = false;
    let writes = anew.server.writes;
    rounds(&mut anew, 30);
    assert_eq!((stands(&anew), anew.server.writes), (well, writes));
    // A stop that is ordered meanwhile is told of as it stands.
    anew.server.apply("NexusPolicy", "stop-all", &json!({}), &json!({"stop": true}));
    rounds(&mut anew, 6);
    assert_eq!(stands(&anew), (json!("True"), json!("False"), json!("0/1")));
    // Those who never come are told of in the end.
    rounds(&mut anew, 30);
    assert_eq!(stands(&anew).0, "False");
}

#[test]
fn who_goes_while_some_pod_is_away_for_a_moment_is_told_to_be_gone() {
    for pod in ["nexus-ingest-0", "nexus-gateway-0"] {
        let mut rig = Rig::new(acme(), Instant::now());
        rig.online = Some(true);
        rig.rest();
        (rig.online, rig.away) = (Some(false), Some(pod));
        rounds(&mut rig, 10);
        rig.away = None;
        rig.rest();
        let agent = &rig.server.objects[&("AgentProfile", "coder".to_owned())];
        assert_eq!(condition(agent, "Online")["status"], "False", "{agent:#}");
    }
}

#[test]
fn a_stop_that_this_operator_saw_stands_in_status_whatever_pods_have_forgotten() {
    let mut rig = Rig::begin(acme());
    rig.server.apply("NexusPolicy", "stop-all", &json!({}), &json!({"stop": true}));
    rig.rest();
    // Nobody released it, and the pods are others now, with a store that was emptied.
    rig.server.apply("NexusPolicy", "stop-all", &json!({}), &json!({}));
    rig.rest();
    assert!(policy(&rig)["status"]["engagement"].is_string());
    assert_eq!(rig.server.workloads["coder"].replicas, 0);
}

#[test]
fn a_stop_scales_though_a_secret_was_not_looked_at() {
    let mut rig = Rig::begin(acme());
    rig.server.apply("NexusPolicy", "stop-all", &json!({}), &json!({"stop": true}));
    let mut anew = Rig::new(rig.server, rig.now);
    // Nobody answers for Secrets.
    anew.tell_workloads();
    for _ in 0..8 {
        assert!(!anew.decider.settle(&anew.publisher, anew.now));
        anew.decide();
        anew.catch_up();
        anew.now += Duration::from_millis(500);
    }
    assert_eq!(anew.server.workloads["coder"].replicas, 0);
    assert_eq!(policy(&anew)["status"]["engagement"].as_str().map(|name| &name[8..]), Some("-2"));
}

#[test]
fn what_a_stop_left_behind_is_cleared_though_it_was_decided_before_all_was_looked_at() {
    let mut rig = Rig::begin(acme());
    rig.server.apply("NexusPolicy", "stop-all", &json!({}), &json!({"stop": true}));
    rig.rest();
    let name = policy(&rig)["status"]["engagement"].clone();
    rig.server.apply("NexusPolicy", "stop-all", &json!({}), &json!({"release": name}));
    // The operator is killed when it has scaled, and before it clears its record.
    rig.server.workloads.get_mut("coder").unwrap().replicas = 3;
    rig.server.workloads.get_mut("coder").unwrap().held = None;
    let mut anew = Rig::new(rig.server, rig.now);
    anew.tell_workloads();
    assert!(!anew.decider.settle(&anew.publisher, anew.now));
    anew.decider.pods(Arc::new(anew.pods()), anew.now);
    anew.decider.decide(&anew.publisher, anew.now, Timestamp::UNIX_EPOCH);
    // Secrets come, and nothing else.
    anew.tell_secrets();
    for _ in 0..40 {
        anew.decider.settle(&anew.publisher, anew.now);
        anew.decide();
        anew.now += Duration::from_millis(500);
    }
    let agent = &anew.server.objects[&("AgentProfile", "coder".to_owned())];
    assert_eq!(agent["status"].get("heldReplicas"), None, "{agent:#}");
}

#[test]
fn a_policy_that_cannot_be_read_stops_as_it_does_at_gateways_and_says_so_once() {
    let mut rig = Rig::begin(acme());
    let spec =
        json!({"stop": true, "mirror": "paws", "targets": {"tenants": [{"namespace": "b", "name": "b"}]}});
    rig.server.apply("NexusPolicy", "stop-all", &json!({}), &spec);
    rig.rest();
    assert_eq!(rig.server.workloads["coder"].replicas, 0);
    let told = policy(&rig);
    let accepted = condition(&told, "Accepted");
    assert_eq!((&accepted["status"], &accepted["reason"]), (&json!("False"), &json!("Unreadable")));
    assert!(accepted["message"].as_str().unwrap().contains("paws"), "{accepted}");
    assert_eq!(accepted["observedGeneration"], 2);
    let writes = rig.server.writes;
    rounds(&mut rig, 50);
    assert_eq!(rig.server.writes, writes);
    // One that was never readable is one like any other.
    rig.server.apply("NexusPolicy", "other", &json!({}), &json!({"mirror": 7}));
    rig.rest();
    let other = &rig.server.objects[&("NexusPolicy", "other".to_owned())];
    assert_eq!(condition(other, "Ready")["reason"], "Unreadable", "{other:#}");
}

#[test]
fn an_engagement_that_was_released_while_nobody_led_does_not_stand_for_ever() {
    let mut rig = Rig::begin(acme());
    rig.server.apply("NexusPolicy", "stop-all", &json!({}), &json!({"stop": true}));
    rig.rest();
    // Released, and the release taken out again: gateways saw it, and hold nothing.
    rig.server.apply("NexusPolicy", "stop-all", &json!({}), &json!({}));
    let mut anew = Rig::new(rig.server, rig.now);
    anew.connected = false;
    rounds(&mut anew, 4);
    assert!(policy(&anew)["status"]["engagement"].is_string(), "no pod has told anything yet");
    anew.connected = true;
    anew.rest();
    assert_eq!(policy(&anew)["status"].get("engagement"), None);
    assert_eq!(anew.server.workloads["coder"].replicas, 3);
}

#[test]
fn a_stop_is_timed_by_who_held_it() {
    let mut rig = Rig::begin(acme());
    let at = |millisecond| Some(Timestamp::from_millisecond(millisecond).unwrap());
    let uid = policy(&rig)["metadata"]["uid"].as_str().unwrap().to_owned();
    rig.server.apply("NexusPolicy", "stop-all", &json!({}), &json!({"stop": true}));
    // The operator decides at 0, by a clock that is behind that of the pod, or ahead of it.
    rig.held = Some(HeldStop {
        policy: "stop-all".to_owned(),
        engagement: format!("{}-2", &uid[..8]),
        uid,
        sockets_severed: 0,
        engaged: at(-70),
        last_byte: at(-30),
        alarm: None,
    });
    rig.rest();
    assert_eq!(policy(&rig)["status"]["lastByteMilliseconds"], 40);
}

#[test]
fn what_is_made_anew_and_cannot_be_read_is_told_anew() {
    let mut rig = Rig::begin(acme());
    for _ in 0..2 {
        rig.server.apply("AgentProfile", "stray", &json!({}), &json!({"tenant": 7}));
        rig.rest();
        let stray = &rig.server.objects[&("AgentProfile", "stray".to_owned())];
        assert_eq!(condition(stray, "Accepted")["reason"], "Unreadable", "{stray:#}");
        rig.server.delete("AgentProfile", "stray");
    }
    rig.rest();
    assert!(rig.decider.told.is_empty());
}

#[test]
fn a_tenant_that_is_held_back_stays_when_the_last_that_names_it_goes() {
    let mut server = acme();
    for number in 0..40 {
        let name = format!("t{number}");
        server.apply("Tenant", &name, &json!({}), &tenant(30));
        let mut of = profile(16);
        of["tenant"] = json!(name);
        server.apply("AgentProfile", &format!("a{number}"), &json!({}), &of);
    }
    let mut rig = Rig::begin(server);
    (0..40).for_each(|number| rig.server.delete("Tenant", &format!("t{number}")));
    rig.rest();
    let held_back = rig.decider.held_back.clone();
    assert!(held_back.len() > 10);
    rig.now += GONE_WITHIN * 2;
    (0..40).for_each(|number| rig.server.delete("AgentProfile", &format!("a{number}")));
    rig.rest();
    let published = |tenant: &&TenantKey| {
        let name = ResourceName { kind: ResourceType::Ingest, tenant: (*tenant).clone() };
        rig.publisher.digest(&name).is_some()
    };
    assert_eq!(held_back.iter().filter(published).count(), held_back.len());
}
