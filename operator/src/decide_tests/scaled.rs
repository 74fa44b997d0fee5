//! Scaling while something is in its way: statuses that are refused, watches that are dead, rights that nobody granted.

use serde_json::{Value, json};

use super::rig::Rig;
use super::server::Server;
use super::{acme, condition, profile, tenant};
use crate::decide::{Answer, Duration, Instant, Write, Written};
use crate::engine::{Change, Observed};
use crate::scale::Workload;
use crate::watch::FORBIDDEN;
use crate::write::Scaled;

/// Rounds of 100 ms in which Deployments' watches say nothing; each write is answered so. How many there were.
fn play(rig: &mut Rig, rounds: usize, mut answer: impl FnMut(&mut Server, Write) -> Answer) -> usize {
    let mut writes = 0;
    for _ in 0..rounds {
        rig.now += Duration::from_millis(100);
        rig.catch_up();
        rig.tell_secrets();
        rig.decider.settle(&rig.publisher, rig.now);
        let pods = rig.pods();
        rig.decider.pods(pods.into(), rig.now);
        writes += rig.decide_and(&mut answer).len();
    }
    writes
}

fn hear(rig: &mut Rig, observed: Observed<Workload>) {
    rig.decider.take(Change::Workload(("acme".to_owned(), "coder".to_owned()), observed), rig.now);
}

fn order(rig: &mut Rig) {
    rig.server.apply("NexusPolicy", "stop-all", &json!({}), &json!({"stop": true}));
}

fn release(rig: &mut Rig) {
    let policy = &rig.server.objects[&("NexusPolicy", "stop-all".to_owned())];
    let release = policy["status"]["engagement"].clone();
    rig.server.apply("NexusPolicy", "stop-all", &json!({}), &json!({ "release": release }));
}

fn coder(rig: &Rig) -> &Value {
    &rig.server.objects[&("AgentProfile", "coder".to_owned())]
}

fn stands(rig: &Rig, replicas: u32, held: Option<u32>) {
    let workload = &rig.server.workloads["coder"];
    assert_eq!((workload.replicas, workload.held), (replicas, held), "{:#}", coder(rig)["status"]);
}

#[test]
fn a_status_that_is_refused_keeps_nothing_running() {
    let mut rig = Rig::begin(acme());
    order(&mut rig);
    let refused = |server: &mut Server, write| match write {
        Write::Profile(..) => Answer::Failed,
        write => server.write(write),
    };
    play(&mut rig, 10, refused);
    stands(&rig, 0, Some(3));
    // It is recorded once that can be done.
    rig.now += Duration::from_secs(30);
    rig.rest();
    assert_eq!(coder(&rig)["status"]["heldReplicas"], 3);
    release(&mut rig);
    rig.rest();
    stands(&rig, 3, None);
}

#[test]
fn a_status_that_nobody_can_write_keeps_nothing_running() {
    let mut server = acme();
    // For an operator that begins now the profile is nobody's.
    server.apply("Tenant", "acme", &json!({}), &json!({"sources": "none"}));
    server.apply("NexusPolicy", "stop-all", &json!({}), &json!({"stop": true}));
    let mut rig = Rig::new(server, Instant::now());
    for _ in 0..10 {
        rig.round(usize::MAX);
    }
    stands(&rig, 0, Some(3));
}

#[test]
fn a_watch_that_is_dead_without_a_word_delays_nothing() {
    let mut server = acme();
    let revision = |number: u32| Some(number.to_string());
    server.workloads.get_mut("coder").unwrap().revision = revision(1);
    let mut rig = Rig::begin(server);
    // Somebody changes it, of which the operator does not hear.
    let changed = |replicas, number| Workload { replicas, revision: revision(number), ..Workload::default() };
    rig.server.workloads.insert("coder".to_owned(), changed(5, 2));
    order(&mut rig);
    let mut late = 0;
    let mut answer = |server: &mut Server, write| {
        let Write::Scale { key, replicas, held, revision: sent, .. } = &write else {
            return server.write(write);
        };
        let workload = server.workloads.get_mut(&key.1).unwrap();
        let written = workload.revision == *sent;
        if written {
            let next = workload.revision.as_ref().unwrap().parse::<u32>().unwrap() + 1;
            *workload = Workload { held: *held, ..changed(replicas.unwrap_or(workload.replicas), next) };
        }
        late += usize::from(!written);
        Answer::Scaled(Scaled { sent: sent.clone(), now: Observed::There(workload.clone()), written })
    };
    play(&mut rig, 10, &mut answer);
    stands(&rig, 0, Some(5));
    // An autoscaler goes on unheard; what comes late is of no consequence.
    let raised = Workload { held: Some(5), ..changed(9, 7) };
    rig.server.workloads.insert("coder".to_owned(), raised);
    hear(&mut rig, Observed::There(Workload { held: Some(5), ..changed(4, 6) }));
    play(&mut rig, 5, &mut answer);
    stands(&rig, 0, Some(5));
    assert_eq!(late, 2);
}

#[test]
fn an_answer_is_older_than_what_its_watch_said_meanwhile() {
    let mut server = acme();
    server.workloads.get_mut("coder").unwrap().revision = Some("1".to_owned());
    let mut rig = Rig::begin(server);
    order(&mut rig);
    rig.rest();
    let key = ("acme".to_owned(), "coder".to_owned());
    let raised = Workload { replicas: 8, held: Some(3), uid: None, revision: Some("3".to_owned()) };
    hear(&mut rig, Observed::There(raised.clone()));
    let done = Workload { replicas: 0, held: Some(3), uid: None, revision: Some("2".to_owned()) };
    let answer = Scaled { sent: Some("1".to_owned()), now: Observed::There(done), written: true };
    let target = crate::write::Target::Deployment(key.clone());
    rig.decider.written(Written { target, answer: Answer::Scaled(answer) }, rig.now);
    assert_eq!(rig.decider.engine.workloads[&key], Observed::There(raised));
}

fn references(rig: &Rig) -> (String, String, String) {
    let of = |kind, field: &str| condition(coder(rig), kind)[field].as_str().unwrap().to_owned();
    (of("ResolvedRefs", "status"), of("ResolvedRefs", "reason"), of("Ready", "status"))
}

fn told(status: &str, reason: &str, ready: &str) -> (String, String, String) {
    (status.to_owned(), reason.to_owned(), ready.to_owned())
}

#[test]
fn a_deployment_that_may_not_be_watched_is_told_before_a_stop_comes() {
    let mut rig = Rig::begin(acme());
    let there = Observed::There(rig.server.workloads["coder"].clone());
    let forbidden = || Observed::Unreadable(FORBIDDEN.to_owned());
    assert_eq!(references(&rig), told("True", "ResolvedRefs", "True"));
    // An API server that is away says nothing of rights.
    hear(&mut rig, Observed::Unreadable("the API server does not answer".to_owned()));
    assert_eq!(play(&mut rig, 10, Server::write), 0);
    hear(&mut rig, forbidden());
    assert_eq!(play(&mut rig, 10, Server::write), 1);
    assert_eq!(references(&rig), told("False", "WorkloadForbidden", "False"));
    let message = condition(coder(&rig), "ResolvedRefs")["message"].as_str().unwrap();
    assert!(message.contains("`spec.workloadRef`") && message.contains("`coder`"), "{message}");
    assert!(message.contains("`nexus rbac`"), "{message}");
    // Where a list is granted and a watch is not, it can be read in between.
    for _ in 0..5 {
        hear(&mut rig, there.clone());
        assert_eq!(play(&mut rig, 20, Server::write), 0);
        hear(&mut rig, forbidden());
        assert_eq!(play(&mut rig, 20, Server::write), 0);
    }
    // An operator that begins anew takes nothing back before it was answered.
    let mut rig = Rig::new(rig.server, rig.now);
    assert_eq!(play(&mut rig, 10, Server::write), 0);
    hear(&mut rig, forbidden());
    assert_eq!(play(&mut rig, 10, Server::write), 0);
    hear(&mut rig, there);
    play(&mut rig, 60, Server::write);
    assert_eq!(references(&rig), told("True", "ResolvedRefs", "True"));
}

#[test]
fn a_deployment_that_may_not_be_scaled_is_told_while_it_runs_on() {
    let mut rig = Rig::begin(acme());
    order(&mut rig);
    let refused = |server: &mut Server, write| match write {
        Write::Scale { .. } => Answer::Refused,
        write => server.write(write),
    };
    play(&mut rig, 20, refused);
    stands(&rig, 3, None);
    assert_eq!(references(&rig), told("False", "WorkloadForbidden", "False"));
    // So it is for an operator that begins anew, which takes nothing back before.
    let workload = Observed::There(rig.server.workloads["coder"].clone());
    let mut rig = Rig::new(rig.server, rig.now);
    hear(&mut rig, workload);
    let profiles = |rig: &mut Rig| {
        let mut profiles = 0;
        play(rig, 20, |server, write| {
            profiles += usize::from(matches!(write, Write::Profile(..)));
            refused(server, write)
        });
        profiles
    };
    assert_eq!(profiles(&mut rig), 0);
    rig.now += Duration::from_secs(30);
    rig.rest();
    stands(&rig, 0, Some(3));
    // An engaged stop makes nothing unready.
    assert_eq!(references(&rig), told("True", "ResolvedRefs", "True"));
}

#[test]
fn a_deployment_that_is_not_there_is_worth_a_look_and_no_fault() {
    let mut server = acme();
    let workload = server.workloads.remove("coder").unwrap();
    let mut rig = Rig::begin(server);
    assert_eq!(references(&rig), told("True", "WorkloadNotFound", "True"));
    rig.server.workloads.insert("coder".to_owned(), workload);
    rig.rest();
    assert_eq!(references(&rig), told("True", "ResolvedRefs", "True"));
}

#[test]
fn a_number_of_none_is_nothing_to_restore() {
    let mut server = acme();
    server.workloads.get_mut("coder").unwrap().replicas = 0;
    // Its last good value stays.
    let mut rig = Rig::begin(server);
    rig.server.apply("AgentProfile", "coder", &json!({"squad": "ai"}), &json!({"tenant": 7}));
    rig.rest();
    stands(&rig, 0, None);
    rig.server.apply("AgentProfile", "coder", &json!({"squad": "ai"}), &profile(16));
    order(&mut rig);
    rig.rest();
    rig.server.workloads.get_mut("coder").unwrap().held = Some(0);
    rig.rest();
    release(&mut rig);
    rig.rest();
    assert_eq!(rig.server.workloads["coder"].replicas, 0);
}

#[test]
fn what_was_recorded_starts_no_other_deployment() {
    let named = |name: &str| {
        let mut spec = profile(16);
        spec["workloadRef"]["name"] = json!(name);
        spec
    };
    let made = |uid: &str, replicas| Workload { replicas, uid: Some(uid.to_owned()), ..Workload::default() };
    let mut server = acme();
    server.workloads.insert("coder".to_owned(), made("a", 3));
    server.workloads.insert("second".to_owned(), made("b", 0));
    let mut rig = Rig::begin(server);
    order(&mut rig);
    rig.rest();
    assert_eq!(coder(&rig)["status"]["heldFrom"], "a");
    // It is deleted, and applied anew at 0 while the stop holds.
    rig.server.workloads.insert("coder".to_owned(), made("c", 0));
    rig.rest();
    stands(&rig, 0, None);
    // The profile names another, which is meant to be at 0.
    rig.server.apply("AgentProfile", "coder", &json!({"squad": "ai"}), &named("second"));
    rig.rest();
    release(&mut rig);
    rig.rest();
    assert_eq!(rig.server.workloads["second"], made("b", 0));
    stands(&rig, 0, None);
    assert!(coder(&rig)["status"].get("heldBy").is_none());
}

#[test]
fn a_release_takes_the_record_of_a_deployment_that_is_gone() {
    for named in [true, false] {
        let mut rig = Rig::begin(acme());
        order(&mut rig);
        rig.rest();
        rig.server.workloads.remove("coder");
        if !named {
            let mut spec = profile(16);
            spec.as_object_mut().unwrap().remove("workloadRef");
            rig.server.apply("AgentProfile", "coder", &json!({"squad": "ai"}), &spec);
        }
        rig.rest();
        assert_eq!(coder(&rig)["status"]["heldReplicas"], 3);
        release(&mut rig);
        if named {
            // Its watch has not answered a new leader: nobody knows whether it is there.
            let mut blind = Rig::new(rig.server.clone(), rig.now);
            play(&mut blind, 100, Server::write);
            assert!(blind.decider.complete);
            assert_eq!(coder(&blind)["status"]["heldReplicas"], 3);
        }
        rig.rest();
        let status = &coder(&rig)["status"];
        assert!(status.get("heldReplicas").is_none() && status.get("heldBy").is_none(), "{status:#}");
        rig.server.workloads.insert("coder".to_owned(), Workload::default());
        rig.server.apply("AgentProfile", "coder", &json!({"squad": "ai"}), &profile(16));
        rig.server.apply("Tenant", "acme", &json!({}), &tenant(31));
        rig.rest();
        stands(&rig, 0, None);
    }
}
